//! MXFP4: 4-bit floats (e2m1) under a power-of-two scale (e8m0), by the OCP
//! Microscaling Formats specification 1.0.

use super::legacy::{nibbles, pack_nibbles};
use super::{Block, field, set_field};

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

    /// Of three powers of two, the scale is the one with the least squared error. The three
    /// are the one under which the largest element is from 4 to 8 (the largest e2m1 is 6),
    /// and its two neighbours.
    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 17] {
        let largest = x.iter().fold(0.0f32, |a, x| a.max(x.abs()));
        let exponent = (largest.to_bits() >> 23) as u8;
        let guess = exponent.saturating_sub(2);
        let error = |e: u8| squared_error(x, importance, e8m0_half(e));
        let mut best = (error(guess), guess);
        for e in [guess.saturating_sub(1), guess + 1] {
            let error = error(e);
            if error < best.0 {
                best = (error, e);
            }
        }

        let e = best.1;
        let scale = e8m0_half(e);
        let mut block = [0; 17];
        block[Self::E] = e;
        set_field(
            &mut block,
            Self::QS,
            &pack_nibbles(&x.map(|x| nearest_code(x / scale))),
        );
        block
    }
}

/// The magnitude code nearest to `y`, in units of [`E2M1_DOUBLED`], and a sign bit
/// where it is not zero.
fn nearest_code(y: f32) -> u8 {
    /// Halfway between each two magnitudes.
    const MIDPOINTS: [f32; 7] = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0];
    let magnitude = MIDPOINTS
        .iter()
        .map(|&middle| u8::from(y.abs() > middle))
        .sum();
    if y < 0.0 && magnitude > 0 {
        magnitude | 8
    } else {
        magnitude
    }
}

/// The weighted squared error of `x` under `scale`, in f64, because squares of this
/// format's values exceed the range of f32.
fn squared_error(x: &[f32; 32], importance: Option<&[f32; 32]>, scale: f32) -> f64 {
    let error = |x: f32| {
        let value = E2M1_DOUBLED[usize::from(nearest_code(x / scale))];
        // The product is in f32, so that a code which decodes to infinity has an infinite
        // error.
        f64::from(scale * f32::from(value)) - f64::from(x)
    };
    match importance {
        None => x.iter().map(|&x| error(x) * error(x)).sum(),
        Some(w) => x
            .iter()
            .zip(w)
            .map(|(&x, &w)| f64::from(w) * error(x) * error(x))
            .sum(),
    }
}

/// Half of the scale that an e8m0 byte stands for: `2^(e - 128)`.
///
/// The specification's NaN (255) is read as the next power of two, 2^127, as other
/// readers of GGUF do.
#[inline]
pub const fn e8m0_half(e: u8) -> f32 {
    match e {
        // The two that are subnormal.
        0 | 1 => f32::from_bits(0x0020_0000 << e),
        _ => f32::from_bits((e as u32 - 1) << 23),
    }
}
