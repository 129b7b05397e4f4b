//! The rows of a pass: the sequence, the position and the input of each.

use crate::CancelToken;
use crate::cache::{Cache, CacheLayout};
use core::ops::Range;
use ondol_kernels::SMALL;

/// Consecutive rows of one sequence.
#[derive(Clone, Copy)]
pub(crate) struct SequenceRows<'t> {
    /// The sequence's states, which hold the positions before these rows.
    pub cache: &'t Cache,
    /// The input of the rows.
    pub input: Input<'t>,
}

/// The input of some rows.
#[derive(Clone, Copy)]
pub(crate) enum Input<'t> {
    /// Tokens. The embedding table gives their vectors.
    Tokens(&'t [u32]),
    /// Vectors that replace embeddings: `[row][width]`.
    #[cfg(feature = "std")]
    Vectors {
        /// `rows x width` numbers.
        rows: &'t [f32],
        /// Numbers in each row.
        width: usize,
    },
}

impl Input<'_> {
    pub fn rows(&self) -> usize {
        match self {
            Input::Tokens(tokens) => tokens.len(),
            #[cfg(feature = "std")]
            Input::Vectors { rows, width } => rows.len() / width,
        }
    }
}

/// Whether a pass is prefill or decode.
#[derive(Clone, Copy)]
pub(crate) enum Phase<'c> {
    /// Many tokens of one sequence, with the fastest kernels. The token can cancel the
    /// pass.
    Prefill(&'c CancelToken),
    /// A few tokens. Each gets the bits that it would get alone.
    Decode,
}

/// The rows of a pass.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'t> {
    sequences: &'t [SequenceRows<'t>],
    /// Index of the first row, counted over the rows of all sequences.
    first: usize,
    pub rows: usize,
    pub phase: Phase<'t>,
    /// Whether attention uses the tiled prefill kernel. Its order of summation differs
    /// from decode's. The head uses the same kernel as the body, so that logits do not
    /// depend on how many rows of them are wanted.
    pub in_tiles: bool,
}

impl<'t> Pass<'t> {
    /// A pass over all rows of these sequences. Prefill has one sequence.
    pub fn new(sequences: &'t [SequenceRows<'t>], phase: Phase<'t>) -> Pass<'t> {
        let rows = sequences.iter().map(|sequence| sequence.input.rows()).sum();
        Pass {
            sequences,
            first: 0,
            rows,
            phase,
            in_tiles: rows > 1 && matches!(phase, Phase::Prefill(_)),
        }
    }

    /// A pass over some of these rows. Their values must lie in the first rows of the
    /// buffers.
    pub fn of(&self, rows: &Range<usize>) -> Self {
        Pass {
            first: self.first + rows.start,
            rows: rows.len(),
            ..*self
        }
    }

    /// The rows of the sequence that has this row, and the row's index among them.
    fn find(&self, row: usize) -> (&'t SequenceRows<'t>, usize) {
        let mut row = self.first + row;
        let mut sequence = &self.sequences[0];
        for next in &self.sequences[1..] {
            // SMALL builds have one sequence.
            if SMALL || row < sequence.input.rows() {
                break;
            }
            row -= sequence.input.rows();
            sequence = next;
        }
        (sequence, row)
    }

    /// A row's cache, and its position in the sequence.
    pub fn place(&self, row: usize) -> (&'t Cache, usize) {
        let (sequence, row) = self.find(row);
        (sequence.cache, sequence.cache.end() + row)
    }

    /// A row's position in its sequence.
    pub fn position(&self, row: usize) -> usize {
        self.place(row).1
    }

    /// The token of a row, if its input is a token.
    pub fn token(&self, row: usize) -> Option<u32> {
        let (sequence, row) = self.find(row);
        match sequence.input {
            Input::Tokens(tokens) => Some(tokens[row]),
            #[cfg(feature = "std")]
            Input::Vectors { .. } => None,
        }
    }

    /// The vector of a row, if its input is a vector.
    #[cfg(feature = "std")]
    pub fn vector(&self, row: usize) -> Option<&'t [f32]> {
        let (sequence, row) = self.find(row);
        match sequence.input {
            Input::Tokens(_) => None,
            Input::Vectors { rows, width } => Some(&rows[row * width..(row + 1) * width]),
        }
    }

    /// The cache of each sequence of the pass, with the sequence's rows.
    pub fn sequences(&self) -> impl Iterator<Item = (&'t Cache, Range<usize>)> {
        let mut end = 0;
        self.sequences.iter().map(move |sequence| {
            let start = end;
            end += sequence.input.rows();
            (sequence.cache, start..end)
        })
    }

    /// Returns to the system the cache pages that lie beyond the positions of this
    /// pass.
    pub fn discard_unused(&self, layout: &CacheLayout) {
        for (cache, rows) in self.sequences() {
            cache.discard_unused(layout, cache.end() + rows.len());
        }
    }

    /// The token that can cancel the pass. Decode is short and can't be cancelled.
    pub fn cancel(&self) -> Option<&'t CancelToken> {
        match self.phase {
            Phase::Prefill(cancel) => Some(cancel),
            Phase::Decode => None,
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel().is_some_and(CancelToken::is_cancelled)
    }
}
