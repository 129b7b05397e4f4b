//! The formats whose 4-bit levels index a fixed, non-linear codebook: IQ4_NL and IQ4_XS.
#![allow(non_camel_case_types)]

use super::legacy::nibbles;
use super::{Block, f16_field, field};

/// What each level stands for, in ascending order. Denser around zero, as weights are.
pub const CODEBOOK: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// 32 levels: `d` (f16), 16 bytes of nibbles; value `d * CODEBOOK[q]`.
pub struct IQ4_NL;

impl IQ4_NL {
    /// Where the scale lies: f16.
    pub const D: usize = 0;
    /// Where the nibbles lie: 16 bytes; byte `i` holds elements `i` and `i + 16`.
    pub const QS: usize = 2;
}

impl Block<32, 18> for IQ4_NL {
    fn decode(block: &[u8; 18], out: &mut [f32; 32]) {
        let d = f16_field(block, Self::D);
        look_up(d, field(block, Self::QS), out);
    }
}

/// 256 levels in 8 sub-blocks, each with a signed 6-bit scale;
/// value `(d * scale) * CODEBOOK[q]`.
pub struct IQ4_XS;

impl IQ4_XS {
    /// Where the scale of scales lies: f16.
    pub const D: usize = 0;
    /// Where the scales' upper two bits lie: u16, see [`iq4_xs_scales`].
    pub const SCALES_H: usize = 2;
    /// Where the scales' low nibbles lie: 4 bytes, see [`iq4_xs_scales`].
    pub const SCALES_L: usize = 4;
    /// Where the nibbles lie: 16 bytes for each sub-block; byte `i` of them
    /// holds elements `i` and `i + 16`.
    pub const QS: usize = 8;
}

impl Block<256, 136> for IQ4_XS {
    fn decode(block: &[u8; 136], out: &mut [f32; 256]) {
        let d = f16_field(block, Self::D);
        let scales = iq4_xs_scales(field(block, Self::SCALES_H), field(block, Self::SCALES_L));
        let qs: &[u8; 128] = field(block, Self::QS);
        let subs = qs.as_chunks::<16>().0.iter().zip(out.as_chunks_mut::<32>().0);
        for (scale, (qs, out)) in scales.into_iter().zip(subs) {
            look_up(d * f32::from(scale), qs, out);
        }
    }
}

/// The 8 scales of IQ4_XS, in -32 to 31: scale `j` has nibble `j` of `low`
/// and bits `2j` of `high`.
#[inline]
pub fn iq4_xs_scales(high: &[u8; 2], low: &[u8; 4]) -> [i8; 8] {
    let high = u16::from_le_bytes(*high);
    core::array::from_fn(|j| {
        let low = (low[j / 2] >> (4 * (j % 2))) & 15;
        (low | ((high >> (2 * j)) as u8 & 3) << 4).cast_signed() - 32
    })
}

/// Values of 32 levels under one scale.
fn look_up(scale: f32, qs: &[u8; 16], out: &mut [f32; 32]) {
    for (y, q) in out.iter_mut().zip(nibbles(qs)) {
        *y = scale * f32::from(CODEBOOK[usize::from(q & 15)]);
    }
}
