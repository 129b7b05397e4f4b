//! Sums by dot products of four 8-bit pairs that add up in 32 bits at once (VNNI),
//! over lanes of any width.
// `p` and `t` name runs and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use crate::kernels::array::map;
use crate::kernels::integer::{Arithmetic, ByteDots, Lanes, Plane};
use core::ops::Range;

/// Lanes with dot products.
pub(super) trait Dots: Lanes {
    /// `sum` and, in each lane, the products of four levels with activations.
    fn dpbusd(self, sum: Self::I, q: Self::I, x: Self::I) -> Self::I;
}

/// [`Arithmetic::sums`](crate::kernels::integer::Arithmetic::sums).
#[inline(always)]
pub(super) fn sums<L: Dots, const P: usize, const T: usize>(
    l: L,
    q: [&[L::I; 8]; P],
    x: [&[i8; 32]; T],
) -> [[L::V; T]; P] {
    l.floats(products(l, zeros(l), q, x, 0..8))
}

/// [`Arithmetic::half_sums`](crate::kernels::integer::Arithmetic::half_sums), with the integer scales as floats: a product with a
/// sum of 16 is below 2^24, and exact.
#[inline(always)]
pub(super) fn half_sums<L: Dots, const P: usize, const T: usize>(
    l: L,
    q: [&[L::I; 8]; P],
    sub: [&[L::V; 2]; P],
    x: [&[i8; 32]; T],
) -> [[L::V; T]; P] {
    let mut sums = l.floats(products(l, zeros(l), q, x, 0..4));
    let second = l.floats(products(l, zeros(l), q, x, 4..8));
    for p in 0..P {
        for t in 0..T {
            let first = l.mul(sums[p][t], sub[p][0]);
            sums[p][t] = l.mul_add(second[p][t], sub[p][1], first);
        }
    }
    sums
}

/// Signed levels multiply as unsigned ones, 128 higher.
impl<L: Dots + Arithmetic> ByteDots for L {
    #[inline(always)]
    fn arranged_bytes(self, mut q: [L::I; 8]) -> [L::I; 8] {
        for q in &mut q {
            *q = self.add_i8(*q, self.splat_i8(-128));
        }
        q
    }

    #[inline(always)]
    fn byte_level(self, q: &[L::I; 8], at: usize) -> L::V {
        let signed = self.add_i8(q[at / 4], self.splat_i8(-128));
        self.to_floats(self.byte(signed, at % 4))
    }

    #[inline(always)]
    fn byte_sums<const P: usize, const T: usize>(
        self,
        q: [&[L::I; 8]; P],
        x: [Plane; T],
    ) -> [[L::V; T]; P] {
        let mut sums = zeros(self);
        for t in 0..T {
            let offset = self.splat_i32(x[t].offset);
            for p in 0..P {
                sums[p][t] = offset;
            }
        }
        self.floats(products(self, sums, q, map(x, |x| x.q), 0..8))
    }
}

#[inline(always)]
fn zeros<L: Lanes, const P: usize, const T: usize>(l: L) -> [[L::I; T]; P] {
    [[l.splat_i32(0); T]; P]
}

/// The sums and the products of the given vectors of four levels. A single sum goes
/// in two halves, since each of its steps waits for the one before.
#[inline(always)]
fn products<L: Dots, const P: usize, const T: usize>(
    l: L,
    mut sums: [[L::I; T]; P],
    q: [&[L::I; 8]; P],
    x: [&[i8; 32]; T],
    fours: Range<usize>,
) -> [[L::I; T]; P] {
    let halves = if P * T == 1 { 2 } else { 1 };
    let mut second = zeros(l);
    for j in fours {
        for t in 0..T {
            // SAFETY: four activations lie at 4 * j < 32.
            let four = unsafe { x[t].as_ptr().add(4 * j).cast::<i32>().read_unaligned() };
            let four = l.splat_i32(four);
            for p in 0..P {
                let sums = if j % halves == 0 {
                    &mut sums
                } else {
                    &mut second
                };
                sums[p][t] = l.dpbusd(sums[p][t], q[p][j], four);
            }
        }
    }
    if halves == 2 {
        sums[0][0] = l.add_i32(sums[0][0], second[0][0]);
    }
    sums
}
