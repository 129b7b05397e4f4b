//! Sixteen lanes of 32 bits in 512-bit vectors, by AVX-512: two groups of eight rows.

use super::ymm::{Avx2, Avx512Ymm};
use crate::generic::simd::{Integers, Lanes, MAX_LANES, ops, run_with};
use core::arch::x86_64::*;

type V = __m512;
type I = __m512i;

/// AVX-512 (F, BW, VL) with its VNNI, which a CPU has on 256 bits too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(Avx512Ymm);

impl Avx512 {
    /// The proof, if this CPU has the features.
    pub(super) fn new() -> Option<Avx512> {
        Avx512Ymm::new().map(Avx512)
    }
}

impl From<Avx512> for Avx512Ymm {
    #[inline(always)]
    fn from(l: Avx512) -> Avx512Ymm {
        l.0
    }
}

impl From<Avx512> for Avx2 {
    #[inline(always)]
    fn from(l: Avx512) -> Avx2 {
        l.0.into()
    }
}

impl Lanes for Avx512 {
    type V = V;
    const COUNT: usize = 16;

    run_with!(
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
    );
    ops! {
        fn splat(x: f32) -> V: "`vbroadcastss`" = _mm512_set1_ps(x);
        fn mul(a: V, b: V) -> V: "`vmulps`" = _mm512_mul_ps(a, b);
        fn div(a: V, b: V) -> V: "`vdivps`" = _mm512_div_ps(a, b);
        fn mul_add(a: V, b: V, c: V) -> V: "`vfmadd231ps`" = _mm512_fmadd_ps(a, b, c);
        fn max(a: V, b: V) -> V: "`vmaxps`" = _mm512_max_ps(a, b);
        fn abs(v: V) -> V: "`vpandd`" = _mm512_abs_ps(v);
    }
}

impl Integers for Avx512 {
    type I = I;

    // Shifts use `_mm512_sll_epi16` and its like, because the intrinsics for constants
    // take unsigned constants.
    ops! {
        fn splat_i8(x: i8) -> I: "`vpbroadcastb`" = _mm512_set1_epi8(x);
        fn splat_i32(x: i32) -> I: "`vpbroadcastd`" = _mm512_set1_epi32(x);
        fn and(a: I, b: I) -> I: "`vpandd`" = _mm512_and_si512(a, b);
        fn or(a: I, b: I) -> I: "`vpord`" = _mm512_or_si512(a, b);
        fn add_i8(a: I, b: I) -> I: "`vpaddb`" = _mm512_add_epi8(a, b);
        fn sub_i8(a: I, b: I) -> I: "`vpsubb`" = _mm512_sub_epi8(a, b);
        fn add_16(a: I, b: I) -> I: "`vpaddw`" = _mm512_add_epi16(a, b);
        fn mul_16(a: I, b: I) -> I: "`vpmullw`" = _mm512_mullo_epi16(a, b);
        fn add_i32(a: I, b: I) -> I: "`vpaddd`" = _mm512_add_epi32(a, b);
        fn shl_16<const N: i32>(v: I) -> I: "`vpsllw`" = _mm512_sll_epi16(v, _mm_cvtsi32_si128(N));
        fn shr_16<const N: i32>(v: I) -> I: "`vpsrlw`" = _mm512_srl_epi16(v, _mm_cvtsi32_si128(N));
        fn shl_32<const N: i32>(v: I) -> I: "`vpslld`" = _mm512_sll_epi32(v, _mm_cvtsi32_si128(N));
        fn shr_32<const N: i32>(v: I) -> I: "`vpsrld`" = _mm512_srl_epi32(v, _mm_cvtsi32_si128(N));
        fn sar_32<const N: i32>(v: I) -> I: "`vpsrad`" = _mm512_sra_epi32(v, _mm_cvtsi32_si128(N));
        fn select_gt_i32(a: I, b: I, x: I, y: I) -> I: "`vpcmpgtd`, `vpblendmd`" =
            _mm512_mask_blend_epi32(_mm512_cmpgt_epi32_mask(a, b), y, x);
        fn shuffle(v: I, index: I) -> I: "`vpshufb`" = _mm512_shuffle_epi8(v, index);
        fn to_floats(v: I) -> V: "`vcvtdq2ps`" = _mm512_cvtepi32_ps(v);
        fn to_integers(v: V) -> I: "`vcvtps2dq`" = _mm512_cvtps_epi32(v);
        fn float_bits(v: I) -> V: "No instruction." = _mm512_castsi512_ps(v);
        fn f16_pairs(v: I) -> [V; 2]: "`vpmovdw`, `vcvtph2ps`" = {
            let high = _mm512_srl_epi32(v, _mm_cvtsi32_si128(16));
            [
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)),
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(high)),
            ]
        };
    }
    #[inline(always)]
    fn splat_16(self, x: &[i8; 16]) -> I {
        // SAFETY: `self` proves AVX-512; the array has the 16 bytes that are read.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn lanes_u32(self, x: &[u32; MAX_LANES]) -> I {
        // SAFETY: `self` proves AVX-512; the array has the 64 bytes that are read.
        unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn lanes_f16(self, x: &[u16; MAX_LANES]) -> V {
        // SAFETY: `self` proves AVX-512; the array has the 32 bytes that are read.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn store_lanes(self, v: V, out: &mut [f32; MAX_LANES]) {
        // SAFETY: `self` proves AVX-512; the array has the 64 bytes that are written.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    unsafe fn load_lanes(self, from: *const u8, group: usize) -> I {
        // SAFETY: `self` proves AVX-512; the caller has the bytes.
        unsafe {
            let first = _mm256_loadu_si256(from.cast());
            let second = _mm256_loadu_si256(from.wrapping_add(group).cast());
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
        }
    }
    #[inline(always)]
    unsafe fn load_f16s(self, from: *const u8, group: usize) -> V {
        let second = from.wrapping_add(group);
        // SAFETY: `self` proves AVX-512; the caller has the bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu2_m128i(second.cast(), from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_transposed(self, from: *const u8, stride: usize) -> [I; 4] {
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
