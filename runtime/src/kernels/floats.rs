//! Matmul in f32: plain float weights, and the exact level, where the weights
//! of any format are dequantized.
//!
//! Rows go through in chunks of columns, so that what is worked on stays in
//! the nearest cache: eight rows of a chunk are widened to f32 in scratch and
//! meet all tokens. Of each chunk, one output element has eight partial sums,
//! of the elements whose index is 0 to 7 modulo 8, which are then added
//! pairwise; chunks add up in ascending order. So an element depends on nothing
//! but its row and its token. Levels differ by the rounding between
//! multiplication and addition.

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

/// Rows that are widened at once.
const WIDENED: usize = 2 * ROWS;

/// Columns of a chunk: whole blocks of any format.
const CHUNK: usize = 512;

/// Bytes of a chunk of any block format, at most: Q8_0 has the most per element.
const CHUNK_BYTES: usize = CHUNK / 32 * 34;

/// What a level brings.
pub(super) trait FloatKernel: Copy {
    /// The products of each row with each token, all of one length, a multiple
    /// of [`LANES`].
    fn products<const T: usize>(self, w: [&[f32]; ROWS], x: [&[f32]; T]) -> [[f32; ROWS]; T];

    /// Widens whole blocks.
    fn widen(self, dtype: DType, blocks: &[u8], to: &mut [f32]) {
        let result = dequantize(dtype, blocks, to);
        debug_assert!(result.is_ok(), "chunks are whole blocks");
    }
}

/// Bytes of scratch that [`matmul`] needs.
pub(super) const SCRATCH_BYTES: usize = WIDENED * CHUNK * size_of::<f32>() + Acts::ALIGN;

/// Multiplies the given rows with all tokens.
pub(super) fn matmul<K: FloatKernel>(
    kernel: K,
    w: &Matrix,
    rows: Range<usize>,
    acts: &Acts,
    out: &OutRows,
    scratch: &mut [u8],
) {
    let skip = scratch.as_ptr().align_offset(Acts::ALIGN);
    let scratch = &mut floats_mut(&mut scratch[skip..])[..WIDENED * CHUNK];
    for row in rows.clone().step_by(WIDENED) {
        let rows = row..rows.end.min(row + WIDENED);
        for start in (0..w.cols()).step_by(CHUNK) {
            let columns = start..w.cols().min(start + CHUNK);
            let padded = widen(kernel, w, rows.clone(), columns, scratch);
            let out = if start == 0 { *out } else { out.adding() };
            sweep(kernel, scratch, padded, acts, start, rows.clone(), &out);
        }
    }
}

/// Widens a chunk of columns of the rows, each to a multiple of [`LANES`]
/// floats, whose number it returns; the rest are zeros.
fn widen<K: FloatKernel>(
    kernel: K,
    w: &Matrix,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut [f32],
) -> usize {
    let offset = |cols: usize| cols / w.dtype().block_len() * w.dtype().block_bytes();
    let bytes = offset(columns.start)..offset(columns.end);
    for (row, to) in rows.zip(scratch.chunks_exact_mut(CHUNK)) {
        let (to, padding) = to.split_at_mut(columns.len());
        let mut buffer = [0; CHUNK_BYTES];
        let blocks = w.row_part(row, bytes.clone(), &mut buffer);
        kernel.widen(w.dtype(), blocks, to);
        padding.iter_mut().take(LANES).for_each(|v| *v = 0.0);
    }
    columns.len().next_multiple_of(LANES)
}

/// Multiplies widened rows with all tokens, from column `start` on.
fn sweep<K: FloatKernel>(
    kernel: K,
    widened: &[f32],
    len: usize,
    acts: &Acts,
    start: usize,
    rows: Range<usize>,
    out: &OutRows,
) {
    let mut token = 0;
    while token < acts.tokens() {
        let tokens = if acts.tokens() - token >= TOKENS {
            TOKENS
        } else {
            1
        };
        for row in rows.clone().step_by(ROWS) {
            let first = (row - rows.start) * CHUNK;
            let w = core::array::from_fn(|r| &widened[first + r * CHUNK..][..len]);
            let x = |t: usize| &floats(acts.row(token + t))[start..start + len];
            let count = ROWS.min(rows.end - row);
            let put = |t: usize, values: &[f32; ROWS]| out.put(token + t, row, &values[..count]);
            if tokens == TOKENS {
                let products = kernel.products(w, [x(0), x(1)]);
                products
                    .iter()
                    .enumerate()
                    .for_each(|(t, values)| put(t, values));
            } else {
                put(0, &kernel.products(w, [x(0)])[0]);
            }
        }
        token += tokens;
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
    for (w, x) in w
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(x.as_chunks::<LANES>().0)
    {
        for i in 0..LANES {
            sums[i] += w[i] * x[i];
        }
    }
    add_lanes(sums)
}
