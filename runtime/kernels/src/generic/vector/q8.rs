//! Blocks of 8-bit integers with a scale: the KV cache in half the bytes.

use half::f16;

use super::simd::{LANES, MAGIC, Simd};

/// 32 numbers as GGUF's Q8_0 keeps them: number `i` is `scale * q[i]`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Q8Block {
    /// The value of the integer 1. If the block held a number that is not finite, or more
    /// than 127 times the largest scale, then the scale makes all its numbers NaN.
    pub scale: f16,
    /// The integers, from -127 to 127.
    pub q: [i8; Q8Block::LEN],
}

impl Q8Block {
    /// Numbers of a block.
    pub const LEN: usize = 32;
    /// Whether this build has a cache of them. If not, the compiler drops the code for
    /// it.
    pub const IN_BUILD: bool = cfg!(feature = "kv-q8_0");

    /// Rounds 32 numbers to the nearest multiples of the scale, after the scale was
    /// rounded to f16.
    #[inline(always)]
    pub(super) fn of<S: Simd>(s: S, x: &[f32; Self::LEN]) -> Self {
        let (parts, _) = x.as_chunks::<LANES>();
        let (mut largest, mut zeros) = (s.splat(0.0), s.splat(0.0));
        for part in parts {
            let v = s.load(part);
            largest = s.max(s.abs(v), largest);
            // Zero times a number that is not finite is NaN. The maximum would hide such
            // a number.
            zeros = s.add(s.mul(v, s.splat(0.0)), zeros);
        }
        let scale = f16::from_f32((s.max_lane(largest) + s.sum(zeros)) / 127.0);
        let step = scale.to_f32();
        let inverse = s.splat(if step == 0.0 { 0.0 } else { 1.0 / step });
        let mut v = [inverse; Self::LEN / LANES];
        for (v, part) in v.iter_mut().zip(parts) {
            // A small scale has few bits, and may be rounded down so far that a quotient
            // exceeds 127.
            let steps = s.min(s.mul(s.load(part), inverse), s.splat(127.0));
            *v = s.add(s.max(steps, s.splat(-127.0)), s.splat(MAGIC));
        }
        let mut q = [0; Self::LEN];
        s.store_low_8(v, &mut q);
        Self { scale, q }
    }

    /// Numbers `8 i..8 i + 8`, with `i < 4`.
    #[inline(always)]
    pub(crate) fn eight<S: Simd>(&self, s: S, i: usize) -> S::V {
        let steps = s.load_i8(&self.q.as_chunks().0[i]);
        s.mul(steps, s.splat_f16(self.scale))
    }
}
