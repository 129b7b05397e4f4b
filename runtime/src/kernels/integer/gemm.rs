//! Matrix times many tokens: the blocks of 16 rows are unpacked once, then
//! all tokens sweep over them, a few at a time.

use super::panel::{Panel, Product, accumulate};
use super::rows::{PackedRows, PlainRows};
use super::{Arithmetic, Block, Format, LANES, Sink, lanes_of};
use crate::kernels::acts::{ActBlock, BLOCK};
use crate::kernels::vector::simd::Op;
use crate::kernels::{Acts, Call, Matrix, OutRows};
use core::marker::PhantomData;
use core::mem::size_of;
use core::ops::Range;

/// Groups of eight rows that are swept at once: a broadcast of activations
/// serves both.
pub(super) const PANELS: usize = 2;

/// Tokens that are swept at once: a load of weights serves all. So many panels
/// and tokens have two sums each in twelve of sixteen registers.
const TOKENS: usize = 3;

/// Multiplies the given rows with all tokens.
pub(super) struct Gemm<'a, F, W, A> {
    call: Call<'a>,
    types: PhantomData<(F, W, A)>,
}

impl<'a, F, W, A> Gemm<'a, F, W, A> {
    pub(super) fn new(call: Call<'a>) -> Self {
        let types = PhantomData;
        Gemm { call, types }
    }
}

impl<L: Arithmetic, F: Format, W: Product<L, A>, A: ActBlock> Op<L> for Gemm<'_, F, W, A> {
    #[inline(always)]
    fn run(self, l: L) {
        let Call {
            w,
            rows,
            acts,
            out,
            scratch,
        } = self.call;
        let blocks = w.cols() / BLOCK;
        let (panels, bounce) = split_scratch::<W>(scratch, blocks);
        let first = rows.start / LANES * LANES;
        for row in (first..rows.end).step_by(PANELS * LANES) {
            // A panel without rows is left with those of the one before.
            let count = (rows.end - row).div_ceil(LANES).min(PANELS);
            for (p, panel) in panels[..count].iter().enumerate() {
                // SAFETY: so much room is in the panel.
                unsafe { unpack::<L, F, W>(l, w, row + p * LANES, bounce, *panel) };
            }
            let sweep = Sweep {
                panels: if count == PANELS {
                    panels
                } else {
                    [panels[0]; PANELS]
                },
                blocks,
                acts,
                out,
                row,
                rows: rows.clone(),
            };
            let mut token = 0;
            while acts.tokens() - token >= TOKENS {
                l.run(Tokens::<W, A, TOKENS>::of(&sweep, token));
                token += TOKENS;
            }
            match acts.tokens() - token {
                0 => {}
                1 => l.run(Tokens::<W, A, 1>::of(&sweep, token)),
                _ => l.run(Tokens::<W, A, 2>::of(&sweep, token)),
            }
        }
    }
}

/// Room for the panels, aligned for vectors, and for a bounce of eight rows.
fn split_scratch<W>(scratch: &mut [u8], blocks: usize) -> ([*mut W; PANELS], &mut [u8]) {
    let skip = scratch.as_ptr().align_offset(Acts::ALIGN);
    let bytes = blocks * size_of::<W>();
    let (panels, bounce) = scratch[skip..].split_at_mut(PANELS * bytes);
    let (first, second) = panels.split_at_mut(bytes);
    (
        [first.as_mut_ptr().cast(), second.as_mut_ptr().cast()],
        bounce,
    )
}

/// Unpacks the group of rows at `row`.
///
/// # Safety
/// `panel` has room for a row's blocks, aligned.
#[inline(always)]
unsafe fn unpack<L: Arithmetic, F: Format, W: Panel<L>>(
    l: L,
    w: &Matrix,
    row: usize,
    bounce: &mut [u8],
    panel: *mut W,
) {
    let mut sink = Unpack { l, next: panel };
    let blocks = w.cols() / BLOCK;
    // SAFETY: the rows have so many blocks.
    unsafe {
        if row < w.packed_rows() {
            F::for_each_block(l, PackedRows::of(l, w, row), blocks, &mut sink);
        } else {
            F::for_each_block(l, PlainRows::of(l, w, row, bounce), blocks, &mut sink);
        }
    }
}

/// Writes blocks to a panel, as they come.
struct Unpack<L, W> {
    l: L,
    next: *mut W,
}

impl<L: Arithmetic, W: Panel<L>> Sink<L> for Unpack<L, W> {
    #[inline(always)]
    fn block(&mut self, block: &Block<L>) {
        // SAFETY: `unpack` was given room for all blocks, aligned.
        unsafe {
            self.next.write(W::pack(self.l, block));
            self.next = self.next.add(1);
        }
    }
}

/// Filled panels, and what to do with them.
struct Sweep<'a, W> {
    panels: [*mut W; PANELS],
    blocks: usize,
    acts: &'a Acts<'a>,
    out: &'a OutRows,
    row: usize,
    rows: Range<usize>,
}

/// All rows of the panels with `T` tokens, from `token` on.
struct Tokens<'a, W, A, const T: usize> {
    sweep: &'a Sweep<'a, W>,
    token: usize,
    activations: PhantomData<A>,
}

impl<'a, W, A, const T: usize> Tokens<'a, W, A, T> {
    fn of(sweep: &'a Sweep<'a, W>, token: usize) -> Self {
        let activations = PhantomData;
        Tokens {
            sweep,
            token,
            activations,
        }
    }
}

impl<L, W, A, const T: usize> Op<L> for Tokens<'_, W, A, T>
where
    L: Arithmetic,
    W: Product<L, A>,
    A: ActBlock,
{
    #[inline(always)]
    fn run(self, l: L) {
        let (sweep, token) = (self.sweep, self.token);
        let x: [*const A; T] =
            core::array::from_fn(|t| sweep.acts.row(token + t).as_ptr().cast::<A>());
        let mut acc = [[l.splat(0.0); T]; PANELS];
        for b in 0..sweep.blocks {
            // SAFETY: panels and prepared rows have `blocks` blocks, aligned,
            // and there are so many tokens left.
            let (w, x) = unsafe {
                (
                    sweep.panels.map(|panel| &*panel.add(b)),
                    x.map(|x| &*x.add(b)),
                )
            };
            accumulate(l, &mut acc, w, x);
        }
        for (p, acc) in acc.into_iter().enumerate() {
            let group = sweep.row + p * LANES;
            if group >= sweep.rows.end {
                break;
            }
            let lanes = lanes_of(group, &sweep.rows);
            for (t, acc) in acc.into_iter().enumerate() {
                let mut sums = [0.0; LANES];
                l.store(acc, &mut sums);
                let sums = &sums[lanes.clone()];
                sweep.out.put(token + t, group + lanes.start, sums);
            }
        }
    }
}
