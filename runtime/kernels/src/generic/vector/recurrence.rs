//! One token of linear attention, for some columns of one head's state.

use super::simd::{LANES, SMALL, Simd};

/// A token's part in [`ondol_models::graph::LinearAttention`], which has the formula.
#[derive(Debug, Clone, Copy)]
pub struct Recurrence<'a> {
    /// The head's query: `key_dim` floats.
    pub q: &'a [f32],
    /// The head's key, as long.
    pub k: &'a [f32],
    /// These columns of the value.
    pub v: &'a [f32],
    /// The logarithm of the factor on the state.
    pub decay: f32,
    /// The factor on what is stored.
    pub beta: f32,
    /// Whether the delta rule applies: what is stored is the value minus what the key
    /// recalls.
    pub delta: bool,
}

/// Vectors that go down the rows of a state together: enough sums to hide the latency of
/// each.
const WIDE: usize = 4;

#[inline(always)]
pub fn advance<S: Simd>(s: S, token: &Recurrence<'_>, state: &mut [f32], out: &mut [f32]) {
    // SMALL builds have no architecture with linear attention.
    if SMALL {
        return;
    }
    let columns = token.v.len();
    assert_eq!(out.len(), columns, "columns of different numbers");
    assert_eq!(token.q.len(), token.k.len(), "q and k of different lengths");
    assert_eq!(state.len(), token.k.len() * columns, "a part of a state");
    let factor = libm::expf(token.decay);
    let mut at = 0;
    while columns - at >= WIDE * LANES {
        block::<S, WIDE>(s, token, factor, state, out, at);
        at += WIDE * LANES;
    }
    while columns - at >= LANES {
        block::<S, 1>(s, token, factor, state, out, at);
        at += LANES;
    }
    for (column, out) in out.iter_mut().enumerate().skip(at) {
        *out = one(token, factor, state, column);
    }
}

/// `W` vectors of columns, from the column `at` on.
#[inline(always)]
fn block<S: Simd, const W: usize>(
    s: S,
    token: &Recurrence<'_>,
    factor: f32,
    state: &mut [f32],
    out: &mut [f32],
    at: usize,
) {
    let columns = token.v.len();
    let (decay, beta) = (s.splat(factor), s.splat(token.beta));
    let mut stored: [S::V; W] = core::array::from_fn(|w| s.load(eight(token.v, at, w)));
    if token.delta {
        let mut recalled = [s.splat(0.0); W];
        for (row, &k) in state.chunks_exact(columns).zip(token.k) {
            for (w, sum) in recalled.iter_mut().enumerate() {
                *sum = s.mul_add(s.load(eight(row, at, w)), s.splat(k), *sum);
            }
        }
        for (v, recalled) in stored.iter_mut().zip(recalled) {
            *v = s.sub(*v, s.mul(recalled, decay));
        }
    }
    let stored = stored.map(
        #[inline(always)]
        |v| s.mul(v, beta),
    );
    let mut sums = [s.splat(0.0); W];
    let rows = state.chunks_exact_mut(columns);
    for ((row, &k), &q) in rows.zip(token.k).zip(token.q) {
        for w in 0..W {
            let place = eight_mut(row, at, w);
            let kept = s.mul(s.load(place), decay);
            let now = s.mul_add(stored[w], s.splat(k), kept);
            s.store(now, place);
            sums[w] = s.mul_add(now, s.splat(q), sums[w]);
        }
    }
    for (w, sum) in sums.into_iter().enumerate() {
        s.store(sum, eight_mut(out, at, w));
    }
}

/// One column.
#[inline(always)]
fn one(token: &Recurrence<'_>, factor: f32, state: &mut [f32], column: usize) -> f32 {
    let columns = token.v.len();
    let mut stored = token.v[column];
    if token.delta {
        let rows = state.chunks_exact(columns).zip(token.k);
        let recalled: f32 = rows.map(|(row, k)| row[column] * k).sum();
        stored -= recalled * factor;
    }
    stored *= token.beta;
    let mut sum = 0.0;
    let rows = state.chunks_exact_mut(columns);
    for ((row, k), q) in rows.zip(token.k).zip(token.q) {
        row[column] = row[column] * factor + stored * k;
        sum += row[column] * q;
    }
    sum
}

/// Vector `w` of a row, from the column `at` on.
#[inline(always)]
fn eight(row: &[f32], at: usize, w: usize) -> &[f32; LANES] {
    let start = at + w * LANES;
    row[start..start + LANES].as_array().expect("eight floats")
}

#[inline(always)]
fn eight_mut(row: &mut [f32], at: usize, w: usize) -> &mut [f32; LANES] {
    let start = at + w * LANES;
    row[start..start + LANES]
        .as_mut_array()
        .expect("eight floats")
}
