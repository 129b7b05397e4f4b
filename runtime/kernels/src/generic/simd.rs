//! The vector abstraction: lanes of 32 bits, as many as an ISA's registers hold.
//!
//! All kernels are written once over three traits. [`Lanes`] has the floats of any
//! number of lanes; [`Simd`] adds what rows of floats need, on eight lanes;
//! `Integers` adds what block formats are decoded with, a row of weights in each
//! lane.
//!
//! Each ISA has a proof type (`Scalar`, `Avx2`, ...) without size. A value of it can be
//! made only where the CPU has the features, so the value proves that the methods are
//! safe. All methods are `#[inline(always)]`, so that they become part of a caller that
//! has the features; [`Lanes::run`] makes such callers. An ISA declares its operations in
//! a table (`ops`), beside the names that its vendor has for the instructions.

use super::array::from_fn;
use half::f16;

/// Lanes of a vector of [`Simd`].
pub const LANES: usize = 8;

/// The most lanes that an ISA has.
pub(crate) const MAX_LANES: usize = 16;

/// Whether small code is preferred to speed: in builds without `std`. Kernels then have
/// one size of tile, which gives the same bits, and what every lane does is compiled
/// once, not inlined.
pub const SMALL: bool = cfg!(not(feature = "std"));

/// Lanes of floats.
pub trait Lanes: Copy + Send + Sync + 'static {
    /// The lanes.
    type V: Copy;
    /// How many there are: one or two groups of eight.
    const COUNT: usize;

    /// Runs `f`, a closure that is `#[inline(always)]`, compiled with the ISA's features.
    fn run<R>(self, f: impl FnOnce() -> R) -> R;

    /// All lanes are `x`.
    fn splat(self, x: f32) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once or twice as the ISA does it.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a > b ? a : b`; so `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The magnitudes.
    fn abs(self, v: Self::V) -> Self::V;
}

/// Eight lanes of floats, for functions on rows of floats.
pub trait Simd: Lanes {
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
    /// `a < b ? a : b`; so `b` where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
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
}

/// Lanes of integers, one for each row of weights that is worked on at once.
///
/// A vector is in quarters of 16 bytes; bytes and 16-bit numbers lie in a lane
/// little-endian. Arrays of [`MAX_LANES`] are used as far as there are lanes.
pub(crate) trait Integers: Lanes {
    /// The lanes.
    type I: Copy;

    /// All bytes are `x`.
    fn splat_i8(self, x: i8) -> Self::I;
    /// All lanes are `x`.
    fn splat_i32(self, x: i32) -> Self::I;
    /// The 16 bytes in every quarter.
    fn splat_16(self, x: &[i8; 16]) -> Self::I;
    /// The lanes.
    fn lanes_u32(self, x: &[u32; MAX_LANES]) -> Self::I;
    /// Half floats by their bits, widened.
    fn lanes_f16(self, x: &[u16; MAX_LANES]) -> Self::V;
    /// Writes the lanes.
    fn store_lanes(self, v: Self::V, out: &mut [f32; MAX_LANES]);

    /// `a & b`.
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a | b`.
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a + b` in each byte, modulo 2^8.
    fn add_i8(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a - b` in each byte, modulo 2^8.
    fn sub_i8(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a + b` in each 16-bit number, modulo 2^16.
    fn add_16(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a * b` in each 16-bit number, modulo 2^16.
    fn mul_16(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a + b` in each lane, modulo 2^32.
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shifts each 16-bit number left.
    fn shl_16<const N: i32>(self, v: Self::I) -> Self::I;
    /// Shifts each 16-bit number right, zeros coming in.
    fn shr_16<const N: i32>(self, v: Self::I) -> Self::I;
    /// Shifts each lane left.
    fn shl_32<const N: i32>(self, v: Self::I) -> Self::I;
    /// Shifts each lane right, zeros coming in.
    fn shr_32<const N: i32>(self, v: Self::I) -> Self::I;
    /// Shifts each lane right, copies of the sign coming in.
    fn sar_32<const N: i32>(self, v: Self::I) -> Self::I;
    /// `a > b ? x : y` in each lane, signed.
    fn select_gt_i32(self, a: Self::I, b: Self::I, x: Self::I, y: Self::I) -> Self::I;
    /// In each quarter, byte `i` becomes byte `index[i]` of the same one of `v`,
    /// for indices below 16, and zero for negative ones.
    fn shuffle(self, v: Self::I, index: Self::I) -> Self::I;
    /// Signed lanes as floats, rounded to nearest.
    fn to_floats(self, v: Self::I) -> Self::V;
    /// The nearest integers, ties to even; no meaning beyond 32 bits.
    fn to_integers(self, v: Self::V) -> Self::I;
    /// Signed lanes of many vectors as floats.
    #[inline(always)]
    fn floats<const P: usize, const T: usize>(self, v: [[Self::I; T]; P]) -> [[Self::V; T]; P] {
        let mut floats = [[self.splat(0.0); T]; P];
        for (floats, v) in floats.iter_mut().zip(v) {
            for (float, v) in floats.iter_mut().zip(v) {
                *float = self.to_floats(v);
            }
        }
        floats
    }
    /// The lanes' bits as floats.
    fn float_bits(self, v: Self::I) -> Self::V;
    /// The two half floats in each lane, widened: the lower ones, then the upper.
    fn f16_pairs(self, v: Self::I) -> [Self::V; 2];

    /// Byte `at` of each lane, signed.
    #[inline(always)]
    fn byte(self, v: Self::I, at: usize) -> Self::I {
        // At the top of its lane, zeros below.
        let top = [-1, -1, -1, 0, -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12];
        let index = self.add_i8(self.splat_16(&top), self.splat_i32((at << 24) as i32));
        self.sar_32::<24>(self.shuffle(v, index))
    }

    /// Reads 32 bytes of each group of eight rows, `group` bytes apart.
    ///
    /// # Safety
    /// The bytes are readable.
    unsafe fn load_lanes(self, from: *const u8, group: usize) -> Self::I;
    /// Reads eight half floats of each group, widened.
    ///
    /// # Safety
    /// The 16 bytes of each group are readable.
    unsafe fn load_f16s(self, from: *const u8, group: usize) -> Self::V;
    /// Reads 16 bytes of each row, `stride` bytes apart: lane `r` of vector `j`
    /// gets bytes `4j..4j + 4` of row `r`.
    ///
    /// # Safety
    /// The bytes are readable.
    unsafe fn load_transposed(self, from: *const u8, stride: usize) -> [Self::I; 4];
    /// Returns the same address, if possible in a way that hides this from the compiler.
    /// Otherwise the compiler may keep what was read there on the stack instead of
    /// reading it again.
    #[inline(always)]
    fn unknown(self, at: *const u8) -> *const u8 {
        at
    }
}

/// Declares operations of an ISA, a line for each: `fn name(operands) -> result: "the
/// vendor's name of the instruction" = the intrinsics;`.
///
/// The operands are values, not addresses, so the proof is all that makes an operation
/// safe. What reads or writes memory is a method with a SAFETY comment of its own.
macro_rules! ops {
    ($(
        $vis:vis fn $name:ident $(<const $n:ident: $of:ty>)? ($($arg:ident: $ty:ty),*) -> $result:ty:
        $vendor:literal = $value:expr;
    )*) => {$(
        #[doc = $vendor]
        #[inline(always)]
        $vis fn $name $(<const $n: $of>)? (self, $($arg: $ty),*) -> $result {
            // SAFETY: `self` proves that the CPU has the instructions, which touch no memory.
            unsafe { $value }
        }
    )*};
}
pub(crate) use ops;

/// [`Lanes::run`] with these attributes, which switch the features of the ISA on.
macro_rules! run_with {
    ($(#[$feature:meta])+) => {
        #[inline(always)]
        fn run<R>(self, f: impl FnOnce() -> R) -> R {
            $(#[$feature])+
            fn run<R>(f: impl FnOnce() -> R) -> R {
                f()
            }
            // SAFETY: `self` proves that the CPU has the features.
            #[allow(unused_unsafe)]
            unsafe { run(f) }
        }
    };
}
pub(crate) use run_with;

/// 1.5 x 2^23: in `MAGIC + x`, for `|x| < 2^22`, the last bit stands for 1. Adding
/// rounds to a whole number, ties to even, and leaves it in the low bits.
pub const MAGIC: f32 = 12_582_912.0;

/// Adding this to a whole number in `-127..=127` leaves the number's biased
/// exponent, whose bias is 127, in the low bits of the sum.
pub const EXPONENT_MAGIC: f32 = MAGIC + 127.0;

/// Plain Rust, which every CPU runs, and the oracle of the other ISAs: plain loops over
/// arrays, which compilers turn into whatever vectors are the baseline.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

/// Applies `f` to each lane; see [`SMALL`].
#[cfg_attr(feature = "std", inline(always))]
fn lanes(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    from_fn(f)
}

impl Lanes for Scalar {
    type V = [f32; LANES];
    const COUNT: usize = LANES;

    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
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
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn abs(self, v: Self::V) -> Self::V {
        v.map(f32::abs)
    }
}

impl Simd for Scalar {
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
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn select_lt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        lanes(|i| if a[i] < b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn exp2_whole(self, n: Self::V) -> Self::V {
        lanes(|i| f32::from_bits((n[i] + EXPONENT_MAGIC).to_bits() << 23))
    }
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        // The order of AVX2: halves, then neighbours.
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
}
