//! Attention over a KV cache, in tiles with a running softmax
//! (Dao et al., "FlashAttention", 2022): scores never touch memory as a whole.
//!
//! Queries, scores and sums are `f32`; keys and values are cells of a
//! [`KvType`] in the cache. The arithmetic is that of `f32`, but where a CPU
//! multiplies 16-bit integers faster, they carry the products of `prefill`. Two
//! paths, for two shapes of work:
//! `prefill` sweeps tiles of keys over tiles of tokens; `decode` splits one
//! token's keys into chunks that are joined at the end. Both cut the work into
//! pieces by the shape and the context alone, never by the number of threads,
//! so that results do not depend on it.

mod cell;
pub(in crate::kernels) mod decode;
pub(in crate::kernels) mod prefill;
mod shared;
mod softmax;
#[cfg(test)]
mod tests;

use half::f16;

pub use cell::{Cell, KvType};
pub use prefill::KEYS as TILE_KEYS;
pub use shared::SharedSlice;

use crate::kernels::vector::{Q8Block, Scalar};

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
    /// The keys and values of a head's positions from the first on: of all, or of those
    /// before the places end and go on at the start.
    #[inline(always)]
    fn run(
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

    /// Pieces of [`Attention::prefill`] for so many tokens.
    #[must_use]
    pub fn prefill_pieces(&self, tokens: usize) -> usize {
        self.kv_heads * tokens.div_ceil(prefill::tile_tokens(self))
    }

    /// Pieces of [`Attention::decode`] for a token at `position`.
    #[must_use]
    pub fn decode_pieces(&self, position: usize) -> usize {
        self.kv_heads * decode::Chunks::of(self, position).count
    }

    /// Floats of the partial results of one token's [`Attention::decode`], for
    /// any position below `capacity`.
    #[must_use]
    pub fn partials_len(&self, capacity: usize) -> usize {
        self.heads * decode::max_chunks(self, capacity) * decode::partial_len(self)
    }
}

/// Attention at one CPU level.
///
/// Slices of the wrong length are defects of the plan, and panic.
pub trait Attention: Send + Sync {
    /// Computes piece `piece` of [`AttentionShape::prefill_pieces`]: one key
    /// head and a tile of tokens. `out` is `[token][head][head_dim]`, and each
    /// piece writes its own part of it. `scratch` has
    /// [`AttentionShape::scratch_len`] floats of any content.
    ///
    /// A token's result does not depend on the tokens computed with it.
    ///
    /// # Safety
    /// While this runs, nobody else computes the same piece into `out`, and
    /// nobody reads or writes the piece's part of it in any other way.
    unsafe fn prefill(
        &self,
        shape: &AttentionShape,
        piece: usize,
        queries: Queries<'_>,
        kv: KvSlot<'_>,
        out: SharedSlice<'_, f32>,
        scratch: &mut [f32],
    );

    /// Computes piece `piece` of [`AttentionShape::decode_pieces`] for the token
    /// at `position`, whose queries `q` are `[head][head_dim]`: one key head and
    /// a chunk of keys. Results go to the piece's own part of `partials`, which
    /// has [`AttentionShape::partials_len`] floats; [`Attention::combine`] joins
    /// them. `scratch` is as in [`Attention::prefill`].
    ///
    /// # Safety
    /// As for [`Attention::prefill`], with `partials` in the place of `out`.
    #[allow(clippy::too_many_arguments)]
    unsafe fn decode(
        &self,
        shape: &AttentionShape,
        piece: usize,
        q: &[f32],
        position: usize,
        kv: KvSlot<'_>,
        partials: SharedSlice<'_, f32>,
        scratch: &mut [f32],
    );

    /// Joins the partial results of all pieces of [`Attention::decode`] for the
    /// token at `position`; `out` is `[head][head_dim]`.
    fn combine(&self, shape: &AttentionShape, position: usize, partials: &[f32], out: &mut [f32]);
}

/// Implements [`Attention`] for a level's [`Products`](prefill::products::Products):
/// by floats, the level itself. `$features` is as in
/// [`with_features`](crate::kernels::vector).
macro_rules! impl_attention {
    ($level:ty, $features:tt) => {
        const _: () = {
            use $crate::kernels::attention::{
                Attention, AttentionShape, Cell, KvCells, KvSlot, KvType, Queries, SharedSlice,
                decode, prefill, prefill::products::Products,
            };

            impl Attention for $level {
                unsafe fn prefill(
                    &self,
                    shape: &AttentionShape,
                    piece: usize,
                    queries: Queries<'_>,
                    kv: KvSlot<'_>,
                    out: SharedSlice<'_, f32>,
                    scratch: &mut [f32],
                ) {
                    #$features
                    unsafe fn inner(
                        level: $level,
                        shape: &AttentionShape,
                        piece: usize,
                        queries: Queries<'_>,
                        kv: KvSlot<'_>,
                        out: SharedSlice<'_, f32>,
                        scratch: &mut [f32],
                    ) {
                        // SAFETY: the caller keeps the contract of the method.
                        unsafe { prefill::attend(level, shape, piece, queries, kv, out, scratch) }
                    }
                    // SAFETY: a value of the level exists only if the CPU has
                    // its features; the rest is the method's own contract.
                    unsafe { inner(*self, shape, piece, queries, kv, out, scratch) }
                }

                unsafe fn decode(
                    &self,
                    shape: &AttentionShape,
                    piece: usize,
                    q: &[f32],
                    position: usize,
                    kv: KvSlot<'_>,
                    partials: SharedSlice<'_, f32>,
                    scratch: &mut [f32],
                ) {
                    #[allow(clippy::too_many_arguments)]
                    #$features
                    unsafe fn inner<C: Cell>(
                        level: $level,
                        shape: &AttentionShape,
                        piece: usize,
                        q: &[f32],
                        position: usize,
                        kv: KvCells<'_, C>,
                        partials: SharedSlice<'_, f32>,
                        scratch: &mut [f32],
                    ) {
                        // SAFETY: the caller keeps the contract of the method.
                        unsafe {
                            decode::attend(
                                level.simd(),
                                shape,
                                piece,
                                q,
                                position,
                                kv,
                                partials,
                                scratch,
                            )
                        }
                    }
                    // SAFETY: as above.
                    unsafe {
                        match kv {
                            KvSlot::F16(kv) => {
                                inner(*self, shape, piece, q, position, kv, partials, scratch);
                            }
                            KvSlot::Q8_0(kv) if KvType::Q8_0.in_build() => {
                                inner(*self, shape, piece, q, position, kv, partials, scratch);
                            }
                            KvSlot::Q8_0(_) => {}
                        }
                    }
                }

                fn combine(
                    &self,
                    shape: &AttentionShape,
                    position: usize,
                    partials: &[f32],
                    out: &mut [f32],
                ) {
                    #$features
                    fn inner(
                        level: $level,
                        shape: &AttentionShape,
                        position: usize,
                        partials: &[f32],
                        out: &mut [f32],
                    ) {
                        decode::combine(level.simd(), shape, position, partials, out);
                    }
                    // SAFETY: as above.
                    #[allow(unused_unsafe)]
                    unsafe {
                        inner(*self, shape, position, partials, out)
                    }
                }
            }
        };
    };
}
// Some targets have the scalar level alone.
#[allow(unused_imports)]
pub(crate) use impl_attention;

impl_attention!(Scalar, [inline]);
