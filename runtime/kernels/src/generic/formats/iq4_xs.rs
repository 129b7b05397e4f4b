//! The codes of IQ4_NL; scales of 6 bits for each 32.

use super::unpack::{look_up, nibbles};
use super::{Codes, Format};
use crate::generic::matmul::{Arithmetic, Block, Rows, SUPER};
use crate::generic::oracle::{self, WeightBlock};
use crate::generic::simd::Integers;
use ondol_models::quant::{iq4::CODEBOOK, iq4::iq4_xs_scales};

#[allow(non_camel_case_types)]
pub(crate) struct IQ4_XS;

impl Format for IQ4_XS {
    const BYTES: usize = 136;
    const BLOCKS: usize = SUPER;
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
            let head = rows.load_u32(at);
            let [d, _] = l.f16_pairs(head);
            let mut high = l.shr_32::<16>(head);
            let mut low = rows.load_u32(at + 4);
            for j in 0..SUPER {
                rows.prefetch(at + 17 * j, 17);
                let top = l.and(high, l.splat_i32(3));
                let bottom = l.and(low, l.splat_i32(15));
                let scale = l.or(bottom, l.shl_32::<4>(top));
                let scale = l.add_i32(scale, l.splat_i32(-32));
                let scale = l.mul(d, l.to_floats(scale));
                let q = look_up(l, &CODEBOOK, nibbles(l, rows.load16(at + 8 + 16 * j)));
                sink(&Block::new(l, q, scale));
                high = l.shr_32::<2>(high);
                low = l.shr_32::<4>(low);
            }
        }
    }

    fn plain(row: &[u8], b: usize) -> WeightBlock {
        let (block, j) = (oracle::nth::<136>(row, b / 8), b % 8);
        let scales = iq4_xs_scales(
            &[block[2], block[3]],
            &[block[4], block[5], block[6], block[7]],
        );
        let q = oracle::nibbles(&block[8 + 16 * j..]).map(|q| CODEBOOK[usize::from(q)]);
        oracle::signed(q, oracle::f16_at(block, 0) * f32::from(scales[j]))
    }
}
