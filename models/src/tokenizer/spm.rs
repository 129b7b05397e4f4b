//! SentencePiece BPE, as Llama and Gemma use it: neighbours are merged in the
//! order of the scores of what they make. There are no words and no merge list.

use alloc::string::String;
use alloc::vec::Vec;

use super::merge::Merger;
use super::vocab::{self, Vocab, byte_piece};
use crate::gguf::Gguf;
use crate::{Error, Result, heap};

/// The mark that stands for a space in pieces: U+2581.
pub(super) const SPACE_MARK: char = '\u{2581}';

/// The scores of a vocabulary, and how it spells spaces and bytes.
#[derive(Debug, Clone)]
pub(super) struct Spm {
    /// The merge rank of each token: lower for a higher score.
    ranks: Vec<u32>,
    /// The token for each byte, for text that no piece covers.
    bytes: Vec<Option<u32>>,
    unknown: Option<u32>,
    space_prefix: bool,
}

impl Spm {
    /// Reads `tokenizer.ggml.scores`. `space_prefix`: text begins as if after a space.
    pub(super) fn from_gguf(
        gguf: &Gguf,
        vocab: &Vocab,
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Result<Spm> {
        refuse_normalizers(gguf)?;
        let scores = vocab::scores(gguf, vocab.len())?;
        let byte_token = |byte| {
            vocab
                .id_of(&byte_piece(byte))
                .or_else(|| vocab.id_of(&[byte]))
        };
        Ok(Spm {
            ranks: scores.into_iter().map(descending).collect(),
            bytes: (0..=255).map(byte_token).collect(),
            unknown,
            space_prefix,
        })
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        heap::bytes(&self.ranks) + heap::bytes(&self.bytes)
    }

    /// Whether text begins as if after a space.
    pub(super) fn space_prefix(&self) -> bool {
        self.space_prefix
    }

    /// Appends the tokens of `text`; `first` if it begins a text, or follows a special token.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, first: bool, ids: &mut Vec<u32>) {
        let mut marked = String::with_capacity(text.len() + text.len() / 2);
        if first && self.space_prefix {
            marked.push(SPACE_MARK);
        }
        marked.extend(text.chars().map(|c| if c == ' ' { SPACE_MARK } else { c }));
        Merger::default().merge(
            &marked,
            |pair, _| self.ranks.get(vocab.text_id_of(pair)? as usize).copied(),
            |part| match vocab.text_id_of(part.as_bytes()) {
                Some(id) => ids.push(id),
                None => ids.extend(part.bytes().filter_map(|byte| self.byte_token(byte))),
            },
        );
    }

    fn byte_token(&self, byte: u8) -> Option<u32> {
        self.bytes
            .get(usize::from(byte))
            .copied()
            .flatten()
            .or(self.unknown)
    }
}

/// Refuses models with a text normalization that Llama's and Gemma's SentencePiece
/// models do not have.
fn refuse_normalizers(gguf: &Gguf) -> Result<()> {
    const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
    const TRIM: &str = "tokenizer.ggml.remove_extra_whitespaces";
    let maps = gguf.opt_array(CHARSMAP)?.is_some_and(|map| !map.is_empty());
    let trims = gguf.opt_bool(TRIM)? == Some(true);
    match [(CHARSMAP, maps), (TRIM, trims)]
        .iter()
        .find(|(_, does)| *does)
    {
        Some((key, _)) => Err(Error::BadValue {
            key: (*key).into(),
            reason: "text that must be normalized so is not supported".into(),
        }),
        None => Ok(()),
    }
}

/// Appends the bytes that a piece stands for.
pub(super) fn decode_piece(piece: &[u8], bytes: &mut Vec<u8>) {
    const MARK: &[u8] = "\u{2581}".as_bytes();
    let mut rest = piece;
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(MARK) {
            bytes.push(b' ');
            rest = tail;
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
}

/// A rank that is lower for higher scores. NaN sorts beyond the infinities.
fn descending(score: f32) -> u32 {
    // Adding 0 makes -0 and 0 the same.
    let bits = (score + 0.0).to_bits();
    let negative = bits >> 31 == 1;
    // Bits of floats sort as integers do, once negative ones are turned around.
    let ascending = if negative { !bits } else { bits | 1 << 31 };
    !ascending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_scores_rank_lower() {
        let scores = [
            f32::INFINITY,
            3.5,
            1e-40,
            0.0,
            -1e-40,
            -1.0,
            -1e30,
            f32::NEG_INFINITY,
        ];
        assert!(scores.is_sorted_by(|&a, &b| descending(a) < descending(b)));
        assert_eq!(descending(0.0), descending(-0.0));
    }
}
