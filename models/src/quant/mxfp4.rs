//! MXFP4: 4-bit floats (e2m1) under a power-of-two scale (e8m0), by the OCP
//! Microscaling Formats specification 1.0.

use super::legacy::nibbles;
use super::{Block, field};

/// Twice the value of each e2m1 code, so that all are integers.
pub const E2M1_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 32 codes: `e` (e8m0), 16 bytes of nibbles; value `e8m0_half(e) * E2M1_DOUBLED[q]`.
pub struct MXFP4;

impl MXFP4 {
    /// Where the exponent lies: one byte.
    pub const E: usize = 0;
    /// Where the nibbles lie: 16 bytes; byte `i` holds elements `i` and `i + 16`.
    pub const QS: usize = 1;
}

impl Block<32, 17> for MXFP4 {
    fn decode(block: &[u8; 17], out: &mut [f32; 32]) {
        let scale = e8m0_half(block[Self::E]);
        for (y, q) in out.iter_mut().zip(nibbles(field(block, Self::QS))) {
            *y = scale * f32::from(E2M1_DOUBLED[usize::from(q & 15)]);
        }
    }
}

/// Half of the scale that an e8m0 byte stands for: `2^(e - 128)`.
///
/// The specification's NaN (255) is read as the next power of two, as other
/// readers of GGUF do.
#[inline]
pub const fn e8m0_half(e: u8) -> f32 {
    match e {
        // The two that are subnormal.
        0 | 1 => f32::from_bits(0x0020_0000 << e),
        _ => f32::from_bits((e as u32 - 1) << 23),
    }
}
