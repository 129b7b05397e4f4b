//! Rounds a matmul's inputs.

use crate::rounding::{BF16, F16, integer};
use crate::row::{Row, largest};
use ondol_plugin::ondol::delegate::{Activations, Arithmetic, Group};

/// Rounds a row of inputs to the activations.
pub fn round(x: &[f32], arithmetic: &Arithmetic) -> Row {
    let rounding = arithmetic.rounding;
    match arithmetic.activations {
        Activations::F32 => Row::normalized(x.to_vec()),
        Activations::F16 => Row::normalized(x.iter().map(|&x| F16.round(x, rounding)).collect()),
        Activations::Bf16 => Row::normalized(x.iter().map(|&x| BF16.round(x, rounding)).collect()),
        Activations::I16 => integers(x, 32767.0, arithmetic),
        Activations::I8 => integers(x, 127.0, arithmetic),
    }
}

/// Rounds a row to integers from `-most` to `most`. The scale of each group is such that its
/// number of largest magnitude becomes `most` or `-most`.
fn integers(x: &[f32], most: f32, arithmetic: &Arithmetic) -> Row {
    let group = match arithmetic.group {
        Group::Of(group) => group,
        Group::Row => x.len(),
    };
    let mut row = Row {
        numbers: Vec::with_capacity(x.len()),
        scales: Vec::with_capacity(x.len() / group + 1),
        group,
    };
    for x in x.chunks(group) {
        let scale = match largest(x) {
            largest if largest.is_finite() => largest / most,
            _ => f32::NAN,
        };
        let number = |x: f32| {
            let steps = f64::from(x) / f64::from(scale);
            // A subnormal scale is coarse: the largest number may be more than `most`.
            let integer = integer(steps, arithmetic.rounding) as f32;
            integer.clamp(-most, most)
        };
        let is_empty = scale == 0.0 || scale.is_nan();
        let numbers = x.iter().map(|&x| if is_empty { 0.0 } else { number(x) });
        row.numbers.extend(numbers);
        row.scales.push(f64::from(scale));
    }
    row
}
