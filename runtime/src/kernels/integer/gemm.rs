//! Matrix times many tokens: the blocks of a few runs of rows are unpacked
//! once, then all tokens sweep over them, a few at a time.

use super::lanes::MAX_LANES;
use super::panel::{Pack, Product, accumulate};
use super::rows::{PackedRows, PlainRows, lanes_of, runs};
use super::{Arithmetic, Block, Format, Lanes, Sink};
use crate::kernels::acts::{ActBlock, BLOCK};
use crate::kernels::array::{from_fn, map};
use crate::kernels::vector::simd::Op;
use crate::kernels::{Acts, Call, Matrix, OutRows};
use core::marker::PhantomData;
use core::mem::size_of;
use core::ops::Range;
use ondol_models::quant::packed::GROUP;

/// Multiplies the given rows with all tokens: `P` panels (runs of rows) with `T`
/// tokens at once. A load of weights serves all tokens of a sweep, and a
/// broadcast of activations all panels; an ISA says how many sums its registers
/// hold ([`Arithmetic::gemm`]).
pub(in crate::kernels) struct Gemm<'a, F, W, A, const P: usize, const T: usize> {
    call: Call<'a>,
    types: PhantomData<(F, W, A)>,
}

impl<'a, F, W, A, const P: usize, const T: usize> Gemm<'a, F, W, A, P, T> {
    pub(in crate::kernels) fn new(call: Call<'a>) -> Self {
        let types = PhantomData;
        Gemm { call, types }
    }
}

impl<L, F, W, A, const P: usize, const T: usize> Op<L> for Gemm<'_, F, W, A, P, T>
where
    L: Arithmetic,
    F: Fill<L, W>,
    W: Product<L, A>,
    A: ActBlock,
{
    #[inline(always)]
    fn run(self, l: L) {
        let Call {
            w,
            rows,
            acts,
            out,
            scratch,
        } = self.call;
        let blocks = w.cols().div_ceil(BLOCK);
        let (panels, bounce) = split_scratch::<W, P>(scratch, blocks);
        let mut runs = runs::<L>(w, &rows);
        loop {
            let filled: [_; P] = from_fn(|_| runs.next().unwrap_or_default());
            if filled[0].is_empty() {
                break;
            }
            for (run, panel) in filled.iter().zip(panels) {
                if !run.is_empty() {
                    // SAFETY: so much room is in the panel.
                    unsafe { F::fill(l, w, run, bounce, panel) };
                }
            }
            let sweep = Sweep {
                // A panel without rows is left with those of the one before.
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
                l.run(Tokens::<W, A, P, T>::of(&sweep, token));
                token += T;
            }
            while T > 4 && acts.tokens() - token >= 4 {
                l.run(Tokens::<W, A, P, 4>::of(&sweep, token));
                token += 4;
            }
            while acts.tokens() - token >= 2 {
                l.run(Tokens::<W, A, P, 2>::of(&sweep, token));
                token += 2;
            }
            if acts.tokens() > token {
                l.run(Tokens::<W, A, P, 1>::of(&sweep, token));
            }
        }
    }
}

/// Room for the panels, aligned for vectors, and for a bounce of a run of rows.
fn split_scratch<W, const P: usize>(scratch: &mut [u8], blocks: usize) -> ([*mut W; P], &mut [u8]) {
    let skip = scratch.as_ptr().align_offset(Acts::ALIGN);
    let bytes = blocks * size_of::<W>();
    let (panels, bounce) = scratch[skip..].split_at_mut(P * bytes);
    let first = panels.as_mut_ptr().cast::<W>();
    let panels = from_fn(|p| first.wrapping_add(p * blocks));
    (panels, bounce)
}

/// Weights that can be laid into a panel.
pub(in crate::kernels) trait Fill<L: Lanes, W> {
    /// Unpacks a run of rows.
    ///
    /// # Safety
    /// `panel` has room for a row's blocks, aligned; `bounce` for
    /// [`super::scratch_bytes`].
    unsafe fn fill(l: L, w: &Matrix, run: &Range<usize>, bounce: &mut [u8], panel: *mut W);
}

impl<L: Arithmetic, F: Format, W: Pack<L>> Fill<L, W> for F {
    #[inline(always)]
    unsafe fn fill(l: L, w: &Matrix, run: &Range<usize>, bounce: &mut [u8], panel: *mut W) {
        decode_run::<L, F, _>(l, w, run, bounce, &mut Unpack { l, next: panel });
    }
}

/// Hands the blocks of a run of rows to `sink`, in order; `bounce` is that of
/// [`Fill::fill`].
#[inline(always)]
pub(super) fn decode_run<L: Lanes, F: Format, S: Sink<L>>(
    l: L,
    w: &Matrix,
    run: &Range<usize>,
    bounce: &mut [u8],
    sink: &mut S,
) {
    let blocks = w.cols() / BLOCK;
    // SAFETY: the rows have so many blocks.
    unsafe {
        if run.start < w.packed_rows() {
            F::for_each_block(l, PackedRows::of(l, w, run), blocks, sink);
        } else {
            F::for_each_block(l, PlainRows::of(l, w, run, bounce), blocks, sink);
        }
    }
}

/// Writes blocks to a panel, as they come.
struct Unpack<L, W> {
    l: L,
    next: *mut W,
}

impl<L: Arithmetic, W: Pack<L>> Sink<L> for Unpack<L, W> {
    #[inline(always)]
    fn block(&mut self, block: &Block<L>) {
        // SAFETY: `fill` was given room for all blocks, aligned.
        unsafe {
            self.next.write(W::pack(self.l, block));
            self.next = self.next.add(1);
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

/// All rows of the panels with `T` tokens, from `token` on.
struct Tokens<'a, W, A, const P: usize, const T: usize> {
    sweep: &'a Sweep<'a, W, P>,
    token: usize,
    activations: PhantomData<A>,
}

impl<'a, W, A, const P: usize, const T: usize> Tokens<'a, W, A, P, T> {
    fn of(sweep: &'a Sweep<'a, W, P>, token: usize) -> Self {
        let activations = PhantomData;
        Tokens {
            sweep,
            token,
            activations,
        }
    }
}

impl<L, W, A, const P: usize, const T: usize> Op<L> for Tokens<'_, W, A, P, T>
where
    L: Arithmetic,
    W: Product<L, A>,
    A: ActBlock,
{
    #[inline(always)]
    fn run(self, l: L) {
        let mut sums = self.sums_of_blocks(l);
        if A::LEAVES_OUT {
            self.add_outliers(l, &mut sums);
        }
        self.put(&sums, L::COUNT);
    }
}

/// For each panel and token the sums of as many rows as lanes.
type Sums<const P: usize, const T: usize> = [[[f32; MAX_LANES]; T]; P];

impl<W, A: ActBlock, const P: usize, const T: usize> Tokens<'_, W, A, P, T> {
    #[inline(always)]
    fn sums_of_blocks<L: Arithmetic>(&self, l: L) -> Sums<P, T>
    where
        W: Product<L, A>,
    {
        let (sweep, token) = (self.sweep, self.token);
        let x: [*const A; T] = from_fn(|t| sweep.acts.row(token + t).as_ptr().cast::<A>());
        let mut acc = [[l.splat(0.0); T]; P];
        for first in (0..sweep.blocks).step_by(W::GROUP) {
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
                            map(sweep.panels, |panel| &*panel.add(b)),
                            map(x, |x| &*x.add(b)),
                        )
                    }
                },
            );
        }
        let mut sums = [[[0.0; MAX_LANES]; T]; P];
        for (sums, acc) in sums.iter_mut().zip(acc) {
            for (sums, acc) in sums.iter_mut().zip(acc) {
                l.store(acc, sums);
            }
        }
        sums
    }

    /// Adds the products with what the blocks leave out.
    #[inline(always)]
    fn add_outliers<L: Arithmetic>(&self, l: L, sums: &mut Sums<P, T>)
    where
        W: Product<L, A>,
    {
        let sweep = self.sweep;
        // SAFETY: panels have so many blocks.
        let panels = map(sweep.panels, |panel| unsafe {
            core::slice::from_raw_parts(panel, sweep.blocks)
        });
        for t in 0..T {
            let row = sweep.acts.row(self.token + t);
            let outliers = A::outliers(row, sweep.blocks * BLOCK);
            let apart = W::sum_outliers(l, panels, outliers);
            for (sums, apart) in sums.iter_mut().zip(apart) {
                let mut lanes = [0.0; MAX_LANES];
                l.store(apart, &mut lanes);
                for (sum, apart) in sums[t].iter_mut().zip(lanes) {
                    *sum += apart;
                }
            }
        }
    }

    /// Writes the sums out, of runs of up to `count` rows.
    #[inline(always)]
    fn put(&self, sums: &Sums<P, T>, count: usize) {
        let (sweep, token) = (self.sweep, self.token);
        for (run, sums) in sweep.runs.iter().zip(sums) {
            if run.is_empty() {
                break;
            }
            let lanes = lanes_of(run, &sweep.rows);
            for (t, sums) in sums.iter().enumerate() {
                let (token, row) = (token + t, run.start + lanes.start);
                if lanes.len() == count {
                    for (group, sums) in sums[..count].as_chunks::<GROUP>().0.iter().enumerate() {
                        sweep.out.put_whole(token, row + group * GROUP, sums);
                    }
                } else {
                    sweep.out.put(token, row, &sums[lanes.clone()]);
                }
            }
        }
    }
}
