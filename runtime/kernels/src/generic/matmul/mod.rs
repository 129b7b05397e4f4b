//! Integer matmul by vectors: eight or sixteen weight rows at a time, one in each lane.
//! Written once over [`Integers`]; an ISA adds the sums of products ([`Arithmetic`]).
//!
//! Formats and arithmetic are apart. A [`Format`] decodes 32 elements of as many rows as
//! there are lanes to a [`Block`]; there are four ways to compute with it, the [`panel`]
//! types. `gemv` feeds blocks to the arithmetic as they come, `gemm` keeps the blocks of
//! a few runs of rows in scratch and sweeps all tokens over them. Both call the same few
//! lines for a block, in the same order, so that their results are equal bit for bit.
//! Where the rows lie is a third matter: formats read them through [`Rows`], as a file
//! has them or packed. K-quants may be [`rounded`] on their way to scratch.

mod gemm;
mod gemv;
mod panel;
mod rounded;
mod rows;

pub(crate) use gemm::gemm;
pub(crate) use panel::{I8Panel, I16Panel, OneScale, Panel, TwoScales};
pub(crate) use rows::Rows;

use super::acts::{self, ActBlock, ActKind, I8Block, I16Block};
use super::formats::{Codes, Format, with_format};
use super::matrix::{Acts, Call, Matrix};
use super::simd::{Integers, Lanes, Scalar, Simd};
use super::{floats, oracle};
use core::ops::Range;
use ondol_models::quant::DType;

/// Blocks of a super-block.
pub(crate) const SUPER: usize = 8;

/// 32 weights of as many rows as lanes, a row in each lane: `scale * sub * q + min`.
///
/// A panel type says which of these fields its formats fill; the others are
/// left at zero, and no instruction is spent on them.
#[derive(Clone, Copy)]
pub(crate) struct Block<L: Integers> {
    /// Lane `r` of vector `j` holds elements `4j..4j + 4` of row `r`.
    pub q: [L::I; 8],
    pub scale: L::V,
    /// Integer scales of the first and second 16 elements, |sub| <= 128.
    pub sub: [L::I; 2],
    /// One for all 32 elements (the first), or one for each 16.
    pub min: [L::V; 2],
}

impl<L: Integers> Block<L> {
    /// Codes with one scale.
    #[inline(always)]
    pub fn new(l: L, q: [L::I; 8], scale: L::V) -> Block<L> {
        let (sub, min) = ([l.splat_i32(0); 2], [l.splat(0.0); 2]);
        Block { q, scale, sub, min }
    }

    /// The same with one minimum.
    #[inline(always)]
    pub fn with_min(mut self, min: L::V) -> Block<L> {
        self.min[0] = min;
        self
    }
}

/// The sums of products that an ISA brings: codes of `P` runs of rows with the
/// activations of `T` tokens, over one block of 32.
pub(crate) trait Arithmetic: Integers {
    /// The ISA's functions on rows of floats.
    type Floats: Simd + From<Self>;
    /// The arithmetic of `gemv`: another one where products with several tokens need
    /// another arrangement of the weights than those with one.
    type Single: Arithmetic + From<Self>;
    /// The panel of signed codes of 8 bits: [`I8Panel`] where products of 8 bits add up
    /// in 32 bits at once, whatever the codes are; else [`I16Panel`], by products of 16.
    type Signed: Panel<Self>;

    /// Whether [`Self::sums`] are exact for any codes of 8 bits.
    const BYTE_DOTS: bool;
    /// What is added to signed codes before [`Self::sums`] take them, if they are unsigned
    /// there.
    const BIAS: i8 = 0;
    /// Whether half floats have integer products.
    const ROUNDS_HALVES: bool = false;
    /// Runs of rows that [`Self::gemm`] sweeps at once.
    const PANELS: usize;

    /// Runs [`gemm`] with [`Self::PANELS`] panels, and as many tokens as have room for
    /// their sums in registers.
    fn gemm<W: Panel<Self>, A: ActBlock<Plane = W::Plane>>(
        self,
        call: Call,
        fill: impl Fn(Self, &Matrix, &Range<usize>, &mut [u8], *mut W),
    );

    /// Multiplies rows of half floats with activations of 14 bits, where
    /// [`Self::ROUNDS_HALVES`].
    fn halves(self, call: Call) {
        unreachable!("{:?} at this ISA", call.acts.kind())
    }

    /// Integer scales as [`Self::half_sums`] takes them.
    type Sub: Copy;
    /// Codes as [`Self::sums`] and [`Self::half_sums`] take them.
    #[inline(always)]
    fn arranged(self, q: [Self::I; 8]) -> [Self::I; 8] {
        q
    }
    /// Integer scales, |sub| <= 128.
    fn arranged_sub(self, sub: Self::I) -> Self::Sub;
    /// Element `at` of codes that are [`Self::arranged`].
    #[inline(always)]
    fn code(self, q: &[Self::I; 8], at: usize) -> Self::I {
        self.byte(q[at / 4], at % 4)
    }
    /// Integer scales that are [`Self::arranged_sub`].
    fn sub_floats(self, sub: Self::Sub) -> Self::V;

    /// For each run and token: `total` plus the rows' sums of `q * x` over these vectors
    /// of four elements (all, or half of them), as integers that are rounded to floats
    /// once. The sum of `DEPTH` pairs of products with |x| <= 128 fits in 16 bits.
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        total: [[Self::I; T]; P],
        q: [&[Self::I; 8]; P],
        x: [&[i8; 32]; T],
        fours: Range<usize>,
    ) -> [[Self::V; T]; P];

    /// The sums of `sub[k / 16] * q * x`.
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        sub: [&[Self::Sub; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[Self::V; T]; P];

    /// Signed codes as [`Self::wide_sums`] takes them.
    type Wide: Copy;
    /// Signed codes of 8 bits.
    fn widened(self, q: [Self::I; 8]) -> Self::Wide;
    /// The sums of `q * x`, where `x` is as [`I16Block`] has it.
    fn wide_sums<const P: usize, const T: usize>(
        self,
        q: [&Self::Wide; P],
        x: [&[i16; 32]; T],
    ) -> [[Self::V; T]; P];
}

/// States [`Arithmetic::PANELS`] and [`Arithmetic::gemm`] of an ISA: the runs of rows and
/// the tokens whose sums its registers hold.
macro_rules! tile {
    ($(#[$registers:meta])* $panels:literal, $tokens:literal) => {
        const PANELS: usize = $panels;

        $(#[$registers])*
        fn gemm<W, A>(
            self,
            call: $crate::generic::matrix::Call,
            fill: impl Fn(
                Self,
                &$crate::generic::matrix::Matrix,
                &core::ops::Range<usize>,
                &mut [u8],
                *mut W,
            ),
        ) where
            W: $crate::generic::matmul::Panel<Self>,
            A: $crate::generic::acts::ActBlock<Plane = W::Plane>,
        {
            self.run(
                #[inline(always)]
                move || {
                    $crate::generic::matmul::gemm::<Self, W, A, $panels, $tokens>(
                        self, call, fill,
                    )
                },
            );
        }
    };
}
pub(crate) use tile;

/// Matmul at one ISA, with activations of any form.
pub(crate) trait Matmul: Send + Sync {
    /// [`acts::prepare`].
    fn prepare(&self, kind: ActKind, x: &[f32], dst: &mut [u8]);
    /// Bytes of scratch for rows of `cols` elements of this type.
    fn scratch_bytes(&self, dtype: DType, cols: usize) -> usize;
    /// Multiplies rows of weights with the activations of all tokens.
    fn multiply(&self, call: Call);
    /// Whether this form of activations is the ISA's own for such weights, and faster
    /// than the finer ones that fit.
    fn gains_by(&self, kind: ActKind, dtype: DType) -> bool;
    /// Whether [`Self::multiply`] takes this form of activations with such weights.
    fn takes(&self, kind: ActKind, dtype: DType) -> bool {
        kind.fits(dtype) && self.gains_by(kind, dtype)
    }
}

/// Plain Rust takes all that fit: it is the oracle of the others.
impl Matmul for Scalar {
    fn prepare(&self, kind: ActKind, x: &[f32], dst: &mut [u8]) {
        acts::prepare(*self, kind, x, dst);
    }

    fn scratch_bytes(&self, _: DType, _: usize) -> usize {
        floats::SCRATCH_BYTES
    }

    fn multiply(&self, call: Call) {
        match call.acts.kind() {
            ActKind::F32 => floats::matmul(*self, call),
            _ => oracle::matmul(call),
        }
    }

    fn gains_by(&self, kind: ActKind, dtype: DType) -> bool {
        gains_by(false, false, kind, dtype)
    }

    fn takes(&self, kind: ActKind, dtype: DType) -> bool {
        kind.fits(dtype)
    }
}

impl<L: Arithmetic> Matmul for L {
    fn prepare(&self, kind: ActKind, x: &[f32], dst: &mut [u8]) {
        let s = L::Floats::from(*self);
        s.run(
            #[inline(always)]
            move || acts::prepare(s, kind, x, dst),
        );
    }

    fn scratch_bytes(&self, dtype: DType, cols: usize) -> usize {
        let blocks = cols.div_ceil(acts::BLOCK);
        let panels = L::PANELS * blocks * panel::max_bytes::<L>();
        let row = match dtype {
            DType::F32 => return floats::SCRATCH_BYTES,
            DType::F16 | DType::BF16 => blocks * size_of::<I16Block>(),
            _ => dtype.row_bytes(cols).unwrap_or(0),
        };
        floats::SCRATCH_BYTES.max(panels + L::COUNT * row + Acts::ALIGN)
    }

    fn multiply(&self, call: Call) {
        let dtype = call.w.dtype();
        match call.acts.kind() {
            ActKind::F32 => floats::matmul(L::Floats::from(*self), call),
            ActKind::I14 => self.halves(call),
            _ => with_format!(dtype, F => multiply::<L, F>(*self, call), _ => {
                unreachable!("{dtype} has products of floats, or is not in this build")
            }),
        }
    }

    fn gains_by(&self, kind: ActKind, dtype: DType) -> bool {
        gains_by(L::BYTE_DOTS, L::ROUNDS_HALVES, kind, dtype)
    }
}

fn gains_by(byte_dots: bool, rounds_halves: bool, kind: ActKind, dtype: DType) -> bool {
    match (kind, Codes::of(dtype)) {
        (ActKind::I8 | ActKind::I16Split, Some(Codes::Signed)) => byte_dots,
        (ActKind::I8, Some(Codes::Super { .. })) => !byte_dots,
        (ActKind::I8Rounded, _) => byte_dots,
        (ActKind::I16, _) => !byte_dots,
        (ActKind::I14, _) => rounds_halves,
        _ => true,
    }
}

/// Multiplies rows of a format, by the panels that it has for several tokens or for one.
fn multiply<L: Arithmetic, F: Format>(l: L, call: Call) {
    match (call.acts.kind(), call.acts.tokens()) {
        (ActKind::I8Rounded, _) => {
            if const { L::BYTE_DOTS && F::CODES.are_super() } {
                l.gemm::<I8Panel<L, SUPER>, I8Block>(
                    call,
                    #[inline(always)]
                    |l, w, run, staging, to| rounded::fill::<L, F>(l, w, run, staging, to),
                );
            }
        }
        (ActKind::I8, _) => l.gemm::<F::Panel<L>, Prompt<L, F>>(
            call,
            #[inline(always)]
            |l, w, run, staging, to| gemm::fill::<L, F>(l, w, run, staging, to),
        ),
        (_, 1) => gemv::gemv::<L::Single, F>(l.into(), call),
        _ => l.gemm::<F::Panel<L>, Fine<L, F>>(
            call,
            #[inline(always)]
            |l, w, run, staging, to| gemm::fill::<L, F>(l, w, run, staging, to),
        ),
    }
}

/// Blocks of activations, as the format's panel multiplies them.
type Prompt<L, F> = <<F as Format>::Panel<L> as Panel<L>>::Prompt;
type Fine<L, F> = <<F as Format>::Panel<L> as Panel<L>>::Fine;
