//! Which tokens a text begins with.
//!
//! A list of tokens in the order of their pieces is narrowed byte by byte. It takes 4 bytes
//! for each token and is made by one sort, whatever the vocabulary; a trie of the same
//! tokens would have a node for nearly each byte of their pieces.

use alloc::format;
use alloc::vec::Vec;

use super::vocab::{TokenKind, Vocab};
use crate::{Error, Result, heap};

/// The longest token of text, in bytes, so that a vocabulary can't make encoding slow. The
/// longest of RWKV's World vocabulary has 128.
const LONGEST_PIECE: usize = 1024;

/// Tokens, sorted by piece, those with the same piece by id.
#[derive(Debug, Clone)]
pub(super) struct Prefixes(Vec<u32>);

impl Prefixes {
    /// Sorts these tokens. Those with an empty piece, which begins every text, are left out.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn new(vocab: &Vocab, ids: impl Iterator<Item = u32>) -> Result<Prefixes> {
        let mut sorted = Vec::new();
        for id in ids {
            if vocab.piece(id).is_some_and(|piece| !piece.is_empty()) {
                heap::push(&mut sorted, id)?;
            }
        }
        sorted.sort_unstable_by_key(|&id| (vocab.piece(id), id));
        Ok(Prefixes(sorted))
    }

    /// Sorts the tokens that plain text may become: normal and user-defined ones.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a token that is too long; [`Error::OutOfMemory`].
    pub(super) fn of_text(vocab: &Vocab) -> Result<Prefixes> {
        let is_text = |kind| matches!(kind, TokenKind::Normal | TokenKind::UserDefined);
        let prefixes = Prefixes::new(vocab, vocab.ids_of_kinds(is_text))?;
        let too_long = |&id: &u32| {
            let bytes = vocab.piece(id).map_or(0, <[u8]>::len);
            (bytes > LONGEST_PIECE).then_some((id, bytes))
        };
        match prefixes.0.iter().find_map(too_long) {
            None => Ok(prefixes),
            Some((id, bytes)) => Err(Error::Tokenizer {
                reason: format!(
                    "token {id} has {bytes} bytes; the longest may have {LONGEST_PIECE}"
                ),
            }),
        }
    }

    /// For each piece that `text` begins with, shorter ones first: its length in bytes and
    /// its tokens, of which there is at least one.
    pub(super) fn of<'a>(
        &'a self,
        vocab: &'a Vocab,
        text: &'a [u8],
    ) -> impl Iterator<Item = (usize, &'a [u32])> {
        let mut candidates = &self.0[..];
        let narrowed = text.iter().zip(1..).map_while(move |(&byte, length)| {
            // All candidates begin with the bytes looked at so far.
            let last = |&id: &u32| {
                vocab
                    .piece(id)
                    .and_then(|piece| piece.get(length - 1))
                    .copied()
            };
            let from = candidates.partition_point(|id| last(id) < Some(byte));
            let to = candidates.partition_point(|id| last(id) <= Some(byte));
            candidates = &candidates[from..to];
            let ends = |&id: &u32| vocab.piece(id).is_some_and(|piece| piece.len() == length);
            let whole = candidates.partition_point(ends);
            (!candidates.is_empty()).then_some((length, &candidates[..whole]))
        });
        narrowed.filter(|(_, tokens)| !tokens.is_empty())
    }

    /// The tokens, sorted by piece.
    pub(super) fn ids(&self) -> &[u32] {
        &self.0
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        heap::bytes(&self.0)
    }
}
