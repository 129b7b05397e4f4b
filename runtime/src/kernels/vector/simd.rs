//! Eight `f32` lanes: the small vector trait over which every f32 kernel is
//! written once.
//!
//! A value of a level (`Scalar`, `Avx2`, ...) can be made only where the CPU
//! runs it, so it is the proof that lets the methods be safe. All methods are
//! `#[inline(always)]`, so that they melt into a caller that has the level's
//! target features; the macro `with_features!` makes such callers.

use half::f16;

/// Lanes of a vector.
pub const LANES: usize = 8;

/// Without `std`, bytes of code go before speed: kernels come in one size of
/// tile, which gives the same bits, and what every lane does is kept once.
pub const SMALL: bool = cfg!(not(feature = "std"));

/// The operations on eight `f32` lanes that one CPU level offers.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Eight `f32` lanes.
    type V: Copy;

    /// All lanes are `x`.
    fn splat(self, x: f32) -> Self::V;
    /// Reads eight floats.
    fn load(self, x: &[f32; LANES]) -> Self::V;
    /// Writes eight floats.
    fn store(self, v: Self::V, out: &mut [f32; LANES]);
    /// Reads eight half floats, exactly.
    fn load_f16(self, x: &[f16; LANES]) -> Self::V;
    /// All lanes are `x`.
    fn splat_f16(self, x: f16) -> Self::V;
    /// Reads eight whole numbers.
    fn load_i8(self, x: &[i8; LANES]) -> Self::V;
    /// Writes eight half floats, rounded to nearest, ties to even.
    fn store_f16(self, v: Self::V, out: &mut [f16; LANES]);
    /// Writes the lowest 8 bits of each lane.
    fn store_low_8(self, v: [Self::V; 4], out: &mut [i8; 4 * LANES]);
    /// Writes the lowest 16 bits of each lane, within each four of them in the
    /// order 0, 2, 1, 3.
    fn store_low_16(self, v: [Self::V; 4], out: &mut [i16; 4 * LANES]);

    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once or twice as the level does it.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a < b ? a : b`; so `b` where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a > b ? a : b`; so `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The magnitudes.
    fn abs(self, v: Self::V) -> Self::V;
    /// `a < b ? x : y`; so `y` where either is NaN.
    fn select_lt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// `2^n` for whole `n` in `-126..=127`, 0 for -127; no meaning outside.
    fn exp2_whole(self, n: Self::V) -> Self::V;

    /// The sum of the lanes.
    fn sum(self, v: Self::V) -> f32;
    /// The sums of the lanes of four vectors.
    fn sum4(self, v: [Self::V; 4]) -> [f32; 4];
    /// The largest lane.
    fn max_lane(self, v: Self::V) -> f32;
    /// `(a0 a2 a4 a6 b0 b2 b4 b6, a1 a3 a5 a7 b1 b3 b5 b7)`.
    fn unzip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);
    /// The inverse of [`Simd::unzip`].
    fn zip(self, even: Self::V, odd: Self::V) -> (Self::V, Self::V);

    /// Runs `op` compiled for this level.
    fn run<O: Op<Self>>(self, op: O);
}

/// Work that [`Simd::run`] compiles for a level; `run` is `#[inline(always)]`.
pub trait Op<L> {
    /// Does it.
    fn run(self, l: L);
}

/// 1.5 x 2^23: in `MAGIC + x`, for `|x| < 2^22`, the last bit stands for 1. Adding
/// rounds to a whole number, ties to even, and leaves it in the low bits.
pub const MAGIC: f32 = 12_582_912.0;

/// Adding this to a whole number in `-127..=127` leaves the number's biased
/// exponent, whose bias is 127, in the low bits of the sum.
pub const EXPONENT_MAGIC: f32 = MAGIC + 127.0;

/// The level that every CPU runs, and the oracle of the others: plain loops
/// over arrays, which compilers turn into whatever vectors are the baseline.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

/// Applies `f` to each lane; see [`SMALL`].
#[cfg_attr(feature = "std", inline(always))]
fn lanes(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    core::array::from_fn(f)
}

impl Simd for Scalar {
    type V = [f32; LANES];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        *x
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32; LANES]) {
        *out = v;
    }
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> Self::V {
        lanes(|i| x[i].to_f32())
    }
    #[inline(always)]
    fn splat_f16(self, x: f16) -> Self::V {
        [x.to_f32(); LANES]
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> Self::V {
        lanes(|i| f32::from(x[i]))
    }
    #[inline(always)]
    fn store_f16(self, v: Self::V, out: &mut [f16; LANES]) {
        *out = v.map(f16::from_f32);
    }
    #[inline(always)]
    fn store_low_8(self, v: [Self::V; 4], out: &mut [i8; 4 * LANES]) {
        for (out, v) in out.iter_mut().zip(v.as_flattened()) {
            *out = v.to_bits() as i8;
        }
    }
    #[inline(always)]
    fn store_low_16(self, v: [Self::V; 4], out: &mut [i16; 4 * LANES]) {
        let fours = v.as_flattened().as_chunks::<4>().0;
        for (out, four) in out.as_chunks_mut::<4>().0.iter_mut().zip(fours) {
            *out = [four[0], four[2], four[1], four[3]].map(|v| v.to_bits() as i16);
        }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not `f32::mul_add`: without hardware for it, that is a slow call.
        lanes(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn abs(self, v: Self::V) -> Self::V {
        v.map(f32::abs)
    }
    #[inline(always)]
    fn select_lt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        lanes(|i| if a[i] < b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn exp2_whole(self, n: Self::V) -> Self::V {
        n.map(|n| f32::from_bits((n + EXPONENT_MAGIC).to_bits() << 23))
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        // The order of the AVX2 level: halves, then neighbours.
        let half = [v[0] + v[4], v[1] + v[5], v[2] + v[6], v[3] + v[7]];
        (half[0] + half[1]) + (half[2] + half[3])
    }
    #[inline(always)]
    fn sum4(self, v: [Self::V; 4]) -> [f32; 4] {
        v.map(|v| self.sum(v))
    }
    #[inline(always)]
    fn max_lane(self, v: Self::V) -> f32 {
        v.into_iter()
            .fold(f32::NEG_INFINITY, |m, x| if x > m { x } else { m })
    }
    #[inline(always)]
    fn unzip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        let at = |i: usize| if i < LANES { a[i] } else { b[i - LANES] };
        (lanes(|i| at(2 * i)), lanes(|i| at(2 * i + 1)))
    }
    #[inline(always)]
    fn zip(self, even: Self::V, odd: Self::V) -> (Self::V, Self::V) {
        let at = |i: usize| {
            if i.is_multiple_of(2) {
                even[i / 2]
            } else {
                odd[i / 2]
            }
        };
        (lanes(at), lanes(|i| at(i + LANES)))
    }

    #[inline(always)]
    fn run<O: Op<Self>>(self, op: O) {
        op.run(self);
    }
}
