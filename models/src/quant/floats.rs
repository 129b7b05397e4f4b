//! Plain floats: a block is one element.
#![allow(non_camel_case_types)]

use half::{bf16, f16};

use super::Block;
use super::search::f16_saturating;

/// IEEE 754 single precision.
pub struct F32;

impl Block<1, 4> for F32 {
    fn decode(block: &[u8; 4], out: &mut [f32; 1]) {
        out[0] = f32::from_le_bytes(*block);
    }

    fn encode(x: &[f32; 1], _importance: Option<&[f32; 1]>) -> [u8; 4] {
        x[0].to_le_bytes()
    }
}

/// IEEE 754 half precision.
pub struct F16;

impl Block<1, 2> for F16 {
    fn decode(block: &[u8; 2], out: &mut [f32; 1]) {
        out[0] = f16::from_le_bytes(*block).to_f32();
    }

    fn encode(x: &[f32; 1], _importance: Option<&[f32; 1]>) -> [u8; 2] {
        f16_saturating(x[0]).to_le_bytes()
    }
}

/// The upper half of an f32.
pub struct BF16;

impl Block<1, 2> for BF16 {
    fn decode(block: &[u8; 2], out: &mut [f32; 1]) {
        out[0] = bf16::from_le_bytes(*block).to_f32();
    }

    fn encode(x: &[f32; 1], _importance: Option<&[f32; 1]>) -> [u8; 2] {
        let finite = x[0].clamp(bf16::MIN.to_f32(), bf16::MAX.to_f32());
        bf16::from_f32(finite).to_le_bytes()
    }
}
