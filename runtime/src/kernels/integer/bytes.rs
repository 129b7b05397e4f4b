//! Signed levels of 8 bits by activations of bytes: where a level's products of 8
//! bits add up in 32 at once, whatever the levels are, they do twice the work and
//! more of products of 16 bits.

use super::formats_k::IQ4_XS;
use super::formats_legacy::{IQ4_NL, Q8_0};
use super::panel::{Bytewise, Pack, Panel, Plane};
use super::{Arithmetic, Block, Format, by_bytes};
use crate::kernels::Call;
use crate::kernels::array::map;
use ondol_models::quant::{DType, Family};

/// A level with such products.
pub(in crate::kernels) trait ByteDots: Arithmetic {
    /// Signed levels of 8 bits as [`Self::byte_sums`] takes them.
    fn arranged_bytes(self, q: [Self::I; 8]) -> [Self::I; 8];

    /// Element `at` of such levels.
    fn byte_level(self, q: &[Self::I; 8], at: usize) -> Self::V;

    /// For each run and token the rows' sums of `q * x`, which are exact.
    fn byte_sums<const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        x: [Plane; T],
    ) -> [[Self::V; T]; P];
}

/// Multiplies rows of signed levels with the activations of all tokens.
pub(in crate::kernels) fn matmul_bytes<L: ByteDots<Single: ByteDots>>(l: L, call: Call) {
    let (legacy, codebook) = (Family::Legacy.in_build(), Family::Codebook.in_build());
    match call.w.dtype() {
        DType::Q8_0 if legacy => multiply::<L, Q8_0>(l, call),
        DType::IQ4_NL if codebook => multiply::<L, IQ4_NL>(l, call),
        DType::IQ4_XS if codebook => multiply::<L, IQ4_XS>(l, call),
        dtype => unreachable!("{dtype} has no signed levels, or is not in this build"),
    }
}

fn multiply<L: ByteDots<Single: ByteDots>, F: Format>(l: L, call: Call) {
    by_bytes::<L, F, Bytes<L, 1>, Bytes<L::Single, 1>>(l, call);
}

/// Signed levels of 8 bits, with one scale that `GROUP` neighbours share.
#[repr(C)]
pub(in crate::kernels) struct Bytes<L: Arithmetic, const GROUP: usize> {
    q: [L::I; 8],
    scale: L::V,
}

impl<L: ByteDots, const GROUP: usize> Bytes<L, GROUP> {
    #[inline(always)]
    pub(super) fn new(l: L, q: [L::I; 8], scale: L::V) -> Self {
        let q = l.arranged_bytes(q);
        Bytes { q, scale }
    }
}

impl<L: ByteDots> Pack<L> for Bytes<L, 1> {
    #[inline(always)]
    fn pack(l: L, block: &Block<L>) -> Self {
        Bytes::new(l, block.q, block.scale)
    }
}

impl<L: ByteDots, const GROUP: usize> Panel<L> for Bytes<L, GROUP> {
    const GROUP: usize = GROUP;

    #[inline(always)]
    fn scale(&self) -> L::V {
        self.scale
    }
}

impl<L: ByteDots, const GROUP: usize> Bytewise<L> for Bytes<L, GROUP> {
    #[inline(always)]
    fn byte_dots<const P: usize, const T: usize>(
        l: L,
        w: [&Self; P],
        x: [Plane; T],
    ) -> [[L::V; T]; P] {
        l.byte_sums(map(w, |w| &w.q), x)
    }

    #[inline(always)]
    fn element(&self, l: L, at: usize) -> L::V {
        l.mul(l.byte_level(&self.q, at), self.scale)
    }
}
