//! SentencePiece BPE (arXiv:1808.06226), as Llama and Gemma use it. A space is spelled
//! U+2581, each byte has a token, and text is not split into words first. The two neighbours
//! are merged first whose joined piece has the highest score; Gemma 4 has a list of merges
//! in place of the scores.

use alloc::string::String;
use alloc::vec::Vec;

use super::charsmap::CHARSMAP;
use super::merge::Merger;
use super::merges::Merges;
use super::unigram::TRIM;
use super::vocab::{self, Vocab, byte_piece};
use crate::gguf::Gguf;
use crate::{Error, Result, WHOLE, heap};

/// The mark that stands for a space in pieces: U+2581.
pub(super) const SPACE_MARK: char = '\u{2581}';

/// In which order neighbours are merged.
#[derive(Debug, Clone)]
enum Order {
    /// The rank of each token that a merge makes: lower for a higher score.
    Scores(Vec<u32>),
    /// The model's list of merges.
    Merges(Merges),
}

/// The merges of a vocabulary, and how it spells spaces and bytes.
#[derive(Debug, Clone)]
pub(super) struct Spm {
    order: Order,
    /// The token for each byte, for text that no piece covers.
    bytes: Vec<Option<u32>>,
    unknown: Option<u32>,
    space_prefix: bool,
}

impl Spm {
    /// Reads `tokenizer.ggml.scores`. `space_prefix` says whether a space is put before a
    /// text.
    pub(super) fn from_gguf(
        gguf: &Gguf,
        vocab: &Vocab,
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Result<Spm> {
        let scores = vocab::scores(gguf, vocab.len())?;
        let order = Order::Scores(scores.into_iter().map(descending).collect());
        Spm::new(gguf, vocab, order, unknown, space_prefix)
    }

    /// Reads `tokenizer.ggml.merges`.
    pub(super) fn by_merges(gguf: &Gguf, vocab: &Vocab, unknown: Option<u32>) -> Result<Spm> {
        let order = Order::Merges(Merges::from_gguf(gguf)?);
        Spm::new(gguf, vocab, order, unknown, false)
    }

    fn new(
        gguf: &Gguf,
        vocab: &Vocab,
        order: Order,
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Result<Spm> {
        refuse_normalizers(gguf)?;
        let byte_token = |byte| {
            vocab
                .id_of(&byte_piece(byte))
                .or_else(|| vocab.id_of(&[byte]))
        };
        Ok(Spm {
            order,
            bytes: (0..=255).map(byte_token).collect(),
            unknown,
            space_prefix,
        })
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let order = match &self.order {
            Order::Scores(ranks) => heap::bytes(ranks),
            Order::Merges(merges) => merges.heap_bytes(),
        };
        order + heap::bytes(&self.bytes)
    }

    /// Whether a space is put before a text.
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
        match &self.order {
            Order::Scores(ranks) => {
                let rank = |pair: &[u8], _| ranks.get(vocab.text_id_of(pair)? as usize).copied();
                self.merge(vocab, &marked, rank, ids);
            }
            // No architecture of firmware builds has models with such a list.
            Order::Merges(_) if !WHOLE => {}
            Order::Merges(merges) => {
                let mut name = Vec::new();
                for run in runs(&marked) {
                    // A run of newlines that is a token is taken whole.
                    match vocab.text_id_of(run.as_bytes()) {
                        Some(id) if run.starts_with('\n') => ids.push(id),
                        _ => {
                            let rank = |pair: &[u8], at| merges.rank(pair, at, &mut name);
                            self.merge(vocab, run, rank, ids);
                        }
                    }
                }
            }
        }
    }

    /// Appends the tokens of marked text, which is merged by these ranks.
    fn merge(
        &self,
        vocab: &Vocab,
        marked: &str,
        rank: impl FnMut(&[u8], usize) -> Option<u32>,
        ids: &mut Vec<u32>,
    ) {
        Merger::default().merge(marked, rank, |part| {
            match vocab.text_id_of(part.as_bytes()) {
                Some(id) => ids.push(id),
                None => ids.extend(part.bytes().filter_map(|byte| self.byte_token(byte))),
            }
        });
    }

    fn byte_token(&self, byte: u8) -> Option<u32> {
        self.bytes
            .get(usize::from(byte))
            .copied()
            .flatten()
            .or(self.unknown)
    }
}

/// Runs of newlines, and of what is between them.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.as_bytes()
        .chunk_by(|&a, &b| (a == b'\n') == (b == b'\n'))
        .scan(0, |start, run| {
            let first = *start;
            *start += run.len();
            Some(&text[first..*start])
        })
}

/// Refuses models with a text normalization that Llama's and Gemma's SentencePiece
/// models do not have.
fn refuse_normalizers(gguf: &Gguf) -> Result<()> {
    let maps = gguf.opt_array(CHARSMAP)?.is_some_and(|map| !map.is_empty());
    let trims = gguf.opt_bool(TRIM)? == Some(true);
    match [(CHARSMAP, maps), (TRIM, trims)]
        .iter()
        .find(|(_, does)| *does)
    {
        Some((key, _)) => Err(Error::BadValue {
            key: (*key).into(),
            reason: "this text normalization is not supported".into(),
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
    // Bits of floats sort like unsigned integers, once those of negative ones are inverted
    // and the sign bit of the others is set.
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
