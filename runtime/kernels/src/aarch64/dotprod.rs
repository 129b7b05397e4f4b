//! Products by `sdot`: each lane adds four 8-bit products in 32 bits. Codes of
//! few bits are unsigned, but small enough to be signed bytes as well.
// `p` and `t` name groups and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::lanes::{DotProd, I, Neon, Sums, V, both, bytes};
use super::neon::{Wide, add_element, shared};
use crate::generic::array::map;
use crate::generic::matmul::{Arithmetic, I8Panel, tile};
use crate::generic::simd::{Integers, Lanes};
use core::arch::aarch64::*;
use core::arch::asm;
use core::ops::Range;

impl Arithmetic for DotProd {
    type Floats = Neon;
    type Single = Self;
    type Signed = I8Panel<Self, 1>;
    const BYTE_DOTS: bool = true;
    shared!();

    tile! {
        /// One panel with six tokens: their sums of integers and of floats take 24 of the
        /// 32 registers.
        1, 6
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        mut total: Sums<P, T>,
        q: [&[I; 8]; P],
        x: [&[i8; 32]; T],
        fours: Range<usize>,
    ) -> [[V; T]; P] {
        let x = all_halves(x);
        for half in fours.start / 4..fours.end / 4 {
            // SAFETY: `self` proves `sdot`.
            unsafe { add_half(&mut total, q, x, half) };
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
        let x = all_halves(x);
        let zeros = [[self.splat_i32(0); T]; P];
        let mut total = zeros;
        for half in 0..2 {
            let mut sums = zeros;
            // SAFETY: `self` proves `sdot`.
            unsafe { add_half(&mut sums, q, x, half) };
            for p in 0..P {
                for t in 0..T {
                    let (so_far, sum, by) = (total[p][t], sums[p][t], sub[p][half]);
                    total[p][t] = both!(vmlaq_s32(so_far, sum, by));
                }
            }
        }
        self.floats(total)
    }
}

/// 32 bytes of activations.
pub(super) type Halves = [int8x16_t; 2];

/// 32 activations in two vectors.
#[inline(always)]
fn halves(x: &[i8; 32]) -> Halves {
    // SAFETY: who calls this has NEON; the array has
    // the 32 bytes that are read.
    unsafe { [vld1q_s8(x.as_ptr()), vld1q_s8(x.as_ptr().add(16))] }
}

/// [`halves`] of each token.
#[inline(always)]
pub(super) fn all_halves<const T: usize>(x: [&[i8; 32]; T]) -> [Halves; T] {
    map(
        x,
        #[inline(always)]
        |x| halves(x),
    )
}

/// Vector `j` of each run's codes.
#[inline(always)]
fn vectors<const P: usize>(q: [&[I; 8]; P], j: usize) -> [[int8x16_t; 2]; P] {
    map(
        q,
        #[inline(always)]
        |q| bytes(q[j]),
    )
}

/// Adds the products of elements `16 * half..16 * half + 16`.
///
/// # Safety
/// The CPU has `sdot`.
#[inline(always)]
unsafe fn add_half<const P: usize, const T: usize>(
    total: &mut Sums<P, T>,
    q: [&[I; 8]; P],
    x: [Halves; T],
    half: usize,
) {
    let x = map(x, |x| x[half]);
    let q = |j| vectors(q, 4 * half + j);
    // SAFETY: the caller's CPU has `sdot`.
    unsafe {
        add_four::<0, P, T>(total, q(0), x);
        add_four::<1, P, T>(total, q(1), x);
        add_four::<2, P, T>(total, q(2), x);
        add_four::<3, P, T>(total, q(3), x);
    }
}

/// Adds the products of four elements of all rows with four of sixteen
/// activations.
///
/// # Safety
/// The CPU has `sdot`.
#[inline(always)]
unsafe fn add_four<const FOUR: u32, const P: usize, const T: usize>(
    total: &mut Sums<P, T>,
    q: [[int8x16_t; 2]; P],
    x: [int8x16_t; T],
) {
    for p in 0..P {
        for t in 0..T {
            let [low, high] = total[p][t];
            // SAFETY: the caller's CPU has `sdot`.
            total[p][t] = unsafe {
                [
                    sdot::<FOUR>(low, q[p][0], x[t]),
                    sdot::<FOUR>(high, q[p][1], x[t]),
                ]
            };
        }
    }
}

/// `sum + a . x[4 FOUR..4 FOUR + 4]` in each lane. The intrinsic is not stable.
#[inline]
#[target_feature(enable = "dotprod")]
fn sdot<const FOUR: u32>(mut sum: int32x4_t, a: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: one instruction, which the target feature allows.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {x:v}.4b[{four}]",
            sum = inlateout(vreg) sum,
            a = in(vreg) a,
            x = in(vreg) x,
            four = const FOUR,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
