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
    (
        "deepseek-llm",
        &[
            r"[\r\n]",
            r"\s?[\u{41}-\u{5a}\u{61}-\u{7a}\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\u{295}-\u{2af}\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\u{38e}-\u{3a1}\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\u{13a0}-\u{13f5}\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}\u{2145}-\u{2149}\u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}\u{2cf2}\u{2cf3}\u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\u{a78b}-\u{a78e}\u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+",
            r"\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+",
            r"\s+$",
            r"[一-龥\u{800}-一가-\u{d7ff}]+",
            r"\p{N}+",
        ],
    ),
    (
        "deepseek-coder",
        &[
            r"[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            r"[一-龥\u{800}-一가-\u{d7ff}]+",
            r"\p{N}",
        ],
    ),
    (
        "deepseek-v3",
        &[
            r"\p{N}{1,3}",
            r"[一-龥\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
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
