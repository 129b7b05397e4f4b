//! Rotary position embedding, in the two orders in which files keep the pairs.

use super::simd::{LANES, Simd};
use ondol_models::graph::RopeStyle;

#[inline(always)]
pub fn rope<S: Simd>(
    s: S,
    x: &mut [f32],
    head_dim: usize,
    cos: &[f32],
    sin: &[f32],
    style: RopeStyle,
) {
    assert_eq!(cos.len(), sin.len(), "a cosine and a sine for every pair");
    assert_eq!(x.len() % head_dim, 0, "a part of a head");
    for head in x.chunks_exact_mut(head_dim) {
        let turned = &mut head[..2 * cos.len()];
        match style {
            RopeStyle::Interleaved => turn_neighbours(s, turned, cos, sin),
            RopeStyle::HalfSplit => turn_halves(s, turned, cos, sin),
        }
    }
}

/// Turns eight pairs: `(x, y)` to `(x cos - y sin, x sin + y cos)`.
#[inline(always)]
fn turn<S: Simd>(s: S, x: S::V, y: S::V, cos: S::V, sin: S::V) -> (S::V, S::V) {
    (
        s.sub(s.mul(x, cos), s.mul(y, sin)),
        s.mul_add(x, sin, s.mul(y, cos)),
    )
}

/// Turns one pair.
#[inline(always)]
fn turn_pair(x: &mut f32, y: &mut f32, cos: f32, sin: f32) {
    (*x, *y) = (*x * cos - *y * sin, *x * sin + *y * cos);
}

#[inline(always)]
fn turn_neighbours<S: Simd>(s: S, x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (pairs, rest) = x.as_chunks_mut::<{ 2 * LANES }>();
    let (cos, cos_rest) = cos.as_chunks::<LANES>();
    let (sin, sin_rest) = sin.as_chunks::<LANES>();
    for ((x, cos), sin) in pairs.iter_mut().zip(cos).zip(sin) {
        let [first, second] = x.as_chunks_mut::<LANES>().0 else {
            unreachable!("sixteen is twice eight");
        };
        let (even, odd) = s.unzip(s.load(first), s.load(second));
        let (even, odd) = turn(s, even, odd, s.load(cos), s.load(sin));
        let (a, b) = s.zip(even, odd);
        s.store(a, first);
        s.store(b, second);
    }
    for (([x, y], &cos), &sin) in rest
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(cos_rest)
        .zip(sin_rest)
    {
        turn_pair(x, y, cos, sin);
    }
}

#[inline(always)]
fn turn_halves<S: Simd>(s: S, x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = x.split_at_mut(cos.len());
    let (xs, x_rest) = first.as_chunks_mut::<LANES>();
    let (ys, y_rest) = second.as_chunks_mut::<LANES>();
    let (cos, cos_rest) = cos.as_chunks::<LANES>();
    let (sin, sin_rest) = sin.as_chunks::<LANES>();
    for (((x, y), cos), sin) in xs.iter_mut().zip(ys).zip(cos).zip(sin) {
        let (a, b) = turn(s, s.load(x), s.load(y), s.load(cos), s.load(sin));
        s.store(a, x);
        s.store(b, y);
    }
    for (((x, y), &cos), &sin) in x_rest.iter_mut().zip(y_rest).zip(cos_rest).zip(sin_rest) {
        turn_pair(x, y, cos, sin);
    }
}
