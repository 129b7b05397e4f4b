//! Sums of products by AVX2: `maddubs` adds pairs of 8-bit products in 16 bits.
// `p` and `t` name runs and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::Avx2;
use crate::kernels::Call;
use crate::kernels::acts::{ActBlock, I8Block};
use crate::kernels::array::map;
use crate::kernels::integer::{Arithmetic, Fill, Gemm, Lanes, Madd16, Product, SuperBlocks};
use crate::kernels::vector::simd::Op;
use crate::kernels::x86::ymm::{Multiplier, Ymm, kept_in_order};
use core::arch::x86_64::*;

/// Multiplies by `maddubs` and `madd`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maddubs;

impl Multiplier for Maddubs {
    fn run<O: Op<Ymm<Maddubs>>>(lanes: Ymm<Maddubs>, op: O) {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn run<O: Op<Ymm<Maddubs>>>(lanes: Ymm<Maddubs>, op: O) {
            op.run(lanes);
        }
        // SAFETY: `lanes` proves that the CPU has the features.
        unsafe { run(lanes, op) }
    }
}

impl Arithmetic for Ymm<Maddubs> {
    type Sub = __m256i;
    type Single = Self;
    const PANELS: usize = 2;

    /// So many panels and tokens have two sums each in twelve of sixteen registers.
    fn gemm<F: Fill<Self, W>, W: Product<Self, A>, A: ActBlock>(self, call: Call) {
        self.run(Gemm::<F, W, A, 2, 3>::new(call));
    }

    fn prefill<F: SuperBlocks>(self, call: Call) {
        self.gemm::<F, F::Panel<Self>, I8Block>(call);
    }

    #[inline(always)]
    fn arranged(self, q: [__m256i; 8]) -> [__m256i; 8] {
        q
    }

    /// As pairs of equal i16, for `madd`.
    #[inline(always)]
    fn arranged_sub(self, sub: __m256i) -> __m256i {
        let low = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];
        self.shuffle(sub, self.splat_16(&low))
    }

    #[inline(always)]
    fn sub_floats(self, sub: __m256i) -> __m256 {
        self.to_floats(self.sar_32::<16>(sub))
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256; T]; P] {
        let mut total = [[self.splat_i32(0); T]; P];
        // SAFETY: `self` proves AVX2.
        let one = unsafe { _mm256_set1_epi16(1) };
        for first in (0..8).step_by(DEPTH) {
            self.widen(&mut total, self.sum16::<DEPTH, P, T>(q, x, first), [one; P]);
        }
        self.floats(total)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        sub: [&[__m256i; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256; T]; P] {
        let mut total = [[self.splat_i32(0); T]; P];
        // Written out: in a loop that is not unrolled the totals lie in memory.
        self.add_half::<0, DEPTH, P, T>(&mut total, q, sub, x);
        self.add_half::<1, DEPTH, P, T>(&mut total, q, sub, x);
        self.floats(total)
    }
}

impl Madd16 for Ymm<Maddubs> {
    type Floats = Avx2;

    #[inline(always)]
    fn floats_level(self) -> Avx2 {
        // SAFETY: `self` proves AVX2, FMA and F16C.
        unsafe { Avx2::assumed() }
    }
}

impl Ymm<Maddubs> {
    /// Adds the sums of `sub * q * x` of half a block.
    #[inline(always)]
    fn add_half<const HALF: usize, const DEPTH: usize, const P: usize, const T: usize>(
        self,
        total: &mut [[__m256i; T]; P],
        q: [&[__m256i; 8]; P],
        sub: [&[__m256i; 2]; P],
        x: [&[i8; 32]; T],
    ) {
        let by = map(sub, |sub| sub[HALF]);
        for first in (4 * HALF..4 * HALF + 4).step_by(DEPTH) {
            self.widen(total, self.sum16::<DEPTH, P, T>(q, x, first), by);
        }
    }

    /// Sums in 16 bits of vectors `first..first + DEPTH` times activations.
    #[inline(always)]
    fn sum16<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        x: [&[i8; 32]; T],
        first: usize,
    ) -> [[__m256i; T]; P] {
        let mut sums = [[self.splat_i32(0); T]; P];
        for j in first..first + DEPTH {
            for t in 0..T {
                // SAFETY: four activations lie at 4 * j < 32.
                let four = unsafe { x[t].as_ptr().add(4 * j).cast::<i32>().read_unaligned() };
                let four = self.splat_i32(four);
                for p in 0..P {
                    // SAFETY: `self` proves AVX2.
                    unsafe {
                        let product = _mm256_maddubs_epi16(q[p][j], four);
                        sums[p][t] = _mm256_add_epi16(sums[p][t], product);
                        if P * T > 2 {
                            sums[p][t] = kept_in_order(sums[p][t]);
                        }
                    }
                }
            }
        }
        sums
    }

    /// Adds pairs of 16-bit sums, times `by`, to 32-bit totals.
    #[inline(always)]
    fn widen<const P: usize, const T: usize>(
        self,
        total: &mut [[__m256i; T]; P],
        sums: [[__m256i; T]; P],
        by: [__m256i; P],
    ) {
        for p in 0..P {
            for t in 0..T {
                // SAFETY: `self` proves AVX2.
                let pairs = unsafe { _mm256_madd_epi16(sums[p][t], by[p]) };
                total[p][t] = self.add_i32(total[p][t], pairs);
            }
        }
    }
}
