//! Each block format, 32 elements at a time. What the fields mean is written
//! at the formats themselves, in `ondol_models::quant`.

use super::{BLOCK, Decode, I16Block, Min, WeightBlock, widened_place};
use crate::kernels::vector::Scalar;
use crate::kernels::vector::simd::SMALL;
use half::f16;
use ondol_models::quant::{
    DType, Family, dequantize,
    iq4::{CODEBOOK, iq4_xs_scales},
    k::{k4_scale_min, q3_scales},
    mxfp4::{E2M1_DOUBLED, e8m0_half},
};

/// The decoder of a format; `None` where products are of floats only, and for what
/// this build leaves out.
pub(crate) fn decoder(dtype: DType) -> Option<Decode> {
    let (legacy, k, codebook) = (
        Family::Legacy.in_build(),
        Family::K.in_build(),
        Family::Codebook.in_build(),
    );
    Some(match dtype {
        DType::F16 if !SMALL => |row, b| halves_of_14_bits(DType::F16, row, b),
        DType::BF16 if !SMALL => |row, b| halves_of_14_bits(DType::BF16, row, b),
        DType::Q4_0 if legacy => q4_0,
        DType::Q4_1 if legacy => q4_1,
        DType::Q5_0 if legacy => q5_0,
        DType::Q5_1 if legacy => q5_1,
        DType::Q8_0 if legacy => q8_0,
        DType::Q2_K if k => q2_k,
        DType::Q3_K if k => q3_k,
        DType::Q4_K if k => q4_k,
        DType::Q5_K if k => q5_k,
        DType::Q6_K if k => q6_k,
        DType::IQ4_NL if codebook => iq4_nl,
        DType::IQ4_XS if codebook => iq4_xs,
        DType::MXFP4 if codebook => mxfp4,
        _ => return None,
    })
}

/// Half floats, rounded as activations of 14 bits are; zeros follow a short row.
fn halves_of_14_bits(dtype: DType, row: &[u8], b: usize) -> WeightBlock {
    let bytes = row.chunks(2 * BLOCK).nth(b).unwrap_or_default();
    let mut x = [0.0; BLOCK];
    let result = dequantize(dtype, bytes, &mut x[..bytes.len() / 2]);
    debug_assert!(result.is_ok(), "two bytes an element");
    let block = I16Block::of_14_bits(Scalar, &x);
    WeightBlock {
        q: core::array::from_fn(|i| block.q[widened_place(i)]),
        scale: block.meta.scale,
        sub: [1; 2],
        min: Min::None,
    }
}

fn q4_0(row: &[u8], b: usize) -> WeightBlock {
    let block = nth::<18>(row, b);
    let d = f16_at(block, 0);
    whole(nibbles(&block[2..]), d, -8.0 * d)
}

fn q4_1(row: &[u8], b: usize) -> WeightBlock {
    let block = nth::<20>(row, b);
    whole(nibbles(&block[4..]), f16_at(block, 0), f16_at(block, 2))
}

fn q5_0(row: &[u8], b: usize) -> WeightBlock {
    let block = nth::<22>(row, b);
    let d = f16_at(block, 0);
    whole(fifth_bits(nibbles(&block[6..]), &block[2..6]), d, -16.0 * d)
}

fn q5_1(row: &[u8], b: usize) -> WeightBlock {
    let block = nth::<24>(row, b);
    whole(
        fifth_bits(nibbles(&block[8..]), &block[4..8]),
        f16_at(block, 0),
        f16_at(block, 2),
    )
}

fn q8_0(row: &[u8], b: usize) -> WeightBlock {
    let block = nth::<34>(row, b);
    signed(
        core::array::from_fn(|i| block[2 + i].cast_signed()),
        f16_at(block, 0),
    )
}

fn iq4_nl(row: &[u8], b: usize) -> WeightBlock {
    let block = nth::<18>(row, b);
    signed(
        nibbles(&block[2..]).map(|q| CODEBOOK[usize::from(q)]),
        f16_at(block, 0),
    )
}

fn mxfp4(row: &[u8], b: usize) -> WeightBlock {
    let block = nth::<17>(row, b);
    let scale = e8m0_half(block[0]);
    // Offset like the SIMD kernels, which need levels of one sign.
    let q = nibbles(&block[1..]).map(|q| (E2M1_DOUBLED[usize::from(q)] + 12).cast_unsigned());
    whole(q, scale, -12.0 * scale)
}

fn q2_k(row: &[u8], b: usize) -> WeightBlock {
    let (block, j) = (nth::<84>(row, b / 8), b % 8);
    let q = bits(&block[16 + 32 * (j / 4)..], 2 * (j % 4), 3);
    let scales: [u8; 2] = [block[2 * j], block[2 * j + 1]];
    let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
    let min = scales.map(|s| -dmin * f32::from(s >> 4));
    halves(q, d, scales.map(|s| i32::from(s & 15)), min)
}

fn q3_k(row: &[u8], b: usize) -> WeightBlock {
    let (block, j) = (nth::<110>(row, b / 8), b % 8);
    let (low, high) = (
        bits(&block[32 + 32 * (j / 4)..], 2 * (j % 4), 3),
        bits(block, j, 1),
    );
    let scales = q3_scales(block[96..].first_chunk().unwrap_or(&[0; 12]));
    let d = f16_at(block, 108);
    let scales = [scales[2 * j], scales[2 * j + 1]];
    let min = scales.map(|s| -4.0 * d * f32::from(s));
    halves(
        core::array::from_fn(|i| low[i] | (high[i] << 2)),
        d,
        scales.map(i32::from),
        min,
    )
}

fn q4_k(row: &[u8], b: usize) -> WeightBlock {
    let (block, j) = (nth::<144>(row, b / 8), b % 8);
    k4(block, j, bits(&block[16 + 32 * (j / 2)..], 4 * (j % 2), 15))
}

fn q5_k(row: &[u8], b: usize) -> WeightBlock {
    let (block, j) = (nth::<176>(row, b / 8), b % 8);
    let low = bits(&block[48 + 32 * (j / 2)..], 4 * (j % 2), 15);
    let high = bits(&block[16..], j, 1);
    k4(block, j, core::array::from_fn(|i| low[i] | (high[i] << 4)))
}

/// Sub-block `j` of Q4_K or Q5_K, whose scales lie alike.
fn k4(block: &[u8], j: usize, q: [u8; BLOCK]) -> WeightBlock {
    let (scale, min) = k4_scale_min(block[4..].first_chunk().unwrap_or(&[0; 12]), j);
    whole(
        q,
        f16_at(block, 0) * f32::from(scale),
        -f16_at(block, 2) * f32::from(min),
    )
}

fn q6_k(row: &[u8], b: usize) -> WeightBlock {
    let (block, j) = (nth::<210>(row, b / 8), b % 8);
    let (group, j4) = (j / 4, j % 4);
    let low = bits(&block[64 * group + 32 * (j4 % 2)..], 4 * (j4 / 2), 15);
    let high = bits(&block[128 + 32 * group..], 2 * j4, 3);
    let d = f16_at(block, 208);
    let scales = [block[192 + 2 * j], block[193 + 2 * j]].map(u8::cast_signed);
    let min = scales.map(|s| -32.0 * d * f32::from(s));
    halves(
        core::array::from_fn(|i| low[i] | (high[i] << 4)),
        d,
        scales.map(i32::from),
        min,
    )
}

fn iq4_xs(row: &[u8], b: usize) -> WeightBlock {
    let (block, j) = (nth::<136>(row, b / 8), b % 8);
    let scales = iq4_xs_scales(
        &[block[2], block[3]],
        &[block[4], block[5], block[6], block[7]],
    );
    let q = nibbles(&block[8 + 16 * j..]).map(|q| CODEBOOK[usize::from(q)]);
    signed(q, f16_at(block, 0) * f32::from(scales[j]))
}

/// Block `i` of a row of whole blocks.
fn nth<const BYTES: usize>(row: &[u8], i: usize) -> &[u8; BYTES] {
    &row.as_chunks::<BYTES>().0[i]
}

fn f16_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

/// The low nibbles of 16 bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    core::array::from_fn(|i| (bytes[i % 16] >> (4 * (i / 16))) & 15)
}

/// The bits of `mask`, from `shift` on, of each of 32 bytes.
fn bits(bytes: &[u8], shift: usize, mask: u8) -> [u8; BLOCK] {
    core::array::from_fn(|i| (bytes[i] >> shift) & mask)
}

/// Adds to each nibble its fifth bit: bit `i` of four little-endian bytes.
fn fifth_bits(q: [u8; BLOCK], high: &[u8]) -> [u8; BLOCK] {
    core::array::from_fn(|i| q[i] | ((high[i / 8] >> (i % 8)) & 1) << 4)
}

/// A block of unsigned levels with one minimum.
fn whole(q: [u8; BLOCK], scale: f32, min: f32) -> WeightBlock {
    WeightBlock {
        q: q.map(i16::from),
        scale,
        sub: [1; 2],
        min: Min::Whole(min),
    }
}

/// A block of unsigned levels with integer scales and minima for each 16.
fn halves(q: [u8; BLOCK], scale: f32, sub: [i32; 2], min: [f32; 2]) -> WeightBlock {
    WeightBlock {
        q: q.map(i16::from),
        scale,
        sub,
        min: Min::Halves(min),
    }
}

/// A block of signed levels.
fn signed(q: [i8; BLOCK], scale: f32) -> WeightBlock {
    WeightBlock {
        q: q.map(i16::from),
        scale,
        sub: [1; 2],
        min: Min::None,
    }
}
