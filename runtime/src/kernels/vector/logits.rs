//! Reductions over a row of logits (up to some 260,000 floats).

use super::math;
use super::simd::{LANES, Simd};

/// Floats summed or searched as one stretch.
const STRETCH: usize = 4096;

#[inline(always)]
pub fn max<S: Simd>(s: S, x: &[f32]) -> f32 {
    let lowest = s.splat(f32::NEG_INFINITY);
    let mut running = [lowest; 4];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for group in chunks.chunks(4) {
        for (max, x) in running.iter_mut().zip(group) {
            // In this order a NaN in x leaves the maximum as it was.
            *max = s.max(s.load(x), *max);
        }
    }
    let top = s.max(s.max(running[0], running[1]), s.max(running[2], running[3]));
    rest.iter()
        .fold(s.max_lane(top), |max, &x| if x > max { x } else { max })
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
    let mut best = f32::NEG_INFINITY;
    let mut best_start = 0;
    for (i, stretch) in x.chunks(STRETCH).enumerate() {
        let top = max(s, stretch);
        if top > best {
            best = top;
            best_start = i * STRETCH;
        }
    }
    x.get(best_start..)
        .and_then(|from| from.iter().position(|&x| x == best))
        .map_or(0, |i| best_start + i)
}
