//! Matrix times one token: eight rows go from the file's layout to the
//! arithmetic in registers.

use super::super::super::acts::{self, ActBlock, BLOCK};
use super::super::super::{Acts, Matrix, OutRows};
use super::panel::{Product, accumulate};
use super::rows::{LANES, Rows};
use super::{Block, Format, Sink, lanes};
use core::arch::x86_64::*;
use core::marker::PhantomData;
use core::ops::Range;

/// Multiplies the given rows with the first token.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn gemv<F: Format, A: ActBlock>(
    w: &Matrix,
    rows: Range<usize>,
    acts: &Acts,
    out: &OutRows,
    scratch: &mut [u8],
) where
    F::Packed: Product<A>,
{
    let blocks = w.cols() / BLOCK;
    let x = &acts::blocks::<A>(acts.row(0))[..blocks];
    for row in rows.clone().step_by(LANES) {
        let source = Rows::of(w, row, scratch);
        let acc = [[_mm256_setzero_ps()]];
        let mut dot = Dot::<F::Packed, A> {
            x: x.iter(),
            acc,
            weights: PhantomData,
        };
        // SAFETY: the features are enabled here, and the rows have `blocks` blocks.
        let sums = unsafe {
            F::for_each_block(source, blocks, &mut dot);
            lanes(dot.acc[0][0])
        };
        out.put(0, row, &sums[..LANES.min(rows.end - row)]);
    }
}

/// Adds up the product of blocks with a token's, as they come.
struct Dot<'a, W, A> {
    x: core::slice::Iter<'a, A>,
    acc: [[__m256; 1]; 1],
    weights: PhantomData<W>,
}

impl<W: Product<A>, A: ActBlock> Sink for Dot<'_, W, A> {
    #[inline(always)]
    unsafe fn block(&mut self, block: &Block) {
        if let Some(x) = self.x.next() {
            // SAFETY: see the module `avx2` for features.
            unsafe { accumulate(&mut self.acc, [&W::pack(block)], [x]) }
        }
    }
}
