//! Functions on rows of `f32`: norms, activations, rotary positions, the KV
//! cache's conversion, and reductions over logits.
//!
//! Each is written once, in `rows`, `rope` and `logits`, over the small
//! vector trait [`Simd`]; a level implements that trait and gets its
//! [`VectorOps`] by `impl_vector_ops!`. Levels differ by rounding alone: the
//! scalar level does not fuse multiply and add.

pub(in crate::kernels) mod logits;
pub mod math;
mod q8;
pub(in crate::kernels) mod rope;
pub(in crate::kernels) mod rows;
pub mod simd;
#[cfg(test)]
mod tests;

use half::f16;

pub use ondol_models::graph::{RopeStyle, RowFn};
pub use q8::Q8Block;
pub use simd::{Scalar, Simd};

/// Defines methods on a level that run a generic function of a module inside
/// the level's target features.
///
/// `$features` is the attribute, in brackets, that switches the features on
/// (`[target_feature(enable = "...")]`, or `[inline]` where there are none).
macro_rules! with_features {
    ($level:ty, $features:tt, $(
        $module:ident :: fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;
    )*) => {$(
        fn $name(&self, $($arg: $ty),*) $(-> $ret)? {
            #$features
            fn inner(level: $level, $($arg: $ty),*) $(-> $ret)? {
                $crate::kernels::vector::$module::$name(level, $($arg),*)
            }
            // SAFETY: a value of the level exists only if the CPU has its
            // features.
            #[allow(unused_unsafe)]
            unsafe {
                inner(*self, $($arg),*)
            }
        }
    )*};
}
pub(crate) use with_features;

/// The row functions of one CPU level.
///
/// Two rows that a function reads together must have the same length, and a
/// weight the length of the row (or of the head): the plan checks shapes once,
/// so that a mismatch here is a defect of the program, and panics.
pub trait VectorOps: Send + Sync {
    /// A function of a row, in place: `x` is [`RowFn`]'s `a` and becomes its result,
    /// `y` is `b` for functions of two values, and no `weight` means ones.
    ///
    /// The norm is that of Zhang and Sennrich (2019), the gates those of SwiGLU and
    /// GeGLU (Shazeer, 2020), with GELU in its tanh form.
    fn apply(&self, function: RowFn, x: &mut [f32], y: Option<&[f32]>, weight: Option<&[f32]>);
    /// Rotary position embedding (Su et al., 2021) in place on each `head_dim`
    /// floats of `x`: the first `2 cos.len()` of them are turned, pair by pair,
    /// by the angles whose cosines and sines are given.
    fn rope(&self, x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32], style: RopeStyle);
    /// Rounds to half floats, to nearest, ties to even; the same bits at every
    /// level.
    fn f32_to_f16(&self, x: &[f32], out: &mut [f16]);
    /// Half floats to floats, exactly.
    fn f16_to_f32(&self, x: &[f16], out: &mut [f32]);
    /// Rounds to blocks of 32 numbers; the same bits at every level. A block
    /// with a number that is not finite, or beyond 8 million, is NaN as a whole.
    /// Does nothing in a build without such a cache.
    fn f32_to_q8_0(&self, x: &[f32], out: &mut [Q8Block]);
    /// The largest of `x`, NaN left out; negative infinity if nothing is left.
    fn max(&self, x: &[f32]) -> f32;
    /// The sum of `exp(x - max)`; so `ln p` of a logit `x` is `x - max -
    /// ln(sum)`. Summed in `f32` over stretches, in `f64` over these.
    fn sum_exp(&self, x: &[f32], max: f32) -> f64;
    /// The index of the largest of `x`, the lowest of equal ones, NaN left out;
    /// 0 if nothing is left.
    fn argmax(&self, x: &[f32]) -> usize;
}

/// Implements [`VectorOps`] for a level that implements [`Simd`].
macro_rules! impl_vector_ops {
    ($level:ty, $features:tt) => {
        impl $crate::kernels::vector::VectorOps for $level {
            $crate::kernels::vector::with_features! { $level, $features,
                rows::fn apply(
                    function: $crate::kernels::vector::RowFn,
                    x: &mut [f32], y: Option<&[f32]>, weight: Option<&[f32]>,
                );
                rope::fn rope(
                    x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32],
                    style: $crate::kernels::vector::RopeStyle,
                );
                rows::fn f32_to_f16(x: &[f32], out: &mut [half::f16]);
                rows::fn f16_to_f32(x: &[half::f16], out: &mut [f32]);
                rows::fn f32_to_q8_0(x: &[f32], out: &mut [$crate::kernels::vector::Q8Block]);
                logits::fn max(x: &[f32]) -> f32;
                logits::fn sum_exp(x: &[f32], max: f32) -> f64;
                logits::fn argmax(x: &[f32]) -> usize;
            }
        }
    };
}
// Some targets have the scalar level alone.
#[allow(unused_imports)]
pub(crate) use impl_vector_ops;

impl_vector_ops!(Scalar, [inline]);
