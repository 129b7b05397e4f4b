//! The block formats of weights. A file for each says how vectors decode it, a row in
//! each lane, and how plain Rust does. What its fields mean is written at the format
//! itself, in `ondol_models::quant`.

mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod unpack;

pub(crate) use iq4_nl::IQ4_NL;
pub(crate) use iq4_xs::IQ4_XS;
pub(crate) use mxfp4::MXFP4;
pub(crate) use q2_k::Q2_K;
pub(crate) use q3_k::Q3_K;
pub(crate) use q4_0::Q4_0;
pub(crate) use q4_1::Q4_1;
pub(crate) use q4_k::Q4_K;
pub(crate) use q5_0::Q5_0;
pub(crate) use q5_1::Q5_1;
pub(crate) use q5_k::Q5_K;
pub(crate) use q6_k::Q6_K;
pub(crate) use q8_0::Q8_0;

use super::matmul::{Arithmetic, Block, Panel, Rows};
use super::oracle::WeightBlock;
use super::simd::Integers;
use ondol_models::quant::DType;

/// The list of formats: `$then`, in which `$F` is the format of `$dtype`, or else `$other`.
macro_rules! with_format {
    ($dtype:expr, $F:ident => $then:expr, _ => $other:expr) => {
        with_format!(@list $dtype, $F, $then, $other,
            Legacy Q4_0, Legacy Q4_1, Legacy Q5_0, Legacy Q5_1, Legacy Q8_0,
            K Q2_K, K Q3_K, K Q4_K, K Q5_K, K Q6_K,
            Codebook IQ4_NL, Codebook IQ4_XS, Codebook MXFP4)
    };
    (@list $dtype:expr, $F:ident, $then:expr, $other:expr, $($family:ident $format:ident),+) => {
        match $dtype {
            $(DType::$format if ondol_models::quant::Family::$family.in_build() => {
                type $F = $crate::generic::formats::$format;
                $then
            })+
            _ => $other,
        }
    };
}
pub(crate) use with_format;

/// A block format.
pub(crate) trait Format {
    /// Bytes of a block, or of a super-block.
    const BYTES: usize;
    /// Blocks of 32 elements in it.
    const BLOCKS: usize = 1;
    /// What its codes are.
    const CODES: Codes;
    /// What the arithmetic takes of a block.
    type Panel<L: Arithmetic>: Panel<L>;

    /// Hands the sink the blocks, in order, of the (super-)block at this offset of the rows.
    ///
    /// # Safety
    /// The rows have this (super-)block.
    unsafe fn decode<L: Integers, const PACKED: bool>(
        l: L,
        rows: Rows<L, PACKED>,
        at: usize,
        sink: &mut impl FnMut(&Block<L>),
    );

    /// Block `b`, of 32 elements, of a row: the oracle of [`Self::decode`].
    fn plain(row: &[u8], b: usize) -> WeightBlock;
}

/// Hands the sink, which is `#[inline(always)]`, the first `blocks` blocks of the rows, in
/// order.
///
/// # Safety
/// The rows have these blocks.
#[inline(always)]
pub(super) unsafe fn for_each_block<L: Integers, F: Format, const PACKED: bool>(
    l: L,
    rows: Rows<L, PACKED>,
    blocks: usize,
    mut sink: impl FnMut(&Block<L>),
) {
    for at in (0..F::BYTES * (blocks / F::BLOCKS)).step_by(F::BYTES) {
        // SAFETY: the rows have this block.
        unsafe { F::decode(l, rows, at, &mut sink) };
    }
}

/// What the codes of a format are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Codes {
    /// Unsigned, of few bits.
    Unsigned,
    /// Unsigned, of few bits, in super-blocks whose blocks have integer scales.
    Super {
        /// The highest code.
        highest: u8,
        /// Whether scales and minima are of 16 weights, not of 32.
        halves: bool,
    },
    /// Signed, of 8 bits.
    Signed,
}

impl Codes {
    /// The codes of this type; `None` where products are of floats only, and for what
    /// this build leaves out.
    pub fn of(dtype: DType) -> Option<Codes> {
        with_format!(dtype, F => Some(F::CODES), _ => None)
    }

    /// The highest code of super-blocks.
    pub const fn highest(self) -> f32 {
        match self {
            Codes::Super { highest, .. } => highest as f32,
            _ => 0.0,
        }
    }

    /// Whether there are super-blocks.
    pub const fn are_super(self) -> bool {
        matches!(self, Codes::Super { .. })
    }
}
