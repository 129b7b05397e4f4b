//! Matrix times many tokens: the blocks of 16 rows are unpacked once, then
//! all tokens sweep over them, four at a time.

use super::super::super::acts::{ActBlock, BLOCK};
use super::super::super::{Acts, Matrix, OutRows};
use super::panel::{Packed, Product, accumulate};
use super::rows::{LANES, Rows};
use super::{Block, Format, Sink, lanes};
use core::arch::x86_64::*;
use core::mem::size_of;
use core::ops::Range;

/// Panels of eight rows that are swept at once: a broadcast of activations
/// serves both.
pub(super) const PANELS: usize = 2;

/// Tokens that are swept at once: a load of weights serves all.
const TOKENS: usize = 4;

/// Multiplies the given rows with all tokens.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn gemm<F: Format, A: ActBlock>(
    w: &Matrix,
    rows: Range<usize>,
    acts: &Acts,
    out: &OutRows,
    scratch: &mut [u8],
) where
    F::Packed: Product<A>,
{
    let blocks = w.cols() / BLOCK;
    let (panels, bounce) = split_scratch::<F::Packed>(scratch, blocks);
    for row in rows.clone().step_by(PANELS * LANES) {
        let count = (rows.end - row).min(PANELS * LANES);
        for (p, panel) in panels.iter().enumerate() {
            // A panel without rows is left with those of the one before.
            if p * LANES < count {
                let source = Rows::of(w, row + p * LANES, bounce);
                // SAFETY: the features are enabled here, the rows have `blocks`
                // blocks, and so much room is in the panel.
                unsafe { F::for_each_block(source, blocks, &mut Unpack { next: *panel }) };
            }
        }
        let mut sweep = Sweep {
            panels,
            blocks,
            acts,
            out,
            row,
            count,
        };
        if count <= LANES {
            sweep.panels[1] = panels[0];
        }
        let mut token = 0;
        // SAFETY: the features are enabled here, the panels are filled, and
        // there are so many tokens left.
        unsafe {
            while acts.tokens() - token >= TOKENS {
                sweep.tokens::<A, TOKENS>(token);
                token += TOKENS;
            }
            while token < acts.tokens() {
                sweep.tokens::<A, 1>(token);
                token += 1;
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

/// Writes blocks to a panel, as they come.
struct Unpack<W> {
    next: *mut W,
}

impl<W: Packed> Sink for Unpack<W> {
    #[inline(always)]
    unsafe fn block(&mut self, block: &Block) {
        // SAFETY: `gemm` gave room for all blocks, aligned; see the module
        // `avx2` for features.
        unsafe {
            self.next.write(W::pack(block));
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
    count: usize,
}

impl<W> Sweep<'_, W> {
    /// All rows with `T` tokens, from `token` on.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn tokens<A: ActBlock, const T: usize>(&self, token: usize)
    where
        W: Product<A>,
    {
        let x: [*const A; T] =
            core::array::from_fn(|t| self.acts.row(token + t).as_ptr().cast::<A>());
        let mut acc = [[_mm256_setzero_ps(); T]; PANELS];
        for b in 0..self.blocks {
            // SAFETY: panels and prepared rows have `blocks` blocks, aligned.
            unsafe {
                let w = self.panels.map(|panel| &*panel.add(b));
                accumulate(&mut acc, w, x.map(|x| &*x.add(b)));
            }
        }
        for (p, acc) in acc.into_iter().enumerate() {
            let rows = self.count.saturating_sub(p * LANES).min(LANES);
            for (t, acc) in acc.into_iter().enumerate() {
                // SAFETY: the features are enabled here.
                let sums = unsafe { lanes(acc) };
                self.out.put(token + t, self.row + p * LANES, &sums[..rows]);
            }
        }
    }
}
