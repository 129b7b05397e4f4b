//! The properties of Unicode that tokenizers need: general categories, lower case, and
//! base letters without accents.
//!
//! The tables (`tables.rs`) are made and checked by the tests beside this file
//! and are kept small, because they go into firmware too.

mod tables;
#[cfg(test)]
mod tests;

use tables::{
    BASES, CATEGORY_RUNS, COMPATIBILITY_BASES, FIRST_COMPATIBILITY, RUN_STARTS, WIDE_BASES,
};

/// The general categories of Unicode, as far as tokenizers distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    /// `\p{Lu}`: upper-case letters.
    Upper,
    /// `\p{Ll}`: lower-case letters.
    Lower,
    /// `\p{Lt}`: letters such as ǅ.
    Title,
    /// `\p{Lm}`: modifier letters.
    Modifier,
    /// `\p{Lo}`: letters without case, such as Hangul.
    OtherLetter,
    /// `\p{M}`: combining marks.
    Mark,
    /// `\p{N}`: digits and other numbers.
    Number,
    /// `\p{P}`: punctuation.
    Punctuation,
    /// `\p{S}`: symbols, most emoji among them.
    Symbol,
    /// `\p{Z}`: spaces and separators.
    Separator,
    /// `\p{Cc}`, `\p{Cf}`, `\p{Co}`: control and format characters, private use.
    Control,
    /// `\p{Cn}`: code points without a character.
    Unassigned,
}

impl Category {
    const ALL: [Category; 12] = [
        Category::Upper,
        Category::Lower,
        Category::Title,
        Category::Modifier,
        Category::OtherLetter,
        Category::Mark,
        Category::Number,
        Category::Punctuation,
        Category::Symbol,
        Category::Separator,
        Category::Control,
        Category::Unassigned,
    ];

    /// `\p{L}`.
    pub(super) fn is_letter(self) -> bool {
        matches!(
            self,
            Category::Upper
                | Category::Lower
                | Category::Title
                | Category::Modifier
                | Category::OtherLetter
        )
    }
}

/// A run in [`CATEGORY_RUNS`] is a tag in the high 4 bits and a length in the low 12.
/// The tag is an index into [`Category::ALL`], or this one: Upper, Lower, Upper, ...
/// as in most of the Latin, Greek and Cyrillic blocks.
const ALTERNATING: u16 = 15;

/// Bits of a run that hold its length.
const RUN_LENGTH: u16 = 0x0fff;

/// [`RUN_STARTS`] has the code point at which each run begins whose number is a
/// multiple of this.
const RUNS_PER_START: usize = 32;

/// The category of a character.
pub(super) fn category(c: char) -> Category {
    let code = c as u32;
    if let Some(&category) = ASCII.get(code as usize) {
        return category;
    }
    search(code)
}

/// The categories of the first 128 characters, which most text is made of.
static ASCII: [Category; 128] = {
    let mut table = [Category::Control; 128];
    let mut code = 0;
    while code < 128 {
        let byte = code as u8;
        table[code] = match byte {
            b' ' => Category::Separator,
            b'A'..=b'Z' => Category::Upper,
            b'a'..=b'z' => Category::Lower,
            b'0'..=b'9' => Category::Number,
            b'$' | b'+' | b'<'..=b'>' | b'^' | b'`' | b'|' | b'~' => Category::Symbol,
            _ if byte.is_ascii_punctuation() => Category::Punctuation,
            _ => Category::Control,
        };
        code += 1;
    }
    table
};

fn search(code: u32) -> Category {
    let block = RUN_STARTS
        .partition_point(|&start| start <= code)
        .saturating_sub(1);
    let mut start = RUN_STARTS[block];
    for run in &CATEGORY_RUNS[block * RUNS_PER_START..] {
        let length = u32::from(run & RUN_LENGTH);
        if code < start + length {
            return category_in_run(run >> 12, code - start);
        }
        start += length;
    }
    Category::Unassigned
}

fn category_in_run(tag: u16, offset: u32) -> Category {
    match tag {
        ALTERNATING if offset.is_multiple_of(2) => Category::Upper,
        ALTERNATING => Category::Lower,
        tag => Category::ALL[usize::from(tag)],
    }
}

/// The lower-case form of a character where that is one character, else the first of
/// them; a character without case is returned unchanged.
pub(super) fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The first character of the canonical decomposition (NFD): the letter without
/// its accents, and of a Hangul syllable its leading consonant alone.
pub(super) fn base(c: char) -> char {
    let code = c as u32;
    let base = if code < 0xc0 {
        code
    } else if let Some(syllable) = hangul_syllable(code) {
        HANGUL_LEADS + syllable / HANGUL_SYLLABLES_PER_LEAD
    } else if let Some(&base) = compatibility_base(code) {
        base
    } else {
        table_base(code)
    };
    char::from_u32(base).unwrap_or(c)
}

/// The first of the Hangul leading consonants (The Unicode Standard, 3.12).
const HANGUL_LEADS: u32 = 0x1100;
const HANGUL_SYLLABLES_PER_LEAD: u32 = 588;

fn hangul_syllable(code: u32) -> Option<u32> {
    (0xac00..=0xd7a3).contains(&code).then(|| code - 0xac00)
}

fn compatibility_base(code: u32) -> Option<&'static u32> {
    let at = code.checked_sub(FIRST_COMPATIBILITY)?;
    COMPATIBILITY_BASES.get(at as usize)
}

fn table_base(code: u32) -> u32 {
    if let Ok(at) = WIDE_BASES.binary_search_by_key(&code, |&[from, _]| from) {
        return WIDE_BASES[at][1];
    }
    let Ok(short) = u16::try_from(code) else {
        return code;
    };
    match BASES.binary_search_by_key(&short, |&[from, _]| from) {
        Ok(at) => u32::from(BASES[at][1]),
        Err(_) => code,
    }
}
