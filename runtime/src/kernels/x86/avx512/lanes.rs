//! Sixteen lanes of 32 bits, by AVX-512.

use super::Avx512;
use crate::kernels::integer::{Lanes, MAX_LANES};
use crate::kernels::vector::simd::Op;
use core::arch::x86_64::*;

// As in the vectors of floats: an intrinsic that only computes needs no more
// than the CPU's features, of which `self` is the proof.
impl Lanes for Avx512 {
    type I = __m512i;
    type V = __m512;
    const COUNT: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn larger(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_max_ps(a, _mm512_abs_ps(b)) }
    }
    #[inline(always)]
    fn store(self, v: __m512, out: &mut [f32; MAX_LANES]) {
        // SAFETY: `self` proves AVX-512; the array has the 64 bytes that are written.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }
    fn run<O: Op<Self>>(self, op: O) {
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
        fn run<O: Op<Avx512>>(level: Avx512, op: O) {
            op.run(level);
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { run(self, op) }
    }

    #[inline(always)]
    fn splat_i8(self, x: i8) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_set1_epi8(x) }
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn splat_16(self, x: &[i8; 16]) -> __m512i {
        // SAFETY: `self` proves AVX-512; the array has the 16 bytes that are read.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn lanes_u32(self, x: &[u32; MAX_LANES]) -> __m512i {
        // SAFETY: `self` proves AVX-512; the array has the 64 bytes that are read.
        unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn lanes_f16(self, x: &[u16; MAX_LANES]) -> __m512 {
        // SAFETY: `self` proves AVX-512; the array has the 32 bytes that are read.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn add_i8(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_add_epi8(a, b) }
    }
    #[inline(always)]
    fn sub_i8(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_sub_epi8(a, b) }
    }
    #[inline(always)]
    fn add_16(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_add_epi16(a, b) }
    }
    #[inline(always)]
    fn mul_16(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_mullo_epi16(a, b) }
    }
    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn shl_16<const N: i32>(self, v: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_sll_epi16(v, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn shr_16<const N: i32>(self, v: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_srl_epi16(v, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn shl_32<const N: i32>(self, v: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_sll_epi32(v, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn shr_32<const N: i32>(self, v: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_srl_epi32(v, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn sar_32<const N: i32>(self, v: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_sra_epi32(v, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn select_gt_i32(self, a: __m512i, b: __m512i, x: __m512i, y: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_mask_blend_epi32(_mm512_cmpgt_epi32_mask(a, b), y, x) }
    }
    #[inline(always)]
    fn shuffle(self, v: __m512i, index: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_shuffle_epi8(v, index) }
    }
    #[inline(always)]
    fn to_floats(self, v: __m512i) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_cvtepi32_ps(v) }
    }
    #[inline(always)]
    fn to_integers(self, v: __m512) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_cvtps_epi32(v) }
    }
    #[inline(always)]
    fn float_bits(self, v: __m512i) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_castsi512_ps(v) }
    }
    #[inline(always)]
    fn f16_pairs(self, v: __m512i) -> [__m512; 2] {
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let low = _mm512_cvtepi32_epi16(v);
            let high = _mm512_cvtepi32_epi16(self.shr_32::<16>(v));
            [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)]
        }
    }

    #[inline(always)]
    unsafe fn load_lanes(self, from: *const u8, group: usize) -> __m512i {
        // SAFETY: `self` proves AVX-512; the caller has the bytes.
        unsafe {
            let first = _mm256_loadu_si256(from.cast());
            let second = _mm256_loadu_si256(from.wrapping_add(group).cast());
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
        }
    }
    #[inline(always)]
    unsafe fn load_f16s(self, from: *const u8, group: usize) -> __m512 {
        // SAFETY: `self` proves AVX-512; the caller has the bytes.
        unsafe {
            _mm512_cvtph_ps(_mm256_loadu2_m128i(
                from.wrapping_add(group).cast(),
                from.cast(),
            ))
        }
    }
    #[inline(always)]
    unsafe fn load_transposed(self, from: *const u8, stride: usize) -> [__m512i; 4] {
        // SAFETY: `self` proves AVX-512; the caller has the bytes of all rows.
        unsafe {
            // Rows i, i + 4, i + 8 and i + 12 side by side, then a 4 x 4
            // transpose in each quarter.
            let row = |lane: usize| from.wrapping_add(lane * stride).cast();
            let pair = |lane: usize| _mm256_loadu2_m128i(row(lane + 4), row(lane));
            let four = |lane: usize| {
                _mm512_inserti64x4::<1>(_mm512_castsi256_si512(pair(lane)), pair(lane + 8))
            };
            let (y0, y1, y2, y3) = (four(0), four(1), four(2), four(3));
            let (a0, a1) = (_mm512_unpacklo_epi32(y0, y1), _mm512_unpackhi_epi32(y0, y1));
            let (a2, a3) = (_mm512_unpacklo_epi32(y2, y3), _mm512_unpackhi_epi32(y2, y3));
            [
                _mm512_unpacklo_epi64(a0, a2),
                _mm512_unpackhi_epi64(a0, a2),
                _mm512_unpacklo_epi64(a1, a3),
                _mm512_unpackhi_epi64(a1, a3),
            ]
        }
    }
}
