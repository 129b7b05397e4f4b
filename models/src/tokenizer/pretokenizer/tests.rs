use super::*;
use fancy_regex::Regex;
use proptest::prelude::*;
use std::string::String;
use std::sync::LazyLock;
use std::vec::Vec;

/// The expressions of every entry of the table, by the first of its names.
const EXPRESSIONS: &[(&str, &[&str])] = &[
    (
        "default",
        &[
            r"[\p{P}\$\+<=>\^~\|]+",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
            r"\p{N}+",
            r"[0-9][0-9][0-9]",
        ],
    ),
    (
        "gpt-2",
        &[r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"],
    ),
    (
        "smollm",
        &[
            r"\p{N}",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
        ],
    ),
    ("llama-bpe", &[LLAMA3]),
    ("glm4", &[LLAMA3]),
    ("dbrx", &[LLAMA3]),
    (
        "qwen2",
        &[
            r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
    (
        "qwen35",
        &[
            r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
    (
        "tekken",
        &[
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
    (
        "gpt-4o",
        &[
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
    (
        "exaone-moe",
        &[
            r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
    ),
    (
        "falcon",
        &[
            r"[\p{P}\$\+<=>\^~\|`]+",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
            r"[0-9][0-9][0-9]",
        ],
    ),
];

const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

static COMPILED: LazyLock<Vec<(&str, Vec<Regex>)>> = LazyLock::new(|| {
    let compile = |list: &[&str]| list.iter().map(|e| Regex::new(e).unwrap()).collect();
    EXPRESSIONS
        .iter()
        .map(|&(name, list)| (name, compile(list)))
        .collect()
});

/// Splits by literal expressions, each applied to what the one before left.
fn split_by_regex<'t>(passes: &[Regex], text: &'t str) -> Vec<&'t str> {
    let mut words = std::vec![text];
    for regex in passes {
        let mut finer = Vec::new();
        for word in words {
            let mut end = 0;
            for found in regex.find_iter(word).map(Result::unwrap) {
                finer.push(&word[end..found.start()]);
                finer.push(found.as_str());
                end = found.end();
            }
            finer.push(&word[end..]);
        }
        finer.retain(|word| !word.is_empty());
        words = finer;
    }
    words
}

fn split(name: &str, text: &str) -> Vec<String> {
    let mut words = Vec::new();
    find(name)
        .unwrap()
        .split(text, &mut |word| words.push(word.into()));
    words
}

#[test]
fn every_entry_has_an_expression_to_hold_it_against() {
    let tested: Vec<_> = EXPRESSIONS.iter().map(|&(name, _)| name).collect();
    let entries: Vec<_> = table::TABLE.iter().map(|entry| entry.names[0]).collect();
    assert_eq!(tested, entries);
}

#[test]
fn names_are_told_apart() {
    let mut all: Vec<_> = names().collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!(find("no such name").is_none());
}

#[test]
fn words_of_the_main_families() {
    let text = "It's 2025년,  온돌!\n";
    let expected: &[(&str, &[&str])] = &[
        (
            "gpt-2",
            &["It", "'s", " 2025", "년", ",", " ", " 온돌", "!", "\n"],
        ),
        (
            "smollm",
            &[
                "It", "'s", " ", "2", "0", "2", "5", "년", ",", " ", " 온돌", "!", "\n",
            ],
        ),
        (
            "llama-bpe",
            &["It", "'s", " ", "202", "5", "년", ",", " ", " 온돌", "!\n"],
        ),
        (
            "qwen2",
            &[
                "It", "'s", " ", "2", "0", "2", "5", "년", ",", " ", " 온돌", "!\n",
            ],
        ),
        (
            "gpt-4o",
            &["It's", " ", "202", "5", "년", ",", " ", " 온돌", "!\n"],
        ),
    ];
    for (name, words) in expected {
        assert_eq!(&split(name, text), words, "{name}");
    }
}

/// Text with all that the rules look at: case, marks, Hangul, digits of several
/// scripts, contractions, emoji with joiners, and all kinds of space.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => r"[ \t\r\n/'`$^~|<.,!-]{1,4}",
        3 => "[a-zA-Z]{1,5}",
        2 => "'(s|S|t|re|RE|Ve|m|ll|lL|d|x)",
        2 => "[0-9]{1,7}",
        2 => "[가-힣ㄱ-ㅎᄀ-ᇿ]{1,4}",
        1 => "[ÀÉéßǅʰªЖжΣςİıſ]{1,3}",
        1 => "[\u{300}-\u{30f}\u{93e}\u{fe0f}\u{20dd}]{1,2}",
        1 => "[٣५Ⅷ½²㉠]{1,3}",
        1 => "[\u{a0}\u{85}\u{b}\u{c}\u{2028}\u{3000}\u{200b}]{1,2}",
        1 => Just(String::from("👩\u{200d}👩\u{200d}👧\u{1f3fd}")),
        1 => "[世界日本ไทยहिन्दी。、！]{1,3}",
        1 => r"\PC{1,3}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_entry_splits_as_its_expression_does(texts in prop::collection::vec(text(), 8)) {
        for (name, passes) in COMPILED.iter() {
            for text in &texts {
                prop_assert_eq!(split(name, text), split_by_regex(passes, text), "{}", name);
            }
        }
    }
}
