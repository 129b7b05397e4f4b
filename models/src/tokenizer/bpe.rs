//! Byte-level BPE, as GPT-2 introduced it (Radford et al., 2019).
//!
//! Text is split into words; each byte of a word is written as a printable
//! character; neighbours are merged in the order of `tokenizer.ggml.merges`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::PRE_TOKENIZER;
use super::merge::Merger;
use super::merges::Merges;
use super::normalizer::Normalizer;
use super::pretokenizer::{self, PreTokenizer};
use super::vocab::Vocab;
use crate::gguf::Gguf;
use crate::{Error, Result};

/// The merges of a model, and how it splits text into words.
#[derive(Clone)]
pub(super) struct Bpe {
    normalizer: Normalizer,
    pre: &'static PreTokenizer,
    merges: Merges,
}

impl Bpe {
    /// Reads `tokenizer.ggml.pre` and `tokenizer.ggml.merges`.
    pub(super) fn from_gguf(gguf: &Gguf) -> Result<Bpe> {
        let name = gguf.opt_str(PRE_TOKENIZER)?.unwrap_or("default");
        let pre = pre_tokenizer(name)?;
        let normalizer = Normalizer::of(name).ok_or_else(|| Error::BadValue {
            key: PRE_TOKENIZER.into(),
            reason: format!("`{name}` normalizes text, which is left out of this build"),
        })?;
        Ok(Bpe {
            normalizer,
            pre,
            merges: Merges::from_gguf(gguf)?,
        })
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.merges.heap_bytes()
    }

    /// Whether BOS is added by default.
    pub(super) fn adds_bos(&self) -> bool {
        self.pre.add_bos
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, ids: &mut Vec<u32>) {
        let mut merger = Merger::default();
        let mut word = String::new();
        let mut pair_name = Vec::new();
        self.pre.split(&self.normalizer.apply(text), &mut |bytes| {
            word.clear();
            word.extend(bytes.bytes().map(byte_to_char));
            let whole = self
                .pre
                .whole_words
                .then(|| vocab.text_id_of(word.as_bytes()))
                .flatten();
            if let Some(id) = whole {
                return ids.push(id);
            }
            merger.merge(
                &word,
                |pair, at| self.merges.rank(pair, at, &mut pair_name),
                |part| push_part(vocab, part, ids),
            );
        });
    }
}

/// Appends the token of a finished part, or of its characters if it has none; bytes
/// without a token in the vocabulary are dropped.
fn push_part(vocab: &Vocab, part: &str, ids: &mut Vec<u32>) {
    match vocab.text_id_of(part.as_bytes()) {
        Some(id) => ids.push(id),
        None => {
            let mut buffer = [0; 4];
            ids.extend(
                part.chars()
                    .filter_map(|c| vocab.text_id_of(c.encode_utf8(&mut buffer).as_bytes())),
            );
        }
    }
}

/// Appends the bytes that a piece stands for; characters that stand for no byte are
/// appended unchanged.
pub(super) fn decode_piece(piece: &[u8], bytes: &mut Vec<u8>) {
    let mut buffer = [0; 4];
    for chunk in piece.utf8_chunks() {
        for c in chunk.valid().chars() {
            match char_to_byte(c) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
            }
        }
        bytes.extend_from_slice(chunk.invalid());
    }
}

fn pre_tokenizer(name: &str) -> Result<&'static PreTokenizer> {
    pretokenizer::find(name).ok_or_else(|| {
        let known: Vec<&str> = pretokenizer::names().collect();
        let reason = format!(
            "unknown pre-tokenizer `{name}`; this build knows {}",
            known.join(", ")
        );
        Error::BadValue {
            key: PRE_TOKENIZER.into(),
            reason,
        }
    })
}

/// Printable bytes are written as the Latin-1 character of the same number, the
/// others as characters from U+0100 on, in order.
fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

pub(super) fn byte_to_char(byte: u8) -> char {
    let others = match byte {
        _ if is_printable(byte) => return char::from(byte),
        0..=0x20 => byte,
        // 0x21..=0x7e are printable.
        0x7f..=0xa0 => byte - 0x7f + 0x21,
        _ => 0x43,
    };
    char::from_u32(0x100 + u32::from(others)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn char_to_byte(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ 0..=0xff => Some(code as u8).filter(|&byte| is_printable(byte)),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121) as u8 + 0x7f),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_the_characters_of_gpt2_and_come_back() {
        assert_eq!(byte_to_char(b'a'), 'a');
        assert_eq!(byte_to_char(b' '), 'Ġ');
        assert_eq!(byte_to_char(b'\n'), 'Ċ');
        assert_eq!(byte_to_char(0x7f), 'ġ');
        assert_eq!(byte_to_char(0xad), 'Ń');
        for byte in 0..=255 {
            assert_eq!(char_to_byte(byte_to_char(byte)), Some(byte));
        }
        assert_eq!(char_to_byte(' '), None);
        assert_eq!(char_to_byte('가'), None);
    }
}
