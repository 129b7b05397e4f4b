//! Attention by AVX2, FMA and F16C: with products of floats, or of 16-bit
//! integers.

use super::Avx2;
use crate::kernels::attention::impl_attention;
use crate::kernels::attention::prefill::pairs::{I16Pairs, Pairs};
use core::arch::x86_64::*;

impl_attention!(Avx2, [target_feature(enable = "avx2,fma,f16c")]);
impl_attention!(Pairs<Avx2>, [target_feature(enable = "avx2,fma,f16c")]);

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
    fn add_pair_products(self, a: __m256, b: __m256, sum: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let products = _mm256_madd_epi16(_mm256_castps_si256(a), _mm256_castps_si256(b));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), products))
        }
    }
    #[inline(always)]
    fn integers_to_f32(self, v: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cvtepi32_ps(_mm256_castps_si256(v)) }
    }
}
