//! The search for scales: the scale (and minimum) with the smallest weighted squared
//! error when values are rounded to a format's codes.
//!
//! For given codes, the best scale is a weighted least-squares fit in closed form. The
//! best codes have no closed form. So a few dozen scales are tried, around those that map
//! the largest value to an end of the codes; values are rounded to codes under each, and
//! the fit with the smallest error is taken.

use half::f16;

/// `x` within the range of finite f16.
pub(super) fn clamp_to_f16(x: f32) -> f32 {
    x.clamp(f16::MIN.to_f32(), f16::MAX.to_f32())
}

/// The finite f16 nearest to `x`.
pub(super) fn f16_saturating(x: f32) -> f16 {
    f16::from_f32(clamp_to_f16(x))
}

/// [`f16_saturating`], but a number other than zero stays other than zero: it can still
/// be useful as a scale of small integers.
pub(super) fn f16_scale(x: f32) -> f16 {
    let rounded = f16_saturating(x);
    if rounded.to_f32() == 0.0 && x != 0.0 {
        return f16::MIN_POSITIVE_SUBNORMAL.copysign(rounded);
    }
    rounded
}

/// A determinant below this fraction of its terms is only rounding error.
pub(super) const SINGULAR: f32 = 1e-5;

/// `1 / x`, or 0 for 0.
pub(super) fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { x.recip() }
}

/// The nearest integer to `y`, halves to even, for magnitudes below 2^22.
/// Without a call to a rounding function, so that loops become vector code.
pub(super) fn nearest_int(y: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: its last bit stands for 1.
    (y + SHIFT) - SHIFT
}

/// Clamps `x` to what products of an f16 scale, an integer scale and a code can
/// express; smaller values become 0. Within these bounds no sum of the search overflows
/// or underflows.
pub(super) fn tame<const N: usize>(x: &[f32; N]) -> [f32; N] {
    const SMALLEST: f32 = 1.0 / (1 << 26) as f32; // A quarter of f16's smallest.
    const LARGEST: f32 = (1 << 28) as f32; // 65504 * 128 * 32 (Q6_K), rounded up.
    x.map(|x| {
        if x.abs() < SMALLEST {
            0.0
        } else {
            x.clamp(-LARGEST, LARGEST)
        }
    })
}

/// The weight of each element's error: `importance` (1 if there is none), divided by its
/// largest value, times `rms(x) + |x|`, since large elements contribute more to a product.
pub(super) fn weights<const N: usize>(x: &[f32; N], importance: Option<&[f32; N]>) -> [f32; N] {
    let rms = libm::sqrtf(dot(x, x) / N as f32);
    let mut weights = x.map(|x| rms + x.abs());
    if let Some(importance) = importance {
        let largest = importance.iter().fold(0.0f32, |a, &b| a.max(b));
        for (weight, &importance) in weights.iter_mut().zip(importance) {
            *weight *= importance / largest.max(f32::MIN_POSITIVE);
        }
    }
    weights
}

/// The element of largest magnitude (the first of them), or 0.
pub(super) fn extreme(x: &[f32]) -> f32 {
    x.iter().fold(
        0.0,
        |best: f32, &x| if x.abs() > best.abs() { x } else { best },
    )
}

/// The scalar product, in eight lanes.
pub(super) fn dot<const N: usize>(a: &[f32; N], b: &[f32; N]) -> f32 {
    let mut lanes = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum()
}

pub(super) fn product<const N: usize>(a: &[f32; N], b: &[f32; N]) -> [f32; N] {
    core::array::from_fn(|i| a[i] * b[i])
}

/// The values that a format's codes stand for, before the scale.
pub(super) trait Grid {
    /// The lowest value, which is the farthest from zero.
    const LOW: f32;
    /// The highest value.
    const HIGH: f32;
    /// The typical distance of neighbouring values.
    const SPACING: f32;
    /// The value nearest to `y`.
    fn nearest(y: f32) -> f32;
    /// The code of the value nearest to `y`: 0 stands for the lowest value.
    fn index(y: f32) -> u8;
    /// All values, in ascending order.
    fn values() -> impl Iterator<Item = f32>;
}

/// The integers from `-HALF` to `HALF - 1`.
pub(super) struct Integers<const HALF: u8>;

impl<const HALF: u8> Grid for Integers<HALF> {
    const LOW: f32 = -(HALF as f32);
    const HIGH: f32 = HALF as f32 - 1.0;
    const SPACING: f32 = 1.0;

    fn nearest(y: f32) -> f32 {
        nearest_int(y.clamp(Self::LOW, Self::HIGH))
    }

    fn index(y: f32) -> u8 {
        (Self::nearest(y) - Self::LOW) as u8
    }

    fn values() -> impl Iterator<Item = f32> {
        (0..2 * HALF).map(|index| f32::from(index) + Self::LOW)
    }
}

/// The scale with the smallest weighted squared error of `x` when it is rounded to the
/// values of `G`.
pub(super) fn fit_scale<G: Grid, const N: usize>(x: &[f32; N], w: &[f32; N]) -> f32 {
    let extreme = extreme(x);
    if extreme == 0.0 {
        return 0.0;
    }
    let wx = product(w, x);
    let mut best = Best {
        gain: 0.0,
        fit: extreme / G::LOW,
    };
    let consider = |factor: f32, best: &mut Best<f32>| {
        let q = x.map(|x| G::nearest(x * factor));
        let (xq, qq) = (dot(&wx, &q), dot(&product(w, &q), &q));
        let scale = xq * inverse(qq);
        // The squared error is sum(w x^2) - scale * xq, so the largest `scale * xq` is best.
        best.offer(scale * xq, scale);
    };
    for end in [G::LOW, G::HIGH] {
        for step in -6..=6 {
            consider((end + 0.15 * step as f32 * G::SPACING) / extreme, &mut best);
        }
    }
    for _ in 0..2 {
        consider(best.fit.recip(), &mut best);
    }
    best.fit
}

/// The f16 scale with the smallest error for `x`. Candidates are [`fit_scale`] rounded,
/// its neighbours (which matter for values so small that f16 is coarse), and the scale
/// that fits the extreme value best (which matters for constant rows).
pub(super) fn fit_f16_scale<G: Grid, const N: usize>(x: &[f32; N], w: &[f32; N]) -> f16 {
    let nearest = f16_saturating(fit_scale::<G, N>(x, w)).to_bits();
    let (sign, magnitude) = (nearest & 0x8000, nearest & 0x7fff);
    let neighbours = [magnitude, magnitude.saturating_sub(1), magnitude + 1];
    let neighbours = neighbours.map(|m| f16::from_bits(sign | m.min(f16::MAX.to_bits())));
    let anchored = anchored_scale(extreme(x), G::values());
    let mut best = (f32::INFINITY, f16::ZERO);
    for d in neighbours.into_iter().chain([anchored]) {
        let (error, _) = round_under::<G, N>(x, w, d.to_f32());
        if error < best.0 {
            best = (error, d);
        }
    }
    best.1
}

/// The f16 scale whose product with one of `factors` is nearest to `x`.
pub(super) fn anchored_scale(x: f32, factors: impl Iterator<Item = f32>) -> f16 {
    let scales = factors.filter(|&factor| factor != 0.0).map(|factor| {
        let scale = f16_scale(x / factor);
        ((scale.to_f32() * factor - x).abs(), scale)
    });
    let best = scales.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(f16::ZERO, |(_, scale)| scale)
}

/// The weighted squared error of `x` rounded under `scale`, and the values of `G` that it is
/// rounded to.
pub(super) fn round_under<G: Grid, const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    scale: f32,
) -> (f32, [f32; N]) {
    let inverse = inverse(scale);
    let q = x.map(|x| G::nearest(x * inverse));
    let residual: [f32; N] = core::array::from_fn(|i| x[i] - scale * q[i]);
    (dot(&product(w, &residual), &residual), q)
}

/// The fit with the largest gain so far.
struct Best<T> {
    gain: f32,
    fit: T,
}

impl<T> Best<T> {
    fn offer(&mut self, gain: f32, fit: T) {
        if gain > self.gain {
            *self = Best { gain, fit };
        }
    }
}

/// The scale and offset with the smallest weighted squared error of `x` as
/// `scale * q + offset`, with codes `q` from 0 to `top` and an offset of `ceiling` at most.
pub(super) fn fit_affine<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    top: f32,
    ceiling: f32,
) -> (f32, f32) {
    let low = x.iter().fold(ceiling, |a, &b| a.min(b));
    let high = x.iter().fold(low, |a, &b| a.max(b));
    if high == low {
        return (0.0, low);
    }
    let wx = product(w, x);
    let (ones, sum_w, sum_x) = ([1.0; N], dot(w, &[1.0; N]), dot(&wx, &[1.0; N]));
    let mut best = Best {
        gain: f32::NEG_INFINITY,
        fit: ((high - low) / top, low),
    };
    let consider = |factor: f32, offset: f32, best: &mut Best<(f32, f32)>| {
        let q = x.map(|x| nearest_int(((x - offset) * factor).clamp(0.0, top)));
        let wq = product(w, &q);
        let (sum_q, qq, xq) = (dot(&wq, &ones), dot(&wq, &q), dot(&wx, &q));
        let determinant = sum_w * qq - sum_q * sum_q;
        if determinant <= SINGULAR * sum_w * qq {
            return;
        }
        let mut offset = (qq * sum_x - sum_q * xq) / determinant;
        let mut scale = (sum_w * xq - sum_x * sum_q) / determinant;
        if offset > ceiling {
            offset = ceiling;
            scale = (xq - ceiling * sum_q) / qq;
        }
        if scale > 0.0 {
            best.offer(scale * xq + offset * sum_x, (scale, offset));
        }
    };
    for step in -10..=10 {
        consider((top + 0.1 * step as f32) / (high - low), low, &mut best);
    }
    for _ in 0..3 {
        consider(best.fit.0.recip(), best.fit.1, &mut best);
    }
    best.fit
}
