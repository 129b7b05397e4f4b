//! Queries into strips, and results out of them: rows become lanes and back.

use crate::generic::array::from_fn;
use core::ops::Range;

use super::{Line, Rows, STRIP};
use crate::generic::attention::SharedSlice;
use crate::generic::attention::softmax::inverse_sum;
use crate::generic::simd::{LANES, Simd};

/// Lays the queries, scaled, of strip `i` across its lanes; lanes and lines
/// without any are zeros.
#[inline(always)]
pub(super) fn gather_queries<S: Simd>(s: S, rows: &Rows<'_>, i: usize, strip: &mut [Line]) {
    strip.fill([0.0; STRIP]);
    let strip = &mut strip[..rows.shape.head_dim];
    for (lane, eight) in rows.eights(i) {
        gather_eight(s, rows, eight, lane, strip);
    }
}

/// [`gather_queries`] for up to eight rows, in the lanes from `lane` on.
#[inline(always)]
fn gather_eight<S: Simd>(
    s: S,
    rows: &Rows<'_>,
    eight: Range<usize>,
    lane: usize,
    strip: &mut [Line],
) {
    let scale = s.splat(rows.shape.scale);
    let whole = match eight.len() {
        LANES => strip.len() / LANES * LANES,
        _ => 0,
    };
    for d in (0..whole).step_by(LANES) {
        let mut square = [scale; LANES];
        for (row, v) in eight.clone().zip(&mut square) {
            let from = rows.place(row).start + d;
            *v = s.mul(s.load(lanes(&rows.queries.q[from..])), scale);
        }
        for (v, line) in transposed(s, square).into_iter().zip(&mut strip[d..]) {
            s.store(v, lanes_mut(&mut line[lane..]));
        }
    }
    for (lane, row) in (lane..).zip(eight) {
        let from = &rows.queries.q[rows.place(row)];
        for (line, &x) in strip[whole..].iter_mut().zip(&from[whole..]) {
            line[lane] = x * rows.shape.scale;
        }
    }
}

/// Divides the weighted sums by the sums of weights and writes them out.
///
/// # Safety
/// Nobody else uses the rows' part of `out`.
#[inline(always)]
pub(super) unsafe fn scatter_results<S: Simd>(
    s: S,
    rows: &Rows<'_>,
    sums: &[Line],
    weight: &[Line],
    out: SharedSlice<'_, f32>,
) {
    let strips = sums.chunks_exact(rows.shape.head_dim).zip(weight);
    for (i, (strip, weight)) in strips.enumerate() {
        for (lane, eight) in rows.eights(i) {
            // SAFETY: passed on to the caller.
            unsafe { scatter_eight(s, rows, eight, lane, strip, weight, out) };
        }
    }
}

/// [`scatter_results`] for up to eight rows, in the lanes from `lane` on.
///
/// # Safety
/// Nobody else uses the rows' part of `out`.
#[inline(always)]
unsafe fn scatter_eight<S: Simd>(
    s: S,
    rows: &Rows<'_>,
    eight: Range<usize>,
    lane: usize,
    strip: &[Line],
    weight: &Line,
    out: SharedSlice<'_, f32>,
) {
    let whole = strip.len() / LANES * LANES;
    let inverses: [f32; LANES] = from_fn(|i| inverse_sum(weight[lane + i]));
    let factor = s.load(&inverses);
    for d in (0..whole).step_by(LANES) {
        let mut square = [factor; LANES];
        for (v, line) in square.iter_mut().zip(&strip[d..]) {
            *v = s.mul(s.load(lanes(&line[lane..])), factor);
        }
        for (v, row) in transposed(s, square).into_iter().zip(eight.clone()) {
            let at = rows.place(row).start + d;
            // SAFETY: a row's place belongs to this piece alone, and rows have
            // different places.
            s.store(v, lanes_mut(unsafe { out.part(at..at + LANES) }));
        }
    }
    for (i, row) in eight.enumerate() {
        let place = rows.place(row);
        // SAFETY: as above.
        let to = unsafe { out.part(place.start + whole..place.end) };
        for (x, line) in to.iter_mut().zip(&strip[whole..]) {
            *x = line[lane + i] * inverses[i];
        }
    }
}

/// Rows to columns: element `j` of vector `i` becomes element `i` of vector `j`.
/// Each round moves one bit of the row's number to the column's, and one back.
#[inline(always)]
fn transposed<S: Simd>(s: S, mut v: [S::V; LANES]) -> [S::V; LANES] {
    for _ in 0..LANES.ilog2() {
        let pairs: [_; LANES / 2] = from_fn(
            #[inline(always)]
            |i| s.zip(v[i], v[i + LANES / 2]),
        );
        v = from_fn(|i| {
            if i % 2 == 0 {
                pairs[i / 2].0
            } else {
                pairs[i / 2].1
            }
        });
    }
    v
}

/// The first eight of a slice.
#[inline(always)]
fn lanes(x: &[f32]) -> &[f32; LANES] {
    &x.as_chunks().0[0]
}

/// The first eight of a slice.
#[inline(always)]
fn lanes_mut(x: &mut [f32]) -> &mut [f32; LANES] {
    &mut x.as_chunks_mut().0[0]
}
