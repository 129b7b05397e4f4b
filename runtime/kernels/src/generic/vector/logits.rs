//! Reductions over a row of logits (up to some 260,000 floats).
//!
//! Builds with `std` have fast code, since programs call them often. Small builds have
//! the shortest code.

use super::math;
use super::rows::fold;
use super::simd::{LANES, SMALL, Simd};

/// Floats summed or searched as one stretch.
const STRETCH: usize = 4096;

/// Floats searched one by one.
const FEW: usize = 64;

#[inline(always)]
pub fn max<S: Simd>(s: S, x: &[f32]) -> f32 {
    if SMALL {
        return x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    }
    // In this order a NaN leaves the maximum as it was.
    let [a, b, c, d] = fold(
        s,
        x,
        f32::NEG_INFINITY,
        #[inline(always)]
        |x, max| s.max(x, max),
    );
    s.max_lane(s.max(s.max(a, b), s.max(c, d)))
}

#[inline(always)]
pub fn sum_exp<S: Simd>(s: S, x: &[f32], max: f32) -> f64 {
    let shift = s.splat(max);
    let mut total = 0.0;
    for stretch in x.chunks(STRETCH) {
        let mut sum = s.splat(0.0);
        let (chunks, rest) = stretch.as_chunks::<LANES>();
        for x in chunks {
            sum = s.add(sum, math::exp(s, s.sub(s.load(x), shift)));
        }
        // The padding counts for nothing: its exponential is 0.
        let mut padded = [f32::NEG_INFINITY; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        sum = s.add(sum, math::exp(s, s.sub(s.load(&padded), shift)));
        total += f64::from(s.sum(sum));
    }
    total
}

#[inline(always)]
pub fn argmax<S: Simd>(s: S, x: &[f32]) -> usize {
    if SMALL {
        let largest = max(s, x);
        return x.iter().position(|&x| x == largest).unwrap_or(0);
    }
    let mut best = f32::NEG_INFINITY;
    let mut best_start = 0;
    for (i, stretch) in x.chunks(STRETCH).enumerate() {
        let top = max(s, stretch);
        if top > best {
            best = top;
            best_start = i * STRETCH;
        }
    }
    let from = x.get(best_start..).unwrap_or_default();
    for (i, few) in from.chunks(FEW).enumerate() {
        // If all are NaN, their maximum is negative infinity, and no element is equal to
        // it.
        if max(s, few) == best
            && let Some(at) = few.iter().position(|&x| x == best)
        {
            return best_start + i * FEW + at;
        }
    }
    0
}
