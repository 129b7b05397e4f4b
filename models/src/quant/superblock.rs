//! Super-blocks: 256 elements in sub-blocks whose scales are small integers over
//! one f16 scale.
//!
//! The ideal scale of each sub-block is searched for separately. Then the scales are
//! rounded to integers: for each, the neighbouring integers are tried too, and the one with
//! the smallest error after all roundings is taken. Last, the f16 scale is fitted again to
//! the resulting integers and codes.

use half::f16;

use super::search::{
    Grid, SINGULAR, anchored_scale, dot, extreme, f16_scale, fit_affine, fit_scale, inverse,
    nearest_int, product, round_under, tame, weights,
};

/// A super-block with signed integer scales over one f16 scale.
pub(super) struct Symmetric<const SUBS: usize> {
    /// The scale of scales.
    pub d: f16,
    /// The sub-blocks' scales.
    pub scales: [i8; SUBS],
    /// The elements' codes, counted from the lowest.
    pub codes: [u8; 256],
}

/// Quantizes a super-block of `SUBS` sub-blocks of `SUB` elements to the values of `G`, with
/// scales from `-half` to `half - 1`.
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
    let mut codes = [0; 256];
    for (j, codes) in codes.as_chunks_mut::<SUB>().0.iter_mut().enumerate() {
        let inverse = inverse(d * f32::from(best.scales[j]));
        *codes = xs[j].map(|x| G::index(x * inverse));
    }
    Symmetric {
        d: best.d,
        scales: best.scales,
        codes,
    }
}

struct RoundedScales<const SUBS: usize> {
    d: f16,
    scales: [i8; SUBS],
    error: f32,
    /// The scale of scales that would be best for these scales and codes.
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
    /// The elements' codes.
    pub codes: [u8; 256],
}

/// Quantizes a super-block of `SUBS` sub-blocks of `SUB` on codes from 0 to `top`, with
/// scales and minima from 0 to `limit`.
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

    let mut codes = [0; 256];
    for (j, codes) in codes.as_chunks_mut::<SUB>().0.iter_mut().enumerate() {
        let (scale, min) = best.pairs[j];
        let (scale, min) = (d.to_f32() * scale as f32, dmin.to_f32() * min as f32);
        *codes = affine_codes(&xs[j], scale, min, top).map(|q| q as u8);
    }
    Affine {
        d,
        dmin,
        scales: best.pairs.map(|(scale, _)| scale as u8),
        mins: best.pairs.map(|(_, min)| min as u8),
        codes,
    }
}

fn affine_codes<const N: usize>(x: &[f32; N], scale: f32, min: f32, top: f32) -> [f32; N] {
    let inverse = inverse(scale);
    x.map(|x| nearest_int(((x + min) * inverse).clamp(0.0, top)))
}

struct RoundedPairs<const SUBS: usize> {
    /// Each sub-block's integer scale and minimum.
    pairs: [(i32, i32); SUBS],
    error: f32,
    /// The f16 scales that would be best for these integers and codes.
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
                let q = affine_codes(x, s, m, top);
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
    /// Adds a sub-block, whose elements have the same `v`.
    fn add<const N: usize>(&mut self, x: &[f32; N], w: &[f32; N], u: &[f32; N], v: f32) {
        let wu = product(w, u);
        self.uu += dot(&wu, u);
        self.uv += dot(w, u) * v;
        self.vv += dot(w, &[1.0; N]) * v * v;
        self.xu += dot(&wu, x);
        self.xv += dot(w, x) * v;
    }

    /// `d`, which is positive, and `dmin`, which is not negative; `None` where the equations
    /// are singular or have another solution.
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
