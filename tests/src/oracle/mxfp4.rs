//! MXFP4 by the OCP Microscaling Formats specification 1.0, which candle-core lacks.

use ondol_models::gguf::{Gguf, TensorInfo, Writer};
use ondol_models::quant::DType;

/// The magnitudes of the eight e2m1 codes; the fourth bit of a code is the sign.
const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// The same file with its MXFP4 tensors converted to F32.
pub fn widened(file: &[u8]) -> Vec<u8> {
    let gguf = Gguf::parse(file).expect("a GGUF file");
    let mut writer = Writer::with_metadata_of(&gguf);
    let mut data = Vec::new();
    for tensor in gguf.tensors() {
        let (dtype, bytes) = match tensor.dtype {
            DType::MXFP4 => (DType::F32, floats(tensor)),
            dtype => (dtype, tensor.data.to_vec()),
        };
        writer
            .add_tensor(tensor.name, dtype, tensor.dims())
            .expect("the shape of a tensor");
        data.push(bytes);
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    writer.to_vec(&data).expect("data for each tensor")
}

/// The tensor's weights as little-endian floats. A block of 32 weights is an exponent byte
/// and 16 bytes; byte `i` has the codes of the weights `i` and `i + 16`.
fn floats(tensor: &TensorInfo<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for block in tensor.data.chunks_exact(17) {
        let scale = 2f32.powi(i32::from(block[0]) - 127);
        let low = block[1..].iter().map(|byte| byte & 15);
        let high = block[1..].iter().map(|byte| byte >> 4);
        for code in low.chain(high) {
            let sign = if code & 8 == 0 { 1.0 } else { -1.0 };
            let value = sign * E2M1[usize::from(code & 7)] * scale;
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
    out
}
