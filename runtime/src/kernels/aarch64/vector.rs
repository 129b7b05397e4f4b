//! Eight `f32` lanes by NEON.

use core::arch::aarch64::*;

use half::f16;

use super::Neon;
use super::qpair::{both, widened};
use crate::kernels::vector::impl_vector_ops;
use crate::kernels::vector::simd::{EXPONENT_MAGIC, LANES, Op, Simd};

impl_vector_ops!(Neon, [inline]);

// In the whole implementation below, an intrinsic that only computes needs no
// more than NEON, of which `self` is the proof; loads and stores are unaligned
// ones through references to whole arrays.
impl Simd for Neon {
    type V = [float32x4_t; 2];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: `self` proves NEON.
        [unsafe { vdupq_n_f32(x) }; 2]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        let x = x.as_ptr();
        // SAFETY: `self` proves NEON; the array has the 32 bytes that are read.
        unsafe { [vld1q_f32(x), vld1q_f32(x.add(4))] }
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32; LANES]) {
        let out = out.as_mut_ptr();
        // SAFETY: `self` proves NEON; the array has the 32 bytes that are written.
        unsafe {
            vst1q_f32(out, v[0]);
            vst1q_f32(out.add(4), v[1]);
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> Self::V {
        // SAFETY: `self` proves NEON; the array has the 16 bytes that are read.
        widened(unsafe { vld1q_u16(x.as_ptr().cast()) })
    }
    #[inline(always)]
    fn splat_f16(self, x: f16) -> Self::V {
        // SAFETY: `self` proves NEON.
        widened(unsafe { vdupq_n_u16(x.to_bits()) })
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> Self::V {
        // SAFETY: `self` proves NEON; the array has the 8 bytes that are read.
        unsafe {
            let x = vmovl_s8(vld1_s8(x.as_ptr()));
            let (low, high) = (vmovl_s16(vget_low_s16(x)), vmovl_high_s16(x));
            [vcvtq_f32_s32(low), vcvtq_f32_s32(high)]
        }
    }
    #[inline(always)]
    fn store_f16(self, v: Self::V, out: &mut [f16; LANES]) {
        // SAFETY: `self` proves NEON; the array has the 16 bytes that are written.
        unsafe {
            let halves = vcvt_high_f16_f32(vcvt_f16_f32(v[0]), v[1]);
            vst1q_u16(out.as_mut_ptr().cast(), vreinterpretq_u16_f16(halves));
        }
    }
    #[inline(always)]
    fn store_low_8(self, v: [Self::V; 4], out: &mut [i8; 4 * LANES]) {
        for (v, out) in v.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<16>().0) {
            // SAFETY: `self` proves NEON; the array has the 16 bytes that are written.
            unsafe { vst1q_u8(out.as_mut_ptr().cast(), low_bytes(v[0], v[1])) };
        }
    }
    #[inline(always)]
    fn store_low_16(self, v: [Self::V; 4], out: &mut [i16; 4 * LANES]) {
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
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vaddq_f32(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vsubq_f32(a, b))
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vmulq_f32(a, b))
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vdivq_f32(a, b))
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        both!(vfmaq_f32(c, a, b))
    }
    // `fmin` and `fmax` are not these: they keep a NaN of `a`.
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        self.select_lt(a, b, a, b)
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        self.select_lt(b, a, a, b)
    }
    #[inline(always)]
    fn abs(self, v: Self::V) -> Self::V {
        both!(vabsq_f32(v))
    }
    #[inline(always)]
    fn select_lt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        let less = both!(vcltq_f32(a, b));
        both!(vbslq_f32(less, x, y))
    }
    #[inline(always)]
    fn exp2_whole(self, n: Self::V) -> Self::V {
        let biased = self.add(n, self.splat(EXPONENT_MAGIC));
        let biased = both!(vreinterpretq_s32_f32(biased));
        let shifted = both!(vshlq_n_s32::<23>(biased));
        both!(vreinterpretq_f32_s32(shifted))
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        // SAFETY: `self` proves NEON.
        unsafe {
            let half = vaddq_f32(v[0], v[1]);
            vpadds_f32(vget_low_f32(vpaddq_f32(half, half)))
        }
    }
    #[inline(always)]
    fn sum4(self, v: [Self::V; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        // SAFETY: `self` proves NEON; the array has the 16 bytes that are written.
        unsafe {
            let half = |i: usize| vaddq_f32(v[i][0], v[i][1]);
            let (first, second) = (vpaddq_f32(half(0), half(1)), vpaddq_f32(half(2), half(3)));
            vst1q_f32(sums.as_mut_ptr(), vpaddq_f32(first, second));
        }
        sums
    }
    #[inline(always)]
    fn max_lane(self, v: Self::V) -> f32 {
        // SAFETY: `self` proves NEON.
        unsafe { vmaxnmvq_f32(vmaxnmq_f32(v[0], v[1])) }
    }
    #[inline(always)]
    fn unzip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        let (low, high) = ([a[0], b[0]], [a[1], b[1]]);
        (both!(vuzp1q_f32(low, high)), both!(vuzp2q_f32(low, high)))
    }
    #[inline(always)]
    fn zip(self, even: Self::V, odd: Self::V) -> (Self::V, Self::V) {
        let low = both!(vzip1q_f32(even, odd));
        let high = both!(vzip2q_f32(even, odd));
        ([low[0], high[0]], [low[1], high[1]])
    }

    fn run<O: Op<Neon>>(self, op: O) {
        op.run(self);
    }
}

/// The lowest 16 bits of each lane.
#[inline(always)]
fn low_16(v: [float32x4_t; 2]) -> uint16x8_t {
    // SAFETY: who has a vector has NEON.
    unsafe { vuzp1q_u16(vreinterpretq_u16_f32(v[0]), vreinterpretq_u16_f32(v[1])) }
}

/// The lowest 8 bits of each lane of `a`, then of `b`.
#[inline(always)]
fn low_bytes(a: [float32x4_t; 2], b: [float32x4_t; 2]) -> uint8x16_t {
    let (a, b) = (low_16(a), low_16(b));
    // SAFETY: who has a vector has NEON.
    unsafe { vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b)) }
}
