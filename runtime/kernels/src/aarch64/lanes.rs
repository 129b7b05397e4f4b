//! Eight lanes of 32 bits in two 128-bit registers, by NEON; three ISAs that differ in
//! how they multiply integers.

use crate::generic::simd::{Integers, Lanes, MAX_LANES, ops, run_with};
use core::arch::aarch64::*;
use core::arch::asm;

pub(super) type V = [float32x4_t; 2];
pub(super) type I = [int32x4_t; 2];

/// Sums of products of `P` runs of rows with `T` tokens.
pub(super) type Sums<const P: usize, const T: usize> = [[I; T]; P];

/// `$function` of both registers of vectors.
macro_rules! both {
    ($function:ident $(::<$n:tt>)? ($($v:ident),+)) => {{
        // SAFETY: an intrinsic that only computes needs no more than NEON, and
        // who has vectors has NEON.
        unsafe {
            [
                core::arch::aarch64::$function $(::<$n>)? ($($v[0]),+),
                core::arch::aarch64::$function $(::<$n>)? ($($v[1]),+),
            ]
        }
    }};
}
pub(super) use both;

/// [`ops`] whose operands are vectors of two registers: a line says what is done with
/// each of the two.
macro_rules! both_ops {
    ($(
        fn $name:ident $(<const $n:ident: $of:ty>)? ($($arg:ident: $ty:ty),*) -> $result:ty:
        $vendor:literal = $value:expr;
    )*) => {
        ops! {$(
            fn $name $(<const $n: $of>)? ($($arg: $ty),*) -> $result: $vendor = [
                { $(let $arg = $arg[0];)* $value },
                { $(let $arg = $arg[1];)* $value },
            ];
        )*}
    };
}
pub(super) use both_ops;

/// The proof type of an ISA, and its lanes of floats and integers.
macro_rules! neon {
    ($(#[$doc:meta])* $proof:ident, $has:expr, #[$feature:meta]) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $proof(());

        impl $proof {
            /// The proof, if this CPU has the features. All code takes lanes for
            /// little-endian.
            pub(super) fn new() -> Option<$proof> {
                (cfg!(target_endian = "little") && $has).then_some($proof(()))
            }
        }

        impl Lanes for $proof {
            type V = V;
            const COUNT: usize = 8;

            run_with!(#[$feature]);
            ops! {
                fn splat(x: f32) -> V: "`dup`" = [vdupq_n_f32(x); 2];
            }
            both_ops! {
                fn mul(a: V, b: V) -> V: "`fmul`" = vmulq_f32(a, b);
                fn div(a: V, b: V) -> V: "`fdiv`" = vdivq_f32(a, b);
                fn mul_add(a: V, b: V, c: V) -> V: "`fmla`" = vfmaq_f32(c, a, b);
                // Not `fmax`, which keeps a NaN of `a`.
                fn max(a: V, b: V) -> V: "`fcmgt`, `bsl`" = vbslq_f32(vcltq_f32(b, a), a, b);
                fn abs(v: V) -> V: "`fabs`" = vabsq_f32(v);
            }
        }

        impl Integers for $proof {
            type I = I;

            ops! {
                fn splat_i8(x: i8) -> I: "`dup`" = [vreinterpretq_s32_s8(vdupq_n_s8(x)); 2];
                fn splat_i32(x: i32) -> I: "`dup`" = [vdupq_n_s32(x); 2];
                fn f16_pairs(v: I) -> [V; 2]: "`uzp1`, `uzp2`, `fcvtl`" = {
                    let a = vreinterpretq_u16_s32(v[0]);
                    let b = vreinterpretq_u16_s32(v[1]);
                    [widened(vuzp1q_u16(a, b)), widened(vuzp2q_u16(a, b))]
                };
            }
            both_ops! {
                fn and(a: I, b: I) -> I: "`and`" = vandq_s32(a, b);
                fn or(a: I, b: I) -> I: "`orr`" = vorrq_s32(a, b);
                fn add_i8(a: I, b: I) -> I: "`add`" = vreinterpretq_s32_s8(vaddq_s8(
                    vreinterpretq_s8_s32(a),
                    vreinterpretq_s8_s32(b),
                ));
                fn sub_i8(a: I, b: I) -> I: "`sub`" = vreinterpretq_s32_s8(vsubq_s8(
                    vreinterpretq_s8_s32(a),
                    vreinterpretq_s8_s32(b),
                ));
                fn add_16(a: I, b: I) -> I: "`add`" = vreinterpretq_s32_s16(vaddq_s16(
                    vreinterpretq_s16_s32(a),
                    vreinterpretq_s16_s32(b),
                ));
                fn mul_16(a: I, b: I) -> I: "`mul`" = vreinterpretq_s32_s16(vmulq_s16(
                    vreinterpretq_s16_s32(a),
                    vreinterpretq_s16_s32(b),
                ));
                fn add_i32(a: I, b: I) -> I: "`add`" = vaddq_s32(a, b);
                fn shl_16<const N: i32>(v: I) -> I: "`shl`" =
                    vreinterpretq_s32_s16(vshlq_n_s16::<N>(vreinterpretq_s16_s32(v)));
                fn shr_16<const N: i32>(v: I) -> I: "`ushr`" =
                    vreinterpretq_s32_u16(vshrq_n_u16::<N>(vreinterpretq_u16_s32(v)));
                fn shl_32<const N: i32>(v: I) -> I: "`shl`" = vshlq_n_s32::<N>(v);
                fn shr_32<const N: i32>(v: I) -> I: "`ushr`" =
                    vreinterpretq_s32_u32(vshrq_n_u32::<N>(vreinterpretq_u32_s32(v)));
                fn sar_32<const N: i32>(v: I) -> I: "`sshr`" = vshrq_n_s32::<N>(v);
                fn select_gt_i32(a: I, b: I, x: I, y: I) -> I: "`cmgt`, `bsl`" =
                    vbslq_s32(vcgtq_s32(a, b), x, y);
                // `tbl` gives zero for an index above 15, and reads a negative one as such.
                fn shuffle(v: I, index: I) -> I: "`tbl`" = vreinterpretq_s32_s8(vqtbl1q_s8(
                    vreinterpretq_s8_s32(v),
                    vreinterpretq_u8_s32(index),
                ));
                fn to_floats(v: I) -> V: "`scvtf`" = vcvtq_f32_s32(v);
                fn to_integers(v: V) -> I: "`fcvtns`" = vcvtnq_s32_f32(v);
                fn float_bits(v: I) -> V: "No instruction." = vreinterpretq_f32_s32(v);
            }
            #[inline(always)]
            fn splat_16(self, x: &[i8; 16]) -> I {
                // SAFETY: `self` proves NEON; the array has the 16 bytes that are read.
                [unsafe { vreinterpretq_s32_s8(vld1q_s8(x.as_ptr())) }; 2]
            }
            #[inline(always)]
            fn lanes_u32(self, x: &[u32; MAX_LANES]) -> I {
                // SAFETY: the array has the 32 bytes that are read.
                unsafe { self.load_lanes(x.as_ptr().cast(), 0) }
            }
            #[inline(always)]
            fn lanes_f16(self, x: &[u16; MAX_LANES]) -> V {
                // SAFETY: the array has the 16 bytes that are read.
                unsafe { self.load_f16s(x.as_ptr().cast(), 0) }
            }
            #[inline(always)]
            fn store_lanes(self, v: V, out: &mut [f32; MAX_LANES]) {
                // SAFETY: `self` proves NEON; the array has the 32 bytes that are written.
                unsafe {
                    vst1q_f32(out.as_mut_ptr(), v[0]);
                    vst1q_f32(out.as_mut_ptr().add(4), v[1]);
                }
            }
            #[inline(always)]
            unsafe fn load_lanes(self, from: *const u8, _: usize) -> I {
                let from = from.cast::<i32>();
                // SAFETY: `self` proves NEON; the caller has the bytes.
                unsafe { [vld1q_s32(from), vld1q_s32(from.add(4))] }
            }
            #[inline(always)]
            unsafe fn load_f16s(self, from: *const u8, _: usize) -> V {
                // SAFETY: `self` proves NEON; the caller has the bytes.
                unsafe { widened(vld1q_u16(from.cast())) }
            }
            #[inline(always)]
            unsafe fn load_transposed(self, from: *const u8, stride: usize) -> [I; 4] {
                // SAFETY: `self` proves NEON; the caller has the bytes of all rows.
                let row = |r: usize| unsafe { vld1q_s32(from.wrapping_add(r * stride).cast()) };
                let low = transposed([row(0), row(1), row(2), row(3)]);
                let high = transposed([row(4), row(5), row(6), row(7)]);
                [
                    [low[0], high[0]],
                    [low[1], high[1]],
                    [low[2], high[2]],
                    [low[3], high[3]],
                ]
            }
            #[inline(always)]
            fn unknown(self, mut at: *const u8) -> *const u8 {
                // SAFETY: the assembly is a comment, so no instruction runs.
                unsafe {
                    asm!("/* {0} */", inout(reg) at, options(nomem, nostack, preserves_flags))
                };
                at
            }
        }
    };
}

/// Whether the CPU has a feature. Without `std` the CPU is not asked: it has the features
/// that the target promises.
macro_rules! has {
    ($feature:tt) => {{
        #[cfg(feature = "std")]
        let has = std::arch::is_aarch64_feature_detected!($feature);
        #[cfg(not(feature = "std"))]
        let has = cfg!(target_feature = $feature);
        has
    }};
}

neon! {
    /// NEON, which every 64-bit Arm has, but for targets without floats. Multiplies by
    /// `smull` and `smlal`.
    // `inline(never)` gives each closure a function of its own. For the other two, the
    // target features do that.
    Neon, cfg!(target_feature = "neon"), #[inline(never)]
}
neon! {
    /// Multiplies by `sdot` (Armv8.2).
    DotProd, has!("dotprod"), #[target_feature(enable = "dotprod")]
}
neon! {
    /// Multiplies by `smmla` (Armv8.6), and by `sdot`, which every core with it has.
    I8mm, has!("i8mm") && has!("dotprod"), #[target_feature(enable = "i8mm,dotprod")]
}

impl From<DotProd> for Neon {
    #[inline(always)]
    fn from(_: DotProd) -> Neon {
        Neon(())
    }
}

impl From<I8mm> for Neon {
    #[inline(always)]
    fn from(_: I8mm) -> Neon {
        Neon(())
    }
}

impl From<I8mm> for DotProd {
    #[inline(always)]
    fn from(_: I8mm) -> DotProd {
        DotProd(())
    }
}

/// Half floats by their bits, as floats.
#[inline(always)]
pub(super) fn widened(halves: uint16x8_t) -> V {
    // SAFETY: the conversion is part of NEON, and who has a vector has NEON.
    unsafe {
        let halves = vreinterpretq_f16_u16(halves);
        [
            vcvt_f32_f16(vget_low_f16(halves)),
            vcvt_high_f32_f16(halves),
        ]
    }
}

/// The bytes of lanes.
#[inline(always)]
pub(super) fn bytes(v: I) -> [int8x16_t; 2] {
    both!(vreinterpretq_s8_s32(v))
}

/// Rows as columns.
#[inline(always)]
fn transposed(v: [int32x4_t; 4]) -> [int32x4_t; 4] {
    // SAFETY: who has a vector has NEON.
    unsafe {
        let (a, b) = (vtrn1q_s32(v[0], v[1]), vtrn1q_s32(v[2], v[3]));
        let (c, d) = (vtrn2q_s32(v[0], v[1]), vtrn2q_s32(v[2], v[3]));
        let low = |a, b| {
            vreinterpretq_s32_s64(vtrn1q_s64(
                vreinterpretq_s64_s32(a),
                vreinterpretq_s64_s32(b),
            ))
        };
        let high = |a, b| {
            vreinterpretq_s32_s64(vtrn2q_s64(
                vreinterpretq_s64_s32(a),
                vreinterpretq_s64_s32(b),
            ))
        };
        [low(a, b), low(c, d), high(a, b), high(c, d)]
    }
}
