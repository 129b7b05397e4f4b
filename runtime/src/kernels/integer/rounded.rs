//! K-quants in prefill, where products of 8 bits add up in 32 bits at once: a
//! super-block's weights are rounded to bytes with one scale. Then a block takes no
//! more than its products and one step of floats, whatever scales and minima its format
//! has; scales of blocks and minima are spent once, where a panel is filled.

use super::bytes::{ByteDots, Bytes};
use super::gemm::{Fill, decode_run};
use super::{Block, Lanes, LowBit, Sink};
use crate::kernels::acts::I8Block;
use crate::kernels::array::from_fn;
use crate::kernels::{Call, Matrix};
use core::marker::PhantomData;
use core::ops::Range;

/// Blocks of a super-block.
pub(super) const SUPER: usize = 8;

/// A format whose rows are rounded.
pub(in crate::kernels) trait SuperBlocks: LowBit {
    /// The highest level: they begin at zero.
    const HIGHEST: u8;
    /// Whether scales and minima are of 16 weights, not of 32.
    const HALVES: bool;
}

/// Multiplies rows of super-blocks with the activations of all tokens.
pub(in crate::kernels) fn prefill_rounded<L: ByteDots, F: SuperBlocks>(l: L, call: Call) {
    l.gemm::<Rounding<F>, Rounded<L>, I8Block>(call);
}

/// Rows of format `F`, rounded.
struct Rounding<F>(PhantomData<F>);

/// A block of a super-block.
type Rounded<L> = Bytes<L, SUPER>;

impl<L: ByteDots, F: SuperBlocks> Fill<L, Rounded<L>> for Rounding<F> {
    #[inline(always)]
    unsafe fn fill(
        l: L,
        w: &Matrix,
        run: &Range<usize>,
        bounce: &mut [u8],
        panel: *mut Rounded<L>,
    ) {
        let mut sink = Round::<L, F> {
            l,
            waiting: [Block::new(l, [l.splat_i32(0); 8], l.splat(0.0)); SUPER],
            count: 0,
            next: panel,
            format: PhantomData,
        };
        decode_run::<L, F, _>(l, w, run, bounce, &mut sink);
    }
}

/// Rounds the blocks of a super-block when all have come.
struct Round<L: ByteDots, F> {
    l: L,
    waiting: [Block<L>; SUPER],
    count: usize,
    next: *mut Rounded<L>,
    format: PhantomData<F>,
}

impl<L: ByteDots, F: SuperBlocks> Sink<L> for Round<L, F> {
    #[inline(always)]
    fn block(&mut self, block: &Block<L>) {
        self.waiting[self.count] = *block;
        self.count += 1;
        if self.count == SUPER {
            self.count = 0;
            // SAFETY: `fill` was given room for all blocks, aligned.
            unsafe {
                round_all::<L, F>(self.l, &self.waiting, self.next);
                self.next = self.next.add(SUPER);
            }
        }
    }
}

/// Writes the blocks of a super-block, rounded. The oracle is `scalar::rounded`.
///
/// # Safety
/// `to` has room for them, aligned.
#[inline(always)]
unsafe fn round_all<L: ByteDots, F: SuperBlocks>(
    l: L,
    blocks: &[Block<L>; SUPER],
    to: *mut Rounded<L>,
) {
    let zero = l.splat(0.0);
    let (mut bound, mut not_finite) = (zero, zero);
    for block in blocks {
        for half in 0..halves::<F>() {
            let (step, low) = steps::<L, F>(l, block, half);
            let high = l.mul_add(step, l.splat(F::HIGHEST.into()), low);
            for end in [low, high] {
                bound = l.larger(bound, end);
                not_finite = l.mul_add(end, zero, not_finite);
            }
        }
    }
    let inverse = l.div(l.splat(127.0 * 256.0), bound);
    let scale = l.mul_add(bound, l.splat(1.0 / 127.0), not_finite);
    for (i, block) in blocks.iter().enumerate() {
        let q = bytes_of::<L, F>(l, block, inverse);
        // SAFETY: the caller has the room.
        unsafe { to.add(i).write(Rounded::new(l, q, scale)) };
    }
}

const fn halves<F: SuperBlocks>() -> usize {
    if F::HALVES { 2 } else { 1 }
}

/// Of the given half of a block, or of all of it, the weight of a level more, and that
/// of level 0.
#[inline(always)]
fn steps<L: Lanes, F: SuperBlocks>(l: L, block: &Block<L>, half: usize) -> (L::V, L::V) {
    match F::HALVES {
        true => {
            let step = l.mul(block.scale, l.to_floats(block.sub[half]));
            (step, block.min[half])
        }
        false => (block.scale, block.min[0]),
    }
}

/// The nearest bytes, by steps of 1/256: `inverse` times the weights is below 2^15.
#[inline(always)]
fn bytes_of<L: ByteDots, F: SuperBlocks>(l: L, block: &Block<L>, inverse: L::V) -> [L::I; 8] {
    let (even, odd) = (
        l.splat_i32(0x00ff_00ff),
        l.splat_i32(0xff00_ff00_u32 as i32),
    );
    let fixed: [(L::I, L::I); 2] = from_fn(
        #[inline(always)]
        |half| {
            let (step, low) = steps::<L, F>(l, block, half % halves::<F>());
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
fn twice<L: Lanes>(l: L, v: L::V) -> L::I {
    let low = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];
    l.shuffle(l.to_integers(v), l.splat_16(&low))
}
