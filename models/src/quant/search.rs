//! The search for scales: given values and how much each counts, which scale
//! (and minimum) loses least when the values are rounded to a format's levels.
//!
//! For levels that are given, the best scale is a weighted least-squares fit in
//! closed form. Which levels are best is not: so a few dozen scales about the
//! obvious one are tried, each is rounded to levels, and the fit with the least
//! squared error wins. Super-blocks then round the sub-blocks' scales to small
//! integers, and look at each integer's neighbours again with the error that
//! counts in the end, since it is made of all roundings together.

use half::f16;

/// `x` within the range of finite f16.
pub(super) fn clamp_to_f16(x: f32) -> f32 {
    x.clamp(f16::MIN.to_f32(), f16::MAX.to_f32())
}

/// The finite f16 nearest to `x`.
pub(super) fn f16_saturating(x: f32) -> f16 {
    f16::from_f32(clamp_to_f16(x))
}

/// [`f16_saturating`], but what is not zero stays so: a scale too small for
/// f16 can still serve with small integers over it.
pub(super) fn f16_scale(x: f32) -> f16 {
    let rounded = f16_saturating(x);
    if rounded.to_f32() == 0.0 && x != 0.0 {
        return f16::MIN_POSITIVE_SUBNORMAL.copysign(rounded);
    }
    rounded
}

/// Below this part of its terms, a determinant is nothing but rounding errors.
const SINGULAR: f32 = 1e-5;

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

/// `x` within what products of an f16 scale, an integer scale and a level can
/// express: anything smaller is nearest to zero, anything larger to the largest.
/// No sum of the search overflows or vanishes between these bounds.
pub(super) fn tame<const N: usize>(x: &[f32; N]) -> [f32; N] {
    const SMALLEST: f32 = 1.0 / (1 << 26) as f32; // A quarter of f16's smallest.
    const LARGEST: f32 = (1 << 28) as f32; // 65504 * 32 * 127, rounded up.
    x.map(|x| {
        if x.abs() < SMALLEST {
            0.0
        } else {
            x.clamp(-LARGEST, LARGEST)
        }
    })
}

/// How much the error of each element counts: `importance` (1 without), times
/// a term by which large elements count more, as they carry more of a sum.
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
fn dot<const N: usize>(a: &[f32; N], b: &[f32; N]) -> f32 {
    let mut lanes = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum()
}

fn product<const N: usize>(a: &[f32; N], b: &[f32; N]) -> [f32; N] {
    core::array::from_fn(|i| a[i] * b[i])
}

/// Levels of a format, on a line on which one is as good as another.
pub(super) trait Grid {
    /// The lowest level; the farthest from zero.
    const LOW: f32;
    /// The highest level.
    const HIGH: f32;
    /// About how far levels lie from each other.
    const SPACING: f32;
    /// The level nearest to `y`.
    fn nearest(y: f32) -> f32;
    /// Which level is nearest to `y`, counted from the lowest.
    fn index(y: f32) -> u8;
    /// All levels.
    fn levels() -> impl Iterator<Item = f32>;
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

    fn levels() -> impl Iterator<Item = f32> {
        (0..2 * HALF).map(|index| f32::from(index) + Self::LOW)
    }
}

/// The scale under which `x` loses least on the levels of `G`.
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
        // The error is sum(w x^2) less this.
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

/// The f16 scale under which `x` loses least: [`fit_scale`] rounded, its
/// neighbours, which matter where values are so small that f16 is coarse, and
/// the scale that holds the extreme best, for the sake of constant rows.
pub(super) fn fit_f16_scale<G: Grid, const N: usize>(x: &[f32; N], w: &[f32; N]) -> f16 {
    let nearest = f16_saturating(fit_scale::<G, N>(x, w)).to_bits();
    let (sign, magnitude) = (nearest & 0x8000, nearest & 0x7fff);
    let neighbours = [magnitude, magnitude.saturating_sub(1), magnitude + 1];
    let neighbours = neighbours.map(|m| f16::from_bits(sign | m.min(f16::MAX.to_bits())));
    let anchored = anchored_scale(extreme(x), G::levels());
    let mut best = (f32::INFINITY, f16::ZERO);
    for d in neighbours.into_iter().chain([anchored]) {
        let (error, _) = round_under::<G, N>(x, w, d.to_f32());
        if error < best.0 {
            best = (error, d);
        }
    }
    best.1
}

/// The scale that times one of `factors` comes nearest to `x`.
fn anchored_scale(x: f32, factors: impl Iterator<Item = f32>) -> f16 {
    let scales = factors.filter(|&factor| factor != 0.0).map(|factor| {
        let scale = f16_scale(x / factor);
        ((scale.to_f32() * factor - x).abs(), scale)
    });
    let best = scales.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(f16::ZERO, |(_, scale)| scale)
}

/// The levels of `x` under `scale`, and the weighted squared error.
fn round_under<G: Grid, const N: usize>(x: &[f32; N], w: &[f32; N], scale: f32) -> (f32, [f32; N]) {
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

/// The scale and offset under which `x` loses least as `scale * q + offset`
/// with levels from 0 to `top`, and an offset of `ceiling` at most.
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

/// A super-block with signed integer scales over one f16 scale.
pub(super) struct Symmetric<const SUBS: usize> {
    /// The scale of scales.
    pub d: f16,
    /// The sub-blocks' scales.
    pub scales: [i8; SUBS],
    /// The elements' levels, counted from the lowest.
    pub levels: [u8; 256],
}

/// Quantizes a super-block of `SUBS` sub-blocks of `SUB` on the levels of `G`,
/// with scales from `-half` to `half - 1`.
pub(super) fn symmetric<G: Grid, const SUB: usize, const SUBS: usize>(
    x: &[f32; 256],
    importance: Option<&[f32; 256]>,
    half: i32,
) -> Symmetric<SUBS> {
    let x = &tame(x);
    let w = &weights(x, importance);
    let (xs, ws) = (x.as_chunks::<SUB>().0, w.as_chunks::<SUB>().0);
    let ideal: [f32; SUBS] = core::array::from_fn(|j| fit_scale::<G, SUB>(&xs[j], &ws[j]));
    let round = |d| round_scales::<G, SUB, SUBS>(xs, ws, &ideal, d, half);
    // The largest scale becomes the integer farthest from zero, or one near it.
    let largest = extreme(&ideal);
    let mut best = round(f16_scale(largest / -half as f32));
    best = best.or(round(f16_scale(largest / (1 - half) as f32)));
    best = best.or(round(anchored_scale(
        largest,
        (half - 15..half).map(|n| -n as f32),
    )));
    let refit = round(f16_scale(best.refit));
    best = best.or(refit);

    let d = best.d.to_f32();
    let mut levels = [0; 256];
    for (j, levels) in levels.as_chunks_mut::<SUB>().0.iter_mut().enumerate() {
        let inverse = inverse(d * f32::from(best.scales[j]));
        *levels = xs[j].map(|x| G::index(x * inverse));
    }
    Symmetric {
        d: best.d,
        scales: best.scales,
        levels,
    }
}

struct RoundedScales<const SUBS: usize> {
    d: f16,
    scales: [i8; SUBS],
    error: f32,
    /// The scale of scales that would be best for these scales and levels.
    refit: f32,
}

impl<const SUBS: usize> RoundedScales<SUBS> {
    /// The one with the smaller error.
    fn or(self, other: Self) -> Self {
        if other.error < self.error {
            other
        } else {
            self
        }
    }
}

/// Integer scales over `d`: of each ideal scale, the best of three neighbours.
fn round_scales<G: Grid, const SUB: usize, const SUBS: usize>(
    xs: &[[f32; SUB]],
    ws: &[[f32; SUB]],
    ideal: &[f32; SUBS],
    d: f16,
    half: i32,
) -> RoundedScales<SUBS> {
    let (mut error, mut xu, mut uu) = (0.0, 0.0, 0.0);
    let scales = core::array::from_fn(|j| {
        let (x, w) = (&xs[j], &ws[j]);
        let guess = round_within(ideal[j] * inverse(d.to_f32()), -half, half - 1);
        let mut best = (f32::INFINITY, 0, [0.0; SUB]);
        for candidate in [guess, guess - 1, guess + 1] {
            let candidate = candidate.clamp(-half, half - 1);
            let (error, q) = round_under::<G, SUB>(x, w, d.to_f32() * candidate as f32);
            if error < best.0 {
                best = (error, candidate, q);
            }
        }
        let (sub_error, scale, q) = best;
        let u = q.map(|q| q * scale as f32);
        let wu = product(w, &u);
        error += sub_error;
        xu += dot(&wu, x);
        uu += dot(&wu, &u);
        scale as i8
    });
    RoundedScales {
        d,
        scales,
        error,
        refit: xu * inverse(uu),
    }
}

fn round_within(x: f32, low: i32, high: i32) -> i32 {
    nearest_int(x.clamp(low as f32, high as f32)) as i32
}

/// A super-block with integer scales and minima, each over one f16 scale.
pub(super) struct Affine<const SUBS: usize> {
    /// The scale of scales.
    pub d: f16,
    /// The scale of minima.
    pub dmin: f16,
    /// The sub-blocks' scales.
    pub scales: [u8; SUBS],
    /// The sub-blocks' minima, without their sign.
    pub mins: [u8; SUBS],
    /// The elements' levels.
    pub levels: [u8; 256],
}

/// Quantizes a super-block of `SUBS` sub-blocks of `SUB` on levels from 0 to
/// `top`, with scales and minima from 0 to `limit`.
pub(super) fn affine<const SUB: usize, const SUBS: usize>(
    x: &[f32; 256],
    importance: Option<&[f32; 256]>,
    top: u8,
    limit: u8,
) -> Affine<SUBS> {
    let x = &tame(x);
    let w = &weights(x, importance);
    let (xs, ws) = (x.as_chunks::<SUB>().0, w.as_chunks::<SUB>().0);
    let top = f32::from(top);
    let limit = i32::from(limit);
    let ideal: [(f32, f32); SUBS] = core::array::from_fn(|j| fit_affine(&xs[j], &ws[j], top, 0.0));
    let largest = ideal
        .iter()
        .fold((0.0f32, 0.0f32), |a, b| (a.0.max(b.0), a.1.max(-b.1)));
    let mut d = f16_scale(largest.0 / limit as f32);
    let mut dmin = f16_scale(largest.1 / limit as f32);
    let mut best = round_pairs::<SUB, SUBS>(xs, ws, &ideal, (d, dmin), top, limit);
    for _ in 0..2 {
        let Some(refit) = best.refit else { break };
        let next = round_pairs::<SUB, SUBS>(xs, ws, &ideal, refit, top, limit);
        if next.error >= best.error {
            break;
        }
        (d, dmin) = refit;
        best = next;
    }

    let mut levels = [0; 256];
    for (j, levels) in levels.as_chunks_mut::<SUB>().0.iter_mut().enumerate() {
        let (scale, min) = best.pairs[j];
        let (scale, min) = (d.to_f32() * scale as f32, dmin.to_f32() * min as f32);
        *levels = affine_levels(&xs[j], scale, min, top).map(|q| q as u8);
    }
    Affine {
        d,
        dmin,
        scales: best.pairs.map(|(scale, _)| scale as u8),
        mins: best.pairs.map(|(_, min)| min as u8),
        levels,
    }
}

fn affine_levels<const N: usize>(x: &[f32; N], scale: f32, min: f32, top: f32) -> [f32; N] {
    let inverse = inverse(scale);
    x.map(|x| nearest_int(((x + min) * inverse).clamp(0.0, top)))
}

struct RoundedPairs<const SUBS: usize> {
    /// Each sub-block's integer scale and minimum.
    pairs: [(i32, i32); SUBS],
    error: f32,
    /// The f16 scales that would be best for these integers and levels.
    refit: Option<(f16, f16)>,
}

/// Integer scales and minima over `d` and `dmin`: of each ideal pair, the best
/// of nine neighbours.
fn round_pairs<const SUB: usize, const SUBS: usize>(
    xs: &[[f32; SUB]],
    ws: &[[f32; SUB]],
    ideal: &[(f32, f32); SUBS],
    (d, dmin): (f16, f16),
    top: f32,
    limit: i32,
) -> RoundedPairs<SUBS> {
    let (d, dmin) = (d.to_f32(), dmin.to_f32());
    let mut error = 0.0;
    let mut normal = NormalEquations::default();
    let pairs = core::array::from_fn(|j| {
        let (x, w) = (&xs[j], &ws[j]);
        let scale_guess = round_within(ideal[j].0 * inverse(d), 0, limit);
        let min_guess = round_within(-ideal[j].1 * inverse(dmin), 0, limit);
        let mut best = (f32::INFINITY, (0, 0), [0.0; SUB]);
        for scale in (scale_guess - 1).max(0)..=(scale_guess + 1).min(limit) {
            for min in (min_guess - 1).max(0)..=(min_guess + 1).min(limit) {
                let (s, m) = (d * scale as f32, dmin * min as f32);
                let q = affine_levels(x, s, m, top);
                let residual: [f32; SUB] = core::array::from_fn(|i| x[i] - (s * q[i] - m));
                let error = dot(&product(w, &residual), &residual);
                if error < best.0 {
                    best = (error, (scale, min), q);
                }
            }
        }
        let (sub_error, pair, q) = best;
        error += sub_error;
        normal.add(x, w, &q.map(|q| q * pair.0 as f32), -pair.1 as f32);
        pair
    });
    RoundedPairs {
        pairs,
        error,
        refit: normal.solve(),
    }
}

/// Weighted least squares of `x = d * u + dmin * v`.
#[derive(Default)]
struct NormalEquations {
    uu: f32,
    uv: f32,
    vv: f32,
    xu: f32,
    xv: f32,
}

impl NormalEquations {
    /// Adds a sub-block, of one `v`.
    fn add<const N: usize>(&mut self, x: &[f32; N], w: &[f32; N], u: &[f32; N], v: f32) {
        let wu = product(w, u);
        self.uu += dot(&wu, u);
        self.uv += dot(w, u) * v;
        self.vv += dot(w, &[1.0; N]) * v * v;
        self.xu += dot(&wu, x);
        self.xv += dot(w, x) * v;
    }

    /// `d` and `dmin`, neither of them negative.
    fn solve(&self) -> Option<(f16, f16)> {
        let determinant = self.uu * self.vv - self.uv * self.uv;
        if determinant <= SINGULAR * self.uu * self.vv {
            return None;
        }
        let d = (self.xu * self.vv - self.xv * self.uv) / determinant;
        let dmin = (self.xv * self.uu - self.xu * self.uv) / determinant;
        (d > 0.0 && dmin >= 0.0).then(|| (f16_scale(d), f16_scale(dmin)))
    }
}
