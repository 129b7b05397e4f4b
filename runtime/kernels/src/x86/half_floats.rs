//! Half floats in prefill: rounded to 14 bits in blocks of 32, exactly as their
//! activations are ([`ActKind::I14`](crate::ActKind::I14)), since
//! integers multiply twice as fast as floats where 16-bit products add in pairs.

use super::ymm::Avx2;
use crate::generic::acts::{BLOCK, I16Block, Meta};
use crate::generic::floats::{BF16, Element, F16};
use crate::generic::matmul::{Arithmetic, I16Panel, Rows};
use crate::generic::matrix::{Call, Matrix};
use crate::generic::simd::{Integers, LANES, Simd};
use core::mem::offset_of;
use core::ops::Range;
use ondol_models::quant::DType;

/// Multiplies rows of half floats with the activations of all tokens.
pub(super) fn matmul<L>(l: L, call: Call)
where
    L: Arithmetic<Floats = Avx2, Wide = [<L as Integers>::I; 16]> + Into<Avx2>,
{
    match call.w.dtype() {
        DType::F16 => l.gemm::<I16Panel<L>, I16Block>(
            call,
            #[inline(always)]
            |l, w, run, staging, to| fill::<L, F16>(l, w, run, staging, to),
        ),
        DType::BF16 => l.gemm::<I16Panel<L>, I16Block>(
            call,
            #[inline(always)]
            |l, w, run, staging, to| fill::<L, BF16>(l, w, run, staging, to),
        ),
        dtype => unreachable!("{dtype} is not a half float"),
    }
}

/// Bytes of a block of halves.
const BLOCK_BYTES: usize = 2 * BLOCK;

/// A block of halves as floats.
#[inline(always)]
fn widen<E: Element>(s: Avx2, halves: &[u8; BLOCK_BYTES]) -> [f32; BLOCK] {
    let mut x = [0.0; BLOCK];
    for (i, x) in x.as_chunks_mut().0.iter_mut().enumerate() {
        // SAFETY: four times eight halves are there.
        s.store(unsafe { E::load(s, halves.as_ptr().add(2 * LANES * i)) }, x);
    }
    x
}

/// Rounds a row, as [`ActKind::I14`](crate::ActKind::I14) says; zeros
/// follow it.
///
/// # Safety
/// `to` has room for the row's blocks.
#[inline(always)]
unsafe fn round_row<E: Element>(s: Avx2, row: &[u8], to: *mut I16Block) {
    let (blocks, rest) = row.as_chunks::<BLOCK_BYTES>();
    for (b, halves) in blocks.iter().enumerate() {
        // SAFETY: the caller has the room; the write is unaligned.
        unsafe {
            to.add(b)
                .write_unaligned(I16Block::of_14_bits(s, &widen::<E>(s, halves)))
        };
    }
    if !rest.is_empty() {
        let mut halves = [0; BLOCK_BYTES];
        halves[..rest.len()].copy_from_slice(rest);
        let block = I16Block::of_14_bits(s, &widen::<E>(s, &halves));
        // SAFETY: as above.
        unsafe { to.add(blocks.len()).write_unaligned(block) };
    }
}

/// Unpacks a run of rows to a panel, rounded.
#[inline(always)]
fn fill<L, E: Element>(
    l: L,
    w: &Matrix,
    run: &Range<usize>,
    staging: &mut [u8],
    panel: *mut I16Panel<L>,
) where
    L: Arithmetic<Floats = Avx2, Wide = [<L as Integers>::I; 16]> + Into<Avx2>,
{
    let blocks = w.cols().div_ceil(BLOCK);
    let stride = blocks * size_of::<I16Block>();
    for lane in 0..L::COUNT {
        let row = w.row_data((run.start + lane).min(run.end - 1), 1);
        let to = staging[lane * stride..][..stride].as_mut_ptr().cast();
        // SAFETY: `stride` bytes are the room of a row's blocks.
        unsafe { round_row::<E>(l.into(), row, to) };
    }
    let rows = Rows::staged(l, staging, stride);
    for b in 0..blocks {
        let at = b * size_of::<I16Block>();
        // SAFETY: the rows have this block, and `gemm` gives room for it.
        unsafe {
            let (first, second) = (rows.load32(at), rows.load32(at + 32));
            let mut q = [l.splat_i32(0); 16];
            q[..8].copy_from_slice(&first);
            q[8..].copy_from_slice(&second);
            let scale = at + offset_of!(I16Block, meta) + offset_of!(Meta, scale);
            let scale = l.float_bits(rows.load_u32(scale));
            panel.add(b).write(I16Panel { q, scale });
        }
    }
}
