//! The f32 kernel, and widening of 16-bit floats.

// `t` and `r` name tokens and rows of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::super::super::floats::{FloatKernel, LANES, ROWS, add_lanes};
use super::{Avx2, lanes};
use core::arch::x86_64::*;
use ondol_models::quant::{DType, dequantize};

impl FloatKernel for Avx2 {
    fn products<const T: usize>(self, w: [&[f32]; ROWS], x: [&[f32]; T]) -> [[f32; ROWS]; T] {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { products(w, x) }
    }

    fn widen(self, dtype: DType, row: &[u8], to: &mut [f32]) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { widen(dtype, row, to) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn products<const T: usize>(w: [&[f32]; ROWS], x: [&[f32]; T]) -> [[f32; ROWS]; T] {
    let w = w.map(|w| w.as_chunks::<LANES>().0);
    let x = x.map(|x| x.as_chunks::<LANES>().0);
    let len = w
        .iter()
        .chain(&x)
        .fold(usize::MAX, |len, v| len.min(v.len()));
    let mut acc = [[_mm256_setzero_ps(); ROWS]; T];
    for i in 0..len {
        for t in 0..T {
            // SAFETY: `i` is below all lengths, and each element is 8 floats.
            let x = unsafe { _mm256_loadu_ps(x[t].as_ptr().add(i).cast()) };
            for r in 0..ROWS {
                // SAFETY: as above.
                let w = unsafe { _mm256_loadu_ps(w[r].as_ptr().add(i).cast()) };
                acc[t][r] = _mm256_fmadd_ps(w, x, acc[t][r]);
            }
        }
    }
    // SAFETY: the features are enabled here.
    acc.map(|acc| acc.map(|acc| add_lanes(unsafe { lanes(acc) })))
}

/// As [`dequantize`], which is compiled for this level here; 16-bit floats by
/// hand.
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(dtype: DType, blocks: &[u8], to: &mut [f32]) {
    let whole = match dtype {
        DType::F16 | DType::BF16 => to.len() / LANES * LANES,
        _ => 0,
    };
    let (vectors, rest) = to.split_at_mut(whole);
    for (from, to) in blocks
        .as_chunks::<16>()
        .0
        .iter()
        .zip(vectors.as_chunks_mut::<LANES>().0)
    {
        // SAFETY: the arrays are as long as the vectors.
        unsafe {
            let halves = _mm_loadu_si128(from.as_ptr().cast());
            let floats = match dtype {
                DType::F16 => _mm256_cvtph_ps(halves),
                _ => {
                    let bits = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves));
                    _mm256_castsi256_ps(bits)
                }
            };
            _mm256_storeu_ps(to.as_mut_ptr(), floats);
        }
    }
    let result = dequantize(dtype, &blocks[2 * whole..], rest);
    debug_assert!(result.is_ok(), "chunks are whole blocks");
}
