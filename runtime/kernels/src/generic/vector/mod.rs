//! Functions on rows of `f32`: norms, activations, rotary positions, the KV
//! cache's conversion, and reductions over logits.
//!
//! Each is written once, in `rows`, `rope` and `logits`, over [`Simd`], and stands in the
//! list [`VectorOps`]. ISAs differ by rounding alone: `Scalar` does not fuse multiply and
//! add.

mod logits;
pub(crate) mod math;
mod q8;
mod recurrence;
mod rope;
pub(crate) mod rows;
#[cfg(test)]
mod tests;

use half::f16;

pub use super::simd::{self, Scalar, Simd};
pub use ondol_models::graph::{RopeStyle, RowFn};
pub use q8::Q8Block;
pub use recurrence::Recurrence;

/// The list of functions: `module::fn name(...)` is a method that runs the function of
/// that name with the ISA's features.
macro_rules! vector_ops {
    ($(
        $(#[$doc:meta])*
        $module:ident::fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)?;
    )*) => {
        /// The row functions of one ISA.
        ///
        /// Two rows that a function reads together must have the same length, and a
        /// weight the length of the row (or of the head): the plan checks shapes once,
        /// so that a mismatch here is a defect of the program, and panics.
        pub trait VectorOps: Send + Sync {$(
            $(#[$doc])*
            fn $name(&self, $($arg: $ty),*) $(-> $result)?;
        )*}

        impl<S: Simd> VectorOps for S {$(
            fn $name(&self, $($arg: $ty),*) $(-> $result)? {
                let s = *self;
                s.run(#[inline(always)] move || $module::$name(s, $($arg),*))
            }
        )*}
    };
}

vector_ops! {
    /// A function of a row, in place: `x` is [`RowFn`]'s `a` and becomes the result, `y` is
    /// `b` of functions of two values, and no `weight` means ones.
    ///
    /// The norm is that of Zhang and Sennrich (2019), the gated units are SwiGLU and
    /// GeGLU (Shazeer, 2020), the latter with GELU in its tanh form.
    rows::fn apply(function: RowFn, x: &mut [f32], y: Option<&[f32]>, weight: Option<&[f32]>);
    /// Rotary position embedding (Su et al., 2021) in place on each `head_dim`
    /// floats of `x`: the first `2 cos.len()` of them are turned, pair by pair,
    /// by the angles whose cosines and sines are given.
    rope::fn rope(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32], style: RopeStyle);
    /// Rounds to half floats, to nearest, ties to even; the same bits at every
    /// ISA.
    rows::fn f32_to_f16(x: &[f32], out: &mut [f16]);
    /// Half floats to floats, exactly.
    rows::fn f16_to_f32(x: &[f16], out: &mut [f32]);
    /// Rounds to blocks of 32 numbers; the same bits at every ISA. A block
    /// with a number that is not finite, or beyond 8 million, is NaN as a whole.
    /// Does nothing in a build without such a cache.
    rows::fn f32_to_q8_0(x: &[f32], out: &mut [Q8Block]);
    /// Linear attention: one token, for some columns of one head. `state` is
    /// `[key_dim][column]`; `out` gets the columns of the output.
    recurrence::fn advance(token: &Recurrence<'_>, state: &mut [f32], out: &mut [f32]);
    /// The largest of `x`, NaN left out; negative infinity if nothing is left.
    logits::fn max(x: &[f32]) -> f32;
    /// The sum of `exp(x - max)`; so `ln p` of a logit `x` is `x - max -
    /// ln(sum)`. Summed in `f32` over stretches of 4096 floats, and in `f64` over the
    /// stretches.
    logits::fn sum_exp(x: &[f32], max: f32) -> f64;
    /// The index of the largest of `x`, the lowest of equal ones, NaN left out;
    /// 0 if nothing is left.
    logits::fn argmax(x: &[f32]) -> usize;
}
