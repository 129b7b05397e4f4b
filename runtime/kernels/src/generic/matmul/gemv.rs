//! Matrix times one token: a row for each lane goes from memory to the
//! arithmetic in registers.

use super::panel::{Panel, accumulate};
use super::rows::{lanes_of, runs};
use super::{Arithmetic, Fine, Rows};
use crate::generic::acts::{self, BLOCK};
use crate::generic::formats::{Format, for_each_block};
use crate::generic::matrix::Call;
use crate::generic::simd::MAX_LANES;

/// Multiplies the given rows with the first token.
pub(super) fn gemv<L: Arithmetic, F: Format>(l: L, call: Call) {
    let Call {
        w,
        rows,
        acts,
        out,
        scratch,
    } = call;
    let x = &acts::blocks::<Fine<L, F>>(acts.row(0))[..w.cols() / BLOCK];
    l.run(
        #[inline(always)]
        move || {
            for run in runs::<L>(w, &rows) {
                let sums = if run.start < w.packed_rows() {
                    dot::<L, F, true>(l, Rows::packed(l, w, &run), x)
                } else {
                    dot::<L, F, false>(l, Rows::plain(l, w, &run, scratch), x)
                };
                let lanes = lanes_of(&run, &rows);
                out.put(0, run.start + lanes.start, &sums[lanes]);
            }
        },
    );
}

/// The products of a run of rows, which have as many blocks as `x`.
#[inline(always)]
fn dot<L: Arithmetic, F: Format, const PACKED: bool>(
    l: L,
    rows: Rows<L, PACKED>,
    x: &[Fine<L, F>],
) -> [f32; MAX_LANES] {
    let mut acc = [[l.splat(0.0)]];
    let mut blocks = x.iter();
    // SAFETY: the rows have as many blocks.
    unsafe {
        for_each_block::<L, F, PACKED>(
            l,
            rows,
            x.len(),
            #[inline(always)]
            |block| {
                if let Some(x) = blocks.next() {
                    let w = F::Panel::<L>::pack(l, block);
                    accumulate(
                        l,
                        &mut acc,
                        #[inline(always)]
                        |_| ([&w], [x]),
                    );
                }
            },
        );
    }
    let mut sums = [0.0; MAX_LANES];
    l.store_lanes(acc[0][0], &mut sums);
    sums
}
