//! Products by the multiplications that widen, which any core has: `smlal` adds
//! 8-bit products in 16 bits, or 16-bit products in 32.
// `p`, `t` and `h` name groups, tokens and halves of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::lanes::{I, Neon, Sums, V, both, bytes};
use crate::generic::array::map;
use crate::generic::matmul::{Arithmetic, I16Panel, tile};
use crate::generic::simd::{Integers, Lanes};
use core::arch::aarch64::*;
use core::ops::Range;

/// Eight rows' sums in 16 bits, two rows to a vector: four lanes of each row.
type Lanes16 = [int16x8_t; 4];

/// Signed codes in 16 bits: vector `h` of pair `j` of vectors holds element `2 * j + h` of
/// all rows, in the order of the activations.
pub(super) type Wide = [[int16x8_t; 2]; 16];

/// The part of [`Arithmetic`] that the three ISAs share, because none of them has better
/// products for it.
macro_rules! shared {
    () => {
        type Sub = I;
        type Wide = Wide;

        #[inline(always)]
        fn arranged_sub(self, sub: I) -> I {
            sub
        }

        #[inline(always)]
        fn sub_floats(self, sub: I) -> V {
            self.to_floats(sub)
        }

        #[inline(always)]
        fn widened(self, q: [I; 8]) -> Self::Wide {
            // SAFETY: `self` proves NEON.
            unsafe {
                let mut wide = [[vdupq_n_s16(0); 2]; 16];
                for j in 0..8 {
                    let [a, b] = bytes(q[j]);
                    // Elements 0 and 2 of each four are the bytes of a 16-bit
                    // number, then 1 and 3.
                    let pairs = [vuzp1q_s8(a, b), vuzp2q_s8(a, b)];
                    for (i, pair) in pairs.into_iter().enumerate() {
                        let pair = vreinterpretq_s16_s8(pair);
                        let first = vshrq_n_s16::<8>(vshlq_n_s16::<8>(pair));
                        wide[2 * j + i] = [first, vshrq_n_s16::<8>(pair)];
                    }
                }
                wide
            }
        }

        #[inline(always)]
        fn wide_sums<const P: usize, const T: usize>(
            self,
            q: [&Self::Wide; P],
            x: [&[i16; 32]; T],
        ) -> [[V; T]; P] {
            let mut total = [[self.splat_i32(0); T]; P];
            for eight in 0..4 {
                // SAFETY: `self` proves NEON; eight activations lie at 8 * eight < 32.
                let x = map(
                    x,
                    #[inline(always)]
                    |x| unsafe { vld1q_s16(x.as_ptr().add(8 * eight)) },
                );
                let q = map(q, |q| &q[4 * eight..4 * eight + 4]);
                add_element::<0, P, T>(&mut total, map(q, |q| q[0][0]), x);
                add_element::<1, P, T>(&mut total, map(q, |q| q[0][1]), x);
                add_element::<2, P, T>(&mut total, map(q, |q| q[1][0]), x);
                add_element::<3, P, T>(&mut total, map(q, |q| q[1][1]), x);
                add_element::<4, P, T>(&mut total, map(q, |q| q[2][0]), x);
                add_element::<5, P, T>(&mut total, map(q, |q| q[2][1]), x);
                add_element::<6, P, T>(&mut total, map(q, |q| q[3][0]), x);
                add_element::<7, P, T>(&mut total, map(q, |q| q[3][1]), x);
            }
            self.floats(total)
        }
    };
}
pub(super) use shared;

impl Arithmetic for Neon {
    type Floats = Self;
    type Single = Self;
    type Signed = I16Panel<Self>;
    const BYTE_DOTS: bool = false;
    shared!();

    tile! {
        /// Two panels with two tokens: their sums in 16 bits take half of the registers,
        /// and their sums in floats a quarter.
        2, 2
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        mut total: Sums<P, T>,
        q: [&[I; 8]; P],
        x: [&[i8; 32]; T],
        fours: Range<usize>,
    ) -> [[V; T]; P] {
        debug_assert!(2 * DEPTH >= 8, "a lane adds eight products");
        let sums = self.sum16(q, x, fours);
        for p in 0..P {
            for t in 0..T {
                total[p][t] = self.add_i32(total[p][t], self.sum32(sums[p][t]));
            }
        }
        self.floats(total)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[I; 8]; P],
        sub: [&[I; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[V; T]; P] {
        debug_assert!(2 * DEPTH >= 4, "a lane adds four products");
        let mut total = [[self.splat_i32(0); T]; P];
        for half in 0..2 {
            let sums = self.sum16(q, x, 4 * half..4 * half + 4);
            for p in 0..P {
                for t in 0..T {
                    let (sum, by) = (self.sum32(sums[p][t]), sub[p][half]);
                    let so_far = total[p][t];
                    total[p][t] = both!(vmlaq_s32(so_far, sum, by));
                }
            }
        }
        self.floats(total)
    }
}

/// Adds the products of one element of all rows with activation `LANE`.
#[inline(always)]
pub(super) fn add_element<const LANE: i32, const P: usize, const T: usize>(
    total: &mut Sums<P, T>,
    q: [int16x8_t; P],
    x: [int16x8_t; T],
) {
    for p in 0..P {
        for t in 0..T {
            let [low, high] = total[p][t];
            // SAFETY: who has vectors has NEON.
            total[p][t] = unsafe {
                [
                    vmlal_laneq_s16::<LANE>(low, vget_low_s16(q[p]), x[t]),
                    vmlal_high_laneq_s16::<LANE>(high, q[p], x[t]),
                ]
            };
        }
    }
}

impl Neon {
    /// Sums in 16 bits of the given vectors times activations.
    #[inline(always)]
    fn sum16<const P: usize, const T: usize>(
        self,
        q: [&[I; 8]; P],
        x: [&[i8; 32]; T],
        vectors: Range<usize>,
    ) -> [[Lanes16; T]; P] {
        // SAFETY: `self` proves NEON.
        let mut sums = [[[unsafe { vdupq_n_s16(0) }; 4]; T]; P];
        for j in vectors {
            for t in 0..T {
                // SAFETY: `self` proves NEON; four activations lie at 4 * j < 32.
                let four = unsafe {
                    let four = x[t].as_ptr().add(4 * j).cast::<i32>().read_unaligned();
                    vreinterpretq_s8_s32(vdupq_n_s32(four))
                };
                for p in 0..P {
                    let q = bytes(q[p][j]);
                    let sums = &mut sums[p][t];
                    for h in 0..2 {
                        // SAFETY: `self` proves NEON.
                        unsafe {
                            let low = (vget_low_s8(q[h]), vget_low_s8(four));
                            sums[2 * h] = vmlal_s8(sums[2 * h], low.0, low.1);
                            sums[2 * h + 1] = vmlal_high_s8(sums[2 * h + 1], q[h], four);
                        }
                    }
                }
            }
        }
        sums
    }

    /// Each row's four sums in 16 bits as one in 32.
    #[inline(always)]
    fn sum32(self, sums: Lanes16) -> I {
        let [a, b, c, d] = sums;
        let (low, high) = ([a, c], [b, d]);
        let (low, high) = (both!(vpaddlq_s16(low)), both!(vpaddlq_s16(high)));
        both!(vpaddq_s32(low, high))
    }
}
