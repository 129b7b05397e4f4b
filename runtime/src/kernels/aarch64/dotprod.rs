//! Products by `sdot`: each lane adds four 8-bit products in 32 bits. Levels of
//! few bits are unsigned, but small enough to be signed bytes as well.
// `p` and `t` name groups and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::Neon;
use super::qpair::{Multiplier, QPair, Sums, both, bytes};
use crate::kernels::Call;
use crate::kernels::acts::ActBlock;
use crate::kernels::array::map;
use crate::kernels::integer::{
    Arithmetic, ByteDots, Fill, Gemm, Lanes, Plane, Product, SuperBlocks, prefill_rounded,
};
use crate::kernels::vector::simd::Op;
use core::arch::aarch64::*;
use core::arch::asm;

/// Multiplies by `sdot`.
#[derive(Debug, Clone, Copy)]
pub(super) struct DotProd;

/// Whether the build may run on a CPU with `sdot`: without `std` nobody asks the
/// CPU, and what the target does not promise is left out.
const IN_BUILD: bool = cfg!(any(feature = "std", target_feature = "dotprod"));

/// The lanes, if this CPU has `sdot`.
pub(super) fn new(neon: Neon) -> Option<QPair<DotProd>> {
    #[cfg(feature = "std")]
    let has = std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(feature = "std"))]
    let has = IN_BUILD;
    // SAFETY: the CPU has what the products need.
    has.then(|| unsafe { QPair::new(neon) })
}

impl Multiplier for DotProd {
    fn run<O: Op<QPair<DotProd>>>(lanes: QPair<DotProd>, op: O) {
        #[target_feature(enable = "dotprod")]
        fn run<O: Op<QPair<DotProd>>>(lanes: QPair<DotProd>, op: O) {
            op.run(lanes);
        }
        if IN_BUILD {
            // SAFETY: `lanes` proves that the CPU has the features.
            unsafe { run(lanes, op) }
        }
    }
}

impl Arithmetic for QPair<DotProd> {
    type Sub = Self::I;
    type Single = Self;
    const PANELS: usize = 1;

    /// So many tokens have a sum of integers and one of floats in 24 of 32
    /// registers.
    fn gemm<F: Fill<Self, W>, W: Product<Self, A>, A: ActBlock>(self, call: Call) {
        self.run(Gemm::<F, W, A, 1, 6>::new(call));
    }

    fn prefill<F: SuperBlocks>(self, call: Call) {
        prefill_rounded::<Self, F>(self, call);
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
        let mut total = self.zeros();
        // SAFETY: `self` proves `sdot`.
        unsafe { add_both(&mut total, q, all_halves(x)) };
        self.floats(total)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        sub: [&[Self::I; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[Self::V; T]; P] {
        let x = all_halves(x);
        let mut total = self.zeros();
        for half in 0..2 {
            let mut sums = self.zeros();
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

/// A multiplier whose products of 8 bits add up in 32 at once.
pub(super) trait Dots: Multiplier {}

impl Dots for DotProd {}

impl<M: Dots> ByteDots for QPair<M>
where
    QPair<M>: Arithmetic,
{
    #[inline(always)]
    fn arranged_bytes(self, q: [Self::I; 8]) -> [Self::I; 8] {
        self.arranged(q)
    }

    #[inline(always)]
    fn byte_level(self, q: &[Self::I; 8], at: usize) -> Self::V {
        self.level(q, at)
    }

    #[inline(always)]
    fn byte_sums<const P: usize, const T: usize>(
        self,
        q: [&[Self::I; 8]; P],
        x: [Plane; T],
    ) -> [[Self::V; T]; P] {
        self.sums::<0, P, T>(q, map(x, |x| x.q))
    }
}

/// 32 bytes of activations.
pub(super) type Halves = [int8x16_t; 2];

/// 32 activations in two vectors.
#[inline(always)]
fn halves(x: &[i8; 32]) -> Halves {
    // SAFETY: only a level calls this, where there is NEON; the array has
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

/// Vector `j` of each run's levels.
#[inline(always)]
fn vectors<const P: usize>(q: [&[[int32x4_t; 2]; 8]; P], j: usize) -> [[int8x16_t; 2]; P] {
    map(
        q,
        #[inline(always)]
        |q| bytes(q[j]),
    )
}

/// Adds the products of all 32 elements.
///
/// # Safety
/// The CPU has `sdot`.
#[inline(always)]
unsafe fn add_both<const P: usize, const T: usize>(
    total: &mut Sums<P, T>,
    q: [&[[int32x4_t; 2]; 8]; P],
    x: [Halves; T],
) {
    // SAFETY: the caller's CPU has `sdot`.
    unsafe {
        add_half(total, q, x, 0);
        add_half(total, q, x, 1);
    }
}

/// Adds the products of elements `16 * half..16 * half + 16`.
///
/// # Safety
/// The CPU has `sdot`.
#[inline(always)]
unsafe fn add_half<const P: usize, const T: usize>(
    total: &mut Sums<P, T>,
    q: [&[[int32x4_t; 2]; 8]; P],
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
