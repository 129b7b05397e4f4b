//! The formats in super-blocks of 256. Their fields are described at the
//! formats themselves, in `ondol_models::quant`.
#![allow(non_camel_case_types)]

use super::formats_legacy::{look_up, nibbles};
use super::panel::{Halves, Whole};
use super::rounded::{SUPER, SuperBlocks};
use super::{Arithmetic, Block, Format, Lanes, LowBit, Rows, Sink};
use ondol_models::quant::iq4::CODEBOOK;

pub(super) struct Q2_K;
pub(super) struct Q3_K;
pub(super) struct Q4_K;
pub(super) struct Q5_K;
pub(super) struct Q6_K;
pub(super) struct IQ4_XS;

impl LowBit for Q2_K {
    type Panel<L: Arithmetic> = Halves<L, 4>;
}

impl SuperBlocks for Q2_K {
    const HIGHEST: u8 = 3;
    const HALVES: bool = true;
}

impl Format for Q2_K {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..84 * (blocks / SUPER)).step_by(84) {
            // SAFETY: the rows have this block.
            unsafe {
                let scales = rows.load16(at);
                let [d, dmin] = l.f16_pairs(rows.load_u32(at + 80));
                let dmin = negated(l, dmin);
                for half in 0..2 {
                    rows.prefetch(at + 42 * half, 42);
                    let mut q = rows.load32(at + 16 + 32 * half);
                    for j in 0..4 {
                        let pair = shifted_out(l, scales[2 * half + j / 2], j % 2);
                        let scale = l.and(pair, l.splat_i8(15));
                        let min = l.shr_16::<4>(pair);
                        let min = l.and(min, l.splat_i8(15));
                        let min = scaled(l, dmin, byte_pair(l, min));
                        sink.block(&Block {
                            q: masked(l, q, 3),
                            scale: d,
                            sub: byte_pair(l, scale),
                            min,
                        });
                        q = shifted::<L, 2>(l, q);
                    }
                }
            }
        }
    }
}

impl LowBit for Q3_K {
    type Panel<L: Arithmetic> = Halves<L, 4>;
}

impl SuperBlocks for Q3_K {
    const HIGHEST: u8 = 7;
    const HALVES: bool = true;
}

impl Format for Q3_K {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..110 * (blocks / SUPER)).step_by(110) {
            // SAFETY: the rows have this block.
            unsafe {
                let mut high = rows.load32(at);
                let scales = q3_scales::<L>(l, rows, at + 96);
                let d = rows.load_f16(at + 108);
                let zero = l.mul(d, l.splat(-4.0));
                for half in 0..2 {
                    rows.prefetch(at + 55 * half, 55);
                    let mut low = rows.load32(at + 32 + 32 * half);
                    for j in 0..4 {
                        let q = joined::<L, 2>(l, masked(l, low, 3), masked(l, high, 1));
                        sink.block(&centred(l, q, d, zero, sub(l, &scales, 4 * half + j)));
                        low = shifted::<L, 2>(l, low);
                        high = shifted::<L, 1>(l, high);
                    }
                }
            }
        }
    }
}

impl LowBit for Q4_K {
    type Panel<L: Arithmetic> = Whole<L, 8>;
}

impl SuperBlocks for Q4_K {
    const HIGHEST: u8 = 15;
    const HALVES: bool = false;
}

impl Format for Q4_K {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..144 * (blocks / SUPER)).step_by(144) {
            // SAFETY: the rows have this block.
            unsafe {
                let head = K4Head::load(l, rows, at);
                for group in 0..4 {
                    rows.prefetch(at + 36 * group, 36);
                    let mut q = rows.load32(at + 16 + 32 * group);
                    for j in 2 * group..2 * group + 2 {
                        let (scale, min) = head.scale_min(l, j);
                        sink.block(&Block::new(l, masked(l, q, 15), scale).with_min(min));
                        q = shifted::<L, 4>(l, q);
                    }
                }
            }
        }
    }
}

impl LowBit for Q5_K {
    type Panel<L: Arithmetic> = Whole<L, 4>;
}

impl SuperBlocks for Q5_K {
    const HIGHEST: u8 = 31;
    const HALVES: bool = false;
}

impl Format for Q5_K {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..176 * (blocks / SUPER)).step_by(176) {
            // SAFETY: the rows have this block.
            unsafe {
                let head = K4Head::load(l, rows, at);
                let mut high = rows.load32(at + 16);
                for group in 0..4 {
                    rows.prefetch(at + 44 * group, 44);
                    let mut low = rows.load32(at + 48 + 32 * group);
                    for j in 2 * group..2 * group + 2 {
                        let (scale, min) = head.scale_min(l, j);
                        let q = joined::<L, 4>(l, masked(l, low, 15), masked(l, high, 1));
                        sink.block(&Block::new(l, q, scale).with_min(min));
                        low = shifted::<L, 4>(l, low);
                        high = shifted::<L, 1>(l, high);
                    }
                }
            }
        }
    }
}

impl LowBit for Q6_K {
    type Panel<L: Arithmetic> = Halves<L, 2>;
}

impl SuperBlocks for Q6_K {
    const HIGHEST: u8 = 63;
    const HALVES: bool = true;
}

impl Format for Q6_K {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..210 * (blocks / SUPER)).step_by(210) {
            // SAFETY: the rows have this block.
            unsafe {
                let scales = rows.load16(at + 192);
                let d = rows.load_f16(at + 208);
                let zero = l.mul(d, l.splat(-32.0));
                for half in 0..2 {
                    rows.prefetch(at + 105 * half, 53);
                    rows.prefetch(at + 105 * half + 53, 52);
                    let [a, b, c] = [at + 64 * half, at + 64 * half + 32, at + 128 + 32 * half];
                    let (low, next, high) = (rows.load32(a), rows.load32(b), rows.load32(c));
                    let q = six_bits::<L, 0>(l, low, high);
                    sink.block(&centred(l, q, d, zero, sub(l, &scales, 4 * half)));
                    let high = rows.load32_again(c, high);
                    let q = six_bits::<L, 1>(l, next, high);
                    sink.block(&centred(l, q, d, zero, sub(l, &scales, 4 * half + 1)));
                    let (low, high) = (rows.load32_again(a, low), rows.load32_again(c, high));
                    let q = six_bits::<L, 2>(l, low, high);
                    sink.block(&centred(l, q, d, zero, sub(l, &scales, 4 * half + 2)));
                    let (next, high) = (rows.load32_again(b, next), rows.load32_again(c, high));
                    let q = six_bits::<L, 3>(l, next, high);
                    sink.block(&centred(l, q, d, zero, sub(l, &scales, 4 * half + 3)));
                }
            }
        }
    }
}

impl Format for IQ4_XS {
    #[inline(always)]
    unsafe fn for_each_block<L: Lanes, R: Rows<L>, S: Sink<L>>(
        l: L,
        rows: R,
        blocks: usize,
        sink: &mut S,
    ) {
        for at in (0..136 * (blocks / SUPER)).step_by(136) {
            // SAFETY: the rows have this block.
            unsafe {
                let head = rows.load_u32(at);
                let [d, _] = l.f16_pairs(head);
                let mut high = l.shr_32::<16>(head);
                let mut low = rows.load_u32(at + 4);
                for j in 0..SUPER {
                    rows.prefetch(at + 17 * j, 17);
                    let top = l.and(high, l.splat_i32(3));
                    let bottom = l.and(low, l.splat_i32(15));
                    let scale = l.or(bottom, l.shl_32::<4>(top));
                    let scale = l.add_i32(scale, l.splat_i32(-32));
                    let scale = l.mul(d, l.to_floats(scale));
                    let q = look_up(l, &CODEBOOK, nibbles(l, rows.load16(at + 8 + 16 * j)));
                    sink.block(&Block::new(l, q, scale));
                    high = l.shr_32::<2>(high);
                    low = l.shr_32::<4>(low);
                }
            }
        }
    }
}

/// The scales of a super-block of Q4_K or Q5_K, which begins with `d`, `dmin`
/// and 12 bytes of packed 6-bit numbers.
struct K4Head<L: Lanes> {
    d: L::V,
    /// Minus `dmin`.
    dmin: L::V,
    /// A byte for each block, blocks 0-3 and 4-7.
    scales: [L::I; 2],
    mins: [L::I; 2],
}

impl<L: Lanes> K4Head<L> {
    #[inline(always)]
    unsafe fn load(l: L, rows: impl Rows<L>, at: usize) -> K4Head<L> {
        // SAFETY: the caller has a block there.
        let [ds, scales, mins, rest] = unsafe { rows.load16(at) };
        let [d, dmin] = l.f16_pairs(ds);
        let six = l.splat_i8(0b11_1111);
        let four = l.splat_i8(0b1111);
        let top_two = l.splat_i8(0b11_0000);
        let scales_top = l.and(l.shr_16::<2>(scales), top_two);
        let mins_top = l.and(l.shr_16::<2>(mins), top_two);
        let rest_high = l.and(l.shr_16::<4>(rest), four);
        K4Head {
            d,
            dmin: negated(l, dmin),
            scales: [l.and(scales, six), l.or(l.and(rest, four), scales_top)],
            mins: [l.and(mins, six), l.or(rest_high, mins_top)],
        }
    }

    /// The scale of block `j`, and what it adds.
    #[inline(always)]
    fn scale_min(&self, l: L, j: usize) -> (L::V, L::V) {
        // Byte j % 4 of each lane, alone in the lane.
        let own = l.add_i8(
            l.splat_16(&[0, -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12, -1, -1, -1]),
            l.splat_i32((j % 4) as i32),
        );
        let scale = l.to_floats(l.shuffle(self.scales[j / 4], own));
        let min = l.to_floats(l.shuffle(self.mins[j / 4], own));
        (l.mul(self.d, scale), l.mul(self.dmin, min))
    }
}

/// The 16 scales of Q3_K: byte `i` of lanes of vector `v` is scale `4v + i`.
#[inline(always)]
unsafe fn q3_scales<L: Lanes>(l: L, rows: impl Rows<L>, at: usize) -> [L::I; 4] {
    // SAFETY: the caller has 12 bytes there.
    let (first, second, high) = unsafe {
        (
            rows.load_u32(at),
            rows.load_u32(at + 4),
            rows.load_u32(at + 8),
        )
    };
    let low = [first, second, l.shr_16::<4>(first), l.shr_16::<4>(second)];
    let high = [
        l.shl_16::<4>(high),
        l.shl_16::<2>(high),
        high,
        l.shr_16::<2>(high),
    ];
    let mut scales = low;
    for v in 0..4 {
        let bottom = l.and(low[v], l.splat_i8(0b1111));
        let top = l.and(high[v], l.splat_i8(0b11_0000));
        scales[v] = l.sub_i8(l.or(bottom, top), l.splat_i8(32));
    }
    scales
}

/// The lower (`which` = 0) or upper (1) two bytes of each lane, as its lower two.
#[inline(always)]
fn shifted_out<L: Lanes>(l: L, v: L::I, which: usize) -> L::I {
    match which {
        0 => v,
        _ => l.shr_32::<16>(v),
    }
}

/// The lower two bytes of each lane, signed, as lanes of two vectors.
#[inline(always)]
fn byte_pair<L: Lanes>(l: L, v: L::I) -> [L::I; 2] {
    // The byte at the top of its lane, zeros below.
    let first = l.splat_16(&[-1, -1, -1, 0, -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12]);
    let second = l.splat_16(&[-1, -1, -1, 1, -1, -1, -1, 5, -1, -1, -1, 9, -1, -1, -1, 13]);
    [
        l.sar_32::<24>(l.shuffle(v, first)),
        l.sar_32::<24>(l.shuffle(v, second)),
    ]
}

/// The two integer scales of block `j` of a super-block.
#[inline(always)]
fn sub<L: Lanes>(l: L, scales: &[L::I; 4], j: usize) -> [L::I; 2] {
    byte_pair(l, shifted_out(l, scales[j / 2], j % 2))
}

/// A block with integer scales; `zero` is what stands for zero, times `scale`.
#[inline(always)]
fn centred<L: Lanes>(l: L, q: [L::I; 8], scale: L::V, zero: L::V, sub: [L::I; 2]) -> Block<L> {
    let min = scaled(l, zero, sub);
    Block { q, scale, sub, min }
}

/// `scale` times each of two vectors of integers.
#[inline(always)]
fn scaled<L: Lanes>(l: L, scale: L::V, by: [L::I; 2]) -> [L::V; 2] {
    [
        l.mul(scale, l.to_floats(by[0])),
        l.mul(scale, l.to_floats(by[1])),
    ]
}

#[inline(always)]
fn negated<L: Lanes>(l: L, v: L::V) -> L::V {
    l.mul(v, l.splat(-1.0))
}

/// The bits of `mask` in each byte.
#[inline(always)]
fn masked<L: Lanes>(l: L, mut v: [L::I; 8], mask: i8) -> [L::I; 8] {
    for v in &mut v {
        *v = l.and(*v, l.splat_i8(mask));
    }
    v
}

/// Shifted right, so that the next bits of each byte are its lowest; what
/// comes in at the top of a byte is another's.
#[inline(always)]
fn shifted<L: Lanes, const BITS: i32>(l: L, mut v: [L::I; 8]) -> [L::I; 8] {
    for v in &mut v {
        *v = l.shr_16::<BITS>(*v);
    }
    v
}

/// `low | high << BITS` in each byte, where nothing is shifted out.
#[inline(always)]
fn joined<L: Lanes, const BITS: i32>(l: L, mut low: [L::I; 8], high: [L::I; 8]) -> [L::I; 8] {
    for (low, high) in low.iter_mut().zip(high) {
        *low = l.or(*low, l.shl_16::<BITS>(high));
    }
    low
}

/// Block `J` of four of Q6_K: the lower or upper nibbles of two blocks, and pair
/// `J` of the bits of `high`.
#[inline(always)]
fn six_bits<L: Lanes, const J: usize>(l: L, low: [L::I; 8], high: [L::I; 8]) -> [L::I; 8] {
    let low = match J {
        0 | 1 => low,
        _ => shifted::<L, 4>(l, low),
    };
    let mut q = masked(l, low, 15);
    for (q, high) in q.iter_mut().zip(high) {
        let high = match J {
            0 => l.shl_16::<4>(high),
            1 => l.shl_16::<2>(high),
            2 => high,
            _ => l.shr_16::<2>(high),
        };
        *q = l.or(*q, l.and(high, l.splat_i8(0b11_0000)));
    }
    q
}
