//! The rows of a pass: of which sequence they are, and where in it.

use crate::CancelToken;
use crate::cache::{Cache, CacheLayout};
use crate::kernels::vector::simd::SMALL;
use core::ops::Range;

/// Rows of one sequence that follow each other.
#[derive(Clone, Copy)]
pub(crate) struct SequenceRows<'t> {
    /// The sequence's state, which holds the `start` positions before.
    pub cache: &'t Cache,
    /// What the rows begin with.
    pub input: Input<'t>,
}

/// What some rows begin with.
#[derive(Clone, Copy)]
pub(crate) enum Input<'t> {
    /// Tokens, whose rows of the embedding table are taken.
    Tokens(&'t [u32]),
    /// What an embedding would give: `[row][width]`.
    #[cfg(feature = "std")]
    Vectors {
        /// The numbers.
        rows: &'t [f32],
        /// Numbers of a row.
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

/// What a pass over the layers is for.
#[derive(Clone, Copy)]
pub(crate) enum Phase<'c> {
    /// Many tokens of one sequence, as fast as can be.
    Prefill(&'c CancelToken),
    /// A few tokens, each bit for bit as if it came alone.
    Decode,
}

/// The rows of a pass.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'t> {
    segments: &'t [SequenceRows<'t>],
    /// The first of them.
    first: usize,
    pub rows: usize,
    pub phase: Phase<'t>,
    /// Whether attention takes the tokens together: cut and summed in another
    /// order than that of one token. The head follows the body in this, so that
    /// logits do not depend on how many are wanted.
    pub in_tiles: bool,
}

impl<'t> Pass<'t> {
    /// A pass over all rows of the segments; prefill has one.
    pub fn new(segments: &'t [SequenceRows<'t>], phase: Phase<'t>) -> Pass<'t> {
        let rows = segments.iter().map(|segment| segment.input.rows()).sum();
        Pass {
            segments,
            first: 0,
            rows,
            phase,
            in_tiles: rows > 1 && matches!(phase, Phase::Prefill(_)),
        }
    }

    /// A pass over some of the rows alone, which lie in the first rows then.
    pub fn of(&self, rows: &Range<usize>) -> Self {
        Pass {
            first: self.first + rows.start,
            rows: rows.len(),
            ..*self
        }
    }

    /// The segment of a row, and the row's number in it.
    fn find(&self, row: usize) -> (&'t SequenceRows<'t>, usize) {
        let mut row = self.first + row;
        let mut segment = &self.segments[0];
        for next in &self.segments[1..] {
            // Small builds have one.
            if SMALL || row < segment.input.rows() {
                break;
            }
            row -= segment.input.rows();
            segment = next;
        }
        (segment, row)
    }

    /// A row's sequence, and its position there.
    pub fn place(&self, row: usize) -> (&'t Cache, usize) {
        let (segment, row) = self.find(row);
        (segment.cache, segment.cache.end() + row)
    }

    /// A row's position in its sequence.
    pub fn position(&self, row: usize) -> usize {
        self.place(row).1
    }

    /// The token that a row begins with.
    pub fn token(&self, row: usize) -> Option<u32> {
        let (segment, row) = self.find(row);
        match segment.input {
            Input::Tokens(tokens) => Some(tokens[row]),
            #[cfg(feature = "std")]
            Input::Vectors { .. } => None,
        }
    }

    /// The vector that a row begins with.
    #[cfg(feature = "std")]
    pub fn vector(&self, row: usize) -> Option<&'t [f32]> {
        let (segment, row) = self.find(row);
        match segment.input {
            Input::Tokens(_) => None,
            Input::Vectors { rows, width } => Some(&rows[row * width..(row + 1) * width]),
        }
    }

    /// The sequences of the pass, each with its rows.
    pub fn sequences(&self) -> impl Iterator<Item = (&'t Cache, Range<usize>)> {
        let mut end = 0;
        self.segments.iter().map(move |segment| {
            let start = end;
            end += segment.input.rows();
            (segment.cache, start..end)
        })
    }

    /// Gives back the pages of the sequences' states beyond this pass.
    pub fn discard_unused(&self, layout: &CacheLayout) {
        for (cache, rows) in self.sequences() {
            cache.discard_unused(layout, cache.end() + rows.len());
        }
    }

    /// Who can stop the pass on its way. Decode is short, and is not stopped.
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
