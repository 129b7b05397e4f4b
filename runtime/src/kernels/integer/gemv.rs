//! Matrix times one token: a row for each lane goes from memory to the
//! arithmetic in registers.

use super::lanes::MAX_LANES;
use super::panel::{Pack, Product, accumulate};
use super::rows::{PackedRows, PlainRows, lanes_of, runs};
use super::{Arithmetic, Block, Format, Lanes, Rows, Sink};
use crate::kernels::Call;
use crate::kernels::acts::{self, ActBlock, BLOCK};
use crate::kernels::vector::simd::Op;
use core::marker::PhantomData;

/// Multiplies the given rows with the first token.
pub(super) struct Gemv<'a, F, W, A> {
    call: Call<'a>,
    types: PhantomData<(F, W, A)>,
}

impl<'a, F, W, A> Gemv<'a, F, W, A> {
    pub(super) fn new(call: Call<'a>) -> Self {
        let types = PhantomData;
        Gemv { call, types }
    }
}

impl<L: Arithmetic, F: Format, W: Product<L, A> + Pack<L>, A: ActBlock> Op<L>
    for Gemv<'_, F, W, A>
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
        let x = &acts::blocks::<A>(acts.row(0))[..w.cols() / BLOCK];
        for run in runs::<L>(w, &rows) {
            let sums = if run.start < w.packed_rows() {
                dot::<L, F, W, A>(l, PackedRows::of(l, w, &run), x)
            } else {
                dot::<L, F, W, A>(l, PlainRows::of(l, w, &run, scratch), x)
            };
            let lanes = lanes_of(&run, &rows);
            out.put(0, run.start + lanes.start, &sums[lanes]);
        }
    }
}

/// The products of a run of rows, which have as many blocks as `x`.
#[inline(always)]
fn dot<L: Arithmetic, F: Format, W: Product<L, A> + Pack<L>, A: ActBlock>(
    l: L,
    rows: impl Rows<L>,
    x: &[A],
) -> [f32; MAX_LANES] {
    let mut dot = Dot::<L, W, A> {
        l,
        x: x.iter(),
        acc: [[l.splat(0.0)]],
        weights: PhantomData,
    };
    let mut sums = [0.0; MAX_LANES];
    // SAFETY: the rows have as many blocks.
    unsafe { F::for_each_block(l, rows, x.len(), &mut dot) };
    l.store(dot.acc[0][0], &mut sums);
    sums
}

/// Adds up the product of blocks with a token's, as they come.
struct Dot<'a, L: Lanes, W, A> {
    l: L,
    x: core::slice::Iter<'a, A>,
    acc: [[L::V; 1]; 1],
    weights: PhantomData<W>,
}

impl<L: Arithmetic, W: Product<L, A> + Pack<L>, A: ActBlock> Sink<L> for Dot<'_, L, W, A> {
    #[inline(always)]
    fn block(&mut self, block: &Block<L>) {
        if let Some(x) = self.x.next() {
            let w = W::pack(self.l, block);
            accumulate(self.l, &mut self.acc, |_| ([&w], [x]));
        }
    }
}
