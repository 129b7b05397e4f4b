//! Four codes; scales and minima of 4 bits for each 16.

use super::unpack::{byte_pair, masked, negated, scaled, shifted, shifted_out};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, Rows, SUPER, TwoScales};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;

#[allow(non_camel_case_types)]
pub(crate) struct Q2_K;

impl Format for Q2_K {
    const BYTES: usize = 84;
    const BLOCKS: usize = SUPER;
    const CODES: Codes = Codes::Super {
        highest: 3,
        halves: true,
    };
    type Panel<L: Arithmetic> = TwoScales<L, 4>;

    #[inline(always)]
    unsafe fn decode<L: Integers, const PACKED: bool>(
        l: L,
        rows: Rows<L, PACKED>,
        at: usize,
        sink: &mut impl FnMut(&Block<L>),
    ) {
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
                    sink(&Block {
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

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let (block, j) = (oracle::nth::<84>(row, b / 8), b % 8);
        let q = oracle::bits(&block[16 + 32 * (j / 4)..], 2 * (j % 4), 3);
        let scales: [u8; 2] = [block[2 * j], block[2 * j + 1]];
        let (d, dmin) = (oracle::f16_at(block, 80), oracle::f16_at(block, 82));
        let min = scales.map(|s| -dmin * f32::from(s >> 4));
        oracle::halves(q, d, scales.map(|s| i32::from(s & 15)), min)
    }
}
