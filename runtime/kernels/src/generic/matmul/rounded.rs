//! K-quants in prefill, where products of 8 bits add up in 32 bits at once: a
//! super-block's weights are rounded to bytes with one scale. Then a block takes no
//! more than its products and one step of floats, whatever scales and minima its format
//! has; scales of blocks and minima are applied once, where a panel is filled.

use super::gemm::decode_run;
use super::{Arithmetic, Block, I8Panel, Panel, SUPER};
use crate::generic::array::from_fn;
use crate::generic::formats::{Codes, Format};
use crate::generic::matrix::Matrix;
use crate::generic::simd::Integers;
use core::ops::Range;

/// A block of a super-block.
type Rounded<L> = I8Panel<L, SUPER>;

/// Unpacks a run of rows to a panel, rounded.
#[inline(always)]
pub(super) fn fill<L: Arithmetic, F: Format>(
    l: L,
    w: &Matrix,
    run: &Range<usize>,
    staging: &mut [u8],
    panel: *mut Rounded<L>,
) {
    let mut waiting = [Block::new(l, [l.splat_i32(0); 8], l.splat(0.0)); SUPER];
    let (mut count, mut next) = (0, panel);
    decode_run::<L, F>(
        l,
        w,
        run,
        staging,
        #[inline(always)]
        |block| {
            waiting[count] = *block;
            count += 1;
            if count == SUPER {
                count = 0;
                // SAFETY: `gemm` gives room for all blocks, aligned.
                unsafe {
                    round_all::<L, F>(l, &waiting, next);
                    next = next.add(SUPER);
                }
            }
        },
    );
}

/// Writes the blocks of a super-block, rounded. The oracle is `oracle::rounded`.
///
/// # Safety
/// `to` has room for them, aligned.
#[inline(always)]
unsafe fn round_all<L: Arithmetic, F: Format>(
    l: L,
    blocks: &[Block<L>; SUPER],
    to: *mut Rounded<L>,
) {
    let zero = l.splat(0.0);
    let highest = l.splat(F::CODES.highest());
    let (mut bound, mut not_finite) = (zero, zero);
    for block in blocks {
        for half in 0..halves::<F>() {
            let (step, low) = step_and_offset::<L, F>(l, block, half);
            let high = l.mul_add(step, highest, low);
            for end in [low, high] {
                bound = l.max(bound, l.abs(end));
                not_finite = l.mul_add(end, zero, not_finite);
            }
        }
    }
    let inverse = l.div(l.splat(127.0 * 256.0), bound);
    let scale = l.mul_add(bound, l.splat(1.0 / 127.0), not_finite);
    for (i, block) in blocks.iter().enumerate() {
        let rounded = Block::new(l, bytes_of::<L, F>(l, block, inverse), scale);
        // SAFETY: the caller has the room.
        unsafe { to.add(i).write(Rounded::pack(l, &rounded)) };
    }
}

/// Parts of a block with scales of their own.
const fn halves<F: Format>() -> usize {
    match F::CODES {
        Codes::Super { halves: true, .. } => 2,
        _ => 1,
    }
}

/// Of the given half of a block, or of all of it, `(step, offset)`: a weight is `offset +
/// code * step`.
#[inline(always)]
fn step_and_offset<L: Integers, F: Format>(l: L, block: &Block<L>, half: usize) -> (L::V, L::V) {
    match halves::<F>() {
        2 => {
            let step = l.mul(block.scale, l.to_floats(block.sub[half]));
            (step, block.min[half])
        }
        _ => (block.scale, block.min[0]),
    }
}

/// The nearest bytes, by steps of 1/256: `inverse` times the weights is below 2^15.
#[inline(always)]
fn bytes_of<L: Integers, F: Format>(l: L, block: &Block<L>, inverse: L::V) -> [L::I; 8] {
    let (even, odd) = (
        l.splat_i32(0x00ff_00ff),
        l.splat_i32(0xff00_ff00_u32 as i32),
    );
    let fixed: [(L::I, L::I); 2] = from_fn(
        #[inline(always)]
        |half| {
            let (step, low) = step_and_offset::<L, F>(l, block, half % halves::<F>());
            let low = l.mul_add(low, inverse, l.splat(128.0));
            (twice(l, l.mul(step, inverse)), twice(l, low))
        },
    );
    let mut q = block.q;
    for (j, q) in q.iter_mut().enumerate() {
        let (step, low) = fixed[j / 4];
        let first = l.add_16(l.mul_16(l.and(*q, even), step), low);
        let second = l.add_16(l.mul_16(l.shr_16::<8>(*q), step), low);
        *q = l.or(l.shr_16::<8>(first), l.and(second, odd));
    }
    q
}

/// Nearest integers of 16 bits, twice in each lane.
#[inline(always)]
fn twice<L: Integers>(l: L, v: L::V) -> L::I {
    let low = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];
    l.shuffle(l.to_integers(v), l.splat_16(&low))
}
