//! Steps in which plain Rust decodes block formats, 32 elements at a time.

use super::{BLOCK, Min, WeightBlock};
use half::f16;
use ondol_models::quant::k::k4_scale_min;

/// Sub-block `j` of Q4_K or Q5_K, which store their scales in the same way.
#[inline]
pub(crate) fn k4(block: &[u8], j: usize, q: [u8; BLOCK]) -> WeightBlock {
    let (scale, min) = k4_scale_min(block[4..].first_chunk().unwrap_or(&[0; 12]), j);
    whole(
        q,
        f16_at(block, 0) * f32::from(scale),
        -f16_at(block, 2) * f32::from(min),
    )
}

/// Block `i` of a row of whole blocks.
#[inline]
pub(crate) fn nth<const BYTES: usize>(row: &[u8], i: usize) -> &[u8; BYTES] {
    &row.as_chunks::<BYTES>().0[i]
}

#[inline]
pub(crate) fn f16_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

/// The low nibbles of 16 bytes, then the high ones.
#[inline]
pub(crate) fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    core::array::from_fn(|i| (bytes[i % 16] >> (4 * (i / 16))) & 15)
}

/// The bits of `mask`, from `shift` on, of each of 32 bytes.
#[inline]
pub(crate) fn bits(bytes: &[u8], shift: usize, mask: u8) -> [u8; BLOCK] {
    core::array::from_fn(|i| (bytes[i] >> shift) & mask)
}

/// Adds to each nibble its fifth bit: bit `i` of four little-endian bytes.
#[inline]
pub(crate) fn fifth_bits(q: [u8; BLOCK], high: &[u8]) -> [u8; BLOCK] {
    core::array::from_fn(|i| q[i] | ((high[i / 8] >> (i % 8)) & 1) << 4)
}

/// A block of unsigned codes with one minimum.
#[inline]
pub(crate) fn whole(q: [u8; BLOCK], scale: f32, min: f32) -> WeightBlock {
    WeightBlock {
        q: q.map(i16::from),
        scale,
        sub: [1; 2],
        min: Min::Whole(min),
    }
}

/// A block of unsigned codes with integer scales and minima for each 16.
#[inline]
pub(crate) fn halves(q: [u8; BLOCK], scale: f32, sub: [i32; 2], min: [f32; 2]) -> WeightBlock {
    WeightBlock {
        q: q.map(i16::from),
        scale,
        sub,
        min: Min::Halves(min),
    }
}

/// A block of signed codes.
#[inline]
pub(crate) fn signed(q: [i8; BLOCK], scale: f32) -> WeightBlock {
    WeightBlock {
        q: q.map(i16::from),
        scale,
        sub: [1; 2],
        min: Min::None,
    }
}
