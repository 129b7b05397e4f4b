//! 16 codes, of which 8 stands for zero, with one scale.

use super::unpack::{centred, nibbles};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, OneScale, Rows};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;

#[allow(non_camel_case_types)]
pub(crate) struct Q4_0;

impl Format for Q4_0 {
    const BYTES: usize = 18;
    const CODES: Codes = Codes::Unsigned;
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
            rows.prefetch(at, 18);
            let q = nibbles(l, rows.load16(at + 2));
            sink(&centred(l, q, rows.load_f16(at), 8.0));
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let block = oracle::nth::<18>(row, b);
        let d = oracle::f16_at(block, 0);
        oracle::whole(oracle::nibbles(&block[2..]), d, -8.0 * d)
    }
}
