//! 64 codes, of which 32 stands for zero; scales of 8 bits for each 16.

use super::unpack::{centred_halves, six_bits, sub};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, Rows, SUPER, TwoScales};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;

#[allow(non_camel_case_types)]
pub(crate) struct Q6_K;

impl Format for Q6_K {
    const BYTES: usize = 210;
    const BLOCKS: usize = SUPER;
    const CODES: Codes = Codes::Super {
        highest: 63,
        halves: true,
    };
    type Panel<L: Arithmetic> = TwoScales<L, 2>;

    #[inline(always)]
    unsafe fn decode<L: Integers, const PACKED: bool>(
        l: L,
        rows: Rows<L, PACKED>,
        at: usize,
        sink: &mut impl FnMut(&Block<L>),
    ) {
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
                sink(&centred_halves(l, q, d, zero, sub(l, &scales, 4 * half)));
                let high = rows.load32_again(c, high);
                let q = six_bits::<L, 1>(l, next, high);
                sink(&centred_halves(
                    l,
                    q,
                    d,
                    zero,
                    sub(l, &scales, 4 * half + 1),
                ));
                let (low, high) = (rows.load32_again(a, low), rows.load32_again(c, high));
                let q = six_bits::<L, 2>(l, low, high);
                sink(&centred_halves(
                    l,
                    q,
                    d,
                    zero,
                    sub(l, &scales, 4 * half + 2),
                ));
                let (next, high) = (rows.load32_again(b, next), rows.load32_again(c, high));
                let q = six_bits::<L, 3>(l, next, high);
                sink(&centred_halves(
                    l,
                    q,
                    d,
                    zero,
                    sub(l, &scales, 4 * half + 3),
                ));
            }
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let (block, j) = (oracle::nth::<210>(row, b / 8), b % 8);
        let (group, j4) = (j / 4, j % 4);
        let low = oracle::bits(&block[64 * group + 32 * (j4 % 2)..], 4 * (j4 / 2), 15);
        let high = oracle::bits(&block[128 + 32 * group..], 2 * j4, 3);
        let d = oracle::f16_at(block, 208);
        let scales = [block[192 + 2 * j], block[193 + 2 * j]].map(u8::cast_signed);
        let min = scales.map(|s| -32.0 * d * f32::from(s));
        oracle::halves(
            core::array::from_fn(|i| low[i] | (high[i] << 4)),
            d,
            scales.map(i32::from),
            min,
        )
    }
}
