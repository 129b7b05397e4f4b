//! Sums of products by the VNNI of AVX-512: dot products of four 8-bit pairs
//! that add up in 32 bits at once.
// `p` and `t` name runs and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::Avx512;
use crate::kernels::Call;
use crate::kernels::acts::ActBlock;
use crate::kernels::integer::{Arithmetic, Fill, Gemm, Lanes, Madd16, Product};
use crate::kernels::x86::avx2::Avx2;
use crate::kernels::x86::vnni::Evex;
use crate::kernels::x86::ymm::Ymm;
use core::arch::x86_64::*;

// As in the vectors of floats: an intrinsic that only computes needs no more
// than the CPU's features, of which `self` is the proof.
impl Arithmetic for Avx512 {
    /// As floats: a product with a sum of 16 is below 2^24, and exact.
    type Sub = __m512;
    type Wide = [__m512i; 16];
    /// On 256 bits, where packed rows are read in the order in which they lie: two
    /// groups side by side are two streams, for which a core's own prefetching waits.
    type Single = Ymm<Evex>;
    const PANELS: usize = 1;

    /// So many tokens have two sums each in 24 of 32 registers.
    fn gemm<F: Fill<Self, W>, W: Product<Self, A>, A: ActBlock>(self, call: Call) {
        self.run(Gemm::<F, W, A, 1, 12>::new(call));
    }

    #[inline(always)]
    fn arranged(self, q: [__m512i; 8]) -> [__m512i; 8] {
        q
    }

    #[inline(always)]
    fn arranged_sub(self, sub: __m512i) -> __m512 {
        self.to_floats(sub)
    }

    #[inline(always)]
    fn widened(self, q: [__m512i; 8]) -> [__m512i; 16] {
        {
            let mut wide = [self.splat_i32(0); 16];
            for j in 0..8 {
                // SAFETY: `self` proves AVX-512.
                unsafe {
                    wide[2 * j] = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(q[j]));
                    wide[2 * j + 1] = _mm512_srai_epi16::<8>(q[j]);
                }
            }
            wide
        }
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m512i; 8]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m512; T]; P] {
        let mut sums = [[self.splat_i32(0); T]; P];
        self.add_products(&mut sums, q, x, 0..8);
        self.floats(sums)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m512i; 8]; P],
        sub: [&[__m512; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m512; T]; P] {
        let (mut first, mut second) = ([[self.splat_i32(0); T]; P], [[self.splat_i32(0); T]; P]);
        self.add_products(&mut first, q, x, 0..4);
        self.add_products(&mut second, q, x, 4..8);
        let (mut sums, second) = (self.floats(first), self.floats(second));
        for p in 0..P {
            for t in 0..T {
                let first = self.mul(sums[p][t], sub[p][0]);
                sums[p][t] = self.mul_add(second[p][t], sub[p][1], first);
            }
        }
        sums
    }

    #[inline(always)]
    fn wide_sums<const P: usize, const T: usize>(
        self,
        q: [&[__m512i; 16]; P],
        x: [&[i16; 32]; T],
    ) -> [[__m512; T]; P] {
        let mut sums = [[self.splat_i32(0); T]; P];
        for j in 0..16 {
            for t in 0..T {
                // SAFETY: two activations lie at 2 * j < 32.
                let two = unsafe { x[t].as_ptr().add(2 * j).cast::<i32>().read_unaligned() };
                let two = self.splat_i32(two);
                for p in 0..P {
                    // SAFETY: `self` proves AVX-512 VNNI.
                    sums[p][t] = unsafe { _mm512_dpwssd_epi32(sums[p][t], q[p][j], two) };
                }
            }
        }
        self.floats(sums)
    }
}

impl Madd16 for Avx512 {
    type Floats = Avx2;

    #[inline(always)]
    fn floats_level(self) -> Avx2 {
        // SAFETY: `self` proves more than AVX2, FMA and F16C.
        unsafe { Avx2::assumed() }
    }
}

impl Avx512 {
    /// Sums as floats.
    #[inline(always)]
    fn floats<const P: usize, const T: usize>(self, sums: [[__m512i; T]; P]) -> [[__m512; T]; P] {
        let mut floats = [[self.splat(0.0); T]; P];
        for (floats, sums) in floats.iter_mut().zip(sums) {
            for (float, sum) in floats.iter_mut().zip(sums) {
                *float = self.to_floats(sum);
            }
        }
        floats
    }

    /// Adds the products of the given vectors of four levels.
    #[inline(always)]
    fn add_products<const P: usize, const T: usize>(
        self,
        sums: &mut [[__m512i; T]; P],
        q: [&[__m512i; 8]; P],
        x: [&[i8; 32]; T],
        fours: core::ops::Range<usize>,
    ) {
        for j in fours {
            for t in 0..T {
                // SAFETY: four activations lie at 4 * j < 32.
                let four = unsafe { x[t].as_ptr().add(4 * j).cast::<i32>().read_unaligned() };
                let four = self.splat_i32(four);
                for p in 0..P {
                    // SAFETY: `self` proves AVX-512 VNNI.
                    sums[p][t] = unsafe { _mm512_dpbusd_epi32(sums[p][t], q[p][j], four) };
                }
            }
        }
    }
}
