//! 32 codes with one scale and minimum.

use super::unpack::{fifth_bits, nibbles};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, OneScale, Rows};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_1;

impl Format for Q5_1 {
    const BYTES: usize = 24;
    const CODES: Codes = Codes::Unsigned;
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
            rows.prefetch(at, 24);
            let q = fifth_bits(l, nibbles(l, rows.load16(at + 8)), rows.load_u32(at + 4));
            let [d, m] = l.f16_pairs(rows.load_u32(at));
            sink(&Block::new(l, q, d).with_min(m));
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let block = oracle::nth::<24>(row, b);
        oracle::whole(
            oracle::fifth_bits(oracle::nibbles(&block[8..]), &block[4..8]),
            oracle::f16_at(block, 0),
            oracle::f16_at(block, 2),
        )
    }
}
