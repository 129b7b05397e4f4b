//! Products by the multiplications that widen, which any core has: `smlal` adds
//! 8-bit products in 16 bits, or 16-bit products in 32.
// `p`, `t` and `h` name groups, tokens and halves of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::Neon;
use super::qpair::{Multiplier, QPair, Sums, both, bytes};
use crate::kernels::Call;
use crate::kernels::acts::{ActBlock, I8Block};
use crate::kernels::array::map;
use crate::kernels::integer::{Arithmetic, Fill, Gemm, Lanes, Product, SuperBlocks, WideSums};
use crate::kernels::vector::simd::Op;
use core::arch::aarch64::*;
use core::ops::Range;

/// Multiplies by `smull` and `smlal`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widening;

/// The lanes, on any CPU.
pub(super) fn new(neon: Neon) -> QPair<Widening> {
    // SAFETY: the products need no more than NEON.
    unsafe { QPair::new(neon) }
}

impl Multiplier for Widening {
    /// A function of its own for each `op`, as other levels' features make it.
    #[inline(never)]
    fn run<O: Op<QPair<Widening>>>(lanes: QPair<Widening>, op: O) {
        op.run(lanes);
    }
}

/// Eight rows' sums in 16 bits, two rows to a vector: four lanes of each row.
type Lanes16 = [int16x8_t; 4];

impl Arithmetic for QPair<Widening> {
    type Sub = Self::I;
    type Single = Self;
    const PANELS: usize = 2;

    /// So many panels and tokens have four sums in 16 bits each in half of the
    /// registers, and one of floats in a quarter.
    fn gemm<F: Fill<Self, W>, W: Product<Self, A>, A: ActBlock>(self, call: Call) {
        self.run(Gemm::<F, W, A, 2, 2>::new(call));
    }

    fn prefill<F: SuperBlocks>(self, call: Call) {
        self.gemm::<F, F::Panel<Self>, I8Block>(call);
    }

    #[inline(always)]
    fn arranged(self, q: [Self::I; 8]) -> [Self::I; 8] {
        q
    }

    #[inline(always)]
    fn arranged_sub(self, sub: Self::I) -> Self::I {
        sub
    }

    #[inline(always)]
    fn sub_floats(self, sub: Self::I) -> Self::V {
        self.to_floats(sub)
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        x: [&[i8; 32]; T],
    ) -> [[Self::V; T]; P] {
        // A lane adds eight products.
        const { assert!(2 * DEPTH >= 8) };
        let sums = self.sum16(q, x, 0..8);
        let mut total = self.zeros();
        for p in 0..P {
            for t in 0..T {
                total[p][t] = self.sum32(sums[p][t]);
            }
        }
        self.floats(total)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        sub: [&[Self::I; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[Self::V; T]; P] {
        // A lane adds four products.
        const { assert!(2 * DEPTH >= 4) };
        let mut total = self.zeros();
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

impl WideSums for QPair<Widening> {
    /// Vector `h` of pair `j` of vectors holds element `2 * j + h` of all rows,
    /// in the order of the activations.
    type Wide = [[int16x8_t; 2]; 16];

    #[inline(always)]
    fn widened(self, q: [Self::I; 8]) -> Self::Wide {
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
    ) -> [[Self::V; T]; P] {
        let mut total = self.zeros();
        for eight in 0..4 {
            // SAFETY: `self` proves NEON; eight activations lie at 8 * eight < 32.
            let x = map(
                x,
                #[inline(always)]
                |x| unsafe { vld1q_s16(x.as_ptr().add(8 * eight)) },
            );
            let q = map(q, |q| &q[4 * eight..4 * eight + 4]);
            self.add_element::<0, P, T>(&mut total, map(q, |q| q[0][0]), x);
            self.add_element::<1, P, T>(&mut total, map(q, |q| q[0][1]), x);
            self.add_element::<2, P, T>(&mut total, map(q, |q| q[1][0]), x);
            self.add_element::<3, P, T>(&mut total, map(q, |q| q[1][1]), x);
            self.add_element::<4, P, T>(&mut total, map(q, |q| q[2][0]), x);
            self.add_element::<5, P, T>(&mut total, map(q, |q| q[2][1]), x);
            self.add_element::<6, P, T>(&mut total, map(q, |q| q[3][0]), x);
            self.add_element::<7, P, T>(&mut total, map(q, |q| q[3][1]), x);
        }
        self.floats(total)
    }
}

impl QPair<Widening> {
    /// Sums in 16 bits of the given vectors times activations.
    #[inline(always)]
    fn sum16<const P: usize, const T: usize>(
        self,
        q: [&[[int32x4_t; 2]; 8]; P],
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
    fn sum32(self, sums: Lanes16) -> [int32x4_t; 2] {
        let [a, b, c, d] = sums;
        let (low, high) = ([a, c], [b, d]);
        let (low, high) = (both!(vpaddlq_s16(low)), both!(vpaddlq_s16(high)));
        both!(vpaddq_s32(low, high))
    }

    /// Adds the products of one element of all rows with activation `LANE`.
    #[inline(always)]
    fn add_element<const LANE: i32, const P: usize, const T: usize>(
        self,
        total: &mut Sums<P, T>,
        q: [int16x8_t; P],
        x: [int16x8_t; T],
    ) {
        for p in 0..P {
            for t in 0..T {
                let [low, high] = total[p][t];
                // SAFETY: `self` proves NEON.
                total[p][t] = unsafe {
                    [
                        vmlal_laneq_s16::<LANE>(low, vget_low_s16(q[p]), x[t]),
                        vmlal_high_laneq_s16::<LANE>(high, q[p], x[t]),
                    ]
                };
            }
        }
    }
}
