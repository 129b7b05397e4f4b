//! The formats in blocks of 32. Their fields are described at the formats
//! themselves, in `ondol_models::quant`.
#![allow(non_camel_case_types)]

use super::panel::{Whole, Wide};
use super::{Block, Format, Rows, Sink};
use core::arch::x86_64::*;
use ondol_models::quant::{iq4::CODEBOOK, mxfp4::E2M1_DOUBLED};

pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q5_0;
pub(super) struct Q5_1;
pub(super) struct Q8_0;
pub(super) struct IQ4_NL;
pub(super) struct MXFP4;

impl Format for Q4_0 {
    type Packed = Whole<8>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..18 * blocks).step_by(18) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                rows.prefetch(at, 18);
                let q = nibbles(rows.load16(at + 2));
                sink.block(&centred(q, rows.load_f16(at), 8.0));
            }
        }
    }
}

impl Format for Q4_1 {
    type Packed = Whole<8>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..20 * blocks).step_by(20) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                rows.prefetch(at, 20);
                let q = nibbles(rows.load16(at + 4));
                let [d, m] = f16_pairs(rows.load_u32(at));
                sink.block(&Block::new(q, d).with_min(m));
            }
        }
    }
}

impl Format for Q5_0 {
    type Packed = Whole<4>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..22 * blocks).step_by(22) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                rows.prefetch(at, 22);
                let q = fifth_bits(nibbles(rows.load16(at + 6)), rows.load_u32(at + 2));
                sink.block(&centred(q, rows.load_f16(at), 16.0));
            }
        }
    }
}

impl Format for Q5_1 {
    type Packed = Whole<4>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..24 * blocks).step_by(24) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                rows.prefetch(at, 24);
                let q = fifth_bits(nibbles(rows.load16(at + 8)), rows.load_u32(at + 4));
                let [d, m] = f16_pairs(rows.load_u32(at));
                sink.block(&Block::new(q, d).with_min(m));
            }
        }
    }
}

impl Format for Q8_0 {
    type Packed = Wide;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..34 * blocks).step_by(34) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                rows.prefetch(at, 34);
                sink.block(&Block::new(rows.load32(at + 2), rows.load_f16(at)));
            }
        }
    }
}

impl Format for IQ4_NL {
    type Packed = Wide;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
        for at in (0..18 * blocks).step_by(18) {
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                rows.prefetch(at, 18);
                let q = look_up(&CODEBOOK, nibbles(rows.load16(at + 2)));
                sink.block(&Block::new(q, rows.load_f16(at)));
            }
        }
    }
}

impl Format for MXFP4 {
    // Levels are at most 24: 2 * 4 * 128 * 24 fits in 15 bits.
    type Packed = Whole<4>;

    #[inline(always)]
    unsafe fn for_each_block<S: Sink>(rows: Rows, blocks: usize, sink: &mut S) {
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
            // SAFETY: the rows have this block; see the module `avx2` for features.
            unsafe {
                rows.prefetch(at, 17);
                let q = look_up(&LEVELS, nibbles(rows.load16(at + 1)));
                sink.block(&centred(q, e8m0_half(rows.load_u8(at)), 12.0));
            }
        }
    }
}

/// A block whose level `centre` stands for zero.
#[inline(always)]
unsafe fn centred(q: [__m256i; 8], scale: __m256, centre: f32) -> Block {
    // SAFETY: see the module `avx2` for features.
    unsafe { Block::new(q, scale).with_min(_mm256_mul_ps(scale, _mm256_set1_ps(-centre))) }
}

/// The low nibbles of 16 bytes of each row, then the high ones.
#[inline(always)]
pub(super) unsafe fn nibbles(v: [__m256i; 4]) -> [__m256i; 8] {
    // SAFETY: see the module `avx2` for features.
    unsafe {
        let mut q = [_mm256_set1_epi8(15); 8];
        for j in 0..4 {
            q[j + 4] = _mm256_and_si256(_mm256_srli_epi16::<4>(v[j]), q[j]);
            q[j] = _mm256_and_si256(v[j], q[j]);
        }
        q
    }
}

/// The table's entries for levels of 4 bits.
#[inline(always)]
pub(super) unsafe fn look_up(table: &[i8; 16], q: [__m256i; 8]) -> [__m256i; 8] {
    // SAFETY: the table has the 16 bytes; see the module `avx2` for features.
    unsafe {
        let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
        let mut values = q;
        for v in &mut values {
            *v = _mm256_shuffle_epi8(table, *v);
        }
        values
    }
}

/// Adds to each nibble its fifth bit: bit `i` of the row's 32 for element `i`.
#[inline(always)]
unsafe fn fifth_bits(q: [__m256i; 8], bits: __m256i) -> [__m256i; 8] {
    // SAFETY: see the module `avx2` for features.
    unsafe {
        // Byte i of a lane looks at bit i of its four: 1, 2, 4 or 8, or zero.
        let own = _mm256_set1_epi32(0x0804_0201);
        let sixteen_if_set = _mm256_broadcastsi128_si256(_mm_setr_epi8(
            0, 16, 16, 0, 16, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0,
        ));
        let first_byte = _mm256_set_epi64x(
            0x0c0c_0c0c_0808_0808,
            0x0404_0404_0000_0000,
            0x0c0c_0c0c_0808_0808,
            0x0404_0404_0000_0000,
        );
        let mut out = q;
        let mut spread = first_byte;
        for j in 0..4 {
            // Byte j of the row's bits, in all bytes of the lane.
            let byte = _mm256_shuffle_epi8(bits, spread);
            let low = _mm256_and_si256(byte, own);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(byte), own);
            let bit = _mm256_shuffle_epi8(sixteen_if_set, low);
            out[2 * j] = _mm256_or_si256(q[2 * j], bit);
            let bit = _mm256_shuffle_epi8(sixteen_if_set, high);
            out[2 * j + 1] = _mm256_or_si256(q[2 * j + 1], bit);
            spread = _mm256_add_epi8(spread, _mm256_set1_epi8(1));
        }
        out
    }
}

/// The two f16 in each lane, widened: the lower ones, then the upper ones.
#[inline(always)]
pub(super) unsafe fn f16_pairs(pairs: __m256i) -> [__m256; 2] {
    // SAFETY: see the module `avx2` for features.
    unsafe {
        let low = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff));
        let packed = _mm256_packus_epi32(low, _mm256_srli_epi32::<16>(pairs));
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
        [
            _mm256_cvtph_ps(_mm256_castsi256_si128(packed)),
            _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(packed)),
        ]
    }
}

/// `2^(e - 128)`, as `ondol_models::quant::mxfp4::e8m0_half` has it.
#[inline(always)]
unsafe fn e8m0_half(e: __m256i) -> __m256 {
    // SAFETY: see the module `avx2` for features.
    unsafe {
        let one = _mm256_set1_epi32(1);
        let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(e, one));
        let subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x0020_0000), e);
        _mm256_castsi256_ps(_mm256_blendv_epi8(
            subnormal,
            normal,
            _mm256_cmpgt_epi32(e, one),
        ))
    }
}
