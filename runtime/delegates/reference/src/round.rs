//! Rounds a matmul's inputs, and its sums, as an arithmetic declares.

use crate::compute::dot;
use half::{bf16, f16};
use ondol::delegate::{Activations, Arithmetic, Group, Rounding};

/// The largest magnitude of an integer.
const I8_LARGEST: f32 = 127.0;
const I16_LARGEST: f32 = 32_767.0;

/// How rows of inputs are rounded.
pub struct Inputs {
    arithmetic: Arithmetic,
    /// Numbers that share a scale.
    group: usize,
}

/// A row of rounded inputs: `numbers` times the scale of their group.
pub struct RoundedRow {
    pub numbers: Vec<f32>,
    pub scales: Vec<f32>,
    /// Numbers that share a scale.
    pub group: usize,
    sums: Sums,
}

/// How a sum is kept.
#[derive(Clone, Copy)]
enum Sums {
    /// In 64-bit floats.
    Wide,
    /// In integers that saturate beyond `limit`; inputs are not larger than `input`.
    Saturate { limit: f64, input: f64 },
    /// In floats with so many significant bits.
    Bits(u32),
}

impl Inputs {
    /// For rows of `cols` numbers.
    pub fn new(arithmetic: &Arithmetic, cols: usize) -> Inputs {
        let group = match (arithmetic.activations, arithmetic.group) {
            (Activations::I8 | Activations::I16, Group::Of(group)) => group,
            _ => cols,
        };
        Inputs {
            arithmetic: *arithmetic,
            group,
        }
    }

    /// Rounds a row.
    pub fn round(&self, x: &[f32]) -> RoundedRow {
        let rounding = self.arithmetic.rounding;
        let floats = |round: &dyn Fn(f32) -> f32| x.iter().map(|&x| round(x)).collect();
        let (numbers, scales) = match self.arithmetic.activations {
            Activations::F32 => (x.to_vec(), self.ones(x)),
            Activations::F16 => (floats(&|x| to_f16(x, rounding)), self.ones(x)),
            Activations::Bf16 => (floats(&|x| to_bf16(x, rounding)), self.ones(x)),
            Activations::I8 => self.integers(x, I8_LARGEST),
            Activations::I16 => self.integers(x, I16_LARGEST),
        };
        RoundedRow {
            numbers,
            scales,
            group: self.group,
            sums: self.sums(),
        }
    }

    fn ones(&self, x: &[f32]) -> Vec<f32> {
        vec![1.0; x.len().div_ceil(self.group)]
    }

    /// Integers with a scale for each group: its largest magnitude is `largest`.
    fn integers(&self, x: &[f32], largest: f32) -> (Vec<f32>, Vec<f32>) {
        let (mut numbers, mut scales) = (Vec::with_capacity(x.len()), Vec::new());
        for x in x.chunks(self.group) {
            let size = x.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            let scale = size / largest;
            // A group of zeros, or of numbers whose scale is below every float.
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / f64::from(scale) };
            let round = |&x: &f32| to_integer(f64::from(x) * inverse, self.arithmetic.rounding);
            numbers.extend(x.iter().map(round).map(|x| x.clamp(-largest, largest)));
            scales.push(scale);
        }
        (numbers, scales)
    }

    fn sums(&self) -> Sums {
        let bits = self.arithmetic.accumulator_bits;
        let limit = f64::powi(2.0, bits as i32 - 1) - 1.0;
        match self.arithmetic.activations {
            Activations::I8 => Sums::Saturate {
                limit,
                input: I8_LARGEST.into(),
            },
            Activations::I16 => Sums::Saturate {
                limit,
                input: I16_LARGEST.into(),
            },
            _ if bits >= 24 => Sums::Wide,
            _ => Sums::Bits(bits),
        }
    }
}

impl RoundedRow {
    /// The sum of products of a run that shares both scales. No weight is larger than
    /// `largest`.
    pub fn accumulate(&self, w: &[f32], x: &[f32], largest: f32) -> f64 {
        match self.sums {
            Sums::Wide => dot(w, x),
            // No sum on the way can reach the limit: any order will do.
            Sums::Saturate { limit, input }
                if f64::from(largest) * input * w.len() as f64 <= limit =>
            {
                exact(w, x)
            }
            Sums::Saturate { limit, .. } => saturating(w, x, limit),
            Sums::Bits(bits) => {
                let products = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
                products.fold(0.0, |sum, product| to_bits(sum + product, bits))
            }
        }
    }

    /// The whole sum, as it is kept.
    pub fn finish(&self, sum: f64) -> f64 {
        match self.sums {
            Sums::Bits(bits) => to_bits(sum, bits),
            _ => sum,
        }
    }
}

/// Products of integers, which are exact, in a sum that saturates.
fn saturating(w: &[f32], x: &[f32], limit: f64) -> f64 {
    let products = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
    products.fold(0.0, |sum, product| (sum + product).clamp(-limit, limit))
}

/// Sums of integers in 64-bit floats, which have room for 2^53.
fn exact(w: &[f32], x: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (whole_w, rest_w) = w.as_chunks::<8>();
    let (whole_x, rest_x) = x.as_chunks::<8>();
    for (w, x) in whole_w.iter().zip(whole_x) {
        for lane in 0..8 {
            lanes[lane] += f64::from(w[lane]) * f64::from(x[lane]);
        }
    }
    let rest = rest_w.iter().zip(rest_x);
    let rest: f64 = rest.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
    lanes.iter().sum::<f64>() + rest
}

fn to_integer(x: f64, rounding: Rounding) -> f32 {
    let rounded = match rounding {
        Rounding::NearestEven => x.round_ties_even(),
        Rounding::NearestAway => x.round(),
        Rounding::TowardZero => x.trunc(),
    };
    rounded as f32
}

fn to_f16(x: f32, rounding: Rounding) -> f32 {
    let nearest = f16::from_f32(x);
    let beside = f16::from_bits(nearest.to_bits().wrapping_sub(1));
    nearer_zero(x, nearest.to_f32(), beside.to_f32(), rounding)
}

fn to_bf16(x: f32, rounding: Rounding) -> f32 {
    let nearest = bf16::from_f32(x);
    let beside = bf16::from_bits(nearest.to_bits().wrapping_sub(1));
    nearer_zero(x, nearest.to_f32(), beside.to_f32(), rounding)
}

/// The rounded number, from the nearest one (ties to even) and the one before it.
fn nearer_zero(x: f32, nearest: f32, before: f32, rounding: Rounding) -> f32 {
    let rounds_up = nearest.abs() > x.abs();
    match rounding {
        Rounding::TowardZero if rounds_up => before,
        // Ties are rare among floats, and the even one is as near.
        _ => nearest,
    }
}

/// Rounds to so many significant bits, to the nearest.
fn to_bits(x: f64, bits: u32) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let exponent = x.abs().log2().floor() as i32;
    let unit = f64::powi(2.0, exponent + 1 - bits as i32);
    (x / unit).round_ties_even() * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(activations: Activations, group: Group, rounding: Rounding) -> Inputs {
        let arithmetic = Arithmetic {
            activations,
            group,
            rounding,
            ..Arithmetic::of(activations)
        };
        Inputs::new(&arithmetic, 4)
    }

    #[test]
    fn integers_are_rounded_as_declared() {
        let x = [127.0, 2.5, -2.5, 1.75];
        let numbers = |rounding| inputs(Activations::I8, Group::Row, rounding).round(&x).numbers;
        assert_eq!(numbers(Rounding::NearestEven), [127.0, 2.0, -2.0, 2.0]);
        assert_eq!(numbers(Rounding::NearestAway), [127.0, 3.0, -3.0, 2.0]);
        assert_eq!(numbers(Rounding::TowardZero), [127.0, 2.0, -2.0, 1.0]);
    }

    #[test]
    fn groups_have_scales_of_their_own() {
        let row = inputs(Activations::I8, Group::Of(2), Rounding::NearestEven);
        let row = row.round(&[127.0, 1.0, 0.127, 0.001]);
        assert_eq!(row.scales, [1.0, 0.127 / 127.0]);
        assert_eq!(row.numbers, [127.0, 1.0, 127.0, 1.0]);
    }

    #[test]
    fn half_floats_keep_subnormal_numbers() {
        let tiny = f16::from_bits(3).to_f32();
        for rounding in [Rounding::NearestEven, Rounding::TowardZero] {
            assert_eq!(to_f16(tiny, rounding), tiny);
        }
        let between = 1.0 + 1.5 * f32::powi(2.0, -10);
        assert_eq!(to_f16(between, Rounding::TowardZero), 1.0 + f32::powi(2.0, -10));
        assert_eq!(to_f16(-between, Rounding::TowardZero), -1.0 - f32::powi(2.0, -10));
        assert_eq!(to_bf16(1.0 + 1e-6, Rounding::NearestEven), 1.0);
    }

    #[test]
    fn sums_saturate_on_the_way_too() {
        let (w, x) = ([100.0, 100.0, -100.0], [100.0, 100.0, 100.0]);
        assert_eq!(saturating(&w, &x, 1e9), 10_000.0);
        assert_eq!(saturating(&w, &x, 15_000.0), 5_000.0);
    }

    #[test]
    fn floats_have_so_many_bits() {
        assert_eq!(to_bits(1.0 + f64::powi(2.0, -11), 11), 1.0);
        assert_eq!(to_bits(1.0 + f64::powi(2.0, -10), 11), 1.0 + f64::powi(2.0, -10));
        assert_eq!(to_bits(-3.0, 1), -4.0);
        assert_eq!(to_bits(0.0, 11), 0.0);
    }
}
