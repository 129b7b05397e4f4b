//! What the cache is made of: half floats, blocks of integers with a scale, or floats.

use half::f16;

use crate::generic::simd::{LANES, Simd};
use crate::generic::vector::{Q8Block, rows};

/// What keys and values are made of in a cache.
///
/// # Safety
/// Any bytes are a value, there is no padding, and the alignment is at most four.
pub unsafe trait Cell: Copy + Send + Sync + 'static {
    /// Numbers of a cell.
    const LEN: usize;
    /// Numbers that a loop takes at a time, so that the compiler sees what they
    /// share: one scale.
    const STRIP: usize = if Self::LEN > LANES { Self::LEN } else { LANES };

    /// Numbers `at..at + 8` of a row of cells, where `at` is a multiple of eight.
    ///
    /// # Safety
    /// The row has them: in the loops over heads and keys the checks would cost
    /// as much as the arithmetic.
    unsafe fn eight<S: Simd>(s: S, row: &[Self], at: usize) -> S::V;

    /// Number `at` of a row of cells.
    fn one(row: &[Self], at: usize) -> f32;

    /// The numbers of a row of cells, all of them.
    fn to_f32<S: Simd>(s: S, row: &[Self], out: &mut [f32]);
}

// SAFETY: any two bytes are a half float.
unsafe impl Cell for f16 {
    const LEN: usize = 1;

    #[inline(always)]
    unsafe fn eight<S: Simd>(s: S, row: &[f16], at: usize) -> S::V {
        debug_assert!(at + LANES <= row.len());
        // SAFETY: the eight are inside the row by the caller's word.
        s.load_f16(unsafe { &*row.as_ptr().add(at).cast() })
    }
    #[inline(always)]
    fn one(row: &[f16], at: usize) -> f32 {
        row[at].to_f32()
    }
    #[inline(always)]
    fn to_f32<S: Simd>(s: S, row: &[f16], out: &mut [f32]) {
        rows::f16_to_f32(s, row, out);
    }
}

// SAFETY: `repr(C)`, a half float and bytes: aligned to two, 34 bytes.
unsafe impl Cell for Q8Block {
    const LEN: usize = Q8Block::LEN;

    #[inline(always)]
    unsafe fn eight<S: Simd>(s: S, row: &[Q8Block], at: usize) -> S::V {
        debug_assert!(at + LANES <= row.len() * Q8Block::LEN);
        // SAFETY: the block is inside the row by the caller's word.
        let block = unsafe { row.get_unchecked(at / Q8Block::LEN) };
        block.eight(s, at % Q8Block::LEN / LANES)
    }
    #[inline(always)]
    fn one(row: &[Q8Block], at: usize) -> f32 {
        let block = &row[at / Q8Block::LEN];
        block.scale.to_f32() * f32::from(block.q[at % Q8Block::LEN])
    }
    #[inline(always)]
    fn to_f32<S: Simd>(s: S, row: &[Q8Block], out: &mut [f32]) {
        rows::q8_0_to_f32(s, row, out);
    }
}

// SAFETY: any four bytes are a float.
unsafe impl Cell for f32 {
    const LEN: usize = 1;

    #[inline(always)]
    unsafe fn eight<S: Simd>(s: S, row: &[f32], at: usize) -> S::V {
        debug_assert!(at + LANES <= row.len());
        // SAFETY: the eight are inside the row by the caller's word.
        s.load(unsafe { &*row.as_ptr().add(at).cast() })
    }
    #[inline(always)]
    fn one(row: &[f32], at: usize) -> f32 {
        row[at]
    }
    #[inline(always)]
    fn to_f32<S: Simd>(_: S, row: &[f32], out: &mut [f32]) {
        out.copy_from_slice(row);
    }
}
