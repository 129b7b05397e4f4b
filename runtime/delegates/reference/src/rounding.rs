//! Rounds numbers to types with fewer bits.

use ondol_plugin::ondol::delegate::Rounding;

/// A type of floats, with subnormal numbers.
#[derive(Clone, Copy)]
pub struct Float {
    /// Significant bits.
    bits: i32,
    /// The exponent of the smallest number.
    smallest: i32,
    /// The largest finite number.
    largest: f64,
}

pub const F16: Float = Float {
    bits: 11,
    smallest: -24,
    largest: 65504.0,
};

pub const BF16: Float = Float {
    bits: 8,
    smallest: -133,
    // (2 - 2^-7) x 2^127
    largest: 255.0 * power_of_two(120),
};

impl Float {
    /// Rounds a number to this type. Too large numbers become what IEEE 754 has:
    /// infinity, or the largest finite number if the rounding is toward zero.
    pub fn round(self, x: f32, rounding: Rounding) -> f32 {
        let x = f64::from(x);
        if x == 0.0 || !x.is_finite() {
            return x as f32;
        }
        let step = power_of_two((exponent(x) - self.bits + 1).max(self.smallest));
        let rounded = integer(x / step, rounding) * step;
        match (rounded.abs() > self.largest, rounding) {
            (false, _) => rounded as f32,
            (true, Rounding::TowardZero) => self.largest.copysign(x) as f32,
            (true, _) => f32::INFINITY.copysign(x as f32),
        }
    }
}

/// Rounds a number to an integer.
pub fn integer(x: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::NearestEven => x.round_ties_even(),
        Rounding::NearestAway => x.round(),
        Rounding::TowardZero => x.trunc(),
    }
}

/// Rounds a number to `bits` significant bits (at most 52), to the nearest, from the
/// middle of two to the even one.
pub fn significant(x: f64, bits: u32) -> f64 {
    let cut = 53 - bits;
    let half = (1u64 << (cut - 1)) - 1;
    let is_odd = (x.to_bits() >> cut) & 1;
    f64::from_bits((x.to_bits() + half + is_odd) >> cut << cut)
}

/// The exponent of a number that is not zero: `1 <= |x| / 2^exponent < 2`.
pub fn exponent(x: f64) -> i32 {
    // Numbers of 32 bits are never subnormal in 64.
    (x.to_bits() >> 52 & 0x7ff) as i32 - 1023
}

/// 2 to an exponent from -1022 to 1023.
pub const fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}
