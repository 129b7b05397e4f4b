//! AVX-VNNI: dot products of four 8-bit pairs that add up in 32 bits at once.
// `p` and `t` name runs and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::avx2::Avx2;
use super::ymm::{Multiplier, Ymm};
use crate::kernels::Call;
use crate::kernels::acts::ActBlock;
use crate::kernels::integer::{Arithmetic, Fill, Gemm, Lanes, Madd16, Product};
use crate::kernels::vector::simd::Op;
use core::arch::x86_64::*;

/// Multiplies by `dpbusd`, and by `madd`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dpbusd;

/// The lanes, if this CPU has AVX-VNNI too.
pub(super) fn new(_: Avx2) -> Option<Ymm<Dpbusd>> {
    #[cfg(feature = "std")]
    let has = std::is_x86_feature_detected!("avxvnni");
    #[cfg(not(feature = "std"))]
    let has = cfg!(target_feature = "avxvnni");
    // SAFETY: the CPU has this feature, and the argument proves the others.
    has.then(|| unsafe { Ymm::new() })
}

impl Multiplier for Dpbusd {
    fn run<O: Op<Ymm<Dpbusd>>>(lanes: Ymm<Dpbusd>, op: O) {
        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        fn run<O: Op<Ymm<Dpbusd>>>(lanes: Ymm<Dpbusd>, op: O) {
            op.run(lanes);
        }
        // SAFETY: `lanes` proves that the CPU has the features.
        unsafe { run(lanes, op) }
    }
}

// As in the vectors of floats: an intrinsic that only computes needs no more
// than the CPU's features, of which `self` is the proof.
impl Arithmetic for Ymm<Dpbusd> {
    /// As floats: a product with a sum of 16 is below 2^24, and exact.
    type Sub = __m256;
    type Wide = [__m256i; 16];
    type Single = Self;
    const PANELS: usize = 2;

    /// So many panels and tokens have two sums each in twelve of sixteen registers.
    fn gemm<F: Fill<Self, W>, W: Product<Self, A>, A: ActBlock>(self, call: Call) {
        self.run(Gemm::<F, W, A, 2, 3>::new(call));
    }

    #[inline(always)]
    fn arranged(self, q: [__m256i; 8]) -> [__m256i; 8] {
        q
    }

    #[inline(always)]
    fn arranged_sub(self, sub: __m256i) -> __m256 {
        self.to_floats(sub)
    }

    #[inline(always)]
    fn widened(self, q: [__m256i; 8]) -> [__m256i; 16] {
        self.widened_in_place(q)
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256; T]; P] {
        let mut sums = [[self.splat_i32(0); T]; P];
        self.add_products(&mut sums, q, x, 0..8);
        self.floats(sums)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        sub: [&[__m256; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256; T]; P] {
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

    /// As AVX2 does it: adding up in `dpwssd` waits longer for each sum.
    #[inline(always)]
    fn wide_sums<const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 16]; P],
        x: [&[i16; 32]; T],
    ) -> [[__m256; T]; P] {
        self.sums_by_madd(q, x)
    }
}

impl Madd16 for Ymm<Dpbusd> {
    type Floats = Avx2;

    #[inline(always)]
    fn floats_level(self) -> Avx2 {
        // SAFETY: `self` proves more than AVX2, FMA and F16C.
        unsafe { Avx2::assumed() }
    }
}

impl Ymm<Dpbusd> {
    /// Adds the products of the given vectors of four levels.
    #[inline(always)]
    fn add_products<const P: usize, const T: usize>(
        self,
        sums: &mut [[__m256i; T]; P],
        q: [&[__m256i; 8]; P],
        x: [&[i8; 32]; T],
        fours: core::ops::Range<usize>,
    ) {
        for j in fours {
            for t in 0..T {
                // SAFETY: four activations lie at 4 * j < 32.
                let four = unsafe { x[t].as_ptr().add(4 * j).cast::<i32>().read_unaligned() };
                let four = self.splat_i32(four);
                for p in 0..P {
                    // SAFETY: `self` proves AVX-VNNI.
                    sums[p][t] = unsafe { _mm256_dpbusd_avx_epi32(sums[p][t], q[p][j], four) };
                }
            }
        }
    }
}
