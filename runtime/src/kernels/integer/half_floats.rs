//! Half floats in prefill: rounded to 14 bits in blocks of 32, exactly as their
//! activations are ([`ActKind::I14`](crate::kernels::ActKind::I14)), since
//! integers multiply twice as fast as floats where 16-bit products add in pairs.

use super::Lanes;
use super::gemm::Fill;
use super::rows::{PlainRows, Rows};
use super::wide::{Wide, WideSums};
use crate::kernels::acts::{BLOCK, I16Block, Meta};
use crate::kernels::vector::simd::Simd;
use crate::kernels::{Call, Matrix};
use core::marker::PhantomData;
use core::mem::{offset_of, size_of};
use core::ops::Range;
use half::f16;
use ondol_models::quant::DType;

/// A level whose wide sums take levels of 16 bits too.
pub(in crate::kernels) trait Madd16:
    WideSums<Wide = [<Self as Lanes>::I; 16]>
{
    /// The level's functions on eight floats.
    type Floats: Simd;
    /// A value of it.
    fn floats_level(self) -> Self::Floats;
}

/// Multiplies rows of half floats with the activations of all tokens.
pub(in crate::kernels) fn matmul_halves<L: Madd16>(l: L, call: Call) {
    match call.w.dtype() {
        DType::F16 => l.gemm::<Halves<F16>, Wide<L>, I16Block>(call),
        DType::BF16 => l.gemm::<Halves<BF16>, Wide<L>, I16Block>(call),
        dtype => unreachable!("{dtype} is no half float"),
    }
}

/// Weights of half floats of type `E`.
pub(super) struct Halves<E>(PhantomData<E>);

/// IEEE half floats.
pub(super) struct F16;
/// The upper halves of floats.
pub(super) struct BF16;

/// Bytes of a block of halves.
const BLOCK_BYTES: usize = 2 * BLOCK;

/// How halves become floats.
pub(super) trait Widen {
    fn widen<S: Simd>(s: S, halves: &[u8; BLOCK_BYTES]) -> [f32; BLOCK];
}

impl Widen for F16 {
    #[inline(always)]
    fn widen<S: Simd>(s: S, halves: &[u8; BLOCK_BYTES]) -> [f32; BLOCK] {
        let mut x = [0.0; BLOCK];
        let eights = halves.as_chunks::<16>().0;
        for (x, eight) in x.as_chunks_mut().0.iter_mut().zip(eights) {
            let mut halves = [f16::ZERO; 8];
            for (half, bytes) in halves.iter_mut().zip(eight.as_chunks().0) {
                *half = f16::from_le_bytes(*bytes);
            }
            s.store(s.load_f16(&halves), x);
        }
        x
    }
}

impl Widen for BF16 {
    #[inline(always)]
    fn widen<S: Simd>(_: S, halves: &[u8; BLOCK_BYTES]) -> [f32; BLOCK] {
        let mut x = [0.0; BLOCK];
        for (x, half) in x.iter_mut().zip(halves.as_chunks().0) {
            *x = f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16);
        }
        x
    }
}

/// Rounds a row, as [`ActKind::I14`](crate::kernels::ActKind::I14) says; zeros
/// follow it.
///
/// # Safety
/// `to` has room for the row's blocks.
#[inline(always)]
unsafe fn round_row<S: Simd, E: Widen>(s: S, row: &[u8], to: *mut I16Block) {
    let (blocks, rest) = row.as_chunks::<BLOCK_BYTES>();
    for (b, halves) in blocks.iter().enumerate() {
        // SAFETY: the caller has the room; the write is unaligned.
        unsafe {
            to.add(b)
                .write_unaligned(I16Block::of_14_bits(s, &E::widen(s, halves)))
        };
    }
    if !rest.is_empty() {
        let mut halves = [0; BLOCK_BYTES];
        halves[..rest.len()].copy_from_slice(rest);
        let block = I16Block::of_14_bits(s, &E::widen(s, &halves));
        // SAFETY: as above.
        unsafe { to.add(blocks.len()).write_unaligned(block) };
    }
}

impl<L: Madd16, E: Widen> Fill<L, Wide<L>> for Halves<E> {
    #[inline(always)]
    unsafe fn fill(l: L, w: &Matrix, run: &Range<usize>, bounce: &mut [u8], panel: *mut Wide<L>) {
        let blocks = w.cols().div_ceil(BLOCK);
        let stride = blocks * size_of::<I16Block>();
        for lane in 0..L::COUNT {
            let row = w.row_data((run.start + lane).min(run.end - 1), 1);
            let to = bounce[lane * stride..][..stride]
                .as_mut_ptr()
                .cast::<I16Block>();
            // SAFETY: `stride` bytes are the room of a row's blocks.
            unsafe { round_row::<L::Floats, E>(l.floats_level(), row, to) };
        }
        let rows = PlainRows::in_bounce(l, bounce, stride);
        for b in 0..blocks {
            let at = b * size_of::<I16Block>();
            // SAFETY: the rows have this block, and the panel has room for it.
            unsafe {
                let (first, second) = (rows.load32(at), rows.load32(at + 32));
                let mut q = [l.splat_i32(0); 16];
                q[..8].copy_from_slice(&first);
                q[8..].copy_from_slice(&second);
                let scale = at + offset_of!(I16Block, meta) + offset_of!(Meta, scale);
                let scale = l.float_bits(rows.load_u32(scale));
                panel.add(b).write(Wide::new(q, scale));
            }
        }
    }
}
