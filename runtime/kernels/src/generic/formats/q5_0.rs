//! 32 codes, of which 16 stands for zero, with one scale.

use super::unpack::{centred, fifth_bits, nibbles};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, OneScale, Rows};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;

#[allow(non_camel_case_types)]
pub(crate) struct Q5_0;

impl Format for Q5_0 {
    const BYTES: usize = 22;
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
            rows.prefetch(at, 22);
            let q = fifth_bits(l, nibbles(l, rows.load16(at + 6)), rows.load_u32(at + 2));
            sink(&centred(l, q, rows.load_f16(at), 16.0));
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let block = oracle::nth::<22>(row, b);
        let d = oracle::f16_at(block, 0);
        oracle::whole(
            oracle::fifth_bits(oracle::nibbles(&block[6..]), &block[2..6]),
            d,
            -16.0 * d,
        )
    }
}
