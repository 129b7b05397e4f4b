//! Matrix times many tokens: the blocks of a few runs of rows are unpacked
//! once, then all tokens sweep over them, a few at a time.

use super::panel::{Panel, accumulate};
use super::rows::{lanes_of, runs};
use super::{Arithmetic, Block, Rows};
use crate::generic::acts::{ActBlock, BLOCK};
use crate::generic::array::{from_fn, map};
use crate::generic::formats::{Format, for_each_block};
use crate::generic::matrix::{Acts, Call, Matrix, OutRows};
use crate::generic::simd::{Integers, MAX_LANES};
use core::ops::Range;
use ondol_models::quant::packed::GROUP;

/// Multiplies the given rows with all tokens: `P` panels (runs of rows) with `T`
/// tokens at once. A load of weights serves all tokens of a sweep, and a
/// broadcast of activations all panels; an ISA says how many sums its registers
/// hold ([`Arithmetic::gemm`]).
///
/// `fill` unpacks a run of rows to a panel, which has room for a row's blocks; the bytes
/// that it is given are for staging, [`Matmul::scratch_bytes`](super::Matmul::scratch_bytes).
#[inline(always)]
pub(crate) fn gemm<L, W, A, const P: usize, const T: usize>(
    l: L,
    call: Call,
    fill: impl Fn(L, &Matrix, &Range<usize>, &mut [u8], *mut W),
) where
    L: Arithmetic,
    W: Panel<L>,
    A: ActBlock<Plane = W::Plane>,
{
    let Call {
        w,
        rows,
        acts,
        out,
        scratch,
    } = call;
    let blocks = w.cols().div_ceil(BLOCK);
    let (panels, staging) = split_scratch::<W, P>(scratch, blocks);
    let mut runs = runs::<L>(w, &rows);
    loop {
        let filled: [_; P] = from_fn(|_| runs.next().unwrap_or_default());
        if filled[0].is_empty() {
            break;
        }
        for (run, panel) in filled.iter().zip(panels) {
            if !run.is_empty() {
                fill(l, w, run, staging, panel);
            }
        }
        let sweep = &Sweep {
            // If the second of two panels has no rows, the first is computed twice, and
            // stored once.
            panels: if filled[P - 1].is_empty() {
                [panels[0]; P]
            } else {
                panels
            },
            runs: filled,
            blocks,
            acts,
            out,
            rows: rows.clone(),
        };
        let mut token = 0;
        while acts.tokens() - token >= T {
            sweep.tokens::<L, A, T>(l, token);
            token += T;
        }
        while T > 4 && acts.tokens() - token >= 4 {
            sweep.tokens::<L, A, 4>(l, token);
            token += 4;
        }
        while acts.tokens() - token >= 2 {
            sweep.tokens::<L, A, 2>(l, token);
            token += 2;
        }
        if acts.tokens() > token {
            sweep.tokens::<L, A, 1>(l, token);
        }
    }
}

/// Room for the panels, aligned for vectors, and for staging a run of rows.
fn split_scratch<W, const P: usize>(scratch: &mut [u8], blocks: usize) -> ([*mut W; P], &mut [u8]) {
    let skip = scratch.as_ptr().align_offset(Acts::ALIGN);
    let bytes = blocks * size_of::<W>();
    let (panels, staging) = scratch[skip..].split_at_mut(P * bytes);
    let first = panels.as_mut_ptr().cast::<W>();
    let panels = from_fn(|p| first.wrapping_add(p * blocks));
    (panels, staging)
}

/// Unpacks a run of rows to a panel, block by block.
#[inline(always)]
pub(super) fn fill<L: Arithmetic, F: Format>(
    l: L,
    w: &Matrix,
    run: &Range<usize>,
    staging: &mut [u8],
    panel: *mut F::Panel<L>,
) {
    let mut next = panel;
    decode_run::<L, F>(
        l,
        w,
        run,
        staging,
        #[inline(always)]
        |block| {
            // SAFETY: `gemm` gives room for all blocks, aligned.
            unsafe {
                next.write(F::Panel::<L>::pack(l, block));
                next = next.add(1);
            }
        },
    );
}

/// Hands the blocks of a run of rows to `sink`, in order.
#[inline(always)]
pub(super) fn decode_run<L: Integers, F: Format>(
    l: L,
    w: &Matrix,
    run: &Range<usize>,
    staging: &mut [u8],
    sink: impl FnMut(&Block<L>),
) {
    let blocks = w.cols() / BLOCK;
    // SAFETY: the rows have so many blocks.
    unsafe {
        if run.start < w.packed_rows() {
            for_each_block::<L, F, true>(l, Rows::packed(l, w, run), blocks, sink);
        } else {
            for_each_block::<L, F, false>(l, Rows::plain(l, w, run, staging), blocks, sink);
        }
    }
}

/// Filled panels, and what to do with them.
struct Sweep<'a, W, const P: usize> {
    panels: [*mut W; P],
    /// The rows of each panel; none where it has no rows.
    runs: [Range<usize>; P],
    blocks: usize,
    acts: &'a Acts<'a>,
    out: &'a OutRows,
    rows: Range<usize>,
}

/// For each panel and token the sums of as many rows as lanes.
type Sums<const P: usize, const T: usize> = [[[f32; MAX_LANES]; T]; P];

impl<W, const P: usize> Sweep<'_, W, P> {
    /// All rows of the panels with `T` tokens, from `token` on: a function of its own, which
    /// formats of the same panel share.
    fn tokens<L, A, const T: usize>(&self, l: L, token: usize)
    where
        L: Arithmetic,
        W: Panel<L>,
        A: ActBlock<Plane = W::Plane>,
    {
        l.run(
            #[inline(always)]
            move || {
                let x: [*const A; T] = from_fn(|t| self.acts.row(token + t).as_ptr().cast::<A>());
                let mut acc = [[l.splat(0.0); T]; P];
                for first in (0..self.blocks).step_by(W::GROUP) {
                    accumulate(
                        l,
                        &mut acc,
                        #[inline(always)]
                        |i| {
                            let b = first + i;
                            // SAFETY: panels and prepared rows have `blocks` blocks, whole
                            // groups, aligned, and there are so many tokens left.
                            unsafe {
                                (
                                    map(self.panels, |panel| &*panel.add(b)),
                                    map(x, |x| &*x.add(b)),
                                )
                            }
                        },
                    );
                }
                let mut sums = [[[0.0; MAX_LANES]; T]; P];
                for (sums, acc) in sums.iter_mut().zip(acc) {
                    for (sums, acc) in sums.iter_mut().zip(acc) {
                        l.store_lanes(acc, sums);
                    }
                }
                if A::LEAVES_OUT {
                    self.add_outliers::<L, A, T>(l, token, &mut sums);
                }
                self.put(token, &sums, L::COUNT);
            },
        );
    }

    /// Adds the products with what the blocks leave out.
    #[inline(always)]
    fn add_outliers<L, A, const T: usize>(&self, l: L, token: usize, sums: &mut Sums<P, T>)
    where
        L: Arithmetic,
        W: Panel<L>,
        A: ActBlock<Plane = W::Plane>,
    {
        // SAFETY: panels have so many blocks.
        let panels = map(self.panels, |panel| unsafe {
            core::slice::from_raw_parts(panel, self.blocks)
        });
        for t in 0..T {
            let row = self.acts.row(token + t);
            let mut apart = [l.splat(0.0); P];
            for outlier in A::outliers(row, self.blocks * BLOCK) {
                let (at, value) = (outlier.at as usize, l.splat(outlier.value));
                for (sum, panel) in apart.iter_mut().zip(panels) {
                    let weight = panel[at / BLOCK].weight(l, at % BLOCK);
                    *sum = l.mul_add(weight, value, *sum);
                }
            }
            for (sums, apart) in sums.iter_mut().zip(apart) {
                let mut lanes = [0.0; MAX_LANES];
                l.store_lanes(apart, &mut lanes);
                for (sum, apart) in sums[t].iter_mut().zip(lanes) {
                    *sum += apart;
                }
            }
        }
    }

    /// Writes the sums out, of runs of up to `count` rows.
    #[inline(always)]
    fn put<const T: usize>(&self, token: usize, sums: &Sums<P, T>, count: usize) {
        for (run, sums) in self.runs.iter().zip(sums) {
            if run.is_empty() {
                break;
            }
            let lanes = lanes_of(run, &self.rows);
            for (t, sums) in sums.iter().enumerate() {
                let (token, row) = (token + t, run.start + lanes.start);
                if lanes.len() == count {
                    for (group, sums) in sums[..count].as_chunks::<GROUP>().0.iter().enumerate() {
                        self.out.put_whole(token, row + group * GROUP, sums);
                    }
                } else {
                    self.out.put(token, row, &sums[lanes.clone()]);
                }
            }
        }
    }
}
