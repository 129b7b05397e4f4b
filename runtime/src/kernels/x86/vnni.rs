//! Dot products on 256-bit vectors, which AVX-VNNI and AVX-512 encode each in
//! their own way.

use super::avx2::Avx2;
use super::avx512::Avx512;
use super::dots::{self, Dots};
use super::ymm::{Multiplier, Ymm};
use crate::kernels::Call;
use crate::kernels::acts::ActBlock;
use crate::kernels::integer::{
    Arithmetic, Fill, Gemm, Lanes, Madd16, Product, SuperBlocks, prefill_rounded,
};
use crate::kernels::vector::simd::Op;
use core::arch::x86_64::*;

/// An encoding of the dot products on 256 bits.
pub(in crate::kernels) trait Vnni: Multiplier {
    /// `sum` and the products of levels with activations.
    ///
    /// # Safety
    /// The CPU has the encoding.
    unsafe fn dpbusd(sum: __m256i, q: __m256i, x: __m256i) -> __m256i;

    /// `sum` and the products of pairs of 16-bit numbers.
    ///
    /// # Safety
    /// The CPU has the encoding.
    unsafe fn dpwssd(sum: __m256i, a: __m256i, b: __m256i) -> __m256i;
}

/// As AVX-VNNI encodes them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vex;

/// As AVX-512 encodes them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evex;

/// The lanes, if this CPU has AVX-VNNI too.
pub(super) fn new(_: Avx2) -> Option<Ymm<Vex>> {
    #[cfg(feature = "std")]
    let has = std::is_x86_feature_detected!("avxvnni");
    #[cfg(not(feature = "std"))]
    let has = cfg!(target_feature = "avxvnni");
    // SAFETY: the CPU has this feature, and the argument proves the others.
    has.then(|| unsafe { Ymm::new() })
}

impl From<Avx512> for Ymm<Evex> {
    #[inline(always)]
    fn from(_: Avx512) -> Self {
        // SAFETY: the argument proves more than AVX2, FMA, F16C and this encoding.
        unsafe { Ymm::new() }
    }
}

impl Multiplier for Vex {
    fn run<O: Op<Ymm<Vex>>>(lanes: Ymm<Vex>, op: O) {
        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        fn run<O: Op<Ymm<Vex>>>(lanes: Ymm<Vex>, op: O) {
            op.run(lanes);
        }
        // SAFETY: `lanes` proves that the CPU has the features.
        unsafe { run(lanes, op) }
    }
}

impl Vnni for Vex {
    #[inline(always)]
    unsafe fn dpbusd(sum: __m256i, q: __m256i, x: __m256i) -> __m256i {
        // SAFETY: the caller's CPU has AVX-VNNI.
        unsafe { _mm256_dpbusd_avx_epi32(sum, q, x) }
    }

    #[inline(always)]
    unsafe fn dpwssd(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_dpwssd_avx_epi32(sum, a, b) }
    }
}

impl Multiplier for Evex {
    fn run<O: Op<Ymm<Evex>>>(lanes: Ymm<Evex>, op: O) {
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
        fn run<O: Op<Ymm<Evex>>>(lanes: Ymm<Evex>, op: O) {
            op.run(lanes);
        }
        // SAFETY: `lanes` proves that the CPU has the features.
        unsafe { run(lanes, op) }
    }
}

impl Vnni for Evex {
    #[inline(always)]
    unsafe fn dpbusd(sum: __m256i, q: __m256i, x: __m256i) -> __m256i {
        // SAFETY: the caller's CPU has the VNNI of AVX-512.
        unsafe { _mm256_dpbusd_epi32(sum, q, x) }
    }

    #[inline(always)]
    unsafe fn dpwssd(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_dpwssd_epi32(sum, a, b) }
    }
}

// As in the vectors of floats: an intrinsic that only computes needs no more
// than the CPU's features, of which `self` is the proof.
impl<M: Vnni> Arithmetic for Ymm<M> {
    /// As floats: [`dots::half_sums`].
    type Sub = __m256;
    type Single = Self;
    const PANELS: usize = 2;

    /// So many panels and tokens have two sums each in twelve of sixteen registers.
    fn gemm<F: Fill<Self, W>, W: Product<Self, A>, A: ActBlock>(self, call: Call) {
        self.run(Gemm::<F, W, A, 2, 3>::new(call));
    }

    fn prefill<F: SuperBlocks>(self, call: Call) {
        prefill_rounded::<Self, F>(self, call);
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
    fn sub_floats(self, sub: __m256) -> __m256 {
        sub
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256; T]; P] {
        dots::sums(self, q, x)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        sub: [&[__m256; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256; T]; P] {
        dots::half_sums(self, q, sub, x)
    }
}

impl<M: Vnni> Dots for Ymm<M> {
    #[inline(always)]
    fn dpbusd(self, sum: __m256i, q: __m256i, x: __m256i) -> __m256i {
        // SAFETY: `self` proves the encoding.
        unsafe { M::dpbusd(sum, q, x) }
    }
}

impl<M: Vnni> Madd16 for Ymm<M> {
    type Floats = Avx2;

    #[inline(always)]
    fn floats_level(self) -> Avx2 {
        // SAFETY: `self` proves more than AVX2, FMA and F16C.
        unsafe { Avx2::assumed() }
    }
}
