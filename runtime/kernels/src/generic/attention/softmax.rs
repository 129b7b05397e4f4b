//! What both paths share of the running softmax.
//!
//! For the keys seen so far it holds the largest score `max`, the sum of
//! `exp(score - max)`, and the sum of values with these weights. A larger score
//! rescales what was summed by `exp(old max - new max)`.
//!
//! The maximum starts at the lowest finite number rather than at minus
//! infinity, and scores are held below infinity, so that no difference is ever
//! infinity less infinity: a masked score, minus infinity, weighs exactly 0
//! even where nothing was seen yet.

use crate::generic::simd::Simd;
use crate::generic::vector::math;

/// The maximum of no scores.
pub const NO_MAX: f32 = f32::MIN;

/// A sink as a maximum: the sum of weights with it alone is 1.
pub fn sink_max(sink: f32) -> f32 {
    sink.clamp(NO_MAX, f32::MAX)
}

/// Soft-caps scores, if there is a cap.
#[derive(Clone, Copy)]
pub struct Softcap {
    cap: f32,
    inverse: f32,
}

impl Softcap {
    pub fn new(cap: f32) -> Self {
        Self {
            cap,
            inverse: 1.0 / cap,
        }
    }

    #[inline(always)]
    pub fn apply<S: Simd>(self, s: S, score: S::V) -> S::V {
        math::softcap(s, score, self.cap, self.inverse)
    }
}

/// The factor that ends a softmax: one over the sum of weights, or 0 if nothing
/// was seen.
#[inline(always)]
pub fn inverse_sum(sum: f32) -> f32 {
    if sum > 0.0 { 1.0 / sum } else { 0.0 }
}
