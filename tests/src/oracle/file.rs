//! A GGUF file as candle-core reads it.

use super::mxfp4::widened;
use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};
use std::collections::HashMap;
use std::io::Cursor;

/// A tensor of one or two dimensions; a vector is a matrix of one row.
pub struct Matrix {
    pub cols: usize,
    pub data: Vec<f32>,
}

impl Matrix {
    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.data.chunks_exact(self.cols)
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.cols..][..self.cols]
    }

    /// The rows of `range` as a matrix.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Matrix {
        let data = self.data[range.start * self.cols..range.end * self.cols].to_vec();
        Matrix {
            cols: self.cols,
            data,
        }
    }
}

/// Metadata and dequantized tensors.
pub struct File {
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Matrix>,
}

impl File {
    pub fn read(gguf: &[u8]) -> File {
        let gguf = widened(gguf);
        let mut reader = Cursor::new(&gguf);
        let content = Content::read(&mut reader).expect("candle reads the header");
        let mut tensors = HashMap::new();
        for name in content.tensor_infos.keys() {
            let tensor = content
                .tensor(&mut reader, name, &Device::Cpu)
                .expect("candle reads the tensor");
            let tensor = tensor
                .dequantize(&Device::Cpu)
                .expect("candle dequantizes the tensor");
            let cols = *tensor.dims().last().expect("a tensor has a dimension");
            let data = tensor
                .flatten_all()
                .and_then(|flat| flat.to_vec1())
                .expect("a tensor of floats");
            tensors.insert(name.clone(), Matrix { cols, data });
        }
        File {
            metadata: content.metadata,
            tensors,
        }
    }

    pub fn architecture(&self) -> &str {
        let name = self.metadata["general.architecture"].to_string();
        name.expect("the architecture is a string")
    }

    /// The value of `<architecture>.<key>`.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(&format!("{}.{key}", self.architecture()))
    }

    /// The integer of a key, or zero; of an array, the first element.
    pub fn integer(&self, key: &str) -> usize {
        let number = |value: &Value| match value {
            // The elements of arrays often have this type.
            Value::I32(number) => usize::try_from(*number).expect(key),
            number => number.to_u64().expect(key) as usize,
        };
        match self.value(key) {
            None => 0,
            Some(Value::Array(per_layer)) => number(&per_layer[0]),
            Some(value) => number(value),
        }
    }

    /// The float of a key, or `default`.
    pub fn float(&self, key: &str, default: f64) -> f64 {
        self.value(key)
            .map_or(default, |value| value.to_f32().expect(key).into())
    }

    /// The float for `layer` of an array with one float for each layer, or zero.
    pub fn float_of_layer(&self, key: &str, layer: usize) -> f64 {
        match self.value(key) {
            Some(Value::Array(per_layer)) => per_layer[layer].to_f32().expect(key).into(),
            _ => 0.0,
        }
    }

    /// The boolean of a key, or `default`.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.value(key)
            .map_or(default, |value| value.to_bool().expect(key))
    }

    pub fn opt_tensor(&self, name: &str) -> Option<&Matrix> {
        self.tensors.get(name)
    }

    pub fn tensor(&self, name: &str) -> &Matrix {
        self.opt_tensor(name)
            .unwrap_or_else(|| panic!("no tensor {name}"))
    }
}
