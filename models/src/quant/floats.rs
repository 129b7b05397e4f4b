//! Plain floats: a block is one element.
#![allow(non_camel_case_types)]

use half::{bf16, f16};

use super::Block;

/// IEEE 754 single precision.
pub struct F32;

impl Block<1, 4> for F32 {
    fn decode(block: &[u8; 4], out: &mut [f32; 1]) {
        out[0] = f32::from_le_bytes(*block);
    }
}

/// IEEE 754 half precision.
pub struct F16;

impl Block<1, 2> for F16 {
    fn decode(block: &[u8; 2], out: &mut [f32; 1]) {
        out[0] = f16::from_le_bytes(*block).to_f32();
    }
}

/// The upper half of an f32.
pub struct BF16;

impl Block<1, 2> for BF16 {
    fn decode(block: &[u8; 2], out: &mut [f32; 1]) {
        out[0] = bf16::from_le_bytes(*block).to_f32();
    }
}
