//! Sums of products by the VNNI of AVX-512.
// `p` and `t` name runs and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::Avx512;
use crate::kernels::Call;
use crate::kernels::acts::ActBlock;
use crate::kernels::integer::{
    Arithmetic, Fill, Gemm, Lanes, Madd16, Product, SuperBlocks, WideSums, prefill_rounded,
};
use crate::kernels::x86::avx2::Avx2;
use crate::kernels::x86::dots::{self, Dots};
use crate::kernels::x86::vnni::Evex;
use crate::kernels::x86::ymm::Ymm;
use core::arch::x86_64::*;

// As in the vectors of floats: an intrinsic that only computes needs no more
// than the CPU's features, of which `self` is the proof.
impl Arithmetic for Avx512 {
    /// As floats: [`dots::half_sums`].
    type Sub = __m512;
    /// On 256 bits, where packed rows are read in the order in which they lie: two
    /// groups side by side are two streams, for which a core's own prefetching waits.
    type Single = Ymm<Evex>;
    const PANELS: usize = 1;

    /// So many tokens have two sums each in 24 of 32 registers.
    fn gemm<F: Fill<Self, W>, W: Product<Self, A>, A: ActBlock>(self, call: Call) {
        self.run(Gemm::<F, W, A, 1, 12>::new(call));
    }

    fn prefill<F: SuperBlocks>(self, call: Call) {
        prefill_rounded::<Self, F>(self, call);
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
    fn sub_floats(self, sub: __m512) -> __m512 {
        sub
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m512i; 8]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m512; T]; P] {
        dots::sums(self, q, x)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m512i; 8]; P],
        sub: [&[__m512; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m512; T]; P] {
        dots::half_sums(self, q, sub, x)
    }
}

impl WideSums for Avx512 {
    type Wide = [__m512i; 16];

    #[inline(always)]
    fn widened(self, q: [__m512i; 8]) -> [__m512i; 16] {
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

impl Dots for Avx512 {
    #[inline(always)]
    fn dpbusd(self, sum: __m512i, q: __m512i, x: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(sum, q, x) }
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
