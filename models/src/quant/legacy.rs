//! The formats with one scale per block of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
//!
//! Element `i` of a block is `d * (q_i - offset)` in the types `_0` (in Q8_0 codes are
//! signed and the offset is 0), and `d * q_i + m` in the types `_1`.
#![allow(non_camel_case_types)]

use half::f16;

use super::planes::{pack4, unpack4};
use super::search::{
    Grid, Integers, clamp_to_f16, extreme, f16_saturating, f16_scale, fit_affine, fit_f16_scale,
    inverse, nearest_int, tame, weights,
};
use super::{Block, f16_field, field, set_f16_field, set_field};

/// 32 codes of 4 bits: `d` (f16), 16 bytes of nibbles; offset 8.
pub struct Q4_0;

impl Q4_0 {
    /// Where the scale lies: f16.
    pub const D: usize = 0;
    /// Where the nibbles lie: 16 bytes; byte `i` holds elements `i` and `i + 16`.
    pub const QS: usize = 2;
}

impl Block<32, 18> for Q4_0 {
    fn decode(block: &[u8; 18], out: &mut [f32; 32]) {
        let d = f16_field(block, Self::D);
        let codes = nibbles(field(block, Self::QS));
        for (y, q) in out.iter_mut().zip(codes) {
            *y = d * (f32::from(q) - 8.0);
        }
    }

    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 18] {
        let (d, codes) = symmetric::<8>(x, importance);
        let mut block = [0; 18];
        set_f16_field(&mut block, Self::D, d);
        set_field(&mut block, Self::QS, &pack_nibbles(&codes));
        block
    }
}

/// 32 codes of 4 bits: `d`, `m` (f16), 16 bytes of nibbles.
pub struct Q4_1;

impl Q4_1 {
    /// Where the scale lies: f16.
    pub const D: usize = 0;
    /// Where the minimum lies: f16.
    pub const M: usize = 2;
    /// Where the nibbles lie: 16 bytes; byte `i` holds elements `i` and `i + 16`.
    pub const QS: usize = 4;
}

impl Block<32, 20> for Q4_1 {
    fn decode(block: &[u8; 20], out: &mut [f32; 32]) {
        let (d, m) = (f16_field(block, Self::D), f16_field(block, Self::M));
        let codes = nibbles(field(block, Self::QS));
        for (y, q) in out.iter_mut().zip(codes) {
            *y = d * f32::from(q) + m;
        }
    }

    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 20] {
        let (d, m, codes) = affine(x, importance, 15.0);
        let mut block = [0; 20];
        set_f16_field(&mut block, Self::D, d);
        set_f16_field(&mut block, Self::M, m);
        set_field(&mut block, Self::QS, &pack_nibbles(&codes));
        block
    }
}

/// 32 codes of 5 bits: `d` (f16), 4 bytes of fifth bits, 16 bytes of nibbles; offset 16.
pub struct Q5_0;

impl Q5_0 {
    /// Where the scale lies: f16.
    pub const D: usize = 0;
    /// Where the fifth bits lie: u32, bit `i` for element `i`.
    pub const QH: usize = 2;
    /// Where the nibbles lie: 16 bytes; byte `i` holds elements `i` and `i + 16`.
    pub const QS: usize = 6;
}

impl Block<32, 22> for Q5_0 {
    fn decode(block: &[u8; 22], out: &mut [f32; 32]) {
        let d = f16_field(block, Self::D);
        let codes = five_bits(field(block, Self::QH), field(block, Self::QS));
        for (y, q) in out.iter_mut().zip(codes) {
            *y = d * (f32::from(q) - 16.0);
        }
    }

    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 22] {
        let (d, codes) = symmetric::<16>(x, importance);
        let mut block = [0; 22];
        set_f16_field(&mut block, Self::D, d);
        set_field(&mut block, Self::QH, &fifth_bits(&codes));
        set_field(&mut block, Self::QS, &pack_nibbles(&codes));
        block
    }
}

/// 32 codes of 5 bits: `d`, `m` (f16), 4 bytes of fifth bits, 16 bytes of nibbles.
pub struct Q5_1;

impl Q5_1 {
    /// Where the scale lies: f16.
    pub const D: usize = 0;
    /// Where the minimum lies: f16.
    pub const M: usize = 2;
    /// Where the fifth bits lie: u32, bit `i` for element `i`.
    pub const QH: usize = 4;
    /// Where the nibbles lie: 16 bytes; byte `i` holds elements `i` and `i + 16`.
    pub const QS: usize = 8;
}

impl Block<32, 24> for Q5_1 {
    fn decode(block: &[u8; 24], out: &mut [f32; 32]) {
        let (d, m) = (f16_field(block, Self::D), f16_field(block, Self::M));
        let codes = five_bits(field(block, Self::QH), field(block, Self::QS));
        for (y, q) in out.iter_mut().zip(codes) {
            *y = d * f32::from(q) + m;
        }
    }

    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 24] {
        let (d, m, codes) = affine(x, importance, 31.0);
        let mut block = [0; 24];
        set_f16_field(&mut block, Self::D, d);
        set_f16_field(&mut block, Self::M, m);
        set_field(&mut block, Self::QH, &fifth_bits(&codes));
        set_field(&mut block, Self::QS, &pack_nibbles(&codes));
        block
    }
}

/// 32 codes of 8 bits: `d` (f16), 32 bytes.
pub struct Q8_0;

impl Q8_0 {
    /// Where the scale lies: f16.
    pub const D: usize = 0;
    /// Where the codes lie: 32 times i8.
    pub const QS: usize = 2;
}

impl Block<32, 34> for Q8_0 {
    fn decode(block: &[u8; 34], out: &mut [f32; 32]) {
        let d = f16_field(block, Self::D);
        let codes: &[u8; 32] = field(block, Self::QS);
        for (y, &q) in out.iter_mut().zip(codes) {
            *y = d * f32::from(q.cast_signed());
        }
    }

    fn encode(x: &[f32; 32], _importance: Option<&[f32; 32]>) -> [u8; 34] {
        let scale = clamp_to_f16(extreme(x).abs() / 127.0);
        let inverse = inverse(scale);
        let codes = x.map(|x| round_half_away((x * inverse).clamp(-127.0, 127.0)) as u8);
        let mut block = [0; 34];
        set_f16_field(&mut block, Self::D, f16::from_f32(scale));
        set_field(&mut block, Self::QS, &codes);
        block
    }
}

/// The 32 codes in 16 bytes of nibbles.
pub(super) fn nibbles(qs: &[u8; 16]) -> [u8; 32] {
    let mut codes = [0; 32];
    unpack4::<16>(qs, &mut codes);
    codes
}

/// Packs the low four bits of 32 codes.
pub(super) fn pack_nibbles(codes: &[u8; 32]) -> [u8; 16] {
    let mut packed = [0; 16];
    pack4::<16>(codes, &mut packed);
    packed
}

/// The 32 codes of nibbles and fifth bits.
fn five_bits(qh: &[u8; 4], qs: &[u8; 16]) -> [u8; 32] {
    let high = u32::from_le_bytes(*qh);
    let mut codes = nibbles(qs);
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= ((high >> i) as u8 & 1) << 4;
    }
    codes
}

/// The fifth bits of 32 codes.
fn fifth_bits(codes: &[u8; 32]) -> [u8; 4] {
    let bits = codes
        .iter()
        .enumerate()
        .map(|(i, &code)| (u32::from(code) >> 4) << i);
    bits.fold(0, |all, bit| all | bit).to_le_bytes()
}

/// The scale, and the codes from 0 to `2 * HALF - 1`, in which `HALF` stands for 0.
///
/// Without importance the element of largest magnitude becomes code 0.
fn symmetric<const HALF: u8>(x: &[f32; 32], importance: Option<&[f32; 32]>) -> (f16, [u8; 32]) {
    let half = f32::from(HALF);
    let Some(importance) = importance else {
        // The codes are rounded under the scale before it is rounded to f16.
        let scale = clamp_to_f16(extreme(x) / -half);
        let inverse = inverse(scale);
        let codes = x.map(|x| ((x * inverse + (half + 0.5)) as u8).min(2 * HALF - 1));
        return (f16::from_f32(scale), codes);
    };
    let x = &tame(x);
    let d = fit_f16_scale::<Integers<HALF>, 32>(x, &weights(x, Some(importance)));
    let inverse = inverse(d.to_f32());
    (d, x.map(|x| Integers::<HALF>::index(x * inverse)))
}

/// The scale, the minimum, and the codes from 0 to `top`.
///
/// Without importance the smallest element becomes code 0 and the largest `top`.
fn affine(x: &[f32; 32], importance: Option<&[f32; 32]>, top: f32) -> (f16, f16, [u8; 32]) {
    let Some(importance) = importance else {
        // The codes are rounded under the scale and minimum before these are rounded to f16.
        let least = x.iter().fold(f32::INFINITY, |a, &b| a.min(b));
        let most = x.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let min = clamp_to_f16(least);
        let scale = clamp_to_f16((most - least) / top);
        let inverse = inverse(scale);
        let codes = x.map(|x| ((x - min) * inverse + 0.5).min(top) as u8);
        return (f16::from_f32(scale), f16::from_f32(min), codes);
    };
    let x = &tame(x);
    let (scale, min) = fit_affine(x, &weights(x, Some(importance)), top, f32::INFINITY);
    let (d, m) = (f16_scale(scale), f16_saturating(min));
    let inverse = inverse(d.to_f32());
    let codes = x.map(|x| nearest_int(((x - m.to_f32()) * inverse).clamp(0.0, top)) as u8);
    (d, m, codes)
}

/// The nearest integer, halves away from zero, for magnitudes within i32.
fn round_half_away(x: f32) -> i32 {
    let whole = x as i32;
    let rest = x - whole as f32;
    whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5)
}
