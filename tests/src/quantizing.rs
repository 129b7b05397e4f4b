//! Quantized copies of files in memory.

use ondol_models::gguf::{Gguf, Writer};
use ondol_models::quant::{self, Mix, ModelShape};

/// The file with its tensors in the types that a mix has for a dense model of one layer.
pub fn quantized(file: &[u8], mix: Mix) -> Vec<u8> {
    let gguf = Gguf::parse(file).expect("a file that is whole");
    let shape = ModelShape {
        layers: 1,
        queries_per_kv: 1,
        experts: 0,
        tied_head: false,
    };
    let mut writer = Writer::with_metadata_of(&gguf);
    let mut data = Vec::new();
    for tensor in gguf.tensors() {
        let dtype = mix.tensor_type(tensor.name, tensor.dims(), &shape);
        let dtype = dtype.unwrap_or(tensor.dtype);
        writer
            .add_tensor(tensor.name, dtype, tensor.dims())
            .expect("the shape of a tensor");
        if dtype == tensor.dtype {
            data.push(tensor.data.to_vec());
            continue;
        }
        let mut floats = vec![0.0; tensor.elements()];
        quant::dequantize(tensor.dtype, tensor.data, &mut floats).expect("whole blocks");
        let bytes = dtype.row_bytes(tensor.cols()).expect("whole rows") * tensor.rows();
        let mut out = vec![0; bytes];
        quant::quantize(dtype, &floats, &mut out, None).expect("whole blocks");
        data.push(out);
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    writer.to_vec(&data).expect("data for each tensor")
}
