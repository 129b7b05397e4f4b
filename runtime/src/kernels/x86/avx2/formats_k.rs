//! The formats in super-blocks of 256. Their fields are described at the
//! formats themselves, in `ondol_models::quant`.
#![allow(non_camel_case_types)]

use super::formats_legacy::{f16_pairs, look_up, nibbles};
use super::panel::{Halves, Whole, Wide};
use super::{Block, Format, Rows, Sink};
use core::arch::x86_64::*;
use ondol_models::quant::iq4::CODEBOOK;

pub(super) struct Q2_K;
pub(super) struct Q3_K;
pub(super) struct Q4_K;
pub(super) struct Q5_K;
pub(super) struct Q6_K;
pub(super) struct IQ4_XS;

/// Blocks of 32 in a super-block.
const SUPER: usize = 8;

impl Format for Q2_K {
    type Packed = Halves<4>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..84 * (blocks / SUPER)).step_by(84) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                let scales = rows.load16(at);
                let [d, dmin] = f16_pairs(rows.load_u32(at + 80));
                let dmin = negated(dmin);
                for half in 0..2 {
                    rows.prefetch(at + 42 * half, 42);
                    let mut q = rows.load32(at + 16 + 32 * half);
                    for j in 0..4 {
                        let pair = shifted_out(scales[2 * half + j / 2], j % 2);
                        let scale = _mm256_and_si256(pair, _mm256_set1_epi8(15));
                        let min = _mm256_srli_epi16::<4>(pair);
                        let min = _mm256_and_si256(min, _mm256_set1_epi8(15));
                        let min = scaled(dmin, byte_pair(min));
                        sink.block(&Block {
                            q: masked(q, 3),
                            scale: d,
                            sub: byte_pair(scale),
                            min,
                        });
                        q = shifted::<2>(q);
                    }
                }
            }
        }
    }
}

impl Format for Q3_K {
    type Packed = Halves<4>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..110 * (blocks / SUPER)).step_by(110) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                let mut high = rows.load32(at);
                let scales = q3_scales(rows, at + 96);
                let d = rows.load_f16(at + 108);
                let zero = _mm256_mul_ps(d, _mm256_set1_ps(-4.0));
                for half in 0..2 {
                    rows.prefetch(at + 55 * half, 55);
                    let mut low = rows.load32(at + 32 + 32 * half);
                    for j in 0..4 {
                        let sub = byte_pair(shifted_out(scales[2 * half + j / 2], j % 2));
                        let q = joined::<2>(masked(low, 3), masked(high, 1));
                        sink.block(&Block {
                            q,
                            scale: d,
                            sub,
                            min: scaled(zero, sub),
                        });
                        low = shifted::<2>(low);
                        high = shifted::<1>(high);
                    }
                }
            }
        }
    }
}

impl Format for Q4_K {
    type Packed = Whole<8>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..144 * (blocks / SUPER)).step_by(144) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                let head = K4Head::load(rows, at);
                for group in 0..4 {
                    rows.prefetch(at + 36 * group, 36);
                    let mut q = rows.load32(at + 16 + 32 * group);
                    for j in 2 * group..2 * group + 2 {
                        let (scale, min) = head.scale_min(j);
                        sink.block(&Block::new(masked(q, 15), scale).with_min(min));
                        q = shifted::<4>(q);
                    }
                }
            }
        }
    }
}

impl Format for Q5_K {
    type Packed = Whole<4>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..176 * (blocks / SUPER)).step_by(176) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                let head = K4Head::load(rows, at);
                let mut high = rows.load32(at + 16);
                for group in 0..4 {
                    rows.prefetch(at + 44 * group, 44);
                    let mut low = rows.load32(at + 48 + 32 * group);
                    for j in 2 * group..2 * group + 2 {
                        let (scale, min) = head.scale_min(j);
                        let q = joined::<4>(masked(low, 15), masked(high, 1));
                        sink.block(&Block::new(q, scale).with_min(min));
                        low = shifted::<4>(low);
                        high = shifted::<1>(high);
                    }
                }
            }
        }
    }
}

impl Format for Q6_K {
    type Packed = Halves<2>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..210 * (blocks / SUPER)).step_by(210) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                let scales = rows.load16(at + 192);
                let d = rows.load_f16(at + 208);
                let zero = _mm256_mul_ps(d, _mm256_set1_ps(-32.0));
                for half in 0..2 {
                    rows.prefetch(at + 105 * half, 53);
                    rows.prefetch(at + 105 * half + 53, 52);
                    let low = at + 64 * half;
                    let low = [rows.load32(low), rows.load32(low + 32)];
                    let mut high = rows.load32(at + 128 + 32 * half);
                    for j in 0..4 {
                        let low = if j < 2 {
                            low[j]
                        } else {
                            shifted::<4>(low[j - 2])
                        };
                        let sub = byte_pair(shifted_out(scales[2 * half + j / 2], j % 2));
                        let q = joined::<4>(masked(low, 15), masked(high, 3));
                        sink.block(&Block {
                            q,
                            scale: d,
                            sub,
                            min: scaled(zero, sub),
                        });
                        high = shifted::<2>(high);
                    }
                }
            }
        }
    }
}

impl Format for IQ4_XS {
    type Packed = Wide;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..136 * (blocks / SUPER)).step_by(136) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                let head = rows.load_u32(at);
                let [d, _] = f16_pairs(head);
                let mut high = _mm256_srli_epi32::<16>(head);
                let mut low = rows.load_u32(at + 4);
                for j in 0..SUPER {
                    rows.prefetch(at + 17 * j, 17);
                    let top = _mm256_and_si256(high, _mm256_set1_epi32(3));
                    let bottom = _mm256_and_si256(low, _mm256_set1_epi32(15));
                    let scale = _mm256_or_si256(bottom, _mm256_slli_epi32::<4>(top));
                    let scale = _mm256_sub_epi32(scale, _mm256_set1_epi32(32));
                    let scale = _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale));
                    let q = look_up(&CODEBOOK, nibbles(rows.load16(at + 8 + 16 * j)));
                    sink.block(&Block::new(q, scale));
                    high = _mm256_srli_epi32::<2>(high);
                    low = _mm256_srli_epi32::<4>(low);
                }
            }
        }
    }
}

/// The scales of a super-block of Q4_K or Q5_K, which begins with `d`, `dmin`
/// and 12 bytes of packed 6-bit numbers.
struct K4Head {
    d: __m256,
    /// Minus `dmin`.
    dmin: __m256,
    /// A byte for each block, blocks 0-3 and 4-7.
    scales: [__m256i; 2],
    mins: [__m256i; 2],
}

impl K4Head {
    #[inline(always)]
    unsafe fn load(rows: Rows, at: usize) -> K4Head {
        // SAFETY: the caller has a block there; see the module `avx2` for features.
        unsafe {
            let [ds, scales, mins, rest] = rows.load16(at);
            let [d, dmin] = f16_pairs(ds);
            let six = _mm256_set1_epi8(0b11_1111);
            let four = _mm256_set1_epi8(0b1111);
            let top_two = _mm256_set1_epi8(0b11_0000);
            let top = |v| _mm256_and_si256(_mm256_srli_epi16::<2>(v), top_two);
            let rest_high = _mm256_and_si256(_mm256_srli_epi16::<4>(rest), four);
            K4Head {
                d,
                dmin: negated(dmin),
                scales: [
                    _mm256_and_si256(scales, six),
                    _mm256_or_si256(_mm256_and_si256(rest, four), top(scales)),
                ],
                mins: [
                    _mm256_and_si256(mins, six),
                    _mm256_or_si256(rest_high, top(mins)),
                ],
            }
        }
    }

    /// The scale of block `j`, and what it adds.
    #[inline(always)]
    unsafe fn scale_min(&self, j: usize) -> (__m256, __m256) {
        // SAFETY: see the module `avx2` for features.
        unsafe {
            // Byte j % 4 of each lane, alone in the lane.
            let own = _mm256_add_epi8(
                _mm256_set1_epi32(0x8080_8000_u32.cast_signed() + (j % 4) as i32),
                _mm256_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12),
            );
            let byte = |v| _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, own));
            (
                _mm256_mul_ps(self.d, byte(self.scales[j / 4])),
                _mm256_mul_ps(self.dmin, byte(self.mins[j / 4])),
            )
        }
    }
}

/// The 16 scales of Q3_K: byte `i` of lanes of vector `v` is scale `4v + i`.
#[inline(always)]
unsafe fn q3_scales(rows: Rows, at: usize) -> [__m256i; 4] {
    // SAFETY: the caller has 12 bytes there; see the module `avx2` for features.
    unsafe {
        let low = [rows.load_u32(at), rows.load_u32(at + 4)];
        let high = rows.load_u32(at + 8);
        let low = [
            low[0],
            low[1],
            _mm256_srli_epi16::<4>(low[0]),
            _mm256_srli_epi16::<4>(low[1]),
        ];
        let high = [
            _mm256_slli_epi16::<4>(high),
            _mm256_slli_epi16::<2>(high),
            high,
            _mm256_srli_epi16::<2>(high),
        ];
        let mut scales = low;
        for v in 0..4 {
            let bottom = _mm256_and_si256(low[v], _mm256_set1_epi8(0b1111));
            let top = _mm256_and_si256(high[v], _mm256_set1_epi8(0b11_0000));
            scales[v] = _mm256_sub_epi8(_mm256_or_si256(bottom, top), _mm256_set1_epi8(32));
        }
        scales
    }
}

/// The lower (`which` = 0) or upper (1) two bytes of each lane, as its lower two.
#[inline(always)]
unsafe fn shifted_out(v: __m256i, which: usize) -> __m256i {
    match which {
        0 => v,
        // SAFETY: see the module `avx2` for features.
        _ => unsafe { _mm256_srli_epi32::<16>(v) },
    }
}

/// The lower two bytes of each lane, signed, each as a pair of equal i16.
#[inline(always)]
unsafe fn byte_pair(v: __m256i) -> [__m256i; 2] {
    // SAFETY: see the module `avx2` for features.
    unsafe {
        // The byte in the upper half of each i16, zero in the lower.
        let first = _mm_setr_epi8(-1, 0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12);
        let first = _mm256_broadcastsi128_si256(first);
        let second = _mm_setr_epi8(-1, 1, -1, 1, -1, 5, -1, 5, -1, 9, -1, 9, -1, 13, -1, 13);
        let second = _mm256_broadcastsi128_si256(second);
        [
            _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(v, first)),
            _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(v, second)),
        ]
    }
}

/// `scale` times each of two numbers that are given as pairs of equal i16.
#[inline(always)]
unsafe fn scaled(scale: __m256, pairs: [__m256i; 2]) -> [__m256; 2] {
    // SAFETY: see the module `avx2` for features.
    unsafe {
        let a = _mm256_cvtepi32_ps(_mm256_srai_epi32::<16>(pairs[0]));
        let b = _mm256_cvtepi32_ps(_mm256_srai_epi32::<16>(pairs[1]));
        [_mm256_mul_ps(scale, a), _mm256_mul_ps(scale, b)]
    }
}

#[inline(always)]
unsafe fn negated(v: __m256) -> __m256 {
    // SAFETY: see the module `avx2` for features.
    unsafe { _mm256_xor_ps(v, _mm256_set1_ps(-0.0)) }
}

/// The bits of `mask` in each byte.
#[inline(always)]
unsafe fn masked(mut v: [__m256i; 8], mask: i8) -> [__m256i; 8] {
    for v in &mut v {
        // SAFETY: see the module `avx2` for features.
        *v = unsafe { _mm256_and_si256(*v, _mm256_set1_epi8(mask)) };
    }
    v
}

/// Shifted right, so that the next bits of each byte are its lowest; what
/// comes in at the top of a byte is another's.
#[inline(always)]
unsafe fn shifted<const BITS: i32>(mut v: [__m256i; 8]) -> [__m256i; 8] {
    for v in &mut v {
        // SAFETY: see the module `avx2` for features.
        *v = unsafe { _mm256_srli_epi16::<BITS>(*v) };
    }
    v
}

/// `low | high << BITS` in each byte, where nothing is shifted out.
#[inline(always)]
unsafe fn joined<const BITS: i32>(mut low: [__m256i; 8], high: [__m256i; 8]) -> [__m256i; 8] {
    for (low, high) in low.iter_mut().zip(high) {
        // SAFETY: see the module `avx2` for features.
        *low = unsafe { _mm256_or_si256(*low, _mm256_slli_epi16::<BITS>(high)) };
    }
    low
}
