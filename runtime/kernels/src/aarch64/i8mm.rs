//! Products by `smmla`: two rows of eight bytes times two of another vector, so
//! that one instruction does the work of two `sdot` where tokens come in pairs.
//! A single token goes by `sdot`, which every core with `smmla` has.
// `p`, `t` and `h` name groups, tokens and halves of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::dotprod::{Halves, all_halves};
use super::lanes::{DotProd, I, I8mm, Neon, Sums, V, both, bytes};
use super::neon::{Wide, add_element, shared};
use crate::generic::array::{from_fn, map};
use crate::generic::matmul::{Arithmetic, I8Panel, tile};
use crate::generic::simd::{Integers, Lanes};
use core::arch::aarch64::*;
use core::arch::asm;
use core::ops::Range;

/// Codes in pairs of rows: half `h` of vector `2 * i` holds elements `8 * i..
/// 8 * i + 8` of rows `4 * h` and `4 * h + 1`, vector `2 * i + 1` those of the
/// next two rows.
type Paired = [I; 8];

impl Arithmetic for I8mm {
    type Floats = Neon;
    type Single = DotProd;
    type Signed = I8Panel<Self, 1>;
    const BYTE_DOTS: bool = true;
    shared!();

    tile! {
        /// One panel with six tokens: their sums of integers and of floats take 24 of the
        /// 32 registers.
        1, 6
    }

    #[inline(always)]
    fn arranged(self, mut q: [I; 8]) -> Paired {
        for pair in q.as_chunks_mut::<2>().0 {
            let [a, b] = *pair;
            *pair = [both!(vzip1q_s32(a, b)), both!(vzip2q_s32(a, b))];
        }
        q
    }

    #[inline(always)]
    fn code(self, q: &Paired, at: usize) -> I {
        let pair = &q.as_chunks::<2>().0[at / 8];
        let (a, b) = (pair[0], pair[1]);
        let four = match at / 4 % 2 {
            0 => both!(vuzp1q_s32(a, b)),
            _ => both!(vuzp2q_s32(a, b)),
        };
        self.byte(four, at % 4)
    }

    #[inline(always)]
    fn sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        mut total: Sums<P, T>,
        q: [&Paired; P],
        x: [&[i8; 32]; T],
        fours: Range<usize>,
    ) -> [[V; T]; P] {
        let eights = fours.start / 2..fours.end / 2;
        // SAFETY: `self` proves `smmla`.
        let squares = unsafe { squares(q, token_pairs(x), T.div_ceil(2), eights) };
        for p in 0..P {
            for t in 0..T {
                let sum = column(squares[p][t / 2], t % 2);
                total[p][t] = self.add_i32(total[p][t], sum);
            }
        }
        self.floats(total)
    }

    #[inline(always)]
    fn half_sums<const DEPTH: usize, const P: usize, const T: usize>(
        self,
        q: [&Paired; P],
        sub: [&[I; 2]; P],
        x: [&[i8; 32]; T],
    ) -> [[V; T]; P] {
        let mut total = [[self.splat_i32(0); T]; P];
        let pairs = token_pairs(x);
        for half in 0..2 {
            let eights = 2 * half..2 * half + 2;
            // SAFETY: `self` proves `smmla`.
            let squares = unsafe { squares(q, pairs, T.div_ceil(2), eights) };
            for p in 0..P {
                for t in 0..T {
                    let (so_far, by) = (total[p][t], sub[p][half]);
                    let sum = column(squares[p][t / 2], t % 2);
                    total[p][t] = both!(vmlaq_s32(so_far, sum, by));
                }
            }
        }
        self.floats(total)
    }
}

/// Eight activations of one column and eight of another, four times over.
type Columns = [int8x16_t; 4];

#[inline(always)]
fn columns(a: Halves, b: Halves) -> Columns {
    let (a, b) = (
        both!(vreinterpretq_s64_s8(a)),
        both!(vreinterpretq_s64_s8(b)),
    );
    let (even, odd) = (both!(vtrn1q_s64(a, b)), both!(vtrn2q_s64(a, b)));
    let (even, odd) = (
        both!(vreinterpretq_s8_s64(even)),
        both!(vreinterpretq_s8_s64(odd)),
    );
    [even[0], odd[0], even[1], odd[1]]
}

/// Pairs of tokens; a token that is left over is paired with itself. Only the first half
/// of the array is used.
#[inline(always)]
fn token_pairs<const T: usize>(x: [&[i8; 32]; T]) -> [Columns; T] {
    let x = all_halves(x);
    from_fn(
        #[inline(always)]
        |pair| {
            let a = (2 * pair).min(T - 1);
            columns(x[a], x[(a + 1).min(T - 1)])
        },
    )
}

/// Sums of eight rows and two columns: each vector has those of two rows.
type Square = [int32x4_t; 4];

/// The sums of the first `count` pairs of columns over the given eights of
/// elements.
///
/// # Safety
/// The CPU has `smmla`.
#[inline(always)]
unsafe fn squares<const P: usize, const C: usize>(
    q: [&Paired; P],
    x: [Columns; C],
    count: usize,
    eights: Range<usize>,
) -> [[Square; C]; P] {
    // SAFETY: who calls this has NEON.
    let mut squares = [[[unsafe { vdupq_n_s32(0) }; 4]; C]; P];
    for i in eights {
        for p in 0..P {
            let (upper, lower) = (bytes(q[p][2 * i]), bytes(q[p][2 * i + 1]));
            let rows = [upper[0], lower[0], upper[1], lower[1]];
            for c in 0..count {
                for (sum, rows) in squares[p][c].iter_mut().zip(rows) {
                    // SAFETY: the caller's CPU has `smmla`.
                    *sum = unsafe { smmla(*sum, rows, x[c][i]) };
                }
            }
        }
    }
    squares
}

/// The first (0) or second (1) column of eight rows.
#[inline(always)]
fn column(square: Square, which: usize) -> I {
    let (upper, lower) = ([square[0], square[2]], [square[1], square[3]]);
    match which {
        0 => both!(vuzp1q_s32(upper, lower)),
        _ => both!(vuzp2q_s32(upper, lower)),
    }
}

/// `sum + rows x columns`, each two of eight bytes. The intrinsic is not stable.
#[inline]
#[target_feature(enable = "i8mm")]
fn smmla(mut sum: int32x4_t, rows: int8x16_t, columns: int8x16_t) -> int32x4_t {
    // SAFETY: one instruction, which the target feature allows.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {rows:v}.16b, {columns:v}.16b",
            sum = inlateout(vreg) sum,
            rows = in(vreg) rows,
            columns = in(vreg) columns,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
