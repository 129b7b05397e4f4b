//! WordPiece, as BERT uses it: words are cut into the longest pieces that the
//! vocabulary has, from left to right.
//!
//! Pieces that begin a word are spelled with a leading U+2581, so a word is
//! looked up with that mark in front.

use alloc::string::String;
use alloc::vec::Vec;

use super::spm::SPACE_MARK;
use super::unicode::{Category, base, category, lower};
use super::vocab::Vocab;
use crate::Result;
use crate::gguf::Gguf;

/// The longest piece that is looked up, so that a vocabulary can't make encoding slow.
const LONGEST_PIECE: usize = 256;

/// Normalization of text before it is split.
#[derive(Debug, Clone)]
pub(super) struct WordPiece {
    lowercase: bool,
    strip_accents: bool,
    unknown: Option<u32>,
}

impl WordPiece {
    /// Reads `tokenizer.ggml.normalizer.*`; both default to the settings of BERT's
    /// uncased models.
    pub(super) fn from_gguf(gguf: &Gguf, unknown: Option<u32>) -> Result<WordPiece> {
        let lowercase = gguf
            .opt_bool("tokenizer.ggml.normalizer.lowercase")?
            .unwrap_or(true);
        let strip_accents = gguf.opt_bool("tokenizer.ggml.normalizer.strip_accents")?;
        Ok(WordPiece {
            lowercase,
            strip_accents: strip_accents.unwrap_or(lowercase),
            unknown,
        })
    }

    /// Appends the tokens of `text`; a word that can't be spelled becomes one unknown token.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, ids: &mut Vec<u32>) {
        let mut word = String::new();
        for c in text.chars() {
            let c = if self.strip_accents { base(c) } else { c };
            match self.role(c) {
                Role::Space => self.finish_word(vocab, &mut word, ids),
                Role::Dropped => {}
                Role::Alone => {
                    self.finish_word(vocab, &mut word, ids);
                    self.extend_word(&mut word, c);
                    self.finish_word(vocab, &mut word, ids);
                }
                Role::InWord => self.extend_word(&mut word, c),
            }
        }
        self.finish_word(vocab, &mut word, ids);
    }

    fn role(&self, c: char) -> Role {
        if c.is_whitespace() {
            return Role::Space;
        }
        match category(c) {
            Category::Control => Role::Dropped,
            _ if c == char::REPLACEMENT_CHARACTER => Role::Dropped,
            Category::Mark if self.strip_accents => Role::Dropped,
            Category::Punctuation => Role::Alone,
            Category::Symbol if c.is_ascii() => Role::Alone,
            _ if is_ideograph(c) => Role::Alone,
            _ => Role::InWord,
        }
    }

    fn extend_word(&self, word: &mut String, c: char) {
        if word.is_empty() {
            word.push(SPACE_MARK);
        }
        word.push(if self.lowercase { lower(c) } else { c });
    }

    fn finish_word(&self, vocab: &Vocab, word: &mut String, ids: &mut Vec<u32>) {
        let before = ids.len();
        let longest = vocab.longest_piece().min(LONGEST_PIECE);
        let mut rest = word.as_bytes();
        while !rest.is_empty() {
            let piece = (1..=rest.len().min(longest))
                .rev()
                .find_map(|length| Some((vocab.text_id_of(&rest[..length])?, length)));
            let Some((id, length)) = piece else {
                ids.truncate(before);
                ids.extend(self.unknown);
                break;
            };
            ids.push(id);
            rest = &rest[length..];
        }
        word.clear();
    }
}

/// How a character splits words.
enum Role {
    Space,
    Dropped,
    Alone,
    InWord,
}

/// Each Chinese character is a word. The ranges are those of BERT's own tokenizer,
/// except for a gap from U+2B820 to U+2B91F: an error of Hugging Face's `tokenizers` that
/// llama.cpp repeats, so that models in this format are run with it.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff
        | 0x3400..=0x4dbf
        | 0x20000..=0x2a6df
        | 0x2a700..=0x2b81f
        | 0x2b920..=0x2ceaf
        | 0xf900..=0xfaff
        | 0x2f800..=0x2fa1f)
}
