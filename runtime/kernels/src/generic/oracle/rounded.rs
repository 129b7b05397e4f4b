//! Super-blocks rounded to bytes with one scale, one weight at a time.

use super::{BLOCK, Decode, Min, WeightBlock, fma};
use crate::generic::formats::Codes;
use crate::generic::matmul::SUPER;
use crate::generic::simd::MAGIC;
use ondol_models::quant::DType;

/// Block `b` of a super-block as bytes: the largest magnitude that its format's codes
/// can stand for, in any of the blocks, is 127. NaN where one of them is not finite.
pub(crate) fn rounded(dtype: DType, super_block: &[u8], b: usize, decode: Decode) -> WeightBlock {
    let highest = Codes::of(dtype).map_or(0.0, Codes::highest);
    let (mut bound, mut not_finite) = (0.0_f32, 0.0);
    for i in 0..SUPER {
        for (step, low) in steps(&decode(super_block, i)) {
            for end in [low, fma(step, highest, low)] {
                bound = bound.max(end.abs());
                not_finite = fma(end, 0.0, not_finite);
            }
        }
    }
    let inverse = 127.0 * 256.0 / bound;
    let block = decode(super_block, b);
    let fixed = steps(&block)
        .map(|(step, low)| (nearest(step * inverse), nearest(fma(low, inverse, 128.0))));
    let byte = |i: usize| {
        let (step, low) = fixed[i / (BLOCK / 2)];
        block.q[i].wrapping_mul(step).wrapping_add(low) >> 8
    };
    WeightBlock {
        q: core::array::from_fn(byte),
        scale: fma(bound, 1.0 / 127.0, not_finite),
        sub: [1; 2],
        min: Min::None,
    }
}

/// Of each half of a block, `(step, offset)`: a weight is `offset + code * step`.
fn steps(block: &WeightBlock) -> [(f32, f32); 2] {
    let low = match block.min {
        Min::None => [0.0; 2],
        Min::Whole(min) => [min; 2],
        Min::Halves(min) => min,
    };
    core::array::from_fn(|half| (block.scale * block.sub[half] as f32, low[half]))
}

fn nearest(v: f32) -> i16 {
    (v + MAGIC).to_bits() as i16
}
