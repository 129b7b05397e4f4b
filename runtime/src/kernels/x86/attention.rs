//! Attention with products of floats, or of 16-bit integers as each level has them.

use super::avx2::{Avx2, Maddubs};
use super::avx512::Avx512;
use super::vnni::{Evex, Vex, Vnni};
use super::ymm::Ymm;
use crate::kernels::attention::impl_attention;
use crate::kernels::attention::prefill::pairs::{I16Pairs, PairProducts, Pairs};
use core::arch::x86_64::*;
#[cfg(test)]
use {
    super::vnni,
    crate::kernels::attention::Attention,
    std::{boxed::Box, vec::Vec},
};

impl_attention!(Avx2, [target_feature(enable = "avx2,fma,f16c")]);
impl_attention!(
    Pairs<Ymm<Maddubs>>,
    [target_feature(enable = "avx2,fma,f16c")]
);
impl_attention!(
    Pairs<Ymm<Vex>>,
    [target_feature(enable = "avx2,fma,f16c,avxvnni")]
);
impl_attention!(
    Pairs<Avx512>,
    [target_feature(
        enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni"
    )]
);

impl I16Pairs for Avx2 {
    #[inline(always)]
    fn pairs(self, first: __m256, second: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let low = _mm256_cvtps_epi32(first);
            let high = _mm256_slli_epi32::<16>(_mm256_cvtps_epi32(second));
            _mm256_castsi256_ps(_mm256_blend_epi16::<0b1010_1010>(low, high))
        }
    }
    #[inline(always)]
    fn integers_to_f32(self, v: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cvtepi32_ps(_mm256_castps_si256(v)) }
    }
}

impl PairProducts for Ymm<Maddubs> {
    #[inline(always)]
    fn add_pair_products(self, a: __m256, b: __m256, sum: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let products = _mm256_madd_epi16(_mm256_castps_si256(a), _mm256_castps_si256(b));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), products))
        }
    }
}

impl<M: Vnni> PairProducts for Ymm<M> {
    #[inline(always)]
    fn add_pair_products(self, a: __m256, b: __m256, sum: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2 and the encoding.
        unsafe {
            let (a, b) = (_mm256_castps_si256(a), _mm256_castps_si256(b));
            _mm256_castsi256_ps(M::dpwssd(_mm256_castps_si256(sum), a, b))
        }
    }
}

/// On 256 bits, as all else of attention.
impl PairProducts for Avx512 {
    #[inline(always)]
    fn add_pair_products(self, a: __m256, b: __m256, sum: __m256) -> __m256 {
        Ymm::<Evex>::from(self).add_pair_products(a, b, sum)
    }
}

/// The levels with products of integers that this machine has.
#[cfg(test)]
pub(in crate::kernels) fn pairs() -> Vec<Box<dyn Attention>> {
    let mut levels: Vec<Box<dyn Attention>> = Vec::new();
    if let Some(floats) = Avx2::new() {
        levels.push(Box::new(Pairs(floats.integers())));
        levels.extend(vnni::new(floats).map(|l| Box::new(Pairs(l)) as _));
        levels.extend(Avx512::new(floats).map(|l| Box::new(Pairs(l)) as _));
    }
    levels
}
