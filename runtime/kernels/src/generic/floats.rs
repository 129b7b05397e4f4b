//! Matmul in f32: plain float weights, and the exact ISA, where the weights
//! of any format are dequantized.
//!
//! Rows go through some columns at a time, so that what is worked on stays in the nearest
//! cache: these columns of a few rows are widened to f32 in scratch and multiplied with
//! all tokens. Of them, one output element has eight partial sums, of the elements whose
//! index is 0 to 7 modulo 8, which are then added pairwise; the results are added to the
//! output in ascending order of columns. So an element depends on nothing but its row
//! and its token. ISAs differ by the rounding between multiplication and addition.
//!
//! With a single token, reading the weights takes the time: weights of plain floats are
//! used where they lie, without scratch.

// `t` and `r` name tokens and rows of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::acts::{floats, floats_mut};
use super::array::from_fn;
use super::matrix::{Acts, Call, Matrix, OutRows};
use super::prefetch::prefetch_next_run;
use super::simd::{LANES, SMALL, Simd};
use core::ops::Range;
use half::f16;
use ondol_models::quant::{DType, dequantize};

/// Rows that are multiplied with a single token at once, so that the sums hide each
/// other's latency.
const ROWS: usize = 8;

/// Rows that are widened at once, and multiplied with [`TOKENS`] tokens: twelve sums.
const WIDENED: usize = 4;

/// Tokens that are multiplied with widened rows at once.
const TOKENS: usize = 3;

/// Most columns that go through at once: whole blocks of any format.
const COLUMNS: usize = 1024;

/// Elements of the longest blocks.
const BLOCK_LEN: usize = 256;

/// Bytes of these columns in any block format, at most: Q8_0 has the most per element.
const COLUMNS_BYTES: usize = COLUMNS / 32 * 34;

/// Bytes of scratch that [`matmul`] needs.
pub(crate) const SCRATCH_BYTES: usize = WIDENED * COLUMNS * size_of::<f32>() + Acts::ALIGN;

/// Multiplies the given rows with all tokens.
pub(crate) fn matmul<S: Simd>(s: S, call: Call) {
    let whole = call.w.cols().is_multiple_of(LANES);
    let in_place = whole && call.acts.tokens() == 1 && !SMALL;
    s.run(
        #[inline(always)]
        move || match call.w.dtype() {
            DType::F32 if in_place => gemv::<S, F32>(s, call),
            DType::F16 if in_place => gemv::<S, F16>(s, call),
            DType::BF16 if in_place => gemv::<S, BF16>(s, call),
            _ => gemm(s, call),
        },
    );
}

/// How eight weights become floats.
pub(crate) trait Element {
    const BYTES: usize;

    /// # Safety
    /// `from` points to eight elements, which need not be aligned.
    unsafe fn load<S: Simd>(s: S, from: *const u8) -> S::V;
}

struct F32;
pub(crate) struct F16;
pub(crate) struct BF16;

impl Element for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const u8) -> S::V {
        // SAFETY: the caller has the elements; the read is unaligned.
        s.load(&unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
}

impl Element for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const u8) -> S::V {
        // SAFETY: as above.
        s.load_f16(&unsafe { from.cast::<[f16; LANES]>().read_unaligned() })
    }
}

impl Element for BF16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const u8) -> S::V {
        // SAFETY: as above.
        let halves = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        let mut wide = [0.0; LANES];
        for i in 0..LANES {
            wide[i] = f32::from_bits(u32::from(halves[i]) << 16);
        }
        s.load(&wide)
    }
}

/// The columns that go through at once: as few ranges as possible, of about the same
/// length.
fn column_ranges(cols: usize) -> impl Iterator<Item = Range<usize>> {
    let even = cols.div_ceil(cols.div_ceil(COLUMNS));
    let step = even.next_multiple_of(BLOCK_LEN);
    let starts = (0..cols).step_by(step);
    starts.map(move |start| start..cols.min(start + step))
}

/// Weights of plain floats times one token.
#[inline(always)]
fn gemv<S: Simd, E: Element>(s: S, call: Call) {
    let Call {
        w, rows, acts, out, ..
    } = call;
    let x = &floats(acts.row(0))[..w.cols()];
    for row in rows.clone().step_by(ROWS) {
        let count = ROWS.min(rows.end - row);
        // Where rows are missing, the last one is computed again.
        let data: [&[u8]; ROWS] = from_fn(|r| w.row_data(row + r.min(count - 1), 1));
        for columns in column_ranges(w.cols()) {
            let out = out.of_columns(columns.start);
            let sums = column_products::<S, E>(s, data, x, columns);
            out.put(0, row, &sums[..count]);
        }
    }
}

/// The products of some columns, a multiple of [`LANES`]. Meanwhile the next rows
/// are prefetched.
#[inline(always)]
fn column_products<S: Simd, E: Element>(
    s: S,
    rows: [&[u8]; ROWS],
    x: &[f32],
    columns: Range<usize>,
) -> [f32; ROWS] {
    let mut sums = [s.splat(0.0); ROWS];
    let x = x[columns.clone()].as_chunks::<LANES>().0;
    for (i, x) in x.iter().enumerate() {
        let x = s.load(x);
        let at = (columns.start + i * LANES) * E::BYTES;
        prefetch_next_run(rows[0].as_ptr(), ROWS, rows[0].len(), at, LANES * E::BYTES);
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: the columns lie within the row.
            let w = unsafe { E::load(s, row.as_ptr().add(at)) };
            *sum = s.mul_add(w, x, *sum);
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let (first, second) = (s.sum4([a, b, c, d]), s.sum4([e, f, g, h]));
    from_fn(|r| if r < 4 { first[r] } else { second[r - 4] })
}

/// Weights of any type, widened in scratch, times any number of tokens.
#[inline(always)]
fn gemm<S: Simd>(s: S, call: Call) {
    let Call {
        w,
        rows,
        acts,
        out,
        scratch,
    } = call;
    let skip = scratch.as_ptr().align_offset(Acts::ALIGN);
    let scratch = &mut floats_mut(&mut scratch[skip..])[..WIDENED * COLUMNS];
    for row in rows.clone().step_by(WIDENED) {
        let rows = row..rows.end.min(row + WIDENED);
        for columns in column_ranges(w.cols()) {
            let padded = columns.len().next_multiple_of(LANES);
            widen(s, w, rows.clone(), columns.clone(), scratch);
            let operands = Operands {
                widened: scratch,
                rows: rows.clone(),
                acts,
                columns: columns.start..columns.start + padded,
                out: out.of_columns(columns.start),
            };
            let mut token = 0;
            while acts.tokens() - token >= TOKENS {
                operands.multiply::<S, TOKENS>(s, token);
                token += TOKENS;
            }
            match acts.tokens() - token {
                0 => {}
                1 => operands.multiply::<S, 1>(s, token),
                _ => operands.multiply::<S, 2>(s, token),
            }
        }
    }
}

/// Widens some columns of the rows, each to a multiple of [`LANES`]
/// floats; the rest are zeros.
#[inline(always)]
fn widen<S: Simd>(
    s: S,
    w: &Matrix,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut [f32],
) {
    let offset = |cols: usize| cols / w.dtype().block_len() * w.dtype().block_bytes();
    let bytes = offset(columns.start)..offset(columns.end);
    for (row, to) in rows.zip(scratch.chunks_exact_mut(COLUMNS)) {
        let (to, padding) = to.split_at_mut(columns.len());
        let mut buffer = [0; COLUMNS_BYTES];
        let blocks = w.row_part(row, bytes.clone(), &mut buffer);
        match w.dtype() {
            DType::F16 => widen_floats::<S, F16>(s, DType::F16, blocks, to),
            DType::BF16 => widen_floats::<S, BF16>(s, DType::BF16, blocks, to),
            dtype => dequantized(dtype, blocks, to),
        }
        padding.iter_mut().take(LANES).for_each(|v| *v = 0.0);
    }
}

#[inline(always)]
fn widen_floats<S: Simd, E: Element>(s: S, dtype: DType, elements: &[u8], to: &mut [f32]) {
    let (vectors, rest) = to.as_chunks_mut::<LANES>();
    let (whole, tail) = elements.split_at(vectors.len() * LANES * E::BYTES);
    for (from, to) in whole.chunks_exact(LANES * E::BYTES).zip(vectors) {
        // SAFETY: the piece is eight elements long.
        s.store(unsafe { E::load(s, from.as_ptr()) }, to);
    }
    dequantized(dtype, tail, rest);
}

#[inline(always)]
fn dequantized(dtype: DType, blocks: &[u8], to: &mut [f32]) {
    let result = dequantize(dtype, blocks, to);
    debug_assert!(result.is_ok(), "columns are whole blocks");
}

/// Widened rows, and the columns of the activations that they are multiplied with.
struct Operands<'a> {
    widened: &'a [f32],
    rows: Range<usize>,
    acts: &'a Acts<'a>,
    columns: Range<usize>,
    out: OutRows,
}

impl Operands<'_> {
    /// The products of all rows with `T` tokens, from `token` on.
    #[inline(always)]
    fn multiply<S: Simd, const T: usize>(&self, s: S, token: usize) {
        let len = self.columns.len();
        let w: [&[[f32; LANES]]; WIDENED] =
            from_fn(|r| self.widened[r * COLUMNS..][..len].as_chunks().0);
        let x: [&[[f32; LANES]]; T] = from_fn(|t| {
            let row = floats(self.acts.row(token + t));
            row[self.columns.clone()].as_chunks().0
        });
        let mut sums = [[s.splat(0.0); WIDENED]; T];
        for i in 0..len / LANES {
            for r in 0..WIDENED {
                let w = s.load(&w[r][i]);
                for t in 0..T {
                    sums[t][r] = s.mul_add(w, s.load(&x[t][i]), sums[t][r]);
                }
            }
        }
        for t in 0..T {
            let products = s.sum4(sums[t]);
            self.out
                .put(token + t, self.rows.start, &products[..self.rows.len()]);
        }
    }
}
