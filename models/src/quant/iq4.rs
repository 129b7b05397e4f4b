//! The formats whose 4-bit codes index a fixed, non-linear codebook: IQ4_NL and IQ4_XS.
#![allow(non_camel_case_types)]

use super::legacy::{nibbles, pack_nibbles};
use super::planes::pack4;
use super::search::{Grid, fit_f16_scale, inverse, tame, weights};
use super::superblock::symmetric;
use super::{Block, f16_field, field, set_f16_field, set_field};

/// The value of each code, in ascending order (`kvalues_iq4nl` in ggml). Values are denser
/// around zero, as weights are.
pub const CODEBOOK: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// 32 codes: `d` (f16), 16 bytes of nibbles; value `d * CODEBOOK[q]`.
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

    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 18] {
        let x = &tame(x);
        let d = fit_f16_scale::<Codebook, 32>(x, &weights(x, importance));
        let inverse = inverse(d.to_f32());
        let mut block = [0; 18];
        set_f16_field(&mut block, Self::D, d);
        let codes = x.map(|x| Codebook::index(x * inverse));
        set_field(&mut block, Self::QS, &pack_nibbles(&codes));
        block
    }
}

/// 256 codes in 8 sub-blocks, each with a signed 6-bit scale; value
/// `(d * scale) * CODEBOOK[q]`.
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
        let subs = qs
            .as_chunks::<16>()
            .0
            .iter()
            .zip(out.as_chunks_mut::<32>().0);
        for (scale, (qs, out)) in scales.into_iter().zip(subs) {
            look_up(d * f32::from(scale), qs, out);
        }
    }

    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 136] {
        let fit = symmetric::<Codebook, 32, 8>(x, importance, 32);
        let (high, low) = pack_iq4_xs_scales(&fit.scales);
        let mut qs = [0; 128];
        pack4::<16>(&fit.codes, &mut qs);
        let mut block = [0; 136];
        set_f16_field(&mut block, Self::D, fit.d);
        set_field(&mut block, Self::SCALES_H, &high);
        set_field(&mut block, Self::SCALES_L, &low);
        set_field(&mut block, Self::QS, &qs);
        block
    }
}

/// The 8 scales of IQ4_XS, in -32 to 31. A scale is stored as 6 bits, with 32 added: nibble
/// `j` of `low` is the lower four bits of scale `j`, and bits `2j` and `2j + 1` of `high` are
/// the upper two.
#[inline]
pub fn iq4_xs_scales(high: &[u8; 2], low: &[u8; 4]) -> [i8; 8] {
    let high = u16::from_le_bytes(*high);
    core::array::from_fn(|j| {
        let low = (low[j / 2] >> (4 * (j % 2))) & 15;
        (low | ((high >> (2 * j)) as u8 & 3) << 4).cast_signed() - 32
    })
}

/// Packs what [`iq4_xs_scales`] unpacks.
fn pack_iq4_xs_scales(scales: &[i8; 8]) -> ([u8; 2], [u8; 4]) {
    let biased = scales.map(|scale| (scale + 32).cast_unsigned());
    let high = (0..8).fold(0, |bits, j| bits | u16::from(biased[j] >> 4) << (2 * j));
    let low = core::array::from_fn(|i| (biased[2 * i] & 15) | (biased[2 * i + 1] << 4));
    (high.to_le_bytes(), low)
}

/// Values of 32 codes under one scale.
fn look_up(scale: f32, qs: &[u8; 16], out: &mut [f32; 32]) {
    for (y, q) in out.iter_mut().zip(nibbles(qs)) {
        *y = scale * f32::from(CODEBOOK[usize::from(q & 15)]);
    }
}

/// [`CODEBOOK`] as the values to round to.
struct Codebook;

/// Halfway between each two neighbours of [`CODEBOOK`].
const MIDPOINTS: [f32; 15] = {
    let mut middle = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        middle[i] = (CODEBOOK[i] as f32 + CODEBOOK[i + 1] as f32) / 2.0;
        i += 1;
    }
    middle
};

impl Grid for Codebook {
    const LOW: f32 = CODEBOOK[0] as f32;
    const HIGH: f32 = CODEBOOK[15] as f32;
    const SPACING: f32 = 16.0;

    fn nearest(y: f32) -> f32 {
        // The sum of the steps that `y` has passed. The compiler makes vector code of this
        // loop, which it can't of a look-up.
        let mut value = Self::LOW;
        for (i, &middle) in MIDPOINTS.iter().enumerate() {
            let step = f32::from(CODEBOOK[i + 1]) - f32::from(CODEBOOK[i]);
            value += if y > middle { step } else { 0.0 };
        }
        value
    }

    fn index(y: f32) -> u8 {
        MIDPOINTS.iter().map(|&middle| u8::from(y > middle)).sum()
    }

    fn values() -> impl Iterator<Item = f32> {
        CODEBOOK.into_iter().map(f32::from)
    }
}
