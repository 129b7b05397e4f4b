//! Block formats of weights: one table of layouts, and for each format a reference
//! implementation of dequantize and quantize. The runtime's kernels are tested against
//! these functions. The bytes of a block are those of ggml's structs `block_q4_0` and so on
//! (`ggml/src/ggml-common.h` in <https://github.com/ggml-org/ggml>).
//!
//! A format is a type that implements [`Block`], a row in the table of layouts
//! ([`DType`]) and a row in the list of codecs below. All numbers in a block are
//! little-endian. The order of f32 operations is part of a format, so that two readers
//! agree bit for bit.

mod dtype;
pub mod floats;
pub mod iq4;
pub mod k;
pub mod legacy;
mod mix;
pub mod mxfp4;
pub mod packed;
pub mod planes;
mod search;
mod superblock;

use half::f16;

pub use dtype::{DType, Family};
pub use mix::{Mix, ModelShape};
pub use packed::Layout;

/// Why a slice can't be dequantized or quantized.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The two slices do not hold the same number of whole blocks, or this build leaves the
    /// format out.
    #[error("{dtype}: {bytes} bytes do not hold {elements} elements")]
    SizeMismatch {
        /// The format of the bytes.
        dtype: DType,
        /// Length of the slice of floats.
        elements: usize,
        /// Length of the slice of blocks.
        bytes: usize,
    },
    /// A value to quantize is infinite or NaN.
    #[error("element {index} is not finite")]
    NonFinite {
        /// The first such element.
        index: usize,
    },
    /// The importances are not one finite, non-negative number for each column
    /// of whole rows.
    #[error("{importances} importances do not fit {elements} elements, or are not all >= 0")]
    BadImportance {
        /// Length of the slice of importances.
        importances: usize,
        /// Length of the slice of floats.
        elements: usize,
    },
}

/// One block format: `LEN` elements in `BYTES` bytes.
pub trait Block<const LEN: usize, const BYTES: usize> {
    /// The values of a block.
    fn decode(block: &[u8; BYTES], out: &mut [f32; LEN]);

    /// Quantizes finite values `x` to a block; the squared error of each element is
    /// weighted by its `importance`. The block never decodes to infinity or NaN.
    fn encode(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES];
}

/// A function of one format over whole slices: `decode_all` or `encode_all`.
///
/// Functions are chosen with `match` instead of a table, so that a program that never
/// quantizes does not contain the quantizers. A build may leave families out.
macro_rules! codec {
    ($dtype:expr, $all:ident) => {
        Some(match $dtype {
            DType::F32 => $all::<floats::F32, 1, 4>,
            DType::F16 => $all::<floats::F16, 1, 2>,
            DType::BF16 => $all::<floats::BF16, 1, 2>,
            DType::Q4_0 if Family::Legacy.in_build() => $all::<legacy::Q4_0, 32, 18>,
            DType::Q4_1 if Family::Legacy.in_build() => $all::<legacy::Q4_1, 32, 20>,
            DType::Q5_0 if Family::Legacy.in_build() => $all::<legacy::Q5_0, 32, 22>,
            DType::Q5_1 if Family::Legacy.in_build() => $all::<legacy::Q5_1, 32, 24>,
            DType::Q8_0 if Family::Legacy.in_build() => $all::<legacy::Q8_0, 32, 34>,
            DType::Q2_K if Family::K.in_build() => $all::<k::Q2_K, 256, 84>,
            DType::Q3_K if Family::K.in_build() => $all::<k::Q3_K, 256, 110>,
            DType::Q4_K if Family::K.in_build() => $all::<k::Q4_K, 256, 144>,
            DType::Q5_K if Family::K.in_build() => $all::<k::Q5_K, 256, 176>,
            DType::Q6_K if Family::K.in_build() => $all::<k::Q6_K, 256, 210>,
            DType::IQ4_NL if Family::Codebook.in_build() => $all::<iq4::IQ4_NL, 32, 18>,
            DType::IQ4_XS if Family::Codebook.in_build() => $all::<iq4::IQ4_XS, 256, 136>,
            DType::MXFP4 if Family::Codebook.in_build() => $all::<mxfp4::MXFP4, 32, 17>,
            _ => return None,
        })
    };
}

/// From blocks to floats.
type Decode = fn(&[u8], &mut [f32]);

/// From floats, with the importance of each column, to blocks.
type Encode = fn(&[f32], Option<&[f32]>, &mut [u8]);

fn decoder(dtype: DType) -> Option<Decode> {
    codec!(dtype, decode_all)
}

fn encoder(dtype: DType) -> Option<Encode> {
    codec!(dtype, encode_all)
}

fn decode_all<B: Block<LEN, BYTES>, const LEN: usize, const BYTES: usize>(
    src: &[u8],
    dst: &mut [f32],
) {
    let blocks = src.as_chunks::<BYTES>().0;
    let rows = dst.as_chunks_mut::<LEN>().0;
    for (block, out) in blocks.iter().zip(rows) {
        B::decode(block, out);
    }
}

fn encode_all<B: Block<LEN, BYTES>, const LEN: usize, const BYTES: usize>(
    src: &[f32],
    importance: Option<&[f32]>,
    dst: &mut [u8],
) {
    let blocks = src
        .as_chunks::<LEN>()
        .0
        .iter()
        .zip(dst.as_chunks_mut::<BYTES>().0);
    let mut importance = importance.map(|row| row.as_chunks::<LEN>().0.iter().cycle());
    for (x, block) in blocks {
        let importance = importance.as_mut().and_then(Iterator::next);
        *block = B::encode(x, importance);
    }
}

/// The codec, if the slices hold the same number of whole blocks.
fn checked<Codec>(
    codec: Option<Codec>,
    dtype: DType,
    elements: usize,
    bytes: usize,
) -> Result<Codec, Error> {
    let fits = dtype.row_bytes(elements) == Some(bytes);
    codec.filter(|_| fits).ok_or(Error::SizeMismatch {
        dtype,
        elements,
        bytes,
    })
}

/// Dequantizes whole blocks: `src` holds `dst.len()` elements of `dtype`.
///
/// Scales are not checked: a block with an infinite or NaN scale gives infinite or NaN
/// values. No block causes a panic.
///
/// # Errors
/// [`Error::SizeMismatch`] where `src` does not hold exactly `dst.len()` elements in whole
/// blocks, or this build leaves the format out.
pub fn dequantize(dtype: DType, src: &[u8], dst: &mut [f32]) -> Result<(), Error> {
    let decode = checked(decoder(dtype), dtype, dst.len(), src.len())?;
    decode(src, dst);
    Ok(())
}

/// Quantizes one or more whole rows to `dst.len()` bytes of `dtype`.
///
/// `importance` is the weight of errors in each column, for example the mean square of
/// its activations: one number for each column, the same for all rows. Q8_0 and plain
/// floats ignore it.
///
/// Without it, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 give the same bytes as ggml's reference
/// quantizers; the other formats search for the scales with the smallest error. Values
/// beyond the range of a format become its largest value.
///
/// # Errors
/// [`Error::SizeMismatch`] where `dst` does not hold exactly `src.len()` elements in whole
/// blocks, or this build leaves the format out; [`Error::NonFinite`] for a value that is not
/// finite; [`Error::BadImportance`].
pub fn quantize(
    dtype: DType,
    src: &[f32],
    dst: &mut [u8],
    importance: Option<&[f32]>,
) -> Result<(), Error> {
    let encode = checked(encoder(dtype), dtype, src.len(), dst.len())?;
    if let Some(index) = src.iter().position(|x| !x.is_finite()) {
        return Err(Error::NonFinite { index });
    }
    if let Some(row) = importance {
        let whole_rows = src.len().checked_rem(row.len()) == Some(0);
        let whole_blocks = row.len().is_multiple_of(dtype.block_len());
        if !whole_rows || !whole_blocks || !row.iter().all(|w| w.is_finite() && *w >= 0.0) {
            let (importances, elements) = (row.len(), src.len());
            return Err(Error::BadImportance {
                importances,
                elements,
            });
        }
    }
    encode(src, importance, dst);
    Ok(())
}

/// The `N` bytes of a block's field that starts at `offset`.
fn field<const N: usize, const BYTES: usize>(block: &[u8; BYTES], offset: usize) -> &[u8; N] {
    // Offsets are constants of the formats, so that this check folds away.
    block[offset..]
        .first_chunk()
        .expect("a field lies inside its block")
}

/// A block's f16 field that starts at `offset`.
fn f16_field<const BYTES: usize>(block: &[u8; BYTES], offset: usize) -> f32 {
    f16::from_le_bytes(*field(block, offset)).to_f32()
}

/// Writes a block's field that starts at `offset`.
fn set_field<const N: usize, const BYTES: usize>(
    block: &mut [u8; BYTES],
    offset: usize,
    bytes: &[u8; N],
) {
    block[offset..offset + N].copy_from_slice(bytes);
}

/// Writes a block's f16 field that starts at `offset`.
fn set_f16_field<const BYTES: usize>(block: &mut [u8; BYTES], offset: usize, x: f16) {
    set_field(block, offset, &x.to_le_bytes());
}

#[cfg(test)]
mod tests;
