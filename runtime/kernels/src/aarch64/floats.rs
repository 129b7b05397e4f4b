//! Rows of floats by NEON.

use super::lanes::{Neon, V, both_ops, widened};
use crate::generic::simd::{EXPONENT_MAGIC, LANES, Simd, ops};
use core::arch::aarch64::*;
use half::f16;

impl Simd for Neon {
    ops! {
        fn splat_f16(x: f16) -> V: "`dup`, `fcvtl`" = widened(vdupq_n_u16(x.to_bits()));
        fn sum(v: V) -> f32: "`fadd`, `faddp`" = {
            let half = vaddq_f32(v[0], v[1]);
            vpadds_f32(vget_low_f32(vpaddq_f32(half, half)))
        };
        fn max_lane(v: V) -> f32: "`fmaxnm`, `fmaxnmv`" = vmaxnmvq_f32(vmaxnmq_f32(v[0], v[1]));
        fn unzip(a: V, b: V) -> (V, V): "`uzp1`, `uzp2`" = (
            [vuzp1q_f32(a[0], a[1]), vuzp1q_f32(b[0], b[1])],
            [vuzp2q_f32(a[0], a[1]), vuzp2q_f32(b[0], b[1])],
        );
        fn zip(even: V, odd: V) -> (V, V): "`zip1`, `zip2`" = (
            [vzip1q_f32(even[0], odd[0]), vzip2q_f32(even[0], odd[0])],
            [vzip1q_f32(even[1], odd[1]), vzip2q_f32(even[1], odd[1])],
        );
    }
    both_ops! {
        fn add(a: V, b: V) -> V: "`fadd`" = vaddq_f32(a, b);
        fn sub(a: V, b: V) -> V: "`fsub`" = vsubq_f32(a, b);
        // Not `fmin`, which keeps a NaN of `a`.
        fn min(a: V, b: V) -> V: "`fcmgt`, `bsl`" = vbslq_f32(vcltq_f32(a, b), a, b);
        fn select_lt(a: V, b: V, x: V, y: V) -> V: "`fcmgt`, `bsl`" =
            vbslq_f32(vcltq_f32(a, b), x, y);
        fn exp2_whole(n: V) -> V: "`fadd`, `shl`" = {
            let biased = vaddq_f32(n, vdupq_n_f32(EXPONENT_MAGIC));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(vreinterpretq_s32_f32(biased)))
        };
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> V {
        let x = x.as_ptr();
        // SAFETY: `self` proves NEON; the array has the 32 bytes that are read.
        unsafe { [vld1q_f32(x), vld1q_f32(x.add(4))] }
    }
    #[inline(always)]
    fn store(self, v: V, out: &mut [f32; LANES]) {
        let out = out.as_mut_ptr();
        // SAFETY: `self` proves NEON; the array has the 32 bytes that are written.
        unsafe {
            vst1q_f32(out, v[0]);
            vst1q_f32(out.add(4), v[1]);
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> V {
        // SAFETY: `self` proves NEON; the array has the 16 bytes that are read.
        widened(unsafe { vld1q_u16(x.as_ptr().cast()) })
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> V {
        // SAFETY: `self` proves NEON; the array has the 8 bytes that are read.
        unsafe {
            let x = vmovl_s8(vld1_s8(x.as_ptr()));
            let (low, high) = (vmovl_s16(vget_low_s16(x)), vmovl_high_s16(x));
            [vcvtq_f32_s32(low), vcvtq_f32_s32(high)]
        }
    }
    #[inline(always)]
    fn store_f16(self, v: V, out: &mut [f16; LANES]) {
        // SAFETY: `self` proves NEON; the array has the 16 bytes that are written.
        unsafe {
            let halves = vcvt_high_f16_f32(vcvt_f16_f32(v[0]), v[1]);
            vst1q_u16(out.as_mut_ptr().cast(), vreinterpretq_u16_f16(halves));
        }
    }
    #[inline(always)]
    fn store_low_8(self, v: [V; 4], out: &mut [i8; 4 * LANES]) {
        for (v, out) in v.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<16>().0) {
            let (low, high) = (low_16(v[0]), low_16(v[1]));
            // SAFETY: `self` proves NEON; the array has the 16 bytes that are written.
            unsafe {
                let bytes = vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
                vst1q_u8(out.as_mut_ptr().cast(), bytes);
            }
        }
    }
    #[inline(always)]
    fn store_low_16(self, v: [V; 4], out: &mut [i16; 4 * LANES]) {
        let order = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15_u8];
        for (v, out) in v.iter().zip(out.as_chunks_mut::<8>().0) {
            // SAFETY: `self` proves NEON; the arrays have the 16 bytes that are
            // read and written.
            unsafe {
                let order = vld1q_u8(order.as_ptr());
                let numbers = vqtbl1q_u8(vreinterpretq_u8_u16(low_16(*v)), order);
                vst1q_u8(out.as_mut_ptr().cast(), numbers);
            }
        }
    }
    #[inline(always)]
    fn sum4(self, v: [V; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        // SAFETY: `self` proves NEON; the array has the 16 bytes that are written.
        unsafe {
            let half = |i: usize| vaddq_f32(v[i][0], v[i][1]);
            let (first, second) = (vpaddq_f32(half(0), half(1)), vpaddq_f32(half(2), half(3)));
            vst1q_f32(sums.as_mut_ptr(), vpaddq_f32(first, second));
        }
        sums
    }
}

/// The lowest 16 bits of each lane.
#[inline(always)]
fn low_16(v: V) -> uint16x8_t {
    // SAFETY: who has a vector has NEON.
    unsafe { vuzp1q_u16(vreinterpretq_u16_f32(v[0]), vreinterpretq_u16_f32(v[1])) }
}
