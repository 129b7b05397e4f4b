//! One checker for each kind of instruction of IFEval, after the rules of its reference
//! (`instruction_following_eval` of `google-research/google-research`). Where the
//! reference asks a library for language or sentences, the docs here say what is done
//! instead. An instruction is not judged if its id has no checker or its arguments (`kwargs`) are
//! missing.

use serde::Deserialize;

/// The arguments of an instruction.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Kwargs {
    relation: Option<String>,
    let_relation: Option<String>,
    capital_relation: Option<String>,
    num_sentences: Option<usize>,
    num_paragraphs: Option<usize>,
    num_words: Option<usize>,
    num_bullets: Option<usize>,
    num_highlights: Option<usize>,
    num_placeholders: Option<usize>,
    num_sections: Option<usize>,
    nth_paragraph: Option<usize>,
    frequency: Option<usize>,
    let_frequency: Option<usize>,
    capital_frequency: Option<usize>,
    keyword: Option<String>,
    keywords: Option<Vec<String>>,
    forbidden_words: Option<Vec<String>>,
    letter: Option<String>,
    first_word: Option<String>,
    end_phrase: Option<String>,
    postscript_marker: Option<String>,
    section_spliter: Option<String>,
    prompt_to_repeat: Option<String>,
    language: Option<String>,
}

/// What a checker found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer does what was asked.
    Followed,
    /// The answer does not do it.
    NotFollowed,
    /// There is no checker for the instruction.
    NotJudged,
}

/// Judges an answer by one instruction. An empty answer follows no instruction.
pub fn check(id: &str, kwargs: &Kwargs, answer: &str) -> Verdict {
    match judge(id, kwargs, answer) {
        None => Verdict::NotJudged,
        Some(followed) if followed && !answer.trim().is_empty() => Verdict::Followed,
        Some(_) => Verdict::NotFollowed,
    }
}

/// `None` if it can't be judged.
fn judge(id: &str, k: &Kwargs, answer: &str) -> Option<bool> {
    let folded = answer.to_lowercase();
    Some(match id {
        "keywords:existence" => has_all(&folded, k.keywords.as_ref()?),
        "keywords:frequency" => {
            let found = count(&folded, k.keyword.as_ref()?.trim());
            compare(found, k.frequency?, k.relation.as_deref()?)?
        }
        "keywords:forbidden_words" => {
            let words = k.forbidden_words.as_ref()?;
            !words
                .iter()
                .any(|word| has_word(&folded, &word.to_lowercase()))
        }
        "keywords:letter_frequency" => {
            let found = count(&folded, k.letter.as_ref()?.trim());
            compare(found, k.let_frequency?, k.let_relation.as_deref()?)?
        }
        "language:response_language" => is_in(answer, k.language.as_deref()?)?,
        "length_constraints:number_sentences" => {
            compare(sentences(answer), k.num_sentences?, k.relation.as_deref()?)?
        }
        "length_constraints:number_words" => {
            compare(words(answer).count(), k.num_words?, k.relation.as_deref()?)?
        }
        "length_constraints:number_paragraphs" => paragraphs(answer) == Some(k.num_paragraphs?),
        "length_constraints:nth_paragraph_first_word" => {
            let (all, nth) = (k.num_paragraphs?, k.nth_paragraph?);
            begins_nth(answer, all, nth, k.first_word.as_ref()?)
        }
        "detectable_content:number_placeholders" => placeholders(answer) >= k.num_placeholders?,
        "detectable_content:postscript" => has_postscript(&folded, k.postscript_marker.as_ref()?),
        "detectable_format:number_bullet_lists" => bullets(answer) == k.num_bullets?,
        "detectable_format:constrained_response" => is_constrained(answer),
        "detectable_format:number_highlighted_sections" => highlights(answer) >= k.num_highlights?,
        "detectable_format:multiple_sections" => {
            sections(answer, k.section_spliter.as_ref()?.trim()) >= k.num_sections?
        }
        "detectable_format:json_format" => is_json(answer),
        "detectable_format:title" => has_title(answer),
        "combination:two_responses" => are_two(answer),
        "combination:repeat_prompt" => {
            let prompt = k.prompt_to_repeat.as_ref()?.trim().to_lowercase();
            folded.trim().starts_with(&prompt)
        }
        "startend:end_checker" => {
            let phrase = k.end_phrase.as_ref()?.trim().to_lowercase();
            folded.trim().trim_matches('"').ends_with(&phrase)
        }
        "startend:quotation" => is_quoted(answer.trim()),
        "change_case:capital_word_frequency" => {
            let capital = words(answer).filter(|word| is_upper(word)).count();
            compare(
                capital,
                k.capital_frequency?,
                k.capital_relation.as_deref()?,
            )?
        }
        "change_case:english_capital" => is_latin(answer) && is_upper(answer),
        "change_case:english_lowercase" => is_latin(answer) && is_lower(answer),
        "punctuation:no_comma" => !answer.contains([',', '，', '、']),
        _ => return None,
    })
}

/// `less than` or `at least`; `None` for another relation.
fn compare(found: usize, wanted: usize, relation: &str) -> Option<bool> {
    match relation {
        "less than" | "미만" => Some(found < wanted),
        "at least" | "이상" => Some(found >= wanted),
        _ => None,
    }
}

fn has_all(folded: &str, keywords: &[String]) -> bool {
    let has = |keyword: &String| folded.contains(&keyword.to_lowercase());
    keywords.iter().all(has)
}

/// How many times a text occurs, without overlaps; 0 for an empty text.
fn count(folded: &str, text: &str) -> usize {
    match text.is_empty() {
        true => 0,
        false => folded.matches(&text.to_lowercase()).count(),
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a word occurs with no letter or digit beside it.
fn has_word(folded: &str, word: &str) -> bool {
    !word.is_empty()
        && folded.match_indices(word).any(|(at, _)| {
            let before = folded[..at].chars().next_back();
            let after = folded[at + word.len()..].chars().next();
            !before.is_some_and(is_of_word) && !after.is_some_and(is_of_word)
        })
}

/// Runs of letters, digits and underscores.
fn words(answer: &str) -> impl Iterator<Item = &str> {
    let words = answer.split(|c| !is_of_word(c));
    words.filter(|word| !word.is_empty())
}

/// The number of sentences. One or more of `.`, `!`, `?` or `…` before a space or the end end a
/// sentence; text after the last end counts as one. The reference asks NLTK, which also knows
/// abbreviations.
fn sentences(answer: &str) -> usize {
    let ends = |c: char| matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？');
    let closed = |word: &str| {
        word.trim_end_matches(['"', '\'', ')', '”', '’'])
            .ends_with(ends)
    };
    let words: Vec<&str> = answer.split_whitespace().collect();
    let ended = words.iter().filter(|word| closed(word)).count();
    ended + usize::from(words.last().is_some_and(|last| !closed(last)))
}

/// The number of paragraphs between `***`; `None` if one between two others is empty.
fn paragraphs(answer: &str) -> Option<usize> {
    let parts: Vec<&str> = answer.split("***").map(str::trim).collect();
    let last = parts.len() - 1;
    let inner = parts
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 0 && *at != last);
    if inner.into_iter().any(|(_, part)| part.is_empty()) {
        return None;
    }
    Some(parts.iter().filter(|part| !part.is_empty()).count())
}

/// Whether there are `all` paragraphs, separated by empty lines, and the `nth` (from 1) begins
/// with `word`.
fn begins_nth(answer: &str, all: usize, nth: usize, word: &str) -> bool {
    let parts = answer.split("\n\n").map(str::trim);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    let paragraph = nth.checked_sub(1).and_then(|at| parts.get(at));
    let first = paragraph.and_then(|paragraph| paragraph.split_whitespace().next());
    let bare = |word: &str| word.trim_matches(|c| !is_of_word(c)).to_lowercase();
    parts.len() == all && first.is_some_and(|first| bare(first) == bare(word))
}

/// The number of `[..]`, each on one line.
fn placeholders(answer: &str) -> usize {
    let in_line = |line: &str| {
        let opened = line.split('[').skip(1);
        opened.filter(|part| part.contains(']')).count()
    };
    answer.lines().map(in_line).sum()
}

fn has_postscript(folded: &str, marker: &str) -> bool {
    let squeezed: String = folded.chars().filter(|c| !c.is_whitespace()).collect();
    match marker.trim() {
        "P.P.S" => squeezed.contains("p.p.s"),
        "P.S." => squeezed.contains("p.s."),
        marker => folded.contains(&marker.to_lowercase()),
    }
}

/// The number of lines that begin with `- ` or one `*`.
fn bullets(answer: &str) -> usize {
    let is_bullet = |line: &&str| {
        let line = line.trim_start();
        let starred = line
            .strip_prefix('*')
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('*'));
        starred || line.starts_with('-')
    };
    answer.lines().filter(is_bullet).count()
}

fn is_constrained(answer: &str) -> bool {
    let options = [
        "My answer is yes.",
        "My answer is no.",
        "My answer is maybe.",
    ];
    options.iter().any(|option| answer.contains(option))
}

/// The number of `*text*` and `**text**`, each on one line and counted once.
fn highlights(answer: &str) -> usize {
    let in_line = |line: &str| {
        let parts: Vec<&str> = line.split('*').collect();
        // Between two stars, and not what follows the second.
        let (mut found, mut at) = (0, 1);
        while at + 1 < parts.len() {
            match parts[at].trim().is_empty() {
                true => at += 1,
                false => {
                    found += 1;
                    at += 2;
                }
            }
        }
        found
    };
    answer.lines().map(in_line).sum()
}

/// How many times the splitter occurs before a number.
fn sections(answer: &str, splitter: &str) -> usize {
    let mut parts = answer.split(splitter);
    parts.next();
    let numbered = |part: &&str| part.trim_start().starts_with(|c: char| c.is_ascii_digit());
    match splitter.is_empty() {
        true => 0,
        false => parts.filter(numbered).count(),
    }
}

/// Whether the answer is JSON, with or without a code fence of Markdown.
fn is_json(answer: &str) -> bool {
    let mut text = answer.trim();
    for fence in ["```json", "```Json", "```JSON", "```"] {
        if let Some(rest) = text.strip_prefix(fence) {
            text = rest;
            break;
        }
    }
    let text = text.strip_suffix("```").unwrap_or(text);
    serde_json::from_str::<serde_json::Value>(text.trim()).is_ok()
}

/// Whether there is a `<<text>>` on one line.
fn has_title(answer: &str) -> bool {
    answer.lines().any(|line| {
        let rest = line.split_once("<<").map(|(_, rest)| rest);
        let title = rest.and_then(|rest| rest.rsplit_once(">>"));
        title.is_some_and(|(title, _)| !title.trim_matches(['<', '>']).trim().is_empty())
    })
}

/// Whether the answer is two different texts with `******` between them.
fn are_two(answer: &str) -> bool {
    let parts: Vec<&str> = answer.split("******").map(str::trim).collect();
    let last = parts.len() - 1;
    let filled: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| !part.is_empty())
        .collect();
    let hole = (1..last).any(|at| parts[at].is_empty());
    !hole && filled.len() == 2 && filled[0] != filled[1]
}

fn is_quoted(answer: &str) -> bool {
    answer.len() > 1 && answer.starts_with('"') && answer.ends_with('"')
}

/// Whether there are letters with case, and all are upper-case.
fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)
}

/// Whether there are letters with case, and all are lower-case.
fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)
}

/// Whether all letters are those of English. The reference asks a library for the language.
fn is_latin(text: &str) -> bool {
    text.chars()
        .filter(|c| c.is_alphabetic())
        .all(|c| c.is_ascii())
}

/// Whether an answer is in a language; `None` for a language that is not judged. An answer is
/// Korean if more than half of its letters are Hangul. Other languages share their letters; the
/// reference asks a library.
fn is_in(answer: &str, language: &str) -> Option<bool> {
    if language != "ko" {
        return None;
    }
    let letters = answer.chars().filter(|c| c.is_alphabetic());
    let hangul =
        |c: &char| matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '가'..='힣');
    let (all, korean) = (letters.clone().count(), letters.filter(hangul).count());
    Some(korean * 2 > all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instruction with its kwargs, an answer that follows it, and one that does not.
    const CASES: &[(&str, &str, &str, &str)] = &[
        (
            "keywords:existence",
            r#"{"keywords":["floor","Heat"]}"#,
            "The floor has HEAT.",
            "The floor.",
        ),
        (
            "keywords:frequency",
            r#"{"keyword":"warm","frequency":2,"relation":"at least"}"#,
            "Warm and warm.",
            "Warm.",
        ),
        (
            "keywords:frequency",
            r#"{"keyword":"온돌","frequency":2,"relation":"미만"}"#,
            "온돌은 따뜻하다.",
            "온돌, 온돌",
        ),
        (
            "keywords:forbidden_words",
            r#"{"forbidden_words":["cold"]}"#,
            "It scolds.",
            "It is Cold.",
        ),
        (
            "keywords:letter_frequency",
            r#"{"letter":"E","let_frequency":2,"let_relation":"less than"}"#,
            "One",
            "Even",
        ),
        (
            "language:response_language",
            r#"{"language":"ko"}"#,
            "바닥이 따뜻합니다. OK",
            "The floor is warm.",
        ),
        (
            "length_constraints:number_sentences",
            r#"{"num_sentences":3,"relation":"less than"}"#,
            "One. Two!",
            "One. Two! \"Three?\"",
        ),
        (
            "length_constraints:number_words",
            r#"{"num_words":3,"relation":"at least"}"#,
            "one two-three",
            "one, two",
        ),
        (
            "length_constraints:number_paragraphs",
            r#"{"num_paragraphs":2}"#,
            "a\n***\nb",
            "a\n***\n***\nb",
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            r#"{"num_paragraphs":2,"nth_paragraph":2,"first_word":"warm"}"#,
            "a\n\n\"Warm\" b",
            "warm\n\nb",
        ),
        (
            "detectable_content:number_placeholders",
            r#"{"num_placeholders":2}"#,
            "[name] of [place]",
            "[name] of [place",
        ),
        (
            "detectable_content:postscript",
            r#"{"postscript_marker":"P.S."}"#,
            "Bye.\nP. S. more",
            "Bye. PS",
        ),
        (
            "detectable_content:postscript",
            r#"{"postscript_marker":"추신"}"#,
            "끝. 추신: 더",
            "끝.",
        ),
        (
            "detectable_format:number_bullet_lists",
            r#"{"num_bullets":2}"#,
            "* a\n- b\n**bold**",
            "* a",
        ),
        (
            "detectable_format:constrained_response",
            "{}",
            "My answer is no.",
            "No.",
        ),
        (
            "detectable_format:number_highlighted_sections",
            r#"{"num_highlights":2}"#,
            "*a* and **b**",
            "*a* and * *",
        ),
        (
            "detectable_format:multiple_sections",
            r#"{"section_spliter":"Section","num_sections":2}"#,
            "Section 1 a\nSection 2 b",
            "Section one, Section two",
        ),
        (
            "detectable_format:json_format",
            "{}",
            "```json\n{\"a\": 1}\n```",
            "{a: 1}",
        ),
        (
            "detectable_format:title",
            "{}",
            "<<warm floor>>\ntext",
            "<<>>\ntext",
        ),
        (
            "combination:two_responses",
            "{}",
            "a\n******\nb",
            "a ****** a",
        ),
        (
            "combination:repeat_prompt",
            r#"{"prompt_to_repeat":"Say it."}"#,
            "say it. Yes.",
            "Yes. Say it.",
        ),
        (
            "startend:end_checker",
            r#"{"end_phrase":"Any questions?"}"#,
            "So. any questions?",
            "Any questions? No.",
        ),
        (
            "startend:quotation",
            "{}",
            "\"all of it\"",
            "\"some\" of it",
        ),
        (
            "change_case:capital_word_frequency",
            r#"{"capital_frequency":2,"capital_relation":"at least"}"#,
            "A WARM floor",
            "A Warm floor",
        ),
        (
            "change_case:english_capital",
            "{}",
            "ALL OF IT 1",
            "ALL of it",
        ),
        ("change_case:english_lowercase", "{}", "all of it", "모두"),
        ("punctuation:no_comma", "{}", "a b", "a, b"),
    ];

    #[test]
    fn every_checker_tells_right_from_wrong() {
        for (id, kwargs, right, wrong) in CASES {
            let kwargs: Kwargs = serde_json::from_str(kwargs).unwrap();
            assert_eq!(
                check(id, &kwargs, right),
                Verdict::Followed,
                "{id}: {right}"
            );
            assert_eq!(
                check(id, &kwargs, wrong),
                Verdict::NotFollowed,
                "{id}: {wrong}"
            );
            assert_eq!(check(id, &kwargs, " "), Verdict::NotFollowed, "{id}");
        }
    }

    #[test]
    fn what_can_not_be_judged_is_not() {
        let not_judged = |id: &str, kwargs: &str| {
            let kwargs: Kwargs = serde_json::from_str(kwargs).unwrap();
            assert_eq!(check(id, &kwargs, "text"), Verdict::NotJudged, "{id}");
        };
        not_judged("length_constraints:number_letter_excluded", "{}");
        not_judged("language:response_language", r#"{"language":"fr"}"#);
        not_judged("keywords:existence", r#"{"keywords":null}"#);
        not_judged(
            "keywords:frequency",
            r#"{"keyword":"a","frequency":1,"relation":"about"}"#,
        );
    }
}
