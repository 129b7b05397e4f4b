//! Steps in which block formats are decoded.

use crate::generic::matmul::{Block, Rows};
use crate::generic::simd::Integers;

/// A block whose code `centre` stands for zero.
#[inline(always)]
pub(super) fn centred<L: Integers>(l: L, q: [L::I; 8], scale: L::V, centre: f32) -> Block<L> {
    Block::new(l, q, scale).with_min(l.mul(scale, l.splat(-centre)))
}

/// The low nibbles of 16 bytes of each row, then the high ones.
#[inline(always)]
pub(super) fn nibbles<L: Integers>(l: L, v: [L::I; 4]) -> [L::I; 8] {
    let mut q = [l.splat_i8(15); 8];
    for j in 0..4 {
        q[j + 4] = l.and(l.shr_16::<4>(v[j]), q[j]);
        q[j] = l.and(v[j], q[j]);
    }
    q
}

/// The table's entries for codes of 4 bits.
#[inline(always)]
pub(super) fn look_up<L: Integers>(l: L, table: &[i8; 16], mut q: [L::I; 8]) -> [L::I; 8] {
    let table = l.splat_16(table);
    for v in &mut q {
        *v = l.shuffle(table, *v);
    }
    q
}

/// Adds to each nibble its fifth bit: bit `i` of the row's 32 for element `i`.
#[inline(always)]
pub(super) fn fifth_bits<L: Integers>(l: L, mut q: [L::I; 8], bits: L::I) -> [L::I; 8] {
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
pub(super) fn e8m0_half<L: Integers>(l: L, e: L::I) -> L::V {
    let normal = l.shl_32::<23>(l.add_i32(e, l.splat_i32(-1)));
    // 2^-128 and 2^-127 are subnormal: bits 21 and 22.
    let subnormal = l.shl_32::<21>(l.add_i32(e, l.splat_i32(1)));
    l.float_bits(l.select_gt_i32(e, l.splat_i32(1), normal, subnormal))
}

/// The scales of a super-block of Q4_K or Q5_K, which begins with `d`, `dmin`
/// and 12 bytes of packed 6-bit numbers.
pub(super) struct K4Head<L: Integers> {
    d: L::V,
    /// Minus `dmin`.
    dmin: L::V,
    /// A byte for each block, blocks 0-3 and 4-7.
    scales: [L::I; 2],
    mins: [L::I; 2],
}

impl<L: Integers> K4Head<L> {
    /// Loads the head of the super-block at byte `at` of each row.
    ///
    /// # Safety
    /// The rows have this super-block.
    #[inline(always)]
    pub unsafe fn load<const PACKED: bool>(l: L, rows: Rows<L, PACKED>, at: usize) -> K4Head<L> {
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
    pub fn scale_min(&self, l: L, j: usize) -> (L::V, L::V) {
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
///
/// # Safety
/// The rows have 12 bytes from byte `at` on.
#[inline(always)]
pub(super) unsafe fn q3_scales<L: Integers, const PACKED: bool>(
    l: L,
    rows: Rows<L, PACKED>,
    at: usize,
) -> [L::I; 4] {
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
pub(super) fn shifted_out<L: Integers>(l: L, v: L::I, which: usize) -> L::I {
    match which {
        0 => v,
        _ => l.shr_32::<16>(v),
    }
}

/// The lower two bytes of each lane, signed, as lanes of two vectors.
#[inline(always)]
pub(super) fn byte_pair<L: Integers>(l: L, v: L::I) -> [L::I; 2] {
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
pub(super) fn sub<L: Integers>(l: L, scales: &[L::I; 4], j: usize) -> [L::I; 2] {
    byte_pair(l, shifted_out(l, scales[j / 2], j % 2))
}

/// A block with integer scales; `zero` is minus the code that stands for zero, times
/// `scale`.
#[inline(always)]
pub(super) fn centred_halves<L: Integers>(
    l: L,
    q: [L::I; 8],
    scale: L::V,
    zero: L::V,
    sub: [L::I; 2],
) -> Block<L> {
    let min = scaled(l, zero, sub);
    Block { q, scale, sub, min }
}

/// `scale` times each of two vectors of integers.
#[inline(always)]
pub(super) fn scaled<L: Integers>(l: L, scale: L::V, by: [L::I; 2]) -> [L::V; 2] {
    [
        l.mul(scale, l.to_floats(by[0])),
        l.mul(scale, l.to_floats(by[1])),
    ]
}

#[inline(always)]
pub(super) fn negated<L: Integers>(l: L, v: L::V) -> L::V {
    l.mul(v, l.splat(-1.0))
}

/// The bits of `mask` in each byte.
#[inline(always)]
pub(super) fn masked<L: Integers>(l: L, mut v: [L::I; 8], mask: i8) -> [L::I; 8] {
    for v in &mut v {
        *v = l.and(*v, l.splat_i8(mask));
    }
    v
}

/// Shifted right, so that the next bits of each byte are its lowest. The bits that come
/// in at the top are those of the next byte.
#[inline(always)]
pub(super) fn shifted<L: Integers, const BITS: i32>(l: L, mut v: [L::I; 8]) -> [L::I; 8] {
    for v in &mut v {
        *v = l.shr_16::<BITS>(*v);
    }
    v
}

/// `low | high << BITS` in each byte, where nothing is shifted out.
#[inline(always)]
pub(super) fn joined<L: Integers, const BITS: i32>(
    l: L,
    mut low: [L::I; 8],
    high: [L::I; 8],
) -> [L::I; 8] {
    for (low, high) in low.iter_mut().zip(high) {
        *low = l.or(*low, l.shl_16::<BITS>(high));
    }
    low
}

/// Block `J` of four of Q6_K: the lower or upper nibbles of two blocks, and pair
/// `J` of the bits of `high`.
#[inline(always)]
pub(super) fn six_bits<L: Integers, const J: usize>(
    l: L,
    low: [L::I; 8],
    high: [L::I; 8],
) -> [L::I; 8] {
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
