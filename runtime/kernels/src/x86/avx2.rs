//! Sums of products by AVX2: `vpmaddubsw` adds pairs of 8-bit products in 16 bits.
// `p` and `t` name runs and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::ymm::{Avx2, read_i32, wide_by_madd};
use super::{half_floats, pairs::PairProducts};
use crate::generic::array::map;
use crate::generic::matmul::{Arithmetic, I16Panel, tile};
use crate::generic::matrix::Call;
use crate::generic::simd::{Integers, Lanes, ops};
use core::arch::x86_64::*;
use core::ops::Range;

type V = __m256;
type I = __m256i;

impl Arithmetic for Avx2 {
    type Floats = Self;
    type Single = Self;
    type Signed = I16Panel<Self>;
    type Sub = I;
    const BYTE_DOTS: bool = false;
    const ROUNDS_HALVES: bool = true;
    wide_by_madd!();

    tile! {
        /// Two panels with three tokens: two sums for each take twelve of the sixteen
        /// registers.
        2, 3
    }

    fn halves(self, call: Call) {
        half_floats::matmul(self, call);
    }

    /// As pairs of equal i16, for `vpmaddwd`.
    #[inline(always)]
    fn arranged_sub(self, sub: I) -> I {
        let low = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];
        self.shuffle(sub, self.splat_16(&low))
    }

    #[inline(always)]
    fn sub_floats(self, sub: I) -> V {
        self.to_floats(self.sar_32::<16>(sub))
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        mut total: [[I; T]; P],
        q: [&[I; 8]; P],
        x: [&[i8; 32]; T],
        fours: Range<usize>,
    ) -> [[V; T]; P] {
        let one = self.splat_i32(0x0001_0001);
        for first in fours.step_by(DEPTH) {
            self.widen(&mut total, self.sum16::<DEPTH, P, T>(q, x, first), [one; P]);
        }
        self.floats(total)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[I; 8]; P],
        sub: [&[I; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[V; T]; P] {
        let mut total = [[self.splat_i32(0); T]; P];
        // Written out: in a loop that is not unrolled the totals lie in memory.
        self.add_half::<0, DEPTH, P, T>(&mut total, q, sub, x);
        self.add_half::<1, DEPTH, P, T>(&mut total, q, sub, x);
        self.floats(total)
    }
}

impl Avx2 {
    ops! {
        fn maddubs(q: I, x: I) -> I: "`vpmaddubsw`" = _mm256_maddubs_epi16(q, x);
    }

    /// Adds the sums of `sub * q * x` of half a block.
    #[inline(always)]
    fn add_half<const HALF: usize, const DEPTH: usize, const P: usize, const T: usize>(
        self,
        total: &mut [[I; T]; P],
        q: [&[I; 8]; P],
        sub: [&[I; 2]; P],
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
        q: [&[I; 8]; P],
        x: [&[i8; 32]; T],
        first: usize,
    ) -> [[I; T]; P] {
        let mut sums = [[self.splat_i32(0); T]; P];
        for j in first..first + DEPTH {
            for t in 0..T {
                let four = self.splat_i32(read_i32(x[t], 4 * j));
                for p in 0..P {
                    sums[p][t] = self.add_16(sums[p][t], self.maddubs(q[p][j], four));
                    if P * T > 2 {
                        sums[p][t] = self.kept_in_order(sums[p][t]);
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
        total: &mut [[I; T]; P],
        sums: [[I; T]; P],
        by: [I; P],
    ) {
        for p in 0..P {
            for t in 0..T {
                total[p][t] = self.add_i32(total[p][t], self.madd(sums[p][t], by[p]));
            }
        }
    }
}

impl PairProducts for Avx2 {
    #[inline(always)]
    fn add_pairs(self, a: I, b: I, sum: I) -> I {
        self.add_i32(sum, self.madd(a, b))
    }
}
