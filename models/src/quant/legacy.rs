//! The formats of one scale a block of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
//!
//! Element `i` of a block is `d * (q_i - offset)` in the types `_0` and
//! `d * q_i + m` in the types `_1`.
#![allow(non_camel_case_types)]

use super::planes::unpack4;
use super::{Block, f16_field, field};

/// 32 levels of 4 bits: `d` (f16), 16 bytes of nibbles; offset 8.
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
        let levels = nibbles(field(block, Self::QS));
        for (y, q) in out.iter_mut().zip(levels) {
            *y = d * (f32::from(q) - 8.0);
        }
    }
}

/// 32 levels of 4 bits: `d`, `m` (f16), 16 bytes of nibbles.
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
        let levels = nibbles(field(block, Self::QS));
        for (y, q) in out.iter_mut().zip(levels) {
            *y = d * f32::from(q) + m;
        }
    }
}

/// 32 levels of 5 bits: `d` (f16), 4 bytes of fifth bits, 16 bytes of nibbles; offset 16.
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
        let levels = five_bits(field(block, Self::QH), field(block, Self::QS));
        for (y, q) in out.iter_mut().zip(levels) {
            *y = d * (f32::from(q) - 16.0);
        }
    }
}

/// 32 levels of 5 bits: `d`, `m` (f16), 4 bytes of fifth bits, 16 bytes of nibbles.
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
        let levels = five_bits(field(block, Self::QH), field(block, Self::QS));
        for (y, q) in out.iter_mut().zip(levels) {
            *y = d * f32::from(q) + m;
        }
    }
}

/// 32 levels of 8 bits: `d` (f16), 32 bytes.
pub struct Q8_0;

impl Q8_0 {
    /// Where the scale lies: f16.
    pub const D: usize = 0;
    /// Where the levels lie: 32 times i8.
    pub const QS: usize = 2;
}

impl Block<32, 34> for Q8_0 {
    fn decode(block: &[u8; 34], out: &mut [f32; 32]) {
        let d = f16_field(block, Self::D);
        let levels: &[u8; 32] = field(block, Self::QS);
        for (y, &q) in out.iter_mut().zip(levels) {
            *y = d * f32::from(q.cast_signed());
        }
    }
}

/// The 32 levels of 16 bytes of nibbles.
pub(super) fn nibbles(qs: &[u8; 16]) -> [u8; 32] {
    let mut levels = [0; 32];
    unpack4::<16>(qs, &mut levels);
    levels
}

/// The 32 levels of nibbles and fifth bits.
fn five_bits(qh: &[u8; 4], qs: &[u8; 16]) -> [u8; 32] {
    let high = u32::from_le_bytes(*qh);
    let mut levels = nibbles(qs);
    for (i, level) in levels.iter_mut().enumerate() {
        *level |= ((high >> i) as u8 & 1) << 4;
    }
    levels
}
