//! The arithmetic of one block: what it keeps of the weights (which is also
//! what a panel in scratch is made of), and how that meets activations.
//!
//! Low-bit levels are unsigned and multiply 8-bit activations by `maddubs`,
//! whose results add up in 16 bits as long as they fit: `DEPTH` of them do, if
//! 2 * DEPTH * 128 * (largest level) < 2^15. Then they widen to 32 bits.
// `p` and `t` name panels and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::super::super::acts::{ActBlock, I8Block, I16Block, Meta, SplitBlock};
use super::Block;
use core::arch::x86_64::*;
use core::mem::size_of;

/// Levels with one scale and minimum for 32 elements.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Whole<const DEPTH: usize> {
    q: [__m256i; 8],
    scale: __m256,
    min: __m256,
}

/// Levels with one scale for 32 elements, integer scales and minima for 16.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Halves<const DEPTH: usize> {
    q: [__m256i; 8],
    scale: __m256,
    sub: [__m256i; 2],
    min: [__m256; 2],
}

/// Signed levels of 8 bits, widened: lane `r` of vector `2j` holds elements
/// 4j and 4j + 2 of row `r`, of vector `2j + 1` elements 4j + 1 and 4j + 3.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Wide {
    q: [__m256i; 16],
    scale: __m256,
}

/// Bytes of the largest of these types.
pub(super) const fn max_bytes() -> usize {
    size_of::<Wide>()
}

const _: () = assert!(size_of::<Halves<8>>() <= max_bytes());
const _: () = assert!(size_of::<Whole<8>>() <= max_bytes());

/// What the arithmetic keeps of a block of weights.
pub(super) trait Packed: Copy {
    unsafe fn pack(block: &Block) -> Self;
    fn scale(&self) -> __m256;
    /// Adds the minima times the activations' sums.
    unsafe fn add_min(&self, x: &Meta, acc: __m256) -> __m256;
}

/// Weights that can multiply activations in blocks of type `A`.
pub(super) trait Product<A: ActBlock>: Packed {
    /// The sums of `sub * q * x` of `P` panels' blocks with `T` tokens' blocks.
    unsafe fn dots<const P: usize, const T: usize>(w: [&Self; P], x: [&A; T]) -> [[__m256; T]; P];
}

/// `acc` plus the products of `P` panels' blocks with `T` tokens' blocks.
#[inline(always)]
pub(super) unsafe fn accumulate<W: Product<A>, A: ActBlock, const P: usize, const T: usize>(
    acc: &mut [[__m256; T]; P],
    w: [&W; P],
    x: [&A; T],
) {
    // SAFETY: see the module `avx2` for features.
    unsafe {
        let dots = W::dots(w, x);
        for t in 0..T {
            let scale = _mm256_set1_ps(x[t].meta().scale);
            for p in 0..P {
                let scale = _mm256_mul_ps(w[p].scale(), scale);
                let sum = _mm256_fmadd_ps(dots[p][t], scale, acc[p][t]);
                acc[p][t] = w[p].add_min(x[t].meta(), sum);
            }
        }
    }
}

impl<const DEPTH: usize> Packed for Whole<DEPTH> {
    #[inline(always)]
    unsafe fn pack(block: &Block) -> Self {
        Whole {
            q: block.q,
            scale: block.scale,
            min: block.min[0],
        }
    }

    #[inline(always)]
    fn scale(&self) -> __m256 {
        self.scale
    }

    #[inline(always)]
    unsafe fn add_min(&self, x: &Meta, acc: __m256) -> __m256 {
        // SAFETY: see the module `avx2` for features.
        unsafe { _mm256_fmadd_ps(self.min, _mm256_set1_ps(x.sum), acc) }
    }
}

impl<const DEPTH: usize> Packed for Halves<DEPTH> {
    #[inline(always)]
    unsafe fn pack(block: &Block) -> Self {
        Halves {
            q: block.q,
            scale: block.scale,
            sub: block.sub,
            min: block.min,
        }
    }

    #[inline(always)]
    fn scale(&self) -> __m256 {
        self.scale
    }

    #[inline(always)]
    unsafe fn add_min(&self, x: &Meta, acc: __m256) -> __m256 {
        let [a, b] = x.half_sums;
        // SAFETY: see the module `avx2` for features.
        unsafe {
            let acc = _mm256_fmadd_ps(self.min[0], _mm256_set1_ps(a), acc);
            _mm256_fmadd_ps(self.min[1], _mm256_set1_ps(b), acc)
        }
    }
}

impl Packed for Wide {
    #[inline(always)]
    unsafe fn pack(block: &Block) -> Self {
        // SAFETY: see the module `avx2` for features.
        unsafe {
            let mut q = [_mm256_setzero_si256(); 16];
            for j in 0..8 {
                q[2 * j] = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(block.q[j]));
                q[2 * j + 1] = _mm256_srai_epi16::<8>(block.q[j]);
            }
            Wide {
                q,
                scale: block.scale,
            }
        }
    }

    #[inline(always)]
    fn scale(&self) -> __m256 {
        self.scale
    }

    #[inline(always)]
    unsafe fn add_min(&self, _: &Meta, acc: __m256) -> __m256 {
        acc
    }
}

/// How low-bit weights turn one plane of 8-bit activations into 32-bit sums.
trait Plane {
    unsafe fn plane<const P: usize, const T: usize>(
        w: [&Self; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256i; T]; P];
}

impl<const DEPTH: usize> Plane for Whole<DEPTH> {
    #[inline(always)]
    unsafe fn plane<const P: usize, const T: usize>(
        w: [&Self; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256i; T]; P] {
        // SAFETY: see the module `avx2` for features.
        unsafe {
            let mut total = [[_mm256_setzero_si256(); T]; P];
            let one = _mm256_set1_epi16(1);
            for first in (0..8).step_by(DEPTH) {
                let q = w.map(|w| &w.q);
                widen(&mut total, sum16::<DEPTH, P, T>(q, x, first), [one; P]);
            }
            total
        }
    }
}

impl<const DEPTH: usize> Plane for Halves<DEPTH> {
    #[inline(always)]
    unsafe fn plane<const P: usize, const T: usize>(
        w: [&Self; P],
        x: [&[i8; 32]; T],
    ) -> [[__m256i; T]; P] {
        // SAFETY: see the module `avx2` for features.
        unsafe {
            let mut total = [[_mm256_setzero_si256(); T]; P];
            for first in (0..8).step_by(DEPTH) {
                let q = w.map(|w| &w.q);
                let sub = w.map(|w| w.sub[first / 4]);
                widen(&mut total, sum16::<DEPTH, P, T>(q, x, first), sub);
            }
            total
        }
    }
}

/// Sums in 16 bits of vectors `first..first + DEPTH` times activations.
#[inline(always)]
unsafe fn sum16<const DEPTH: usize, const P: usize, const T: usize>(
    w: [&[__m256i; 8]; P],
    x: [&[i8; 32]; T],
    first: usize,
) -> [[__m256i; T]; P] {
    // SAFETY: four activations lie at 4 * j < 32; see the module `avx2` for features.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); T]; P];
        for j in first..first + DEPTH {
            for t in 0..T {
                let four = x[t].as_ptr().add(4 * j).cast::<i32>().read_unaligned();
                let four = _mm256_set1_epi32(four);
                for p in 0..P {
                    let product = _mm256_maddubs_epi16(w[p][j], four);
                    sums[p][t] = _mm256_add_epi16(sums[p][t], product);
                }
            }
        }
        sums
    }
}

/// Adds pairs of 16-bit sums, times `by`, to 32-bit totals.
#[inline(always)]
unsafe fn widen<const P: usize, const T: usize>(
    total: &mut [[__m256i; T]; P],
    sums: [[__m256i; T]; P],
    by: [__m256i; P],
) {
    for p in 0..P {
        for t in 0..T {
            // SAFETY: see the module `avx2` for features.
            total[p][t] =
                unsafe { _mm256_add_epi32(total[p][t], _mm256_madd_epi16(sums[p][t], by[p])) };
        }
    }
}

impl<W: Packed + Plane> Product<I8Block> for W {
    #[inline(always)]
    unsafe fn dots<const P: usize, const T: usize>(
        w: [&W; P],
        x: [&I8Block; T],
    ) -> [[__m256; T]; P] {
        // SAFETY: see the module `avx2` for features.
        unsafe {
            let sums = W::plane(w, x.map(|x| &x.q));
            let mut dots = [[_mm256_setzero_ps(); T]; P];
            for p in 0..P {
                for t in 0..T {
                    dots[p][t] = _mm256_cvtepi32_ps(sums[p][t]);
                }
            }
            dots
        }
    }
}

impl<W: Packed + Plane> Product<SplitBlock> for W {
    #[inline(always)]
    unsafe fn dots<const P: usize, const T: usize>(
        w: [&W; P],
        x: [&SplitBlock; T],
    ) -> [[__m256; T]; P] {
        // SAFETY: see the module `avx2` for features.
        unsafe {
            let high = W::plane(w, x.map(|x| &x.high));
            let low = W::plane(w, x.map(|x| &x.low));
            let mut dots = [[_mm256_setzero_ps(); T]; P];
            for p in 0..P {
                for t in 0..T {
                    dots[p][t] = _mm256_fmadd_ps(
                        _mm256_cvtepi32_ps(high[p][t]),
                        _mm256_set1_ps(256.0),
                        _mm256_cvtepi32_ps(low[p][t]),
                    );
                }
            }
            dots
        }
    }
}

impl Product<I16Block> for Wide {
    #[inline(always)]
    unsafe fn dots<const P: usize, const T: usize>(
        w: [&Wide; P],
        x: [&I16Block; T],
    ) -> [[__m256; T]; P] {
        // SAFETY: two activations lie at 2 * j < 32; see the module `avx2` for features.
        unsafe {
            let mut sums = [[_mm256_setzero_si256(); T]; P];
            for j in 0..16 {
                for t in 0..T {
                    let two = x[t].q.as_ptr().add(2 * j).cast::<i32>().read_unaligned();
                    let two = _mm256_set1_epi32(two);
                    for p in 0..P {
                        let product = _mm256_madd_epi16(w[p].q[j], two);
                        sums[p][t] = _mm256_add_epi32(sums[p][t], product);
                    }
                }
            }
            let mut dots = [[_mm256_setzero_ps(); T]; P];
            for p in 0..P {
                for t in 0..T {
                    dots[p][t] = _mm256_cvtepi32_ps(sums[p][t]);
                }
            }
            dots
        }
    }
}
