//! Signed levels of 8 bits by activations of 16, and half floats rounded to
//! integers: where 8-bit products do not add up in 32 bits at once, or levels have
//! more bits.

use super::formats_k::IQ4_XS;
use super::formats_legacy::{IQ4_NL, Q8_0};
use super::gemv::Gemv;
use super::panel::{Pack, Panel, Product};
use super::{Arithmetic, Block, Format};
use crate::kernels::Call;
use crate::kernels::acts::{ActKind, I16Block};
use crate::kernels::array::map;
use ondol_models::quant::{DType, Family};

/// A level with products of 16 bits.
pub(in crate::kernels) trait WideSums: Arithmetic {
    /// Signed levels as [`Self::wide_sums`] takes them.
    type Wide: Copy;

    /// Signed levels of 8 bits.
    fn widened(self, q: [Self::I; 8]) -> Self::Wide;

    /// The sums of `q * x`, where `x` is as [`I16Block`] has it.
    fn wide_sums<const P: usize, const T: usize>(
        self,
        q: [&Self::Wide; P],
        x: [&[i16; 32]; T],
    ) -> [[Self::V; T]; P];
}

/// Multiplies rows of signed levels of 8 bits with the activations of all tokens.
pub(in crate::kernels) fn matmul_wide<L: WideSums>(l: L, call: Call) {
    let (legacy, codebook) = (Family::Legacy.in_build(), Family::Codebook.in_build());
    match call.w.dtype() {
        DType::Q8_0 if legacy => multiply::<L, Q8_0>(l, call),
        DType::IQ4_NL if codebook => multiply::<L, IQ4_NL>(l, call),
        DType::IQ4_XS if codebook => multiply::<L, IQ4_XS>(l, call),
        dtype => unreachable!("{dtype} has no signed levels, or is not in this build"),
    }
}

fn multiply<L: WideSums, F: Format>(l: L, call: Call) {
    match (call.acts.kind(), call.acts.tokens()) {
        (ActKind::I16, 1) => l.run(Gemv::<F, Wide<L>, I16Block>::new(call)),
        (ActKind::I16, _) => l.gemm::<F, Wide<L>, I16Block>(call),
        (kind, _) => unreachable!("{kind:?} with signed levels"),
    }
}

/// Signed levels, with one scale.
#[repr(C)]
pub(in crate::kernels) struct Wide<L: WideSums> {
    q: L::Wide,
    scale: L::V,
}

#[cfg(target_arch = "x86_64")]
impl<L: WideSums> Wide<L> {
    /// Levels as [`WideSums::wide_sums`] takes them.
    #[inline(always)]
    pub(super) fn new(q: L::Wide, scale: L::V) -> Self {
        Wide { q, scale }
    }
}

impl<L: WideSums> Pack<L> for Wide<L> {
    #[inline(always)]
    fn pack(l: L, block: &Block<L>) -> Self {
        Wide {
            q: l.widened(block.q),
            scale: block.scale,
        }
    }
}

impl<L: WideSums> Panel<L> for Wide<L> {
    #[inline(always)]
    fn scale(&self) -> L::V {
        self.scale
    }
}

impl<L: WideSums> Product<L, I16Block> for Wide<L> {
    #[inline(always)]
    fn dots<const P: usize, const T: usize>(
        l: L,
        w: [&Wide<L>; P],
        x: [&I16Block; T],
    ) -> [[L::V; T]; P] {
        l.wide_sums(map(w, |w| &w.q), map(x, |x| &x.q))
    }
}
