//! Eight lanes of 32 bits in 256-bit vectors, by AVX2, FMA and F16C; three ISAs that
//! differ in how they multiply integers.
// `p` and `t` name runs and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use crate::generic::array::map;
use crate::generic::simd::{Integers, Lanes, MAX_LANES, ops, run_with};
use core::arch::x86_64::*;

type V = __m256;
type I = __m256i;

/// The proof type of an ISA, and its lanes of floats and integers.
macro_rules! ymm {
    ($(#[$doc:meta])* $proof:ident: $($feature:tt),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $proof(());

        impl $proof {
            /// The proof, if this CPU has the features.
            pub(super) fn new() -> Option<$proof> {
                #[cfg(feature = "std")]
                let has = $(std::is_x86_feature_detected!($feature))&&+;
                #[cfg(not(feature = "std"))]
                let has = cfg!(all($(target_feature = $feature),+));
                has.then_some($proof(()))
            }
        }

        impl $proof {
            ops! {
                pub(super) fn madd(a: I, b: I) -> I: "`vpmaddwd`" = _mm256_madd_epi16(a, b);
                pub(super) fn kept_in_order(v: I) -> I: "No instruction." = kept_in_order(v);
            }
        }

        impl Lanes for $proof {
            type V = V;
            const COUNT: usize = 8;

            run_with!($(#[target_feature(enable = $feature)])+);
            ops! {
                fn splat(x: f32) -> V: "`vbroadcastss`" = _mm256_set1_ps(x);
                fn mul(a: V, b: V) -> V: "`vmulps`" = _mm256_mul_ps(a, b);
                fn div(a: V, b: V) -> V: "`vdivps`" = _mm256_div_ps(a, b);
                fn mul_add(a: V, b: V, c: V) -> V: "`vfmadd231ps`" = _mm256_fmadd_ps(a, b, c);
                fn max(a: V, b: V) -> V: "`vmaxps`" = _mm256_max_ps(a, b);
                fn abs(v: V) -> V: "`vandnps`" = _mm256_andnot_ps(_mm256_set1_ps(-0.0), v);
            }
        }

        impl Integers for $proof {
            type I = I;

            ops! {
                fn splat_i8(x: i8) -> I: "`vpbroadcastb`" = _mm256_set1_epi8(x);
                fn splat_i32(x: i32) -> I: "`vpbroadcastd`" = _mm256_set1_epi32(x);
                fn and(a: I, b: I) -> I: "`vpand`" = _mm256_and_si256(a, b);
                fn or(a: I, b: I) -> I: "`vpor`" = _mm256_or_si256(a, b);
                fn add_i8(a: I, b: I) -> I: "`vpaddb`" = _mm256_add_epi8(a, b);
                fn sub_i8(a: I, b: I) -> I: "`vpsubb`" = _mm256_sub_epi8(a, b);
                fn add_16(a: I, b: I) -> I: "`vpaddw`" = _mm256_add_epi16(a, b);
                fn mul_16(a: I, b: I) -> I: "`vpmullw`" = _mm256_mullo_epi16(a, b);
                fn add_i32(a: I, b: I) -> I: "`vpaddd`" = _mm256_add_epi32(a, b);
                fn shl_16<const N: i32>(v: I) -> I: "`vpsllw`" = _mm256_slli_epi16::<N>(v);
                fn shr_16<const N: i32>(v: I) -> I: "`vpsrlw`" = _mm256_srli_epi16::<N>(v);
                fn shl_32<const N: i32>(v: I) -> I: "`vpslld`" = _mm256_slli_epi32::<N>(v);
                fn shr_32<const N: i32>(v: I) -> I: "`vpsrld`" = _mm256_srli_epi32::<N>(v);
                fn sar_32<const N: i32>(v: I) -> I: "`vpsrad`" = _mm256_srai_epi32::<N>(v);
                fn select_gt_i32(a: I, b: I, x: I, y: I) -> I: "`vpcmpgtd`, `vpblendvb`" =
                    _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi32(a, b));
                fn shuffle(v: I, index: I) -> I: "`vpshufb`" = _mm256_shuffle_epi8(v, index);
                fn to_floats(v: I) -> V: "`vcvtdq2ps`" = _mm256_cvtepi32_ps(v);
                fn to_integers(v: V) -> I: "`vcvtps2dq`" = _mm256_cvtps_epi32(v);
                fn float_bits(v: I) -> V: "No instruction." = _mm256_castsi256_ps(v);
                fn f16_pairs(v: I) -> [V; 2]: "`vpackusdw`, `vpermq`, `vcvtph2ps`" = {
                    let low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
                    let packed = _mm256_packus_epi32(low, _mm256_srli_epi32::<16>(v));
                    let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                    [
                        _mm256_cvtph_ps(_mm256_castsi256_si128(packed)),
                        _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(packed)),
                    ]
                };
            }
            #[inline(always)]
            fn splat_16(self, x: &[i8; 16]) -> I {
                // SAFETY: `self` proves AVX2; the array has the 16 bytes that are read.
                unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(x.as_ptr().cast())) }
            }
            #[inline(always)]
            fn lanes_u32(self, x: &[u32; MAX_LANES]) -> I {
                let x = map(*x, u32::cast_signed);
                // SAFETY: `self` proves AVX2.
                unsafe { _mm256_setr_epi32(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]) }
            }
            #[inline(always)]
            fn lanes_f16(self, x: &[u16; MAX_LANES]) -> V {
                let x = map(*x, u16::cast_signed);
                // SAFETY: `self` proves F16C.
                unsafe {
                    let x = _mm_setr_epi16(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
                    _mm256_cvtph_ps(x)
                }
            }
            #[inline(always)]
            fn store_lanes(self, v: V, out: &mut [f32; MAX_LANES]) {
                // SAFETY: `self` proves AVX; the array has the 32 bytes that are written.
                unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) }
            }
            #[inline(always)]
            unsafe fn load_lanes(self, from: *const u8, _group: usize) -> I {
                // SAFETY: `self` proves AVX2; the caller has the bytes.
                unsafe { _mm256_loadu_si256(from.cast()) }
            }
            #[inline(always)]
            unsafe fn load_f16s(self, from: *const u8, _group: usize) -> V {
                // SAFETY: `self` proves F16C; the caller has the bytes.
                unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
            }
            #[inline(always)]
            unsafe fn load_transposed(self, from: *const u8, stride: usize) -> [I; 4] {
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
    };
}

ymm! {
    /// AVX2, FMA and F16C.
    Avx2: "avx2", "fma", "f16c"
}
ymm! {
    /// The same with AVX-VNNI.
    AvxVnni: "avx2", "fma", "f16c", "avxvnni"
}
ymm! {
    /// AVX-512 (F, BW, VL) with its VNNI, on 256 bits.
    Avx512Ymm: "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512vnni"
}

impl From<AvxVnni> for Avx2 {
    #[inline(always)]
    fn from(_: AvxVnni) -> Avx2 {
        Avx2(())
    }
}

impl From<Avx512Ymm> for Avx2 {
    #[inline(always)]
    fn from(_: Avx512Ymm) -> Avx2 {
        Avx2(())
    }
}

/// What the three share of [`Arithmetic`](crate::generic::matmul::Arithmetic):
/// products of 16 bits by `vpmaddwd` and `vpaddd`, since adding up in `vpdpwssd` waits
/// longer for each sum. Of codes, vector `2j` has elements 4j and 4j + 2 of each row, vector
/// `2j + 1` elements 4j + 1 and 4j + 3.
macro_rules! wide_by_madd {
    () => {
        type Wide = [__m256i; 16];

        ops! {
            fn widened(q: [__m256i; 8]) -> [__m256i; 16]: "`vpsllw`, `vpsraw`" = {
                let mut wide = [_mm256_setzero_si256(); 16];
                for j in 0..8 {
                    wide[2 * j] = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(q[j]));
                    wide[2 * j + 1] = _mm256_srai_epi16::<8>(q[j]);
                }
                wide
            };
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
                    let two = self.splat_i32(read_i32(x[t], 2 * j));
                    for p in 0..P {
                        sums[p][t] = self.add_i32(sums[p][t], self.madd(q[p][j], two));
                        if P * T > 2 {
                            sums[p][t] = self.kept_in_order(sums[p][t]);
                        }
                    }
                }
            }
            self.floats(sums)
        }
    };
}
pub(super) use wide_by_madd;

/// The activations from `at` on, as many as fill a lane.
#[inline(always)]
pub(super) fn read_i32<T: Copy>(x: &[T; 32], at: usize) -> i32 {
    assert!(at * size_of::<T>() + 4 <= size_of_val(x));
    // SAFETY: the four bytes are there, and any four bytes are a number.
    unsafe { x.as_ptr().add(at).cast::<i32>().read_unaligned() }
}

/// Returns the same vector, in a register, in program order. Otherwise the compiler
/// groups the additions of each sum, and spills the weights that the sums share.
#[inline]
#[target_feature(enable = "avx2")]
fn kept_in_order(mut v: I) -> I {
    // SAFETY: the assembly is a comment, so no instruction runs.
    unsafe {
        core::arch::asm!("/* {0} */", inlateout(ymm_reg) v, options(nomem, nostack, preserves_flags));
    }
    v
}
