//! Norms, element-wise functions and conversions, over [`Simd`].

use half::f16;
use ondol_models::graph::{Activation, RowFn};

use super::math;
use super::q8::Q8Block;
use super::simd::{LANES, SMALL, Simd};

/// `x[i] = f(x[i], y[i])`, where `f` is `#[inline(always)]`. The last lanes go through a
/// padded copy, so that every element sees the same arithmetic.
#[inline(always)]
fn zip_map<S: Simd>(s: S, x: &mut [f32], y: &[f32], f: impl Fn(S::V, S::V) -> S::V) {
    assert_eq!(x.len(), y.len(), "rows of different lengths");
    let (xs, x_rest) = x.as_chunks_mut::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in xs.iter_mut().zip(ys) {
        let v = f(s.load(x), s.load(y));
        s.store(v, x);
    }
    if !x_rest.is_empty() {
        let mut padded = pad(x_rest);
        let v = f(s.load(&padded), s.load(&pad(y_rest)));
        s.store(v, &mut padded);
        x_rest.copy_from_slice(&padded[..x_rest.len()]);
    }
}

/// `x[i] = f(x[i])`: as [`zip_map`] with one row.
#[inline(always)]
fn map<S: Simd>(s: S, x: &mut [f32], f: impl Fn(S::V) -> S::V) {
    let (xs, rest) = x.as_chunks_mut::<LANES>();
    for x in xs {
        let v = f(s.load(x));
        s.store(v, x);
    }
    if !rest.is_empty() {
        let mut padded = pad(rest);
        let v = f(s.load(&padded));
        s.store(v, &mut padded);
        rest.copy_from_slice(&padded[..rest.len()]);
    }
}

/// Fewer than eight floats, and zeros.
#[inline(always)]
fn pad(x: &[f32]) -> [f32; LANES] {
    let mut padded = [0.0; LANES];
    padded[..x.len()].copy_from_slice(x);
    padded
}

/// Applies a function of a row, in place; each function is an arm here.
#[inline(always)]
pub fn apply<S: Simd>(
    s: S,
    function: RowFn,
    x: &mut [f32],
    y: Option<&[f32]>,
    weight: Option<&[f32]>,
) {
    // A missing row counts as empty, so the checks of lengths find it.
    let y = y.unwrap_or_default();
    match function {
        RowFn::RmsNorm { group, eps } => rms_norm(s, x, group, weight, eps),
        RowFn::Add => zip_map(
            s,
            x,
            y,
            #[inline(always)]
            |x, y| s.add(x, y),
        ),
        RowFn::Scale { factor } => scale(s, x, factor),
        RowFn::Glu(Activation::Silu) => zip_map(
            s,
            x,
            y,
            #[inline(always)]
            |gate, up| s.mul(math::silu(s, gate), up),
        ),
        RowFn::Glu(Activation::GeluTanh) => zip_map(
            s,
            x,
            y,
            #[inline(always)]
            |gate, up| s.mul(math::gelu_tanh(s, gate), up),
        ),
        RowFn::Softcap { cap } => {
            let inverse = 1.0 / cap;
            map(
                s,
                x,
                #[inline(always)]
                |x| math::softcap(s, x, cap, inverse),
            );
        }
        // SMALL builds have no architecture with the others.
        _ if SMALL => {}
        RowFn::LayerNorm { group, eps } => layer_norm(s, x, group, weight, eps),
        RowFn::Bias => {
            let weight = weight.unwrap_or_default();
            zip_map(
                s,
                x,
                weight,
                #[inline(always)]
                |x, weight| s.add(x, weight),
            );
        }
        RowFn::Gain { each } => gain(s, x, weight.unwrap_or_default(), each),
        RowFn::Mul { each } => gain(s, x, y, each),
        RowFn::Activate(activation) => activate(s, activation, x),
        RowFn::KeepAbove { deviations } => keep_above(s, x, deviations),
        RowFn::Resize { least } => {
            let own = mean_square(s, x).max(least);
            scale(s, x, sqrt(mean_square(s, y)) / sqrt(own));
        }
        RowFn::ClampedGlu { limit } => {
            let (least, most) = (s.splat(-limit), s.splat(limit));
            let (slope, one) = (s.splat(1.702), s.splat(1.0));
            zip_map(
                s,
                x,
                y,
                #[inline(always)]
                |gate, up| {
                    // In this order `min` and `max` keep a NaN of `gate` or `up`.
                    let gate = s.min(most, gate);
                    let up = s.max(least, s.min(most, up));
                    let swish = s.mul(gate, math::sigmoid(s, s.mul(slope, gate)));
                    s.mul(swish, s.add(up, one))
                },
            );
        }
        RowFn::Glu(activation) => {
            activate(s, activation, x);
            gain(s, x, y, 1);
        }
    }
}

/// An activation function of each element, in place.
#[inline(always)]
fn activate<S: Simd>(s: S, activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Silu => map(
            s,
            x,
            #[inline(always)]
            |x| math::silu(s, x),
        ),
        Activation::GeluTanh => map(
            s,
            x,
            #[inline(always)]
            |x| math::gelu_tanh(s, x),
        ),
        Activation::Sigmoid => map(
            s,
            x,
            #[inline(always)]
            |x| math::sigmoid(s, x),
        ),
        Activation::Softplus => x.iter_mut().for_each(|x| *x = math::softplus(*x)),
    }
}

/// Multiplies each `each` neighbouring elements by one factor.
#[inline(always)]
fn gain<S: Simd>(s: S, x: &mut [f32], factors: &[f32], each: usize) {
    assert_eq!(x.len(), factors.len() * each, "rows of different lengths");
    if each == 1 {
        return zip_map(
            s,
            x,
            factors,
            #[inline(always)]
            |x, factor| s.mul(x, factor),
        );
    }
    for (x, &factor) in x.chunks_exact_mut(each).zip(factors) {
        scale(s, x, factor);
    }
}

/// `x += factor * y`.
#[inline(always)]
pub fn add_scaled<S: Simd>(s: S, x: &mut [f32], y: &[f32], factor: f32) {
    let factor = s.splat(factor);
    zip_map(
        s,
        x,
        y,
        #[inline(always)]
        |x, y| s.mul_add(y, factor, x),
    );
}

#[inline(always)]
pub fn scale<S: Simd>(s: S, x: &mut [f32], factor: f32) {
    let factor = s.splat(factor);
    map(
        s,
        x,
        #[inline(always)]
        |x| s.mul(x, factor),
    );
}

/// The root mean square norm of each `group` elements, in place.
#[inline(always)]
fn rms_norm<S: Simd>(s: S, x: &mut [f32], group: usize, weight: Option<&[f32]>, eps: f32) {
    assert_eq!(x.len() % group, 0, "a part of a group");
    for x in x.chunks_exact_mut(group) {
        normalize(s, x, weight, eps);
    }
}

/// The layer norm of each `group` elements, in place.
#[inline(always)]
fn layer_norm<S: Simd>(s: S, x: &mut [f32], group: usize, weight: Option<&[f32]>, eps: f32) {
    assert_eq!(x.len() % group, 0, "a part of a group");
    for x in x.chunks_exact_mut(group) {
        subtract_mean(s, x);
        normalize(s, x, weight, eps);
    }
}

#[inline(always)]
fn subtract_mean<S: Simd>(s: S, x: &mut [f32]) {
    let [a, b, c, d] = fold(
        s,
        x,
        0.0,
        #[inline(always)]
        |x, sum| s.add(x, sum),
    );
    let mean = s.splat(s.sum(s.add(s.add(a, b), s.add(c, d))) / x.len() as f32);
    map(
        s,
        x,
        #[inline(always)]
        |x| s.sub(x, mean),
    );
}

/// `max(x - (mean + deviations * standard deviation), 0)`, in place.
#[inline(always)]
fn keep_above<S: Simd>(s: S, x: &mut [f32], deviations: f32) {
    subtract_mean(s, x);
    let least = s.splat(deviations * sqrt(mean_square(s, x)));
    let zero = s.splat(0.0);
    map(
        s,
        x,
        #[inline(always)]
        |x| s.max(zero, s.sub(x, least)),
    );
}

/// The root mean square norm of all elements, in place.
#[inline(always)]
fn normalize<S: Simd>(s: S, x: &mut [f32], weight: Option<&[f32]>, eps: f32) {
    let factor = 1.0 / sqrt(mean_square(s, x) + eps);
    let Some(weight) = weight else {
        return scale(s, x, factor);
    };
    let factor = s.splat(factor);
    zip_map(
        s,
        x,
        weight,
        #[inline(always)]
        |x, weight| s.mul(s.mul(x, factor), weight),
    );
}

/// Folds a row into four vectors, all `start` at first, by `sum = f(x, sum)`;
/// the last lanes are filled up with `start`.
#[inline(always)]
pub(super) fn fold<S: Simd>(
    s: S,
    x: &[f32],
    start: f32,
    f: impl Fn(S::V, S::V) -> S::V,
) -> [S::V; 4] {
    let mut sums = [s.splat(start); 4];
    let (groups, rest) = x.as_chunks::<{ 4 * LANES }>();
    for group in groups {
        let (group, _) = group.as_chunks::<LANES>();
        for i in 0..4 {
            sums[i] = f(s.load(&group[i]), sums[i]);
        }
    }
    let mut padded = [start; 4 * LANES];
    padded[..rest.len()].copy_from_slice(rest);
    let (group, _) = padded.as_chunks::<LANES>();
    for i in 0..4 {
        sums[i] = f(s.load(&group[i]), sums[i]);
    }
    sums
}

#[inline(always)]
fn mean_square<S: Simd>(s: S, x: &[f32]) -> f32 {
    let [a, b, c, d] = fold(
        s,
        x,
        0.0,
        #[inline(always)]
        |x, sum| s.mul_add(x, x, sum),
    );
    s.sum(s.add(s.add(a, b), s.add(c, d))) / x.len() as f32
}

/// The square root, once a row.
#[inline(always)]
pub fn sqrt(x: f32) -> f32 {
    #[cfg(feature = "std")]
    return x.sqrt();
    #[cfg(not(feature = "std"))]
    return libm::sqrtf(x);
}

#[inline(always)]
pub fn f32_to_f16<S: Simd>(s: S, x: &[f32], out: &mut [f16]) {
    assert_eq!(x.len(), out.len(), "rows of different lengths");
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (outs, out_rest) = out.as_chunks_mut::<LANES>();
    for (x, out) in xs.iter().zip(outs) {
        s.store_f16(s.load(x), out);
    }
    let mut padded = [f16::ZERO; LANES];
    s.store_f16(s.load(&pad(x_rest)), &mut padded);
    out_rest.copy_from_slice(&padded[..x_rest.len()]);
}

#[inline(always)]
pub fn f16_to_f32<S: Simd>(s: S, x: &[f16], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "rows of different lengths");
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (outs, out_rest) = out.as_chunks_mut::<LANES>();
    for (x, out) in xs.iter().zip(outs) {
        s.store(s.load_f16(x), out);
    }
    for (x, out) in x_rest.iter().zip(out_rest) {
        *out = x.to_f32();
    }
}

#[inline(always)]
pub fn f32_to_q8_0<S: Simd>(s: S, x: &[f32], out: &mut [Q8Block]) {
    assert_eq!(
        x.len(),
        out.len() * Q8Block::LEN,
        "rows of different lengths"
    );
    if !Q8Block::IN_BUILD {
        return;
    }
    for (x, out) in x.as_chunks().0.iter().zip(out) {
        *out = Q8Block::of(s, x);
    }
}

#[inline(always)]
pub fn q8_0_to_f32<S: Simd>(s: S, x: &[Q8Block], out: &mut [f32]) {
    assert_eq!(
        x.len() * Q8Block::LEN,
        out.len(),
        "rows of different lengths"
    );
    for (x, out) in x.iter().zip(out.chunks_exact_mut(Q8Block::LEN)) {
        for (i, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            s.store(x.eight(s, i), out);
        }
    }
}
