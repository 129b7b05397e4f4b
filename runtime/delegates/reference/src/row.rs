//! A row of numbers with scales: of a matrix, or of a matmul's inputs.

use crate::rounding::{exponent, power_of_two};

/// A row: value = number x the scale of its group.
pub struct Row {
    /// Integers of at most 16 bits, or floats below 2.
    pub numbers: Vec<f32>,
    /// One for each group. NaN for a group with a number that is not finite.
    pub scales: Vec<f64>,
    /// How many neighbouring numbers share a scale. The last group may be shorter.
    pub group: usize,
}

impl Row {
    /// Floats with one scale, a power of two: the largest number is between 1 and 2, so
    /// that products are not too small or too large for a 32-bit float.
    pub fn normalized(mut numbers: Vec<f32>) -> Row {
        let scale = match largest(&numbers) {
            largest if largest == 0.0 || !largest.is_finite() => 1.0,
            largest => power_of_two(exponent(f64::from(largest))),
        };
        for x in &mut numbers {
            *x = (f64::from(*x) / scale) as f32;
        }
        Row {
            group: numbers.len(),
            numbers,
            scales: vec![scale],
        }
    }
}

/// The largest magnitude; NaN if a number is.
pub fn largest(numbers: &[f32]) -> f32 {
    match numbers.iter().any(|x| x.is_nan()) {
        true => f32::NAN,
        false => numbers.iter().fold(0.0, |a: f32, b| a.max(b.abs())),
    }
}
