//! Signed codes of 8 bits with one scale.

use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, Rows};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;

#[allow(non_camel_case_types)]
pub(crate) struct Q8_0;

impl Format for Q8_0 {
    const BYTES: usize = 34;
    const CODES: Codes = Codes::Signed;
    type Panel<L: Arithmetic> = L::Signed;

    #[inline(always)]
    unsafe fn decode<L: Integers, const PACKED: bool>(
        l: L,
        rows: Rows<L, PACKED>,
        at: usize,
        sink: &mut impl FnMut(&Block<L>),
    ) {
        // SAFETY: the rows have this block.
        unsafe {
            rows.prefetch(at, 34);
            sink(&Block::new(l, rows.load32(at + 2), rows.load_f16(at)));
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let block = oracle::nth::<34>(row, b);
        oracle::signed(
            core::array::from_fn(|i| block[2 + i].cast_signed()),
            oracle::f16_at(block, 0),
        )
    }
}
