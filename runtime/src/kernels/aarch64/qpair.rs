//! Eight lanes of 32 bits in two 128-bit registers, by NEON.

use super::Neon;
use crate::kernels::integer::{Lanes, MAX_LANES};
use crate::kernels::vector::simd::Op;
use core::arch::aarch64::*;
use core::arch::asm;
use core::marker::PhantomData;

/// The lanes of a CPU that has NEON and the features of `M`, which multiplies: a
/// value that exists only if the CPU can run it.
#[derive(Debug, Clone, Copy)]
pub(super) struct QPair<M>(PhantomData<M>);

/// Instructions that multiply 128-bit vectors of integers.
pub(super) trait Multiplier: Copy + Send + Sync + 'static {
    /// Runs `op` with the features that `lanes` proves.
    fn run<O: Op<QPair<Self>>>(lanes: QPair<Self>, op: O);
}

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

impl<M> QPair<M> {
    /// # Safety
    /// The CPU must have the features of `M`.
    pub(super) unsafe fn new(_: Neon) -> QPair<M> {
        QPair(PhantomData)
    }

    /// The same lanes with another multiplier.
    ///
    /// # Safety
    /// The CPU must have the features of `N`.
    #[inline(always)]
    pub(super) unsafe fn with<N>(self) -> QPair<N> {
        QPair(PhantomData)
    }
}

/// Sums of products of `P` runs of rows with `T` tokens.
pub(super) type Sums<const P: usize, const T: usize> = [[[int32x4_t; 2]; T]; P];

impl<M: Multiplier> QPair<M> {
    #[inline(always)]
    pub(super) fn zeros<const P: usize, const T: usize>(self) -> Sums<P, T> {
        [[self.splat_i32(0); T]; P]
    }
}

// As in the vectors of floats: an intrinsic that only computes needs no more
// than NEON, of which `self` is the proof.
impl<M: Multiplier> Lanes for QPair<M> {
    type I = [int32x4_t; 2];
    type V = [float32x4_t; 2];
    const COUNT: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: `self` proves NEON.
        [unsafe { vdupq_n_f32(x) }; 2]
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vmulq_f32(a, b))
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        both!(vfmaq_f32(c, a, b))
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vdivq_f32(a, b))
    }
    #[inline(always)]
    fn larger(self, a: Self::V, b: Self::V) -> Self::V {
        let b = both!(vabsq_f32(b));
        both!(vmaxq_f32(a, b))
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32; MAX_LANES]) {
        // SAFETY: `self` proves NEON; the array has the 32 bytes that are written.
        unsafe {
            vst1q_f32(out.as_mut_ptr(), v[0]);
            vst1q_f32(out.as_mut_ptr().add(4), v[1]);
        }
    }
    #[inline(always)]
    fn run<O: Op<Self>>(self, op: O) {
        M::run(self, op);
    }

    #[inline(always)]
    fn splat_i8(self, x: i8) -> Self::I {
        // SAFETY: `self` proves NEON.
        [unsafe { vreinterpretq_s32_s8(vdupq_n_s8(x)) }; 2]
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        // SAFETY: `self` proves NEON.
        [unsafe { vdupq_n_s32(x) }; 2]
    }
    #[inline(always)]
    fn splat_16(self, x: &[i8; 16]) -> Self::I {
        // SAFETY: `self` proves NEON; the array has the 16 bytes that are read.
        [unsafe { vreinterpretq_s32_s8(vld1q_s8(x.as_ptr())) }; 2]
    }
    #[inline(always)]
    fn lanes_u32(self, x: &[u32; MAX_LANES]) -> Self::I {
        // SAFETY: `self` proves NEON; the array has the 32 bytes that are read.
        unsafe { self.load_lanes(x.as_ptr().cast(), 0) }
    }
    #[inline(always)]
    fn lanes_f16(self, x: &[u16; MAX_LANES]) -> Self::V {
        // SAFETY: `self` proves NEON; the array has the 16 bytes that are read.
        widened(unsafe { vld1q_u16(x.as_ptr()) })
    }

    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        both!(vandq_s32(a, b))
    }
    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        both!(vorrq_s32(a, b))
    }
    #[inline(always)]
    fn add_i8(self, a: Self::I, b: Self::I) -> Self::I {
        let (a, b) = (bytes(a), bytes(b));
        lanes(both!(vaddq_s8(a, b)))
    }
    #[inline(always)]
    fn sub_i8(self, a: Self::I, b: Self::I) -> Self::I {
        let (a, b) = (bytes(a), bytes(b));
        lanes(both!(vsubq_s8(a, b)))
    }
    #[inline(always)]
    fn add_16(self, a: Self::I, b: Self::I) -> Self::I {
        let (a, b) = (
            both!(vreinterpretq_s16_s32(a)),
            both!(vreinterpretq_s16_s32(b)),
        );
        let sum = both!(vaddq_s16(a, b));
        both!(vreinterpretq_s32_s16(sum))
    }
    #[inline(always)]
    fn mul_16(self, a: Self::I, b: Self::I) -> Self::I {
        let (a, b) = (
            both!(vreinterpretq_s16_s32(a)),
            both!(vreinterpretq_s16_s32(b)),
        );
        let product = both!(vmulq_s16(a, b));
        both!(vreinterpretq_s32_s16(product))
    }
    #[inline(always)]
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I {
        both!(vaddq_s32(a, b))
    }
    #[inline(always)]
    fn shl_16<const N: i32>(self, v: Self::I) -> Self::I {
        let v = both!(vreinterpretq_s16_s32(v));
        let v = both!(vshlq_n_s16::<N>(v));
        both!(vreinterpretq_s32_s16(v))
    }
    #[inline(always)]
    fn shr_16<const N: i32>(self, v: Self::I) -> Self::I {
        let v = both!(vreinterpretq_u16_s32(v));
        let v = both!(vshrq_n_u16::<N>(v));
        both!(vreinterpretq_s32_u16(v))
    }
    #[inline(always)]
    fn shl_32<const N: i32>(self, v: Self::I) -> Self::I {
        both!(vshlq_n_s32::<N>(v))
    }
    #[inline(always)]
    fn shr_32<const N: i32>(self, v: Self::I) -> Self::I {
        let v = both!(vreinterpretq_u32_s32(v));
        let v = both!(vshrq_n_u32::<N>(v));
        both!(vreinterpretq_s32_u32(v))
    }
    #[inline(always)]
    fn sar_32<const N: i32>(self, v: Self::I) -> Self::I {
        both!(vshrq_n_s32::<N>(v))
    }
    #[inline(always)]
    fn select_gt_i32(self, a: Self::I, b: Self::I, x: Self::I, y: Self::I) -> Self::I {
        let greater = both!(vcgtq_s32(a, b));
        both!(vbslq_s32(greater, x, y))
    }
    /// `tbl` gives zero for any index beyond 15, and negative ones are.
    #[inline(always)]
    fn shuffle(self, v: Self::I, index: Self::I) -> Self::I {
        let (v, index) = (bytes(v), both!(vreinterpretq_u8_s32(index)));
        lanes(both!(vqtbl1q_s8(v, index)))
    }
    #[inline(always)]
    fn to_floats(self, v: Self::I) -> Self::V {
        both!(vcvtq_f32_s32(v))
    }
    #[inline(always)]
    fn to_integers(self, v: Self::V) -> Self::I {
        both!(vcvtnq_s32_f32(v))
    }
    #[inline(always)]
    fn float_bits(self, v: Self::I) -> Self::V {
        both!(vreinterpretq_f32_s32(v))
    }
    #[inline(always)]
    fn f16_pairs(self, v: Self::I) -> [Self::V; 2] {
        let [a, b] = both!(vreinterpretq_u16_s32(v));
        // SAFETY: `self` proves NEON.
        unsafe { [widened(vuzp1q_u16(a, b)), widened(vuzp2q_u16(a, b))] }
    }

    #[inline(always)]
    unsafe fn load_lanes(self, from: *const u8, _: usize) -> Self::I {
        let from = from.cast::<i32>();
        // SAFETY: `self` proves NEON; the caller has the bytes.
        unsafe { [vld1q_s32(from), vld1q_s32(from.add(4))] }
    }
    #[inline(always)]
    unsafe fn load_f16s(self, from: *const u8, _: usize) -> Self::V {
        // SAFETY: `self` proves NEON; the caller has the bytes.
        widened(unsafe { vld1q_u16(from.cast()) })
    }
    #[inline(always)]
    unsafe fn load_transposed(self, from: *const u8, stride: usize) -> [Self::I; 4] {
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
        // SAFETY: no instruction at all.
        unsafe { asm!("/* {0} */", inout(reg) at, options(nomem, nostack, preserves_flags)) };
        at
    }
}

/// Half floats by their bits, as floats.
#[inline(always)]
pub(super) fn widened(halves: uint16x8_t) -> [float32x4_t; 2] {
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
pub(super) fn bytes(v: [int32x4_t; 2]) -> [int8x16_t; 2] {
    both!(vreinterpretq_s8_s32(v))
}

/// The lanes that bytes make.
#[inline(always)]
pub(super) fn lanes(v: [int8x16_t; 2]) -> [int32x4_t; 2] {
    both!(vreinterpretq_s32_s8(v))
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
