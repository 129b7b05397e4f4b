//! 32 codes; scales and minima of 6 bits for each 32.

use super::unpack::{K4Head, joined, masked, shifted};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, OneScale, Rows, SUPER};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_K;

impl Format for Q5_K {
    const BYTES: usize = 176;
    const BLOCKS: usize = SUPER;
    const CODES: Codes = Codes::Super {
        highest: 31,
        halves: false,
    };
    type Panel<L: Arithmetic> = OneScale<L, 4>;

    #[inline(always)]
    unsafe fn decode<L: Integers, const PACKED: bool>(
        l: L,
        rows: Rows<L, PACKED>,
        at: usize,
        sink: &mut impl FnMut(&Block<L>),
    ) {
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
                    sink(&Block::new(l, q, scale).with_min(min));
                    low = shifted::<L, 4>(l, low);
                    high = shifted::<L, 1>(l, high);
                }
            }
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let (block, j) = (oracle::nth::<176>(row, b / 8), b % 8);
        let low = oracle::bits(&block[48 + 32 * (j / 2)..], 4 * (j % 2), 15);
        let high = oracle::bits(&block[16..], j, 1);
        oracle::k4(block, j, core::array::from_fn(|i| low[i] | (high[i] << 4)))
    }
}
