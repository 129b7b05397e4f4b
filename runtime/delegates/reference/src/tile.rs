//! Several rows of a matmul's inputs side by side, so that one number of a weight is multiplied
//! with all of them at once. A lane's result does not depend on the other lanes.

use crate::row::Row;
use core::array::from_fn;
use core::ops::Range;

/// Rows of a tile.
pub const LANES: usize = 16;

/// How many products are summed in a 32-bit float before the sum is added to a 64-bit float.
/// Sums of so many products of 8-bit integers are exact in 32-bit floats.
const BLOCK: usize = 32;

/// A number for each row.
pub type Lanes<T> = [T; LANES];

/// At most [`LANES`] rows of inputs; the missing ones are zeros.
pub struct Tile {
    /// Each number of a row is the sum of its parts.
    parts: Vec<Part>,
    /// The scales of each group.
    scales: Vec<Lanes<f64>>,
    /// How many neighbouring columns share a scale.
    pub group: usize,
}

/// A part of the numbers, column by column: `factor` times the numbers in `columns`.
struct Part {
    factor: f64,
    columns: Vec<Lanes<f32>>,
}

impl Tile {
    /// A tile of these rows. `split` splits integers of 16 bits in two parts of 8, so that their
    /// products with integers of 8 bits are summed exactly.
    pub fn new(rows: &[Row], split: bool) -> Tile {
        let group = rows[0].group;
        let number = |lane: usize, col: usize| rows.get(lane).map_or(0.0, |r| r.numbers[col]);
        let scale = |lane: usize, i: usize| rows.get(lane).map_or(0.0, |r| r.scales[i]);
        let part = |factor: f64, of: fn(f32) -> f32| Part {
            factor,
            columns: (0..rows[0].numbers.len())
                .map(|col| from_fn(|lane| of(number(lane, col))))
                .collect(),
        };
        Tile {
            parts: match split {
                true => vec![part(256.0, upper), part(1.0, |x| x - 256.0 * upper(x))],
                false => vec![part(1.0, |x| x)],
            },
            scales: (0..rows[0].scales.len())
                .map(|i| from_fn(|lane| scale(lane, i)))
                .collect(),
            group,
        }
    }

    /// The scales of the group in which a column is.
    pub fn scales(&self, col: usize) -> &Lanes<f64> {
        &self.scales[col / self.group]
    }

    /// The sums of products with the numbers of a weight's row, in these columns.
    pub fn dots(&self, run: Range<usize>, weights: &[f32]) -> Lanes<f64> {
        let mut sums = [0.0; LANES];
        for part in &self.parts {
            add_dots(&part.columns[run.clone()], weights, part.factor, &mut sums);
        }
        sums
    }

    /// As [`Tile::dots`], one product after the other: `add` adds a product to a sum.
    pub fn fold(
        &self,
        run: Range<usize>,
        weights: impl Iterator<Item = f64>,
        add: impl Fn(f64, f64) -> f64,
    ) -> Lanes<f64> {
        let mut sums = [0.0; LANES];
        for (col, weight) in run.zip(weights) {
            let numbers = self.numbers(col);
            sums = from_fn(|lane| add(sums[lane], numbers[lane] * weight));
        }
        sums
    }

    /// The numbers of a column, whole.
    fn numbers(&self, col: usize) -> Lanes<f64> {
        let mut numbers = [0.0; LANES];
        for part in &self.parts {
            let column = &part.columns[col];
            numbers = from_fn(|lane| numbers[lane] + part.factor * f64::from(column[lane]));
        }
        numbers
    }
}

/// The upper eight bits of an integer of 16, rounded, so that the rest is from -128 to 127.
fn upper(x: f32) -> f32 {
    ((x + 128.0) / 256.0).floor()
}

fn add_dots(columns: &[Lanes<f32>], weights: &[f32], factor: f64, sums: &mut Lanes<f64>) {
    for (columns, weights) in columns.chunks(BLOCK).zip(weights.chunks(BLOCK)) {
        let mut block = [0.0f32; LANES];
        for (column, weight) in columns.iter().zip(weights) {
            block = from_fn(|lane| block[lane] + column[lane] * weight);
        }
        *sums = from_fn(|lane| sums[lane] + factor * f64::from(block[lane]));
    }
}
