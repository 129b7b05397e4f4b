//! Rows of floats by AVX2, FMA and F16C: at every ISA of x86, for all have them.

use super::ymm::Avx2;
use crate::generic::simd::{EXPONENT_MAGIC, LANES, Simd, ops};
use core::arch::x86_64::*;
use half::f16;

type V = __m256;

impl Simd for Avx2 {
    ops! {
        fn splat_f16(x: f16) -> V: "`vcvtph2ps`" =
            _mm256_cvtph_ps(_mm_set1_epi16(x.to_bits().cast_signed()));
        fn add(a: V, b: V) -> V: "`vaddps`" = _mm256_add_ps(a, b);
        fn sub(a: V, b: V) -> V: "`vsubps`" = _mm256_sub_ps(a, b);
        fn min(a: V, b: V) -> V: "`vminps`" = _mm256_min_ps(a, b);
        fn select_lt(a: V, b: V, x: V, y: V) -> V: "`vcmpltps`, `vblendvps`" =
            _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
        fn exp2_whole(n: V) -> V: "`vaddps`, `vpslld`" = {
            let biased = _mm256_add_ps(n, _mm256_set1_ps(EXPONENT_MAGIC));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(biased)))
        };
        fn sum(v: V) -> f32: "`vaddps`, `vhaddps`" = {
            let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let quarter = _mm_hadd_ps(half, half);
            _mm_cvtss_f32(_mm_hadd_ps(quarter, quarter))
        };
        fn max_lane(v: V) -> f32: "`vmaxps`, `vmaxss`" = {
            let half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)))
        };
        // a0 a2 b0 b2 a4 a6 b4 b6, and so for the odd ones; then the middle pairs
        // change places.
        fn unzip(a: V, b: V) -> (V, V): "`vshufps`, `vpermpd`" = (
            swap_middle_pairs(_mm256_shuffle_ps::<0b10_00_10_00>(a, b)),
            swap_middle_pairs(_mm256_shuffle_ps::<0b11_01_11_01>(a, b)),
        );
        fn zip(even: V, odd: V) -> (V, V): "`vunpcklps`, `vunpckhps`, `vperm2f128`" = {
            let low = _mm256_unpacklo_ps(even, odd);
            let high = _mm256_unpackhi_ps(even, odd);
            (
                _mm256_permute2f128_ps::<0x20>(low, high),
                _mm256_permute2f128_ps::<0x31>(low, high),
            )
        };
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> V {
        // SAFETY: `self` proves AVX; the array has the 32 bytes that are read.
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: V, out: &mut [f32; LANES]) {
        // SAFETY: `self` proves AVX; the array has the 32 bytes that are written.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> V {
        // SAFETY: `self` proves F16C; the array has the 16 bytes that are read.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> V {
        // SAFETY: `self` proves AVX2; the array has the 8 bytes that are read.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadu_si64(x.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn store_f16(self, v: V, out: &mut [f16; LANES]) {
        // SAFETY: `self` proves F16C; the array has the 16 bytes that are written.
        unsafe {
            let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v);
            _mm_storeu_si128(out.as_mut_ptr().cast(), halves);
        }
    }
    #[inline(always)]
    fn store_low_8(self, v: [V; 4], out: &mut [i8; 4 * LANES]) {
        // SAFETY: `self` proves AVX2; the array has the 32 bytes that are written.
        unsafe {
            let bytes = _mm256_packus_epi16(low::<0xff>(v[0], v[1]), low::<0xff>(v[2], v[3]));
            // Packing works in halves: fours of each vector's lower half lie first.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes);
        }
    }
    #[inline(always)]
    fn store_low_16(self, v: [V; 4], out: &mut [i16; 4 * LANES]) {
        let (out, _) = out.as_chunks_mut::<16>();
        for (i, out) in out.iter_mut().enumerate() {
            // SAFETY: `self` proves AVX2; the array has the 32 bytes that are written.
            unsafe {
                let numbers = low::<0xffff>(v[2 * i], v[2 * i + 1]);
                let numbers = _mm256_permute4x64_epi64::<0b11_01_10_00>(numbers);
                let numbers = _mm256_shufflelo_epi16::<0b11_01_10_00>(numbers);
                let numbers = _mm256_shufflehi_epi16::<0b11_01_10_00>(numbers);
                _mm256_storeu_si256(out.as_mut_ptr().cast(), numbers);
            }
        }
    }
    #[inline(always)]
    fn sum4(self, v: [V; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        // SAFETY: `self` proves AVX; the array has the 16 bytes that are written.
        unsafe {
            let pairs = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
            let (low, high) = (
                _mm256_castps256_ps128(pairs),
                _mm256_extractf128_ps::<1>(pairs),
            );
            _mm_storeu_ps(sums.as_mut_ptr(), _mm_add_ps(low, high));
        }
        sums
    }
}

/// The bits of `MASK`, 16 at most, of each lane: four lanes of `a`, four of
/// `b`, and again.
#[inline]
#[target_feature(enable = "avx2")]
fn low<const MASK: i32>(a: V, b: V) -> __m256i {
    let mask = _mm256_set1_epi32(MASK);
    let a = _mm256_and_si256(_mm256_castps_si256(a), mask);
    let b = _mm256_and_si256(_mm256_castps_si256(b), mask);
    _mm256_packus_epi32(a, b)
}

/// Pairs of lanes `0 1 2 3` as `0 2 1 3`.
#[inline]
#[target_feature(enable = "avx2")]
fn swap_middle_pairs(v: V) -> V {
    _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v)))
}
