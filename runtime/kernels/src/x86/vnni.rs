//! Sums by dot products of four 8-bit pairs that add up in 32 bits at once (VNNI), on 256
//! bits, which AVX-VNNI and AVX-512 encode each in their own way, and on 512.
// `p` and `t` name runs and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::ymm::{Avx2, Avx512Ymm, AvxVnni, read_i32, wide_by_madd};
use super::zmm::Avx512;
use super::{half_floats, pairs::PairProducts};
use crate::generic::matmul::{Arithmetic, I8Panel, tile};
use crate::generic::matrix::Call;
use crate::generic::simd::{Integers, Lanes, ops};
use core::arch::x86_64::*;
use core::ops::Range;

/// [`Arithmetic`] of an ISA: its instructions, the lanes that multiply a single token,
/// and the panels and tokens whose sums its registers hold.
macro_rules! vnni {
    (
        $proof:ty, $I:ty, single $single:ty,
        $(#[$registers:meta])* $panels:literal x $tokens:literal,
        $dpbusd:ident, $($wide:tt)*
    ) => {
        impl $proof {
            ops! {
                fn dpbusd(sum: $I, q: $I, x: $I) -> $I: "`vpdpbusd`" = $dpbusd(sum, q, x);
            }
        }

        impl Arithmetic for $proof {
            type Floats = Avx2;
            type Single = $single;
            type Signed = I8Panel<Self, 1>;
            /// As floats: a product with a sum of 16 is below 2^24, and exact.
            type Sub = Self::V;
            const BYTE_DOTS: bool = true;
            const BIAS: i8 = -128;
            const ROUNDS_HALVES: bool = true;
            $($wide)*

            tile! { $(#[$registers])* $panels, $tokens }

            fn halves(self, call: Call) {
                half_floats::matmul(self, call);
            }

            #[inline(always)]
            fn arranged_sub(self, sub: $I) -> Self::V {
                self.to_floats(sub)
            }

            #[inline(always)]
            fn sub_floats(self, sub: Self::V) -> Self::V {
                sub
            }

            #[inline(always)]
            fn sums<const DEPTH: usize, const P: usize, const T: usize>(
                self,
                mut total: [[$I; T]; P],
                q: [&[$I; 8]; P],
                x: [&[i8; 32]; T],
                fours: Range<usize>,
            ) -> [[Self::V; T]; P] {
                // A single sum is computed as two, since each addition to a sum waits for
                // the one before.
                let halves = if P * T == 1 { 2 } else { 1 };
                let mut second = [[self.splat_i32(0); T]; P];
                for j in fours {
                    let total = if j % halves == 0 { &mut total } else { &mut second };
                    for t in 0..T {
                        let four = self.splat_i32(read_i32(x[t], 4 * j));
                        for p in 0..P {
                            total[p][t] = self.dpbusd(total[p][t], q[p][j], four);
                        }
                    }
                }
                if halves == 2 {
                    total[0][0] = self.add_i32(total[0][0], second[0][0]);
                }
                self.floats(total)
            }

            #[inline(always)]
            fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
                self,
                q: [&[$I; 8]; P],
                sub: [&[Self::V; 2]; P],
                x: [&[i8; 32]; T],
            ) -> [[Self::V; T]; P] {
                let zeros = [[self.splat_i32(0); T]; P];
                let mut sums = self.sums::<DEPTH, P, T>(zeros, q, x, 0..4);
                let second = self.sums::<DEPTH, P, T>(zeros, q, x, 4..8);
                for p in 0..P {
                    for t in 0..T {
                        let first = self.mul(sums[p][t], sub[p][0]);
                        sums[p][t] = self.mul_add(second[p][t], sub[p][1], first);
                    }
                }
                sums
            }
        }
    };
}

/// As [`wide_by_madd`], on 512 bits and by `vpdpwssd`.
macro_rules! wide_by_dpwssd {
    () => {
        type Wide = [__m512i; 16];

        ops! {
            fn widened(q: [__m512i; 8]) -> [__m512i; 16]: "`vpsllw`, `vpsraw`" = {
                let mut wide = [_mm512_setzero_si512(); 16];
                for j in 0..8 {
                    wide[2 * j] = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(q[j]));
                    wide[2 * j + 1] = _mm512_srai_epi16::<8>(q[j]);
                }
                wide
            };
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
                    let two = self.splat_i32(read_i32(x[t], 2 * j));
                    for p in 0..P {
                        // SAFETY: `self` proves AVX-512 VNNI.
                        sums[p][t] = unsafe { _mm512_dpwssd_epi32(sums[p][t], q[p][j], two) };
                    }
                }
            }
            self.floats(sums)
        }
    };
}

vnni! {
    AvxVnni, __m256i, single Self,
    /// Two panels with three tokens: two sums for each take twelve of the sixteen
    /// registers.
    2 x 3,
    _mm256_dpbusd_avx_epi32, wide_by_madd!();
}
vnni! {
    Avx512Ymm, __m256i, single Self,
    /// As AVX-VNNI.
    2 x 3,
    _mm256_dpbusd_epi32, wide_by_madd!();
}
// A single token is multiplied on 256 bits, where packed rows are read in the order in
// which they lie. Two groups side by side would be two streams, which a core's own
// prefetching starts later.
vnni! {
    Avx512, __m512i, single Avx512Ymm,
    /// One panel with twelve tokens: two sums for each take 24 of the 32 registers.
    1 x 12,
    _mm512_dpbusd_epi32, wide_by_dpwssd!();
}

impl PairProducts for AvxVnni {
    ops! {
        fn add_pairs(a: __m256i, b: __m256i, sum: __m256i) -> __m256i: "`vpdpwssd`" =
            _mm256_dpwssd_avx_epi32(sum, a, b);
    }
}

/// On 256 bits, as all else of attention.
impl PairProducts for Avx512 {
    ops! {
        fn add_pairs(a: __m256i, b: __m256i, sum: __m256i) -> __m256i: "`vpdpwssd`" =
            _mm256_dpwssd_epi32(sum, a, b);
    }
}
