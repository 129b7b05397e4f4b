//! The K formats: super-blocks of 256 elements, whose sub-blocks have small
//! integer scales over one f16 scale.
//!
//! With `q` an element's code and `sc`, `m` its sub-block's integer scale and minimum as
//! stored, its value is
//!
//! | format | sub-block | value |
//! | --- | --- | --- |
//! | Q2_K | 16 | `(d * sc) * q - dmin * m` |
//! | Q3_K | 16 | `(d * (sc - 32)) * (q - 4)` |
//! | Q4_K | 32 | `(d * sc) * q - dmin * m` |
//! | Q5_K | 32 | `(d * sc) * q - dmin * m` |
//! | Q6_K | 16 | `(d * sc) * (q - 32)` |
#![allow(non_camel_case_types)]

use super::planes::{pack1, pack2, pack4, unpack1, unpack2, unpack4};
use super::search::Integers;
use super::superblock::{affine, symmetric};
use super::{Block, f16_field, field, set_f16_field, set_field};

/// 2-bit codes in 16 sub-blocks, each with a 4-bit scale and a 4-bit minimum.
pub struct Q2_K;

impl Q2_K {
    /// Where the sub-blocks' scales (low nibble) and minima (high nibble) lie: 16 bytes.
    pub const SCALES: usize = 0;
    /// Where the codes lie: 64 bytes, see [`unpack2`].
    pub const QS: usize = 16;
    /// Where the scale of scales lies: f16.
    pub const D: usize = 80;
    /// Where the scale of minima lies: f16.
    pub const DMIN: usize = 82;
}

impl Block<256, 84> for Q2_K {
    fn decode(block: &[u8; 84], out: &mut [f32; 256]) {
        let scales: &[u8; 16] = field(block, Self::SCALES);
        let codes = unpack2(field(block, Self::QS));
        let scale_min = |j: usize| (scales[j] & 15, scales[j] >> 4);
        let (d, dmin) = (f16_field(block, Self::D), f16_field(block, Self::DMIN));
        decode_affine::<16>(d, dmin, scale_min, &codes, out);
    }

    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 84] {
        let fit = affine::<16, 16>(x, importance, 3, 15);
        let scales: [u8; 16] = core::array::from_fn(|j| fit.scales[j] | (fit.mins[j] << 4));
        let mut block = [0; 84];
        set_field(&mut block, Self::SCALES, &scales);
        set_field(&mut block, Self::QS, &pack2(&fit.codes));
        set_f16_field(&mut block, Self::D, fit.d);
        set_f16_field(&mut block, Self::DMIN, fit.dmin);
        block
    }
}

/// 3-bit codes in 16 sub-blocks, each with a signed 6-bit scale.
pub struct Q3_K;

impl Q3_K {
    /// Where the codes' third bits lie: 32 bytes, see [`unpack1`].
    pub const HMASK: usize = 0;
    /// Where the codes' lower two bits lie: 64 bytes, see [`unpack2`].
    pub const QS: usize = 32;
    /// Where the packed scales lie: 12 bytes, see [`q3_scales`].
    pub const SCALES: usize = 96;
    /// Where the scale of scales lies: f16.
    pub const D: usize = 108;
}

impl Block<256, 110> for Q3_K {
    fn decode(block: &[u8; 110], out: &mut [f32; 256]) {
        let mut codes = unpack2(field(block, Self::QS));
        let high = unpack1(field(block, Self::HMASK));
        for (code, bit) in codes.iter_mut().zip(high) {
            *code |= bit << 2;
        }
        let scales = q3_scales(field(block, Self::SCALES));
        decode_symmetric(f16_field(block, Self::D), &scales, &codes, 4, out);
    }

    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 110] {
        let fit = symmetric::<Integers<4>, 16, 16>(x, importance, 32);
        let mut block = [0; 110];
        set_field(&mut block, Self::HMASK, &pack1(&fit.codes.map(|q| q >> 2)));
        set_field(&mut block, Self::QS, &pack2(&fit.codes));
        set_field(&mut block, Self::SCALES, &pack_q3_scales(&fit.scales));
        set_f16_field(&mut block, Self::D, fit.d);
        block
    }
}

/// 4-bit codes in 8 sub-blocks, each with a 6-bit scale and a 6-bit minimum.
pub struct Q4_K;

impl Q4_K {
    /// Where the scale of scales lies: f16.
    pub const D: usize = 0;
    /// Where the scale of minima lies: f16.
    pub const DMIN: usize = 2;
    /// Where the packed scales and minima lie: 12 bytes, see [`k4_scale_min`].
    pub const SCALES: usize = 4;
    /// Where the codes lie: 128 bytes, see [`unpack4`] in groups of 32.
    pub const QS: usize = 16;
}

impl Block<256, 144> for Q4_K {
    fn decode(block: &[u8; 144], out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack4::<32>(field::<128, _>(block, Self::QS), &mut codes);
        let scales = field(block, Self::SCALES);
        let (d, dmin) = (f16_field(block, Self::D), f16_field(block, Self::DMIN));
        decode_affine::<32>(d, dmin, |j| k4_scale_min(scales, j), &codes, out);
    }

    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 144] {
        let fit = affine::<32, 8>(x, importance, 15, 63);
        let mut block = [0; 144];
        set_f16_field(&mut block, Self::D, fit.d);
        set_f16_field(&mut block, Self::DMIN, fit.dmin);
        set_field(
            &mut block,
            Self::SCALES,
            &pack_k4_scales(&fit.scales, &fit.mins),
        );
        set_field(&mut block, Self::QS, &pack_nibbles::<32>(&fit.codes));
        block
    }
}

/// 5-bit codes in 8 sub-blocks, each with a 6-bit scale and a 6-bit minimum.
pub struct Q5_K;

impl Q5_K {
    /// Where the scale of scales lies: f16.
    pub const D: usize = 0;
    /// Where the scale of minima lies: f16.
    pub const DMIN: usize = 2;
    /// Where the packed scales and minima lie: 12 bytes, see [`k4_scale_min`].
    pub const SCALES: usize = 4;
    /// Where the codes' fifth bits lie: 32 bytes, see [`unpack1`].
    pub const QH: usize = 16;
    /// Where the codes' lower four bits lie: 128 bytes, see [`unpack4`] in groups of 32.
    pub const QS: usize = 48;
}

impl Block<256, 176> for Q5_K {
    fn decode(block: &[u8; 176], out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack4::<32>(field::<128, _>(block, Self::QS), &mut codes);
        let high = unpack1(field(block, Self::QH));
        for (code, bit) in codes.iter_mut().zip(high) {
            *code |= bit << 4;
        }
        let scales = field(block, Self::SCALES);
        let (d, dmin) = (f16_field(block, Self::D), f16_field(block, Self::DMIN));
        decode_affine::<32>(d, dmin, |j| k4_scale_min(scales, j), &codes, out);
    }

    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 176] {
        let fit = affine::<32, 8>(x, importance, 31, 63);
        let mut block = [0; 176];
        set_f16_field(&mut block, Self::D, fit.d);
        set_f16_field(&mut block, Self::DMIN, fit.dmin);
        set_field(
            &mut block,
            Self::SCALES,
            &pack_k4_scales(&fit.scales, &fit.mins),
        );
        set_field(&mut block, Self::QH, &pack1(&fit.codes.map(|q| q >> 4)));
        set_field(&mut block, Self::QS, &pack_nibbles::<32>(&fit.codes));
        block
    }
}

/// 6-bit codes in 16 sub-blocks, each with an 8-bit scale.
pub struct Q6_K;

impl Q6_K {
    /// Where the codes' lower four bits lie: 128 bytes, see [`unpack4`] in groups of 64.
    pub const QL: usize = 0;
    /// Where the codes' upper two bits lie: 64 bytes, see [`unpack2`].
    pub const QH: usize = 128;
    /// Where the scales lie: 16 times i8.
    pub const SCALES: usize = 192;
    /// Where the scale of scales lies: f16.
    pub const D: usize = 208;
}

impl Block<256, 210> for Q6_K {
    fn decode(block: &[u8; 210], out: &mut [f32; 256]) {
        let mut codes = [0; 256];
        unpack4::<64>(field::<128, _>(block, Self::QL), &mut codes);
        let high = unpack2(field(block, Self::QH));
        for (code, bits) in codes.iter_mut().zip(high) {
            *code |= bits << 4;
        }
        let scales = field::<16, _>(block, Self::SCALES).map(u8::cast_signed);
        decode_symmetric(f16_field(block, Self::D), &scales, &codes, 32, out);
    }

    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 210] {
        let fit = symmetric::<Integers<32>, 16, 16>(x, importance, 128);
        let mut block = [0; 210];
        set_field(&mut block, Self::QL, &pack_nibbles::<64>(&fit.codes));
        set_field(&mut block, Self::QH, &pack2(&fit.codes.map(|q| q >> 4)));
        set_field(&mut block, Self::SCALES, &fit.scales.map(i8::cast_unsigned));
        set_f16_field(&mut block, Self::D, fit.d);
        block
    }
}

/// The 6-bit scale and minimum of sub-block `j` (0 to 7) of Q4_K and Q5_K.
///
/// Bytes 0-3 hold the scales of sub-blocks 0-3 in their low six bits, and bytes 4-7 their
/// minima. Of sub-blocks 4-7, the lower four bits are in bytes 8-11 (the scale's in the low
/// nibble, the minimum's in the high one), and the upper two bits are the upper two bits of
/// bytes 0-3 (scale) and 4-7 (minimum).
#[inline]
pub fn k4_scale_min(scales: &[u8; 12], j: usize) -> (u8, u8) {
    let i = j % 4;
    let (scale, min) = (scales[i], scales[i + 4]);
    if j < 4 {
        return (scale & 63, min & 63);
    }
    let low = scales[i + 8];
    (
        (low & 15) | ((scale >> 6) << 4),
        (low >> 4) | ((min >> 6) << 4),
    )
}

/// Packs what [`k4_scale_min`] unpacks.
fn pack_k4_scales(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    core::array::from_fn(|i| match i {
        0..4 => scales[i] | ((scales[i + 4] >> 4) << 6),
        4..8 => mins[i - 4] | ((mins[i] >> 4) << 6),
        _ => (scales[i - 4] & 15) | (mins[i - 4] << 4),
    })
}

/// The 16 scales of Q3_K, in -32 to 31.
///
/// A scale is stored as 6 bits, with 32 added. Byte `j` (0-7) holds the lower four bits of
/// scale `j` in its low nibble, and those of scale `j + 8` in its high nibble. The two bits
/// from bit `2 * (j / 4)` of byte `8 + j % 4` are the upper two bits of scale `j` (0-15).
#[inline]
pub fn q3_scales(packed: &[u8; 12]) -> [i8; 16] {
    core::array::from_fn(|j| {
        let low = (packed[j % 8] >> (4 * (j / 8))) & 15;
        let high = (packed[8 + j % 4] >> (2 * (j / 4))) & 3;
        (low | (high << 4)).cast_signed() - 32
    })
}

/// Packs what [`q3_scales`] unpacks.
fn pack_q3_scales(scales: &[i8; 16]) -> [u8; 12] {
    let biased = scales.map(|scale| (scale + 32).cast_unsigned());
    core::array::from_fn(|i| match i {
        0..8 => (biased[i] & 15) | (biased[i + 8] << 4),
        _ => (0..4).fold(0, |byte, k| byte | (biased[i - 8 + 4 * k] >> 4) << (2 * k)),
    })
}

/// The low four bits of 256 codes, see [`pack4`].
fn pack_nibbles<const GROUP: usize>(codes: &[u8; 256]) -> [u8; 128] {
    let mut packed = [0; 128];
    pack4::<GROUP>(codes, &mut packed);
    packed
}

/// Values of a super-block with scales and minima, in sub-blocks of `SUB`.
#[inline]
fn decode_affine<const SUB: usize>(
    d: f32,
    dmin: f32,
    scale_min: impl Fn(usize) -> (u8, u8),
    codes: &[u8; 256],
    out: &mut [f32; 256],
) {
    let subs = codes
        .as_chunks::<SUB>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<SUB>().0);
    for (j, (codes, out)) in subs.enumerate() {
        let (scale, min) = scale_min(j);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for (y, &q) in out.iter_mut().zip(codes) {
            *y = scale * f32::from(q) - min;
        }
    }
}

/// Values of a super-block with 16 signed scales, in which the code `offset` stands for 0.
#[inline]
fn decode_symmetric(
    d: f32,
    scales: &[i8; 16],
    codes: &[u8; 256],
    offset: i8,
    out: &mut [f32; 256],
) {
    let subs = codes
        .as_chunks::<16>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<16>().0);
    for (&scale, (codes, out)) in scales.iter().zip(subs) {
        let scale = d * f32::from(scale);
        for (y, &q) in out.iter_mut().zip(codes) {
            *y = scale * f32::from(q.cast_signed() - offset);
        }
    }
}
