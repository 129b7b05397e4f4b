//! Splitting text into words before byte-level BPE: one table of rules for each
//! `tokenizer.ggml.pre`.
//!
//! Models define this step by regular expressions. Only a few forms occur in them, so
//! each form is a [`Rule`], and a list of rules reads like the expression. The tests
//! compare every entry with its original expression.
//!
//! To add one, write its rules in `table.rs` and its expression in `tests.rs`.

#[cfg(feature = "std")]
mod deepseek;
mod table;
#[cfg(test)]
mod tests;

use super::unicode::{Category, category};

pub(super) use table::{PreTokenizer, find, names};

/// A set of characters, as `[...]` or `\p{..}` in an expression.
type Class = fn(char) -> bool;

/// The expressions of one pre-tokenizer. Each one splits what the one before left:
/// its matches become words, and so does the text between matches.
type Passes = &'static [&'static [Rule]];

/// One alternative of an expression.
#[derive(Clone, Copy)]
enum Rule {
    /// `'s|'t|'re|'ve|'m|'ll|'d`
    Contraction,
    /// `'[sS]|'[tT]|'[rR][eE]|...`
    AnyCaseContraction,
    /// `lead?body{min,max}tail{0,tail_max}`
    Run(Run),
    /// `\s*[\r\n]+`
    ThroughLastNewline,
    /// `\s+(?!\S)`
    SpaceBeforeSpace,
    /// `lead?upper*lower+|lead?upper+lower*`, where letters without case and marks
    /// are both upper and lower, and `lead` is `[^\r\n\p{L}\p{N}]`; with
    /// `contraction`, each alternative ends in `('[sS]|'[tT]|...)?`
    CasedWord { contraction: bool },
    /// `lead?(\p{L}\p{M}*( \p{L}\p{M}*)*)+`, `lead` as above
    SpacedWords,
    /// Any other form: the length in bytes of the match at the start of a text.
    #[cfg(feature = "std")]
    Other(fn(&str) -> Option<usize>),
}

/// See [`Rule::Run`].
#[derive(Clone, Copy)]
struct Run {
    lead: Option<Class>,
    body: Class,
    min: usize,
    max: usize,
    tail: Class,
    tail_max: usize,
}

/// `body+`
const fn some(body: Class) -> Run {
    Run {
        lead: None,
        body,
        min: 1,
        max: usize::MAX,
        tail: newline,
        tail_max: 0,
    }
}

impl Run {
    /// `lead?body+`
    const fn after(self, lead: Class) -> Run {
        Run {
            lead: Some(lead),
            ..self
        }
    }

    /// `body{min,max}`
    const fn times(self, min: usize, max: usize) -> Run {
        Run { min, max, ..self }
    }

    /// `body+tail{0,max}`
    const fn then(self, tail: Class, max: usize) -> Run {
        Run {
            tail,
            tail_max: max,
            ..self
        }
    }

    /// The length of the match at the start of `text`.
    fn matches(&self, text: &str) -> Option<usize> {
        let led = self.lead.and_then(|lead| {
            let start = prefix(text, lead, 1);
            (start > 0).then(|| self.body_end(text, start)).flatten()
        });
        let end = led.or_else(|| self.body_end(text, 0))?;
        Some(end + prefix(&text[end..], self.tail, self.tail_max))
    }

    fn body_end(&self, text: &str, start: usize) -> Option<usize> {
        let body = prefix(&text[start..], self.body, self.max);
        let enough = match self.min {
            1 => body > 0,
            min => text[start..start + body].chars().count() >= min,
        };
        enough.then_some(start + body)
    }
}

impl Rule {
    /// The length in bytes of the match at the start of `text`; never 0.
    fn matches(&self, text: &str) -> Option<usize> {
        match self {
            Rule::Contraction => contraction(text, |c| c),
            Rule::AnyCaseContraction => contraction(text, |c| c.to_ascii_lowercase()),
            Rule::Run(run) => run.matches(text),
            Rule::ThroughLastNewline => through_last_newline(text),
            Rule::SpaceBeforeSpace => space_before_space(text),
            Rule::CasedWord { contraction } => cased_word(text, *contraction),
            Rule::SpacedWords => with_optional_lead(text, spaced_words),
            #[cfg(feature = "std")]
            Rule::Other(matches) => matches(text),
        }
    }
}

impl PreTokenizer {
    /// Splits `text` into words and hands each to `emit`, in order; together they
    /// are `text`.
    pub(super) fn split(&self, text: &str, emit: &mut dyn FnMut(&str)) {
        split_by(self.passes, text, emit);
    }
}

fn split_by(passes: Passes, text: &str, emit: &mut dyn FnMut(&str)) {
    let Some((rules, later)) = passes.split_first() else {
        return emit(text);
    };
    // Text from `start` to `at` has no match yet.
    let (mut start, mut at) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        let Some(length) = rules.iter().find_map(|rule| rule.matches(&text[at..])) else {
            at += c.len_utf8();
            continue;
        };
        if start < at {
            split_by(later, &text[start..at], emit);
        }
        start = at + length;
        split_by(later, &text[at..start], emit);
        at = start;
    }
    if start < at {
        split_by(later, &text[start..at], emit);
    }
}

/// The length in bytes of the longest start of `text` with at most `max`
/// characters, all of the class.
fn prefix(text: &str, class: Class, max: usize) -> usize {
    text.chars()
        .take(max)
        .take_while(|&c| class(c))
        .map(char::len_utf8)
        .sum()
}

fn contraction(text: &str, fold: fn(u8) -> u8) -> Option<usize> {
    let rest = text.as_bytes().strip_prefix(b"'")?;
    let at = |i: usize| rest.get(i).map_or(0, |&byte| fold(byte));
    match (at(0), at(1)) {
        (b's' | b't' | b'm' | b'd', _) => Some(2),
        (b'r' | b'v', b'e') | (b'l', b'l') => Some(3),
        _ => None,
    }
}

fn through_last_newline(text: &str) -> Option<usize> {
    let spaces = &text[..prefix(text, space, usize::MAX)];
    spaces.rfind(['\r', '\n']).map(|at| at + 1)
}

fn space_before_space(text: &str) -> Option<usize> {
    let spaces = prefix(text, space, usize::MAX);
    if spaces == text.len() {
        return (spaces > 0).then_some(spaces);
    }
    // Some other character follows: the last space is left for it.
    let (last, _) = text[..spaces].char_indices().next_back()?;
    (last > 0).then_some(last)
}

/// Tries `[^\r\n\p{L}\p{N}]` before `body`, then `body` alone.
fn with_optional_lead(text: &str, body: impl Fn(&str) -> Option<usize>) -> Option<usize> {
    let lead = prefix(text, word_lead, 1);
    let led = (lead > 0)
        .then(|| body(&text[lead..]))
        .flatten()
        .map(|length| lead + length);
    led.or_else(|| body(text))
}

fn cased_word(text: &str, with_contraction: bool) -> Option<usize> {
    let end = with_optional_lead(text, ends_in_lower)
        .or_else(|| with_optional_lead(text, starts_in_upper))?;
    let suffix = match with_contraction {
        true => Rule::AnyCaseContraction.matches(&text[end..]).unwrap_or(0),
        false => 0,
    };
    Some(end + suffix)
}

/// `upper*lower+`
fn ends_in_lower(text: &str) -> Option<usize> {
    let uppers = prefix(text, upper, usize::MAX);
    let lowers = prefix(&text[uppers..], lower, usize::MAX);
    if lowers > 0 {
        return Some(uppers + lowers);
    }
    // Backtracks to the last of the upper ones that is lower too.
    let (at, c) = text[..uppers].char_indices().rfind(|&(_, c)| lower(c))?;
    Some(at + c.len_utf8())
}

/// `upper+lower*`, where [`ends_in_lower`] has failed: no lower one follows.
fn starts_in_upper(text: &str) -> Option<usize> {
    let uppers = prefix(text, upper, usize::MAX);
    (uppers > 0).then_some(uppers)
}

/// `(\p{L}\p{M}*( \p{L}\p{M}*)*)+`
fn spaced_words(text: &str) -> Option<usize> {
    let mut end = 0;
    loop {
        let gap = if end > 0 {
            prefix(&text[end..], blank, 1)
        } else {
            0
        };
        let letter = [0, gap].map(|gap| (gap, prefix(&text[end + gap..], letter, 1)));
        let Some((gap, letter)) = letter.into_iter().find(|&(_, letter)| letter > 0) else {
            return (end > 0).then_some(end);
        };
        end += gap + letter;
        end += prefix(&text[end..], mark, usize::MAX);
    }
}

/// ` `
fn blank(c: char) -> bool {
    c == ' '
}

/// `\s`
fn space(c: char) -> bool {
    c.is_whitespace()
}

/// `[\r\n]`
fn newline(c: char) -> bool {
    matches!(c, '\r' | '\n')
}

/// `[\r\n/]`
fn newline_or_slash(c: char) -> bool {
    matches!(c, '\r' | '\n' | '/')
}

/// `\p{L}`
fn letter(c: char) -> bool {
    category(c).is_letter()
}

/// `\p{M}`
fn mark(c: char) -> bool {
    category(c) == Category::Mark
}

/// `[\p{L}\p{M}]`
fn letter_or_mark(c: char) -> bool {
    letter(c) || mark(c)
}

/// `\p{N}`
fn number(c: char) -> bool {
    category(c) == Category::Number
}

/// `[0-9]`
fn ascii_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// `[^\s\p{L}\p{N}]`
fn other(c: char) -> bool {
    !space(c) && !letter(c) && !number(c)
}

/// `[^\s\p{L}\p{M}\p{N}]`
fn other_than_mark(c: char) -> bool {
    other(c) && !mark(c)
}

/// `[^\r\n\p{L}\p{N}]`
fn word_lead(c: char) -> bool {
    !newline(c) && !letter(c) && !number(c)
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
fn upper(c: char) -> bool {
    matches!(category(c), Category::Upper | Category::Title) || caseless(c)
}

/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
fn lower(c: char) -> bool {
    category(c) == Category::Lower || caseless(c)
}

/// `[\p{Lm}\p{Lo}\p{M}]`
fn caseless(c: char) -> bool {
    matches!(
        category(c),
        Category::Modifier | Category::OtherLetter | Category::Mark
    )
}

/// ``[\p{P}$+<=>^~|`]``
fn punctuation_or_ascii_symbol(c: char) -> bool {
    category(c) == Category::Punctuation || c.is_ascii_punctuation()
}

/// `[\p{P}$+<=>^~|]`
fn punctuation_or_most_ascii_symbols(c: char) -> bool {
    punctuation_or_ascii_symbol(c) && c != '`'
}
