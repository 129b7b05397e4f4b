//! Integer lanes and sums of products by AVX2: `maddubs` adds pairs of 8-bit
//! products in 16 bits.
// `p` and `t` name groups and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::Avx2;
use crate::kernels::integer::{Arithmetic, Lanes};
use core::arch::x86_64::*;

// As in the vectors of floats: an intrinsic that only computes needs no more
// than the CPU's features, of which `self` is the proof.
impl Lanes for Avx2 {
    type I = __m256i;

    #[inline(always)]
    fn splat_i8(self, x: i8) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_epi8(x) }
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    fn splat_half(self, x: &[i8; 16]) -> __m256i {
        // SAFETY: `self` proves AVX2; the array has the 16 bytes that are read.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn lanes_u32(self, x: [u32; 8]) -> __m256i {
        let x = x.map(u32::cast_signed);
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_setr_epi32(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]) }
    }
    #[inline(always)]
    fn lanes_f16(self, x: [u16; 8]) -> __m256 {
        let x = x.map(u16::cast_signed);
        // SAFETY: `self` proves F16C.
        unsafe {
            _mm256_cvtph_ps(_mm_setr_epi16(
                x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7],
            ))
        }
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_and_si256(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_or_si256(a, b) }
    }
    #[inline(always)]
    fn add_i8(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi8(a, b) }
    }
    #[inline(always)]
    fn sub_i8(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_sub_epi8(a, b) }
    }
    #[inline(always)]
    fn add_i32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    fn shl_16<const N: i32>(self, v: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_slli_epi16::<N>(v) }
    }
    #[inline(always)]
    fn shr_16<const N: i32>(self, v: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_srli_epi16::<N>(v) }
    }
    #[inline(always)]
    fn shl_32<const N: i32>(self, v: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_slli_epi32::<N>(v) }
    }
    #[inline(always)]
    fn shr_32<const N: i32>(self, v: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_srli_epi32::<N>(v) }
    }
    #[inline(always)]
    fn sar_32<const N: i32>(self, v: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_srai_epi32::<N>(v) }
    }
    #[inline(always)]
    fn select_gt_i32(self, a: __m256i, b: __m256i, x: __m256i, y: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi32(a, b)) }
    }
    #[inline(always)]
    fn shuffle(self, v: __m256i, index: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_shuffle_epi8(v, index) }
    }
    #[inline(always)]
    fn to_floats(self, v: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cvtepi32_ps(v) }
    }
    #[inline(always)]
    fn float_bits(self, v: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_castsi256_ps(v) }
    }
    #[inline(always)]
    fn f16_pairs(self, v: __m256i) -> [__m256; 2] {
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe {
            let low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
            let packed = _mm256_packus_epi32(low, _mm256_srli_epi32::<16>(v));
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            [
                _mm256_cvtph_ps(_mm256_castsi256_si128(packed)),
                _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(packed)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_lanes(self, from: *const u8) -> __m256i {
        // SAFETY: `self` proves AVX2; the caller has the bytes.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_f16s(self, from: *const u8) -> __m256 {
        // SAFETY: `self` proves F16C; the caller has the bytes.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_transposed(self, from: *const u8, stride: usize) -> [__m256i; 4] {
        // SAFETY: `self` proves AVX2; the caller has the bytes of all rows.
        unsafe {
            // Rows i and i + 4 side by side, then a 4 x 4 transpose in each half.
            let row = |lane: usize| from.wrapping_add(lane * stride).cast();
            let pair = |lane: usize| _mm256_loadu2_m128i(row(lane + 4), row(lane));
            let (y0, y1, y2, y3) = (pair(0), pair(1), pair(2), pair(3));
            let (a0, a1) = (_mm256_unpacklo_epi32(y0, y1), _mm256_unpackhi_epi32(y0, y1));
            let (a2, a3) = (_mm256_unpacklo_epi32(y2, y3), _mm256_unpackhi_epi32(y2, y3));
            [
                _mm256_unpacklo_epi64(a0, a2),
                _mm256_unpackhi_epi64(a0, a2),
                _mm256_unpacklo_epi64(a1, a3),
                _mm256_unpackhi_epi64(a1, a3),
            ]
        }
    }
    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch reads nothing, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
}

impl Arithmetic for Avx2 {
    #[inline(always)]
    fn arranged(self, q: [__m256i; 8]) -> [__m256i; 8] {
        q
    }

    /// As pairs of equal i16, for `madd`.
    #[inline(always)]
    fn arranged_sub(self, sub: __m256i) -> __m256i {
        let low = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];
        self.shuffle(sub, self.splat_half(&low))
    }

    /// Lane `r` of vector `2j` holds elements 4j and 4j + 2 of row `r`, of
    /// vector `2j + 1` elements 4j + 1 and 4j + 3.
    #[inline(always)]
    fn widened(self, q: [__m256i; 8]) -> [__m256i; 16] {
        let mut wide = [self.splat_i32(0); 16];
        for j in 0..8 {
            // SAFETY: `self` proves AVX2.
            unsafe {
                wide[2 * j] = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(q[j]));
                wide[2 * j + 1] = _mm256_srai_epi16::<8>(q[j]);
            }
        }
        wide
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256i; T]; P] {
        let mut total = [[self.splat_i32(0); T]; P];
        // SAFETY: `self` proves AVX2.
        let one = unsafe { _mm256_set1_epi16(1) };
        for first in (0..8).step_by(DEPTH) {
            self.widen(&mut total, self.sum16::<DEPTH, P, T>(q, x, first), [one; P]);
        }
        total
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        sub: [&[__m256i; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256i; T]; P] {
        let mut total = [[self.splat_i32(0); T]; P];
        for first in (0..8).step_by(DEPTH) {
            let by = sub.map(|sub| sub[first / 4]);
            self.widen(&mut total, self.sum16::<DEPTH, P, T>(q, x, first), by);
        }
        total
    }

    #[inline(always)]
    fn wide_sums<const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 16]; P],
        x: [&[i16; 32]; T],
    ) -> [[__m256i; T]; P] {
        let mut sums = [[self.splat_i32(0); T]; P];
        for j in 0..16 {
            for t in 0..T {
                // SAFETY: two activations lie at 2 * j < 32.
                let two = unsafe { x[t].as_ptr().add(2 * j).cast::<i32>().read_unaligned() };
                let two = self.splat_i32(two);
                for p in 0..P {
                    // SAFETY: `self` proves AVX2.
                    let product = unsafe { _mm256_madd_epi16(q[p][j], two) };
                    sums[p][t] = self.add_i32(sums[p][t], product);
                }
            }
        }
        sums
    }
}

impl Avx2 {
    /// Sums in 16 bits of vectors `first..first + DEPTH` times activations.
    #[inline(always)]
    fn sum16<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 8]; P],
        x: [&[i8; 32]; T],
        first: usize,
    ) -> [[__m256i; T]; P] {
        let mut sums = [[self.splat_i32(0); T]; P];
        for j in first..first + DEPTH {
            for t in 0..T {
                // SAFETY: four activations lie at 4 * j < 32.
                let four = unsafe { x[t].as_ptr().add(4 * j).cast::<i32>().read_unaligned() };
                let four = self.splat_i32(four);
                for p in 0..P {
                    // SAFETY: `self` proves AVX2.
                    unsafe {
                        let product = _mm256_maddubs_epi16(q[p][j], four);
                        sums[p][t] = _mm256_add_epi16(sums[p][t], product);
                        if P * T > 2 {
                            sums[p][t] = kept_in_order(sums[p][t]);
                        }
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
        total: &mut [[__m256i; T]; P],
        sums: [[__m256i; T]; P],
        by: [__m256i; P],
    ) {
        for p in 0..P {
            for t in 0..T {
                // SAFETY: `self` proves AVX2.
                let pairs = unsafe { _mm256_madd_epi16(sums[p][t], by[p]) };
                total[p][t] = self.add_i32(total[p][t], pairs);
            }
        }
    }
}

/// The same vector, in a register, in program order: else the compiler gathers
/// the steps of each sum, and spills the weights that the sums share.
#[inline]
#[target_feature(enable = "avx2")]
fn kept_in_order(mut v: __m256i) -> __m256i {
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("/* {0} */", inlateout(ymm_reg) v, options(nomem, nostack, preserves_flags));
    }
    v
}
