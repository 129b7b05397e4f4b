//! Matmul in f32: plain float weights, and the exact level, where the weights
//! of any format are dequantized.
//!
//! Four rows at a time are widened to f32 in scratch and meet the tokens. One
//! output element is eight partial sums, of the elements whose index is 0 to 7
//! modulo 8, each added up in ascending order, then added pairwise; so it
//! depends on nothing but its row and its token. Levels differ by the rounding
//! between multiplication and addition.

use super::acts::{floats, floats_mut};
use super::{Acts, Matrix, OutRows};
use core::ops::Range;
use ondol_models::quant::{DType, dequantize};

/// Rows that meet a token at once.
pub(super) const ROWS: usize = 4;

/// Tokens that meet the rows at once.
const TOKENS: usize = 2;

/// Partial sums of an element.
pub(super) const LANES: usize = 8;

/// What a level brings.
pub(super) trait FloatKernel: Copy {
    /// The products of each row with each token, all of one length, a multiple
    /// of [`LANES`].
    fn products<const T: usize>(self, w: [&[f32]; ROWS], x: [&[f32]; T]) -> [[f32; ROWS]; T];

    /// Widens a row.
    fn widen(self, dtype: DType, row: &[u8], to: &mut [f32]) {
        let result = dequantize(dtype, row, to);
        debug_assert!(result.is_ok(), "a matrix has whole rows");
    }
}

/// Bytes of scratch that [`matmul`] needs for rows of `cols` elements.
pub(super) fn scratch_bytes(cols: usize) -> usize {
    ROWS * padded(cols) * size_of::<f32>() + Acts::ALIGN
}

/// Length of a row of prepared f32 activations.
fn padded(cols: usize) -> usize {
    cols.next_multiple_of(Acts::ALIGN / size_of::<f32>())
}

/// Multiplies the given rows with all tokens.
pub(super) fn matmul<K: FloatKernel>(
    kernel: K,
    w: &Matrix,
    rows: Range<usize>,
    acts: &Acts,
    out: &OutRows,
    scratch: &mut [u8],
) {
    let (cols, padded) = (w.cols(), padded(w.cols()));
    let skip = scratch.as_ptr().align_offset(Acts::ALIGN);
    let scratch = &mut floats_mut(&mut scratch[skip..])[..ROWS * padded];
    scratch.fill(0.0);
    for row in rows.clone().step_by(ROWS) {
        let count = ROWS.min(rows.end - row);
        for r in 0..count {
            let to = &mut scratch[r * padded..][..cols];
            kernel.widen(w.dtype(), w.row_data(row + r, 1), to);
        }
        let w: [&[f32]; ROWS] = core::array::from_fn(|r| &scratch[r * padded..][..padded]);
        let mut token = 0;
        while acts.tokens() - token >= TOKENS {
            sweep::<K, TOKENS>(kernel, w, acts, token, out, row, count);
            token += TOKENS;
        }
        if token < acts.tokens() {
            sweep::<K, 1>(kernel, w, acts, token, out, row, count);
        }
    }
}

fn sweep<K: FloatKernel, const T: usize>(
    kernel: K,
    w: [&[f32]; ROWS],
    acts: &Acts,
    token: usize,
    out: &OutRows,
    row: usize,
    count: usize,
) {
    let x: [&[f32]; T] = core::array::from_fn(|t| &floats(acts.row(token + t))[..w[0].len()]);
    for (t, values) in kernel.products(w, x).iter().enumerate() {
        out.put(token + t, row, &values[..count]);
    }
}

/// Adds an element's partial sums.
pub(super) fn add_lanes(s: [f32; LANES]) -> f32 {
    let [a, b, c, d] = [s[0] + s[4], s[1] + s[5], s[2] + s[6], s[3] + s[7]];
    (a + c) + (b + d)
}

/// Plain Rust, for any CPU.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

impl FloatKernel for Scalar {
    fn products<const T: usize>(self, w: [&[f32]; ROWS], x: [&[f32]; T]) -> [[f32; ROWS]; T] {
        x.map(|x| w.map(|w| dot(w, x)))
    }
}

fn dot(w: &[f32], x: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (w, x) in w.as_chunks::<LANES>().0.iter().zip(x.as_chunks::<LANES>().0) {
        for i in 0..LANES {
            sums[i] += w[i] * x[i];
        }
    }
    add_lanes(sums)
}
