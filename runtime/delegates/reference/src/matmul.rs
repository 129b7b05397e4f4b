//! A matmul in a given arithmetic.

use crate::activations;
use crate::rounding::{power_of_two, significant};
use crate::row::Row;
use crate::tile::{LANES, Lanes, Tile};
use crate::weights::Matrix;
use core::array::from_fn;
use core::convert::Infallible;
use core::ops::Range;
use ondol_plugin::Tensor;
use ondol_plugin::ondol::delegate::{Activations, Arithmetic};

/// `x` times a weight: `out[m][n]` = sum over `k` of `x[m][k] * weight[n][k]` (+ `bias[n]`).
///
/// Inputs are rounded as the arithmetic says; integers with the scale
/// `largest magnitude / 127` (32767) of their group, in 32-bit floats. The weight is
/// taken in its form. Then
///
/// - integers times integers: the products of numbers that share both scales are summed
///   exactly, and the sum saturates at each product; these sums, scaled, are added in
///   32-bit floats;
/// - integers times floats: the same, with sums that do not saturate;
/// - floats, with sums of fewer than 24 bits: each product is added exactly, in the
///   order of columns, and the sum is rounded, to the nearest and even;
/// - other floats: exact (an NMSE of about 1e-14), rounded once.
///
/// A row's result depends on that row alone.
///
/// # Panics
/// If `weight` is not a weight, or if the length of its data or of `x` does not fit the shape.
pub fn matmul(
    x: &[f32],
    weight: &Tensor,
    bias: Option<&[f32]>,
    arithmetic: &Arithmetic,
) -> Vec<f32> {
    let go_on = || Ok::<(), Infallible>(());
    match compute(x, &Matrix::of(weight), bias, arithmetic, &go_on) {
        Ok(out) => out,
        Err(never) => match never {},
    }
}

/// [`matmul`] that ends early if `go_on` fails.
///
/// # Errors
/// The error of `go_on`.
pub fn compute<E>(
    x: &[f32],
    matrix: &Matrix,
    bias: Option<&[f32]>,
    arithmetic: &Arithmetic,
    go_on: &dyn Fn() -> Result<(), E>,
) -> Result<Vec<f32>, E> {
    let (cols, width) = (matrix.cols, matrix.rows);
    assert!(x.len().is_multiple_of(cols), "inputs of whole rows");
    let sums = Sums::of(arithmetic, matrix);
    let split = matrix.has_integers() && arithmetic.activations == Activations::I16;
    let rows: Vec<Row> = x
        .chunks_exact(cols)
        .map(|x| activations::round(x, arithmetic))
        .collect();
    let tiles: Vec<Tile> = rows.chunks(LANES).map(|r| Tile::new(r, split)).collect();
    let mut out = vec![0.0; rows.len() * width];
    for n in 0..width {
        go_on()?;
        let weights = matrix.row(n);
        let bias = bias.map_or(0.0, |bias| f64::from(bias[n]));
        let columns = tiles.iter().flat_map(|tile| sums.of_tile(tile, &weights));
        for (out, sum) in out.chunks_exact_mut(width).zip(columns) {
            out[n] = (sum + bias) as f32;
        }
    }
    Ok(out)
}

/// How products are summed.
enum Sums {
    /// In 64-bit floats.
    Exact,
    /// Rounded to so many significant bits after each product.
    Rounded(u32),
    /// One sum for each group; these sums, scaled, are added in 32-bit floats.
    Grouped,
    /// As [`Sums::Grouped`] with integers, whose sums saturate at these limits.
    Integers {
        /// The lowest and the highest sum.
        limits: [f64; 2],
        /// The largest magnitude of an input.
        most: f64,
    },
}

impl Sums {
    fn of(arithmetic: &Arithmetic, matrix: &Matrix) -> Sums {
        let bits = arithmetic.accumulator_bits;
        let most = match arithmetic.activations {
            Activations::I8 => 127.0,
            Activations::I16 => 32767.0,
            _ if bits < 24 => return Sums::Rounded(bits),
            _ => return Sums::Exact,
        };
        if !matrix.has_integers() {
            return Sums::Grouped;
        }
        // No sum has more than 53 bits.
        let end = power_of_two(bits.min(53) as i32 - 1);
        Sums::Integers {
            limits: [-end, end - 1.0],
            most,
        }
    }

    /// The sums of a tile's rows with a row of weights.
    fn of_tile(&self, tile: &Tile, weights: &Row) -> Lanes<f64> {
        let cols = weights.numbers.len();
        let mut total = [0.0; LANES];
        if let Sums::Rounded(bits) = *self {
            let values = weights.numbers.iter().enumerate();
            let values = values.map(|(i, &x)| f64::from(x) * weights.scales[i / weights.group]);
            let add = |sum: f64, product: f64| significant(sum + product, bits);
            let sums = tile.fold(0..cols, values, add);
            return scaled(&sums, tile.scales(0), 1.0);
        }
        for run in runs(cols, tile.group, weights.group) {
            let numbers = &weights.numbers[run.clone()];
            let sums = self.of_run(tile, run.clone(), numbers);
            let scale = weights.scales[run.start / weights.group];
            let terms = scaled(&sums, tile.scales(run.start), scale);
            total = match self {
                Sums::Exact => from_fn(|lane| total[lane] + terms[lane]),
                _ => from_fn(|lane| f64::from(total[lane] as f32 + terms[lane] as f32)),
            };
        }
        total
    }

    /// The sums of products of numbers that share both scales.
    fn of_run(&self, tile: &Tile, run: Range<usize>, weights: &[f32]) -> Lanes<f64> {
        let Sums::Integers {
            limits: [low, high],
            most,
        } = *self
        else {
            return tile.dots(run, weights);
        };
        let weight: f64 = weights.iter().map(|w| f64::from(w.abs())).sum();
        if weight * most <= high {
            return tile.dots(run, weights);
        }
        let weights = weights.iter().map(|&w| f64::from(w));
        tile.fold(run, weights, |sum, product| {
            (sum + product).clamp(low, high)
        })
    }
}

/// Sums times the scales of inputs and weights.
fn scaled(sums: &Lanes<f64>, scales: &Lanes<f64>, scale: f64) -> Lanes<f64> {
    from_fn(|lane| sums[lane] * scales[lane] * scale)
}

/// The columns in runs that lie in one group of `a` and in one of `b`.
fn runs(cols: usize, a: usize, b: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    core::iter::from_fn(move || {
        let end_of = |group: usize| (start / group + 1) * group;
        let run = start..cols.min(end_of(a)).min(end_of(b));
        start = run.end;
        (!run.is_empty()).then_some(run)
    })
}
