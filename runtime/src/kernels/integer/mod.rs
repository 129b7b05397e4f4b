//! Integer matmul by vectors: eight or sixteen weight rows at a time, one in
//! each 32-bit lane. Written once over [`Lanes`]; an ISA adds the sums of
//! products ([`Arithmetic`]).
//!
//! Formats and arithmetic are apart. A [`Format`] lays a block of 32 k of as
//! many rows as lanes before the arithmetic, as [`Block`]; there are three ways
//! to compute with it, the [`panel`] types. `gemv` feeds blocks to the
//! arithmetic as they come, `gemm` keeps the blocks of a few runs of rows in
//! scratch and sweeps all tokens over them. Both call the same few lines for a
//! block, in the same order, so that their results are equal bit for bit. Where
//! the rows lie is a third matter: formats read them through [`Rows`], as a file
//! has them or packed. K-quants may be [`rounded`] on their way to scratch.
//!
//! # Safety
//! What functions marked `unsafe` without further words ask of offsets is
//! written at [`Rows`].

mod bytes;
mod formats_k;
mod formats_legacy;
mod gemm;
mod gemv;
#[cfg(target_arch = "x86_64")]
mod half_floats;
mod lanes;
mod panel;
mod rounded;
mod rows;
mod wide;

#[cfg(target_arch = "aarch64")]
pub(super) use bytes::Bytes;
pub(super) use bytes::{ByteDots, matmul_bytes};
pub(super) use gemm::{Fill, Gemm};
#[cfg(target_arch = "x86_64")]
pub(super) use half_floats::{Madd16, matmul_halves};
pub(super) use lanes::{Lanes, MAX_LANES};
pub(super) use panel::{Plane, Product};
pub(super) use rounded::{SuperBlocks, prefill_rounded};
pub(super) use wide::{Wide, WideSums, matmul_wide};

use super::acts::{self, ActBlock, ActKind, I8Block, I16Block, SplitBlock};
use super::{Acts, Call};
use formats_k::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};
use formats_legacy::{MXFP4, Q4_0, Q4_1, Q5_0, Q5_1};
use gemv::Gemv;
use ondol_models::quant::{DType, Family};
use panel::Pack;
use rows::Rows;

/// A row in each lane x 32 k of weights: `scale * sub * q + min`.
///
/// A panel type says which of these fields its formats fill; the others are
/// left at zero, and no instruction is spent on them.
#[derive(Clone, Copy)]
pub(super) struct Block<L: Lanes> {
    /// Lane `r` of vector `j` holds elements `4j..4j + 4` of row `r`.
    q: [L::I; 8],
    scale: L::V,
    /// Integer scales of the first and second 16 elements, |sub| <= 128.
    sub: [L::I; 2],
    /// One for all 32 elements (the first), or one for each 16.
    min: [L::V; 2],
}

impl<L: Lanes> Block<L> {
    /// Levels with one scale.
    #[inline(always)]
    fn new(l: L, q: [L::I; 8], scale: L::V) -> Block<L> {
        let (sub, min) = ([l.splat_i32(0); 2], [l.splat(0.0); 2]);
        Block { q, scale, sub, min }
    }

    /// The same with one minimum.
    #[inline(always)]
    fn with_min(mut self, min: L::V) -> Block<L> {
        self.min[0] = min;
        self
    }
}

/// A block format of weights.
pub(super) trait Format {
    /// Hands the sink the first `blocks` blocks of the rows, in order.
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    );
}

/// A format whose levels are unsigned and small enough to multiply in 8 bits.
pub(super) trait LowBit: Format {
    /// What the arithmetic takes of a block.
    type Panel<L: Arithmetic>: Product<L, I8Block> + Product<L, SplitBlock> + Pack<L>;
}

/// Takes blocks as they are decoded.
pub(super) trait Sink<L: Lanes> {
    fn block(&mut self, block: &Block<L>);
}

/// The sums of products that an ISA brings: levels of `P` runs of rows with the
/// activations of `T` tokens, over one block of 32.
pub(super) trait Arithmetic: Lanes {
    /// The lanes of `gemv`: where products of several tokens ask for another
    /// arrangement of the weights, those of a single one.
    type Single: Arithmetic + From<Self>;

    /// Runs of rows that [`Self::gemm`] sweeps at once.
    const PANELS: usize;

    /// Runs [`Gemm`] with [`Self::PANELS`] and as many tokens as the registers
    /// have room for the sums of.
    fn gemm<F: Fill<Self, W>, W: Product<Self, A>, A: ActBlock>(self, call: Call);

    /// Multiplies rows of super-blocks with activations of 8 bits: as they are, or
    /// [rounded](prefill_rounded).
    fn prefill<F: SuperBlocks>(self, call: Call);

    /// Integer scales as [`Self::half_sums`] takes them.
    type Sub: Copy;

    /// Levels as [`Self::sums`] and [`Self::half_sums`] take them.
    fn arranged(self, q: [Self::I; 8]) -> [Self::I; 8];
    /// Integer scales, |sub| <= 128.
    fn arranged_sub(self, sub: Self::I) -> Self::Sub;
    /// Element `at` of levels that are [`Self::arranged`].
    #[inline(always)]
    fn level(self, q: &[Self::I; 8], at: usize) -> Self::V {
        self.to_floats(self.byte(q[at / 4], at % 4))
    }
    /// Integer scales that are [`Self::arranged_sub`].
    fn sub_floats(self, sub: Self::Sub) -> Self::V;

    /// For each run and token the rows' sums of `q * x`, integers rounded once.
    /// `DEPTH` products of four levels with |x| <= 128, pairwise added, fit in
    /// 16 bits.
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        x: [&[i8; 32]; T],
    ) -> [[Self::V; T]; P];

    /// The sums of `sub[k / 16] * q * x`.
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        sub: [&[Self::Sub; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[Self::V; T]; P];
}

/// Bytes of scratch that matmuls need for rows of `cols` elements, where `W` is the
/// panel type of signed levels.
pub(super) fn scratch_bytes<L: Arithmetic, W>(dtype: DType, cols: usize) -> usize {
    let blocks = cols.div_ceil(acts::BLOCK);
    let panels = L::PANELS * blocks * panel::max_bytes::<L, W>();
    let row = match dtype {
        DType::F16 | DType::BF16 => blocks * size_of::<I16Block>(),
        _ => dtype.row_bytes(cols).unwrap_or(0),
    };
    panels + L::COUNT * row + Acts::ALIGN
}

/// Multiplies rows of few bits with the activations of all tokens. Rows of signed
/// levels go to `signed`: [`matmul_bytes`], or else [`matmul_wide`].
pub(super) fn matmul<L: Arithmetic>(l: L, call: Call, signed: impl FnOnce(L, Call)) {
    let (legacy, k, codebook) = (
        Family::Legacy.in_build(),
        Family::K.in_build(),
        Family::Codebook.in_build(),
    );
    match call.w.dtype() {
        DType::Q4_0 if legacy => low_bit::<L, Q4_0>(l, call),
        DType::Q4_1 if legacy => low_bit::<L, Q4_1>(l, call),
        DType::Q5_0 if legacy => low_bit::<L, Q5_0>(l, call),
        DType::Q5_1 if legacy => low_bit::<L, Q5_1>(l, call),
        DType::Q2_K if k => super_blocks::<L, Q2_K>(l, call),
        DType::Q3_K if k => super_blocks::<L, Q3_K>(l, call),
        DType::Q4_K if k => super_blocks::<L, Q4_K>(l, call),
        DType::Q5_K if k => super_blocks::<L, Q5_K>(l, call),
        DType::Q6_K if k => super_blocks::<L, Q6_K>(l, call),
        DType::MXFP4 if codebook => low_bit::<L, MXFP4>(l, call),
        dtype if acts::has_signed_bytes(dtype) => signed(l, call),
        dtype => unreachable!("{dtype:?} has products of floats, or is not in this build"),
    }
}

fn super_blocks<L: Arithmetic, F: SuperBlocks>(l: L, call: Call) {
    match call.acts.kind() {
        ActKind::I8 | ActKind::I8Rounded => l.prefill::<F>(call),
        _ => by_two_planes::<L, F, F::Panel<L>, F::Panel<L::Single>>(l, call),
    }
}

fn low_bit<L: Arithmetic, F: LowBit>(l: L, call: Call) {
    by_bytes::<L, F, F::Panel<L>, F::Panel<L::Single>>(l, call);
}

/// Rows by activations of one plane of bytes or two, in panels `W`; a single token
/// in panels `S`.
fn by_bytes<L, F, W, S>(l: L, call: Call)
where
    L: Arithmetic,
    F: Format,
    W: Product<L, I8Block> + Product<L, SplitBlock> + Pack<L>,
    S: Product<L::Single, SplitBlock> + Pack<L::Single>,
{
    match call.acts.kind() {
        ActKind::I8 => l.gemm::<F, W, I8Block>(call),
        _ => by_two_planes::<L, F, W, S>(l, call),
    }
}

fn by_two_planes<L, F, W, S>(l: L, call: Call)
where
    L: Arithmetic,
    F: Format,
    W: Product<L, SplitBlock> + Pack<L>,
    S: Product<L::Single, SplitBlock> + Pack<L::Single>,
{
    match (call.acts.kind(), call.acts.tokens()) {
        (ActKind::I16Split, 1) => {
            let l = L::Single::from(l);
            l.run(Gemv::<F, S, SplitBlock>::new(call));
        }
        (ActKind::I16Split, _) => l.gemm::<F, W, SplitBlock>(call),
        (kind, _) => unreachable!("{kind:?} are not bytes"),
    }
}
