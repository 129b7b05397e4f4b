//! 16 codes that a table turns to signed ones of 8 bits, with one scale.

use super::unpack::{look_up, nibbles};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, Rows};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;
use ondol_models::quant::iq4::CODEBOOK;

#[allow(non_camel_case_types)]
pub(crate) struct IQ4_NL;

impl Format for IQ4_NL {
    const BYTES: usize = 18;
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
            rows.prefetch(at, 18);
            let q = look_up(l, &CODEBOOK, nibbles(l, rows.load16(at + 2)));
            sink(&Block::new(l, q, rows.load_f16(at)));
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let block = oracle::nth::<18>(row, b);
        oracle::signed(
            oracle::nibbles(&block[2..]).map(|q| CODEBOOK[usize::from(q)]),
            oracle::f16_at(block, 0),
        )
    }
}
