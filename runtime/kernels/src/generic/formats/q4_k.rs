//! 16 codes; scales and minima of 6 bits for each 32.

use super::unpack::{K4Head, masked, shifted};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, OneScale, Rows, SUPER};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;

#[allow(non_camel_case_types)]
pub(crate) struct Q4_K;

impl Format for Q4_K {
    const BYTES: usize = 144;
    const BLOCKS: usize = SUPER;
    const CODES: Codes = Codes::Super {
        highest: 15,
        halves: false,
    };
    type Panel<L: Arithmetic> = OneScale<L, 8>;

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
            for group in 0..4 {
                rows.prefetch(at + 36 * group, 36);
                let mut q = rows.load32(at + 16 + 32 * group);
                for j in 2 * group..2 * group + 2 {
                    let (scale, min) = head.scale_min(l, j);
                    sink(&Block::new(l, masked(l, q, 15), scale).with_min(min));
                    q = shifted::<L, 4>(l, q);
                }
            }
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let (block, j) = (oracle::nth::<144>(row, b / 8), b % 8);
        oracle::k4(
            block,
            j,
            oracle::bits(&block[16 + 32 * (j / 2)..], 4 * (j % 2), 15),
        )
    }
}
