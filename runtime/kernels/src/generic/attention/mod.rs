//! Attention over a KV cache, in tiles with a running softmax
//! (Dao et al., "FlashAttention", 2022): the scores of all keys are never in memory at
//! once.
//!
//! Queries, scores and sums are `f32`; keys and values are [`Cell`]s of the cache. The
//! arithmetic is that of `f32`, except that `prefill` computes its products with 16-bit
//! integers where a CPU multiplies these faster. Two paths, for two shapes of work:
//! `prefill` sweeps tiles of keys over tiles of tokens; `decode` splits one token's keys
//! into runs that are joined at the end. Both cut the work into pieces by the shape and
//! the context alone, never by the number of threads, so that results do not depend on
//! it.

mod cell;
mod decode;
pub(crate) mod prefill;
mod shared;
mod softmax;
#[cfg(test)]
mod tests;

use half::f16;

pub use cell::Cell;
pub use prefill::KEYS as TILE_KEYS;
pub use shared::SharedSlice;

use super::simd::SMALL;
use super::vector::Q8Block;
use prefill::products::Products;

/// What attention of one layer computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads, at least one; each serves `heads / kv_heads`
    /// neighbouring query heads.
    pub kv_heads: usize,
    /// Floats of a head's query, key and value. Any number; multiples of 8 are
    /// fast.
    pub head_dim: usize,
    /// The factor of scores, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Scaled scores become `cap tanh(score / cap)` before the mask (Gemma 2).
    pub softcap: Option<f32>,
    /// A key is seen only if it is less than this many positions behind the
    /// query; at least one.
    pub window: Option<usize>,
}

/// The keys and values of one layer, in the cells of the cache's type.
#[derive(Clone, Copy, Debug)]
pub enum KvSlot<'a> {
    /// Half floats.
    F16(KvCells<'a, f16>),
    /// Blocks of 32 numbers; only where the build has them.
    Q8_0(KvCells<'a, Q8Block>),
    /// Floats; not in SMALL builds.
    F32(KvCells<'a, f32>),
}

/// The keys and values of one layer.
#[derive(Clone, Copy, Debug)]
pub struct KvCells<'a, C> {
    /// Keys: numbers `[kv_head][place][head_dim]`, [`Cell::LEN`] to a cell. Position
    /// `p` has the place `p % capacity`.
    pub k: &'a [C],
    /// Values, laid out as the keys.
    pub v: &'a [C],
    /// Places for each head. Fewer than there are positions only where attention has a
    /// window; then they are whole tiles of [`TILE_KEYS`].
    pub capacity: usize,
}

impl<'a, C: Cell> KvCells<'a, C> {
    /// The keys and values of a head at these positions. If their places wrap in a ring,
    /// only those before the wrap.
    #[inline(always)]
    pub(crate) fn before_wrap(
        &self,
        shape: &AttentionShape,
        kv_head: usize,
        positions: core::ops::Range<usize>,
    ) -> (&'a [C], &'a [C]) {
        let place = if positions.start < self.capacity {
            positions.start
        } else {
            positions.start % self.capacity
        };
        let len = positions.len().min(self.capacity - place);
        let cells = shape.head_dim / C::LEN;
        let first = (kv_head * self.capacity + place) * cells;
        let run = first..first + len * cells;
        (&self.k[run.clone()], &self.v[run])
    }
}

/// The queries of a run of tokens, in the order of their positions.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// `[token][head][head_dim]`.
    pub q: &'a [f32],
    /// How many tokens there are.
    pub tokens: usize,
    /// The position of the first one. The cache must hold the keys and values
    /// of all positions before it and of the tokens themselves.
    pub start: usize,
}

impl AttentionShape {
    /// Query heads that share a key head.
    #[must_use]
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Floats of one token's queries, and of its output.
    #[must_use]
    pub fn row(&self) -> usize {
        self.heads * self.head_dim
    }

    /// The keys that a query at `position` sees.
    fn visible(&self, position: usize) -> core::ops::Range<usize> {
        let end = position + 1;
        end.saturating_sub(self.window.unwrap_or(end))..end
    }

    /// Floats of scratch that a worker needs for any piece of attention.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        prefill::scratch_len(self).max(decode::scratch_len(self))
    }

    /// Pieces of [`Attention::prefill`] for `tokens` tokens.
    #[must_use]
    pub fn prefill_pieces(&self, tokens: usize) -> usize {
        self.kv_heads * tokens.div_ceil(prefill::tile_tokens(self))
    }

    /// Pieces of [`Attention::decode`] for a token at `position`.
    #[must_use]
    pub fn decode_pieces(&self, position: usize) -> usize {
        self.kv_heads * decode::Runs::of(self, position).count
    }

    /// Floats of the partial results of one token's [`Attention::decode`], for
    /// any position below `capacity`.
    #[must_use]
    pub fn partials_len(&self, capacity: usize) -> usize {
        self.heads * decode::max_runs(self, capacity) * decode::partial_len(self)
    }
}

/// A piece of [`Attention::prefill`].
#[derive(Debug)]
pub struct PrefillPiece<'a> {
    /// Which of [`AttentionShape::prefill_pieces`]: one key head and a tile of tokens.
    pub piece: usize,
    /// The queries of all tokens.
    pub queries: Queries<'a>,
    /// The cache.
    pub kv: KvSlot<'a>,
    /// For each query head the score of a key without a value, which all tokens see;
    /// never in SMALL builds.
    pub sinks: Option<&'a [f32]>,
    /// `[token][head][head_dim]`, of which each piece writes its own part.
    pub out: SharedSlice<'a, f32>,
    /// [`AttentionShape::scratch_len`] floats of any content.
    pub scratch: &'a mut [f32],
}

/// A piece of [`Attention::decode`].
#[derive(Debug)]
pub struct DecodePiece<'a> {
    /// Which of [`AttentionShape::decode_pieces`]: one key head and a run of keys.
    pub piece: usize,
    /// The token's queries, `[head][head_dim]`.
    pub q: &'a [f32],
    /// The token's position.
    pub position: usize,
    /// The cache.
    pub kv: KvSlot<'a>,
    /// [`AttentionShape::partials_len`] floats, of which each piece writes its own part.
    pub partials: SharedSlice<'a, f32>,
    /// [`AttentionShape::scratch_len`] floats of any content.
    pub scratch: &'a mut [f32],
}

/// Attention at one ISA.
///
/// Slices of the wrong length are defects of the plan, and panic.
pub trait Attention: Send + Sync {
    /// Computes a piece of many tokens. A token's result does not depend on the tokens
    /// computed with it.
    ///
    /// # Safety
    /// While this runs, nobody else computes the same piece into the output, and
    /// nobody reads or writes the piece's part of it in any other way.
    unsafe fn prefill(&self, shape: &AttentionShape, piece: PrefillPiece<'_>);

    /// Computes a piece of one token; [`Attention::combine`] joins the partial results.
    ///
    /// # Safety
    /// As for [`Attention::prefill`], with the partial results in the place of the output.
    unsafe fn decode(&self, shape: &AttentionShape, piece: DecodePiece<'_>);

    /// Joins the partial results of all pieces of [`Attention::decode`] for the
    /// token at `position`; `sinks` is as in [`PrefillPiece`], `out` is
    /// `[head][head_dim]`.
    fn combine(
        &self,
        shape: &AttentionShape,
        position: usize,
        partials: &[f32],
        sinks: Option<&[f32]>,
        out: &mut [f32],
    );
}

/// Attention with products of any numbers. For floats, the products are those of each
/// ISA's [`Simd`](super::simd::Simd).
impl<P: Products> Attention for P {
    unsafe fn prefill(&self, shape: &AttentionShape, piece: PrefillPiece<'_>) {
        let p = *self;
        p.run(
            #[inline(always)]
            // SAFETY: the caller keeps the contract of the method.
            move || unsafe { prefill::attend(p, shape, piece) },
        );
    }

    unsafe fn decode(&self, shape: &AttentionShape, piece: DecodePiece<'_>) {
        let s = self.simd();
        match piece.kv {
            KvSlot::F16(kv) => self.run(
                #[inline(always)]
                // SAFETY: the caller keeps the contract of the method.
                move || unsafe { decode::attend(s, shape, kv, piece) },
            ),
            KvSlot::Q8_0(kv) if Q8Block::IN_BUILD => self.run(
                #[inline(always)]
                // SAFETY: the caller keeps the contract of the method.
                move || unsafe { decode::attend(s, shape, kv, piece) },
            ),
            KvSlot::F32(kv) if !SMALL => self.run(
                #[inline(always)]
                // SAFETY: the caller keeps the contract of the method.
                move || unsafe { decode::attend(s, shape, kv, piece) },
            ),
            KvSlot::Q8_0(_) | KvSlot::F32(_) => {}
        }
    }

    fn combine(
        &self,
        shape: &AttentionShape,
        position: usize,
        partials: &[f32],
        sinks: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let s = self.simd();
        self.run(
            #[inline(always)]
            move || decode::combine(s, shape, position, partials, sinks, out),
        );
    }
}
