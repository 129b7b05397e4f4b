//! The formats in blocks of 32. Their fields are described at the formats
//! themselves, in `ondol_models::quant`.
#![allow(non_camel_case_types)]

use super::panel::Whole;
use super::{Arithmetic, Block, Format, Lanes, LowBit, Rows, Sink};
use ondol_models::quant::{iq4::CODEBOOK, mxfp4::E2M1_DOUBLED};

pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q5_0;
pub(super) struct Q5_1;
pub(super) struct Q8_0;
pub(super) struct IQ4_NL;
pub(super) struct MXFP4;

impl LowBit for Q4_0 {
    type Panel<L: Arithmetic> = Whole<L, 8>;
}

impl Format for Q4_0 {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..18 * blocks).step_by(18) {
            // SAFETY: the rows have this block.
            unsafe {
                rows.prefetch(at, 18);
                let q = nibbles(l, rows.load16(at + 2));
                sink.block(&centred(l, q, rows.load_f16(at), 8.0));
            }
        }
    }
}

impl LowBit for Q4_1 {
    type Panel<L: Arithmetic> = Whole<L, 8>;
}

impl Format for Q4_1 {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..20 * blocks).step_by(20) {
            // SAFETY: the rows have this block.
            unsafe {
                rows.prefetch(at, 20);
                let q = nibbles(l, rows.load16(at + 4));
                let [d, m] = l.f16_pairs(rows.load_u32(at));
                sink.block(&Block::new(l, q, d).with_min(m));
            }
        }
    }
}

impl LowBit for Q5_0 {
    type Panel<L: Arithmetic> = Whole<L, 4>;
}

impl Format for Q5_0 {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..22 * blocks).step_by(22) {
            // SAFETY: the rows have this block.
            unsafe {
                rows.prefetch(at, 22);
                let q = fifth_bits(l, nibbles(l, rows.load16(at + 6)), rows.load_u32(at + 2));
                sink.block(&centred(l, q, rows.load_f16(at), 16.0));
            }
        }
    }
}

impl LowBit for Q5_1 {
    type Panel<L: Arithmetic> = Whole<L, 4>;
}

impl Format for Q5_1 {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..24 * blocks).step_by(24) {
            // SAFETY: the rows have this block.
            unsafe {
                rows.prefetch(at, 24);
                let q = fifth_bits(l, nibbles(l, rows.load16(at + 8)), rows.load_u32(at + 4));
                let [d, m] = l.f16_pairs(rows.load_u32(at));
                sink.block(&Block::new(l, q, d).with_min(m));
            }
        }
    }
}

impl Format for Q8_0 {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..34 * blocks).step_by(34) {
            // SAFETY: the rows have this block.
            unsafe {
                rows.prefetch(at, 34);
                sink.block(&Block::new(l, rows.load32(at + 2), rows.load_f16(at)));
            }
        }
    }
}

impl Format for IQ4_NL {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..18 * blocks).step_by(18) {
            // SAFETY: the rows have this block.
            unsafe {
                rows.prefetch(at, 18);
                let q = look_up(l, &CODEBOOK, nibbles(l, rows.load16(at + 2)));
                sink.block(&Block::new(l, q, rows.load_f16(at)));
            }
        }
    }
}

impl LowBit for MXFP4 {
    // Levels are at most 24: 2 * 4 * 128 * 24 fits in 15 bits.
    type Panel<L: Arithmetic> = Whole<L, 4>;
}

impl Format for MXFP4 {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        const LEVELS: [i8; 16] = {
            let mut levels = E2M1_DOUBLED;
            let mut i = 0;
            while i < 16 {
                levels[i] += 12;
                i += 1;
            }
            levels
        };
        for at in (0..17 * blocks).step_by(17) {
            // SAFETY: the rows have this block.
            unsafe {
                rows.prefetch(at, 17);
                let q = look_up(l, &LEVELS, nibbles(l, rows.load16(at + 1)));
                sink.block(&centred(l, q, e8m0_half(l, rows.load_u8(at)), 12.0));
            }
        }
    }
}

/// A block whose level `centre` stands for zero.
#[inline(always)]
fn centred<L: Lanes>(l: L, q: [L::I; 8], scale: L::V, centre: f32) -> Block<L> {
    Block::new(l, q, scale).with_min(l.mul(scale, l.splat(-centre)))
}

/// The low nibbles of 16 bytes of each row, then the high ones.
#[inline(always)]
pub(super) fn nibbles<L: Lanes>(l: L, v: [L::I; 4]) -> [L::I; 8] {
    let mut q = [l.splat_i8(15); 8];
    for j in 0..4 {
        q[j + 4] = l.and(l.shr_16::<4>(v[j]), q[j]);
        q[j] = l.and(v[j], q[j]);
    }
    q
}

/// The table's entries for levels of 4 bits.
#[inline(always)]
pub(super) fn look_up<L: Lanes>(l: L, table: &[i8; 16], mut q: [L::I; 8]) -> [L::I; 8] {
    let table = l.splat_16(table);
    for v in &mut q {
        *v = l.shuffle(table, *v);
    }
    q
}

/// Adds to each nibble its fifth bit: bit `i` of the row's 32 for element `i`.
#[inline(always)]
fn fifth_bits<L: Lanes>(l: L, mut q: [L::I; 8], bits: L::I) -> [L::I; 8] {
    // Byte i of a lane looks at bit i of its four: 1, 2, 4 or 8, or zero.
    let own = l.splat_i32(0x0804_0201);
    let sixteen_if_set = l.splat_16(&[0, 16, 16, 0, 16, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0]);
    let mut spread = l.splat_16(&[0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12]);
    for j in 0..4 {
        // Byte j of the row's bits, in all bytes of the lane.
        let byte = l.shuffle(bits, spread);
        let low = l.and(byte, own);
        let high = l.and(l.shr_16::<4>(byte), own);
        q[2 * j] = l.or(q[2 * j], l.shuffle(sixteen_if_set, low));
        q[2 * j + 1] = l.or(q[2 * j + 1], l.shuffle(sixteen_if_set, high));
        spread = l.add_i8(spread, l.splat_i8(1));
    }
    q
}

/// `2^(e - 128)`, as `ondol_models::quant::mxfp4::e8m0_half` has it.
#[inline(always)]
fn e8m0_half<L: Lanes>(l: L, e: L::I) -> L::V {
    let normal = l.shl_32::<23>(l.add_i32(e, l.splat_i32(-1)));
    // 2^-128 and 2^-127 are subnormal: bits 21 and 22.
    let subnormal = l.shl_32::<21>(l.add_i32(e, l.splat_i32(1)));
    l.float_bits(l.select_gt_i32(e, l.splat_i32(1), normal, subnormal))
}
