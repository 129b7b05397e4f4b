//! Floats of 4 bits, with a power of two as the scale.

use super::unpack::{centred, e8m0_half, look_up, nibbles};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, OneScale, Rows};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;
use ondol_models::quant::{mxfp4, mxfp4::E2M1_DOUBLED};

#[allow(non_camel_case_types)]
pub(crate) struct MXFP4;

impl Format for MXFP4 {
    const BYTES: usize = 17;
    const CODES: Codes = Codes::Unsigned;
    type Panel<L: Arithmetic> = OneScale<L, 4>;

    #[inline(always)]
    unsafe fn decode<L: Integers, const PACKED: bool>(
        l: L,
        rows: Rows<L, PACKED>,
        at: usize,
        sink: &mut impl FnMut(&Block<L>),
    ) {
        const CODES: [i8; 16] = {
            let mut codes = E2M1_DOUBLED;
            let mut i = 0;
            while i < 16 {
                codes[i] += 12;
                i += 1;
            }
            codes
        };
        // SAFETY: the rows have this block.
        unsafe {
            rows.prefetch(at, 17);
            let q = look_up(l, &CODES, nibbles(l, rows.load16(at + 1)));
            sink(&centred(l, q, e8m0_half(l, rows.load_u8(at)), 12.0));
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let block = oracle::nth::<17>(row, b);
        let scale = mxfp4::e8m0_half(block[0]);
        // Offset like the SIMD kernels, which need codes of one sign.
        let q = oracle::nibbles(&block[1..])
            .map(|q| (E2M1_DOUBLED[usize::from(q)] + 12).cast_unsigned());
        oracle::whole(q, scale, -12.0 * scale)
    }
}
