//! How DeepSeek's models split text.

use super::Rule::*;
use super::*;

pub(super) const LLM: Passes = &[
    // [\r\n]
    &[Run(some(newline).times(1, 1))],
    // \s?[..]+ with the letters of CASED
    &[Run(some(cased).after(space))],
    // \s?[!-/:-~！-／：-～‘-‟　-。]+
    &[Run(some(listed_punctuation).after(space))],
    &[Other(last_space)],
    &[Run(some(wide))],
    // \p{N}+
    &[Run(some(number))],
];

pub(super) const CODER: Passes = &[
    // [\r\n]
    &[Run(some(newline).times(1, 1))],
    // \s?\p{L}+
    &[Run(some(letter).after(space))],
    // \s?\p{P}+
    &[Run(some(punctuation).after(space))],
    &[Run(some(wide))],
    // \p{N}
    &[Run(some(number).times(1, 1))],
];

pub(super) const V3: Passes = &[
    // \p{N}{1,3}
    &[Run(some(number).times(1, 3))],
    &[Run(some(chinese_or_kana))],
    // [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
    // | ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
    &[
        Other(punctuated_word),
        Run(some(letter_or_mark).after(word_lead)),
        Run(some(punctuation_or_symbol)
            .after(blank)
            .then(newline, usize::MAX)),
        ThroughLastNewline,
        SpaceBeforeSpace,
        Run(some(space)),
    ],
];

/// ``[!-/:-@\[-`{-~][A-Za-z]+``
fn punctuated_word(text: &str) -> Option<usize> {
    let lead = prefix(text, |c| c.is_ascii_punctuation(), 1);
    let letters = prefix(&text[lead..], |c| c.is_ascii_alphabetic(), usize::MAX);
    (lead > 0 && letters > 0).then_some(lead + letters)
}

/// `\s+$`
fn last_space(text: &str) -> Option<usize> {
    let spaces = prefix(text, space, usize::MAX);
    (spaces > 0 && spaces == text.len()).then_some(spaces)
}

/// `\p{P}`
fn punctuation(c: char) -> bool {
    category(c) == Category::Punctuation
}

/// `[\p{P}\p{S}]`
fn punctuation_or_symbol(c: char) -> bool {
    matches!(category(c), Category::Punctuation | Category::Symbol)
}

/// `[^\r\n\p{L}\p{P}\p{S}]`
fn word_lead(c: char) -> bool {
    !newline(c) && !letter(c) && !punctuation_or_symbol(c)
}

/// `[一-龥ࠀ-一가-퟿]`
fn wide(c: char) -> bool {
    matches!(c, '\u{800}'..='\u{9fa5}' | '\u{ac00}'..='\u{d7ff}')
}

/// `[一-龥぀-ゟ゠-ヿ]`
fn chinese_or_kana(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fa5}' | '\u{3040}'..='\u{30ff}')
}

/// `[!-/:-~！-／：-～‘-‟　-。]`
fn listed_punctuation(c: char) -> bool {
    matches!(c, '!'..='/' | ':'..='~' | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff5e}'
        | '\u{2018}'..='\u{201f}' | '\u{3000}'..='\u{3002}')
}

/// Letters that have case, as DeepSeek's first models list them.
fn cased(c: char) -> bool {
    let at = CASED.partition_point(|&(_, last)| last < c);
    CASED.get(at).is_some_and(|&(first, _)| first <= c)
}

/// The first and the last of each range of [`cased`], in ascending order.
static CASED: &[(char, char)] = &[
    ('\u{41}', '\u{5a}'),
    ('\u{61}', '\u{7a}'),
    ('\u{b5}', '\u{b5}'),
    ('\u{c0}', '\u{d6}'),
    ('\u{d8}', '\u{f6}'),
    ('\u{f8}', '\u{1ba}'),
    ('\u{1bc}', '\u{1bf}'),
    ('\u{1c4}', '\u{293}'),
    ('\u{295}', '\u{2af}'),
    ('\u{370}', '\u{373}'),
    ('\u{376}', '\u{376}'),
    ('\u{377}', '\u{377}'),
    ('\u{37b}', '\u{37d}'),
    ('\u{37f}', '\u{37f}'),
    ('\u{386}', '\u{386}'),
    ('\u{388}', '\u{38a}'),
    ('\u{38c}', '\u{38c}'),
    ('\u{38e}', '\u{3a1}'),
    ('\u{3a3}', '\u{3f5}'),
    ('\u{3f7}', '\u{481}'),
    ('\u{48a}', '\u{52f}'),
    ('\u{531}', '\u{556}'),
    ('\u{10a0}', '\u{10c5}'),
    ('\u{13a0}', '\u{13f5}'),
    ('\u{13f8}', '\u{13fd}'),
    ('\u{1c90}', '\u{1cba}'),
    ('\u{1cbd}', '\u{1cbf}'),
    ('\u{1d00}', '\u{1d2b}'),
    ('\u{1d6b}', '\u{1d77}'),
    ('\u{1d79}', '\u{1d9a}'),
    ('\u{1e00}', '\u{1f15}'),
    ('\u{1f18}', '\u{1f1d}'),
    ('\u{1f20}', '\u{1f45}'),
    ('\u{1f48}', '\u{1f4d}'),
    ('\u{1f50}', '\u{1f57}'),
    ('\u{1f59}', '\u{1f59}'),
    ('\u{1f5b}', '\u{1f5b}'),
    ('\u{1f5d}', '\u{1f5d}'),
    ('\u{1f5f}', '\u{1f7d}'),
    ('\u{1f80}', '\u{1fb4}'),
    ('\u{1fb6}', '\u{1fbc}'),
    ('\u{1fbe}', '\u{1fbe}'),
    ('\u{1fc2}', '\u{1fc4}'),
    ('\u{1fc6}', '\u{1fcc}'),
    ('\u{1fd0}', '\u{1fd3}'),
    ('\u{1fd6}', '\u{1fdb}'),
    ('\u{1fe0}', '\u{1fec}'),
    ('\u{1ff2}', '\u{1ff4}'),
    ('\u{1ff6}', '\u{1ffc}'),
    ('\u{2102}', '\u{2102}'),
    ('\u{2107}', '\u{2107}'),
    ('\u{210a}', '\u{2113}'),
    ('\u{2115}', '\u{2115}'),
    ('\u{2119}', '\u{211d}'),
    ('\u{2124}', '\u{2124}'),
    ('\u{2126}', '\u{2126}'),
    ('\u{2128}', '\u{2128}'),
    ('\u{212a}', '\u{212d}'),
    ('\u{212f}', '\u{2134}'),
    ('\u{2139}', '\u{2139}'),
    ('\u{213c}', '\u{213f}'),
    ('\u{2145}', '\u{2149}'),
    ('\u{214e}', '\u{214e}'),
    ('\u{2183}', '\u{2183}'),
    ('\u{2184}', '\u{2184}'),
    ('\u{2c00}', '\u{2c7b}'),
    ('\u{2c7e}', '\u{2ce4}'),
    ('\u{2ceb}', '\u{2cee}'),
    ('\u{2cf2}', '\u{2cf2}'),
    ('\u{2cf3}', '\u{2cf3}'),
    ('\u{a640}', '\u{a66d}'),
    ('\u{a680}', '\u{a69b}'),
    ('\u{a722}', '\u{a76f}'),
    ('\u{a771}', '\u{a787}'),
    ('\u{a78b}', '\u{a78e}'),
    ('\u{ab70}', '\u{abbf}'),
    ('\u{fb00}', '\u{fb06}'),
    ('\u{fb13}', '\u{fb17}'),
    ('\u{ff21}', '\u{ff3a}'),
    ('\u{ff41}', '\u{ff5a}'),
    ('\u{10400}', '\u{1044f}'),
    ('\u{104b0}', '\u{104d3}'),
    ('\u{104d8}', '\u{104fb}'),
    ('\u{10c80}', '\u{10cb2}'),
    ('\u{10cc0}', '\u{10cf2}'),
    ('\u{118a0}', '\u{118df}'),
    ('\u{1e900}', '\u{1e943}'),
];
