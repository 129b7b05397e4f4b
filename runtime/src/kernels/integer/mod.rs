//! Integer matmul by vectors: eight weight rows at a time, one in each 32-bit
//! lane. Written once over [`Lanes`]; an ISA adds the sums of products
//! ([`Arithmetic`]).
//!
//! Formats and arithmetic are apart. A [`Format`] lays a block of 8 rows x 32
//! k before the arithmetic, as [`Block`]; there are three ways to compute with
//! it, the [`panel`] types. `gemv` feeds blocks to the arithmetic as they come,
//! `gemm` keeps the blocks of 16 rows in scratch and sweeps all tokens over
//! them. Both call the same few lines for a block, in the same order, so that
//! their results are equal bit for bit. Where the rows lie is a third matter:
//! formats read them through [`Rows`], as a file has them or packed.
//!
//! # Safety
//! What functions marked `unsafe` without further words ask of offsets is
//! written at [`Rows`].

mod formats_k;
mod formats_legacy;
mod gemm;
mod gemv;
mod lanes;
mod panel;
mod rows;

pub(super) use lanes::Lanes;
pub(super) use rows::LANES;

use super::acts::{self, ActKind, I8Block, I16Block, SplitBlock};
use super::{Acts, Call};
use core::ops::Range;
use formats_k::{IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};
use formats_legacy::{IQ4_NL, MXFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
use gemm::{Gemm, PANELS};
use gemv::Gemv;
use ondol_models::quant::DType;
use panel::Product;
use rows::Rows;

/// 8 rows x 32 k of weights: `scale * sub * q + min`.
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
trait Format {
    /// Hands the sink the first `blocks` blocks of the rows, in order.
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    );
}

/// A format whose levels are unsigned and small enough to multiply in 8 bits.
trait LowBit: Format {
    /// What the arithmetic takes of a block.
    type Panel<L: Arithmetic>: Product<L, I8Block> + Product<L, SplitBlock>;
}

/// Takes blocks as they are decoded.
trait Sink<L: Lanes> {
    fn block(&mut self, block: &Block<L>);
}

/// The sums of products that an ISA brings: levels of `P` groups of eight rows
/// with the activations of `T` tokens, over one block of 32.
pub(super) trait Arithmetic: Lanes {
    /// Levels as [`Self::sums`] and [`Self::half_sums`] take them.
    fn arranged(self, q: [Self::I; 8]) -> [Self::I; 8];
    /// Integer scales as [`Self::half_sums`] takes them.
    fn arranged_sub(self, sub: Self::I) -> Self::I;
    /// Signed levels of 8 bits as [`Self::wide_sums`] takes them.
    fn widened(self, q: [Self::I; 8]) -> [Self::I; 16];

    /// For each group and token the eight rows' sums of `q * x`. `DEPTH`
    /// products of four levels with |x| <= 128, pairwise added, fit in 16 bits.
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        x: [&[i8; 32]; T],
    ) -> [[Self::I; T]; P];

    /// The sums of `sub[k / 16] * q * x`.
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        sub: [&[Self::I; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[Self::I; T]; P];

    /// The sums of `q * x`, where `x` is as [`I16Block`] has it.
    fn wide_sums<const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 16]; P],
        x: [&[i16; 32]; T],
    ) -> [[Self::I; T]; P];
}

/// Bytes of scratch that [`matmul`] needs for rows of `cols` elements.
pub(super) fn scratch_bytes<L: Arithmetic>(dtype: DType, cols: usize) -> usize {
    let blocks = cols / acts::BLOCK;
    let panels = PANELS * blocks * panel::max_bytes::<L>();
    let bounce = LANES * dtype.row_bytes(cols).unwrap_or(0);
    panels + bounce + Acts::ALIGN
}

/// Multiplies rows with the activations of all tokens.
pub(super) fn matmul<L: Arithmetic>(l: L, call: Call) {
    match call.w.dtype() {
        DType::Q4_0 => low_bit::<L, Q4_0>(l, call),
        DType::Q4_1 => low_bit::<L, Q4_1>(l, call),
        DType::Q5_0 => low_bit::<L, Q5_0>(l, call),
        DType::Q5_1 => low_bit::<L, Q5_1>(l, call),
        DType::MXFP4 => low_bit::<L, MXFP4>(l, call),
        DType::Q2_K => low_bit::<L, Q2_K>(l, call),
        DType::Q3_K => low_bit::<L, Q3_K>(l, call),
        DType::Q4_K => low_bit::<L, Q4_K>(l, call),
        DType::Q5_K => low_bit::<L, Q5_K>(l, call),
        DType::Q6_K => low_bit::<L, Q6_K>(l, call),
        DType::Q8_0 => wide::<L, Q8_0>(l, call),
        DType::IQ4_NL => wide::<L, IQ4_NL>(l, call),
        DType::IQ4_XS => wide::<L, IQ4_XS>(l, call),
        DType::F32 | DType::F16 | DType::BF16 => {
            unreachable!("float weights take f32 activations")
        }
    }
}

fn low_bit<L: Arithmetic, F: LowBit>(l: L, call: Call) {
    match (call.acts.kind(), call.acts.tokens()) {
        (ActKind::I8, _) => l.run(Gemm::<F, F::Panel<L>, I8Block>::new(call)),
        (ActKind::I16Split, 1) => l.run(Gemv::<F, F::Panel<L>, SplitBlock>::new(call)),
        (ActKind::I16Split, _) => l.run(Gemm::<F, F::Panel<L>, SplitBlock>::new(call)),
        (kind, _) => unreachable!("{kind:?} with weights of few bits"),
    }
}

/// Formats whose levels need 16 bits to multiply.
fn wide<L: Arithmetic, F: Format>(l: L, call: Call) {
    match (call.acts.kind(), call.acts.tokens()) {
        (ActKind::I16, 1) => l.run(Gemv::<F, panel::Wide<L>, I16Block>::new(call)),
        (ActKind::I16, _) => l.run(Gemm::<F, panel::Wide<L>, I16Block>::new(call)),
        (kind, _) => unreachable!("{kind:?} with weights of 8 bits"),
    }
}

/// The lanes of the group at `group` that belong to `rows`.
fn lanes_of(group: usize, rows: &Range<usize>) -> Range<usize> {
    rows.start.saturating_sub(group)..(rows.end - group).min(LANES)
}
