//! Integer matmul in plain Rust: the oracle of the SIMD kernels, and what runs
//! where there are none.
//!
//! One output element is, over the blocks of 32 in ascending order,
//!
//! ```text
//! acc = fma(f32(sum of sub * q * x), w.scale * x.scale, acc)
//! acc = fma(w.min, x.sum, acc)          (where the format has a minimum)
//! ```
//!
//! or, over those of a rounded super-block, which share a scale,
//!
//! ```text
//! part = fma(f32(sum of q * x), x.scale, part)
//! acc = fma(part, w.scale, acc)         (after the last of them)
//! ```
//!
//! The inner sum is in integers. The products with the values that the blocks of the
//! activations leave out have a sum of their own, which is added at the end. All ISAs
//! compute exactly this, so that they agree bit for bit (with `std`; without it the two
//! `fma` round twice).

mod rounded;
mod unpack;

use super::acts::{
    self, ActBlock, ActKind, BLOCK, I8Block, I16Block, Outlier, SplitBlock, widened_place,
};
use super::formats::{Format, with_format};
use super::matmul::SUPER;
use super::matrix::{Acts, Call, Matrix, OutRows};
use super::simd::{SMALL, Scalar};
use core::array::from_fn;
use core::iter::Peekable;
use core::mem::take;
use core::ops::Range;
use ondol_models::quant::packed::MAX_BLOCK_BYTES;
use ondol_models::quant::{DType, dequantize};
pub(crate) use rounded::rounded;
pub(super) use unpack::{bits, f16_at, fifth_bits, halves, k4, nibbles, nth, signed, whole};

/// 32 weights of one row: weight `i` is `scale * sub[i / 16] * q[i] + min[i / 16]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WeightBlock {
    pub q: [i16; BLOCK],
    pub scale: f32,
    pub sub: [i32; 2],
    pub min: Min,
}

impl WeightBlock {
    /// Element `at`.
    fn element(&self, at: usize) -> f32 {
        let half = at / 16;
        let code = (self.sub[half] * i32::from(self.q[at])) as f32;
        match self.min {
            Min::None => code * self.scale,
            Min::Whole(min) => fma(code, self.scale, min),
            Min::Halves(min) => fma(code, self.scale, min[half]),
        }
    }
}

/// What a block adds to each weight.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Min {
    /// Nothing: codes are signed.
    None,
    /// One value for all 32.
    Whole(f32),
    /// One value for each 16.
    Halves([f32; 2]),
}

/// Decodes block `b` (of 32 elements) of a row.
pub(crate) type Decode = fn(row: &[u8], b: usize) -> WeightBlock;

/// The decoder of a format; `None` where products are of floats only, and for what
/// this build leaves out.
pub(crate) fn decoder(dtype: DType) -> Option<Decode> {
    match dtype {
        DType::F16 if !SMALL => Some(|row, b| halves_of_14_bits(DType::F16, row, b)),
        DType::BF16 if !SMALL => Some(|row, b| halves_of_14_bits(DType::BF16, row, b)),
        _ => with_format!(dtype, F => Some(F::plain), _ => None),
    }
}

/// Half floats, rounded as activations of 14 bits are; zeros follow a short row.
fn halves_of_14_bits(dtype: DType, row: &[u8], b: usize) -> WeightBlock {
    let bytes = row.chunks(2 * BLOCK).nth(b).unwrap_or_default();
    let mut x = [0.0; BLOCK];
    let result = dequantize(dtype, bytes, &mut x[..bytes.len() / 2]);
    debug_assert!(result.is_ok(), "two bytes an element");
    let block = I16Block::of_14_bits(Scalar, &x);
    WeightBlock {
        q: from_fn(|i| block.q[widened_place(i)]),
        scale: block.meta.scale,
        sub: [1; 2],
        min: Min::None,
    }
}

/// Tokens that share one decoding of a block.
const TILE: usize = 4;

/// Multiplies the given rows with all tokens.
pub(crate) fn matmul(call: Call) {
    let Call {
        w, rows, acts, out, ..
    } = call;
    let Some(decode) = decoder(w.dtype()) else {
        unreachable!("float weights take f32 activations")
    };
    match acts.kind() {
        ActKind::I8 | ActKind::I8Rounded => matmul_as::<I8Block>(w, rows, acts, out, decode),
        ActKind::I16Split => matmul_as::<SplitBlock>(w, rows, acts, out, decode),
        ActKind::I16 | ActKind::I14 => matmul_as::<I16Block>(w, rows, acts, out, decode),
        ActKind::F32 => unreachable!("f32 activations have kernels of their own"),
    }
}

fn matmul_as<B: ActBlock>(
    w: &Matrix,
    rows: Range<usize>,
    acts: &Acts,
    out: &OutRows,
    decode: Decode,
) {
    let blocks = w.cols().div_ceil(BLOCK);
    // Blocks of 32 elements in a block of the format; at least one.
    let len = w.dtype().block_len().div_ceil(BLOCK);
    let bytes = w.dtype().row_bytes(len * BLOCK).unwrap_or(w.row_bytes());
    let mut buffer = [0; MAX_BLOCK_BYTES];
    // Plain Rust gets rounded super-blocks only as the oracle of tests, which need `std`.
    let rounds = !SMALL && acts.kind() == ActKind::I8Rounded;
    for row in rows {
        for first in (0..acts.tokens()).step_by(TILE) {
            let tokens = TILE.min(acts.tokens() - first);
            let mut sums: [_; TILE] = from_fn(|t| {
                let row = acts.row((first + t).min(acts.tokens() - 1));
                Sum {
                    blocks: 0.0,
                    part: 0.0,
                    outliers: B::outliers(row, w.cols()).peekable(),
                    apart: 0.0,
                }
            });
            for b in 0..blocks {
                let at = b / len * bytes;
                let end = w.row_bytes().min(at + bytes);
                let block = w.row_part(row, at..end, &mut buffer);
                let weights = match rounds {
                    true => rounded(w.dtype(), block, b % len, decode),
                    false => decode(block, b % len),
                };
                for (t, sum) in sums[..tokens].iter_mut().enumerate() {
                    let x = &acts::blocks::<B>(acts.row(first + t))[b];
                    match rounds {
                        true => sum.add_rounded(&weights, b, x),
                        false => sum.blocks = accumulate(sum.blocks, &weights, x),
                    }
                    sum.add_outlier(&weights, b);
                }
            }
            for (t, sum) in sums[..tokens].iter().enumerate() {
                let sum = match B::LEAVES_OUT {
                    true => sum.blocks + sum.apart,
                    false => sum.blocks,
                };
                out.put(first + t, row, &[sum]);
            }
        }
    }
}

/// What adds up to an element of the output.
struct Sum<'a, I: Iterator<Item = &'a Outlier>> {
    blocks: f32,
    /// The sum of blocks that share a scale, before the scale multiplies it.
    part: f32,
    /// The outliers of the blocks that are not in the sum yet.
    outliers: Peekable<I>,
    apart: f32,
}

impl<'a, I: Iterator<Item = &'a Outlier>> Sum<'a, I> {
    /// Adds the products of block `b` of the row, which shares its scale with the
    /// others of its super-block.
    fn add_rounded<B: ActBlock>(&mut self, w: &WeightBlock, b: usize, x: &B) {
        self.part = fma(x.dot(w), x.meta().scale, self.part);
        if b % SUPER == SUPER - 1 {
            self.blocks = fma(take(&mut self.part), w.scale, self.blocks);
        }
    }

    /// Adds the product that block `b` of the activations leaves out, if it does.
    fn add_outlier(&mut self, w: &WeightBlock, b: usize) {
        let is_here = |outlier: &&Outlier| outlier.at as usize / BLOCK == b;
        if let Some(outlier) = self.outliers.next_if(is_here) {
            let weight = w.element(outlier.at as usize % BLOCK);
            self.apart = fma(weight, outlier.value, self.apart);
        }
    }
}

fn accumulate<B: ActBlock>(acc: f32, w: &WeightBlock, x: &B) -> f32 {
    let meta = x.meta();
    let acc = fma(x.dot(w), w.scale * meta.scale, acc);
    match w.min {
        Min::None => acc,
        Min::Whole(min) => fma(min, meta.sum, acc),
        Min::Halves([a, b]) => fma(b, meta.half_sums[1], fma(a, meta.half_sums[0], acc)),
    }
}

/// The sum of `sub[i / 16] * q[i] * x(i)`. It fits in 32 bits: |q| < 2^7, |sub| <= 2^7
/// with |x| <= 2^7, and |sub| = 1 with |x| < 2^15 or both below 2^13.
#[inline]
pub(super) fn dot(w: &WeightBlock, x: impl Fn(usize) -> i32) -> i32 {
    let half = |h: usize| -> i32 {
        let range = 16 * h..16 * (h + 1);
        range.map(|i| i32::from(w.q[i]) * x(i)).sum::<i32>() * w.sub[h]
    };
    half(0) + half(1)
}

/// `a * b + c`, rounded once with `std`, and twice without.
#[inline]
pub(super) fn fma(a: f32, b: f32, c: f32) -> f32 {
    #[cfg(feature = "std")]
    return a.mul_add(b, c);
    #[cfg(not(feature = "std"))]
    return a * b + c;
}
