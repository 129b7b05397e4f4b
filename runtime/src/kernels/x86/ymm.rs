//! Eight lanes of 32 bits in 256-bit vectors, by AVX2, FMA and F16C.
// `p` and `t` name runs and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use crate::kernels::array::map;
use crate::kernels::integer::{Arithmetic, Lanes, MAX_LANES, WideSums};
use crate::kernels::vector::simd::Op;
use core::arch::x86_64::*;
use core::marker::PhantomData;

/// The lanes of a CPU that has AVX2, FMA, F16C and the features of `M`, which
/// multiplies: a value that exists only if the CPU can run it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ymm<M>(PhantomData<M>);

impl<M> Ymm<M> {
    /// # Safety
    /// The CPU must have the features.
    pub(super) unsafe fn new() -> Ymm<M> {
        Ymm(PhantomData)
    }
}

/// Instructions that multiply 256-bit vectors of integers.
pub(crate) trait Multiplier: Copy + Send + Sync + 'static {
    /// Runs `op` with the features that `lanes` proves.
    fn run<O: Op<Ymm<Self>>>(lanes: Ymm<Self>, op: O);
}

/// By `madd` at every level: adding up in `dpwssd` waits longer for each sum.
impl<M: Multiplier> WideSums for Ymm<M>
where
    Ymm<M>: Arithmetic<I = __m256i, V = __m256>,
{
    /// Lane `r` of vector `2j` holds elements 4j and 4j + 2 of row `r`, of
    /// vector `2j + 1` elements 4j + 1 and 4j + 3.
    type Wide = [__m256i; 16];

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
    fn wide_sums<const P: usize, const T: usize>(
        self,
        q: [&[__m256i; 16]; P],
        x: [&[i16; 32]; T],
    ) -> [[__m256; T]; P] {
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
                    if P * T > 2 {
                        // SAFETY: as above.
                        sums[p][t] = unsafe { kept_in_order(sums[p][t]) };
                    }
                }
            }
        }
        self.floats(sums)
    }
}

// As in the vectors of floats: an intrinsic that only computes needs no more
// than the CPU's features, of which `self` is the proof.
impl<M: Multiplier> Lanes for Ymm<M> {
    type I = __m256i;
    type V = __m256;
    const COUNT: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn larger(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_max_ps(a, _mm256_andnot_ps(_mm256_set1_ps(-0.0), b)) }
    }
    #[inline(always)]
    fn store(self, v: __m256, out: &mut [f32; MAX_LANES]) {
        // SAFETY: `self` proves AVX; the array has the 32 bytes that are written.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn run<O: Op<Self>>(self, op: O) {
        M::run(self, op);
    }

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
    fn splat_16(self, x: &[i8; 16]) -> __m256i {
        // SAFETY: `self` proves AVX2; the array has the 16 bytes that are read.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn lanes_u32(self, x: &[u32; MAX_LANES]) -> __m256i {
        let x = map(*x, u32::cast_signed);
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_setr_epi32(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]) }
    }
    #[inline(always)]
    fn lanes_f16(self, x: &[u16; MAX_LANES]) -> __m256 {
        let x = map(*x, u16::cast_signed);
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
    fn add_16(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi16(a, b) }
    }
    #[inline(always)]
    fn mul_16(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_mullo_epi16(a, b) }
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
    fn to_integers(self, v: __m256) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cvtps_epi32(v) }
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
    unsafe fn load_lanes(self, from: *const u8, _group: usize) -> __m256i {
        // SAFETY: `self` proves AVX2; the caller has the bytes.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_f16s(self, from: *const u8, _group: usize) -> __m256 {
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
}

/// The same vector, in a register, in program order: else the compiler gathers
/// the steps of each sum, and spills the weights that the sums share.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn kept_in_order(mut v: __m256i) -> __m256i {
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("/* {0} */", inlateout(ymm_reg) v, options(nomem, nostack, preserves_flags));
    }
    v
}
