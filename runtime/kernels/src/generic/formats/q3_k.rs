//! Eight codes, of which 4 stands for zero; scales of 6 bits for each 16.

use super::unpack::{centred_halves, joined, masked, q3_scales, shifted, sub};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, Rows, SUPER, TwoScales};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;
use ondol_models::quant::k;

#[allow(non_camel_case_types)]
pub(crate) struct Q3_K;

impl Format for Q3_K {
    const BYTES: usize = 110;
    const BLOCKS: usize = SUPER;
    const CODES: Codes = Codes::Super {
        highest: 7,
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
            let mut high = rows.load32(at);
            let scales = q3_scales(l, rows, at + 96);
            let d = rows.load_f16(at + 108);
            let zero = l.mul(d, l.splat(-4.0));
            for half in 0..2 {
                rows.prefetch(at + 55 * half, 55);
                let mut low = rows.load32(at + 32 + 32 * half);
                for j in 0..4 {
                    let q = joined::<L, 2>(l, masked(l, low, 3), masked(l, high, 1));
                    sink(&centred_halves(
                        l,
                        q,
                        d,
                        zero,
                        sub(l, &scales, 4 * half + j),
                    ));
                    low = shifted::<L, 2>(l, low);
                    high = shifted::<L, 1>(l, high);
                }
            }
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let (block, j) = (oracle::nth::<110>(row, b / 8), b % 8);
        let (low, high) = (
            oracle::bits(&block[32 + 32 * (j / 4)..], 2 * (j % 4), 3),
            oracle::bits(block, j, 1),
        );
        let scales = k::q3_scales(block[96..].first_chunk().unwrap_or(&[0; 12]));
        let d = oracle::f16_at(block, 108);
        let scales = [scales[2 * j], scales[2 * j + 1]];
        let min = scales.map(|s| -4.0 * d * f32::from(s));
        oracle::halves(
            core::array::from_fn(|i| low[i] | (high[i] << 2)),
            d,
            scales.map(i32::from),
            min,
        )
    }
}
