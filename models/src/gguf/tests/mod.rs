//! Tests of the container: with valid, truncated and malformed files, and with random bytes.

mod hostile;
mod read;
mod shards;
mod write;

use super::*;
use crate::quant::DType;

/// A small file with every kind of value and three tensors. The data of the last one ends at
/// a multiple of the alignment, so that the file does not end in padding.
fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    writer.set("general.alignment", 64u32);
    writer.set("n.u8", 8u8);
    writer.set("n.i8", -8i8);
    writer.set("n.u16", 16u16);
    writer.set("n.i16", -16i16);
    writer.set("n.i32", -32i32);
    writer.set("n.u64", u64::MAX);
    writer.set("n.i64", -64i64);
    writer.set("n.f32", 0.5f32);
    writer.set("n.f64", 0.25f64);
    writer.set("n.yes", true);
    writer.set("a.tokens", &["<s>", "", "온돌"][..]);
    writer.set("a.types", vec![3i32, 1, 1]);
    writer.set("a.flags", vec![true, false]);
    writer.set("a.nested", vec![vec!["a", "b"], vec![]]);
    writer.set("a.empty", Vec::<f32>::new());
    writer.set("bad.utf8", Text(b"\xff"));
    writer.add_tensor("weight", DType::Q4_0, &[64, 3]).unwrap();
    writer.add_tensor("bias", DType::F32, &[5]).unwrap();
    writer.add_tensor("cube", DType::F16, &[2, 4, 4]).unwrap();
    let weight: Vec<u8> = (0..108).collect();
    writer.to_vec(&[&weight, &[7; 20], &[9; 64]]).unwrap()
}

/// Builds files that the writer would refuse to make.
struct Raw(Vec<u8>);

impl Raw {
    fn new(version: u32, tensors: u64, keys: u64) -> Raw {
        Raw(b"GGUF".to_vec()).put(version).put(tensors).put(keys)
    }

    fn put(mut self, value: impl Encode) -> Raw {
        value.encode(&mut self.0);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Raw {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A directory entry.
    fn tensor(mut self, name: &str, dims: &[u64], dtype: u32, offset: u64) -> Raw {
        self = self.put(name).put(dims.len() as u32);
        for dim in dims {
            self = self.put(*dim);
        }
        self.put(dtype).put(offset)
    }

    /// Pads to 32 and adds zeros as data.
    fn data(mut self, len: usize) -> Raw {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + len, 0);
        self
    }

    fn error(&self) -> Error {
        Gguf::parse(&self.0).expect_err("the file should be refused")
    }
}

/// Reads all metadata and tensors of a file that was parsed, whose contents may be anything.
fn walk(gguf: &Gguf<'_>) -> usize {
    fn elements(array: Array<'_>) -> usize {
        let inner: usize = array
            .iter()
            .filter_map(|v| v.as_array())
            .map(elements)
            .sum();
        assert_eq!(array.iter().count(), array.len());
        inner + array.len() + array.texts().map(<[u8]>::len).sum::<usize>()
    }
    let mut seen = 0;
    for (key, value) in gguf.metadata() {
        assert_eq!(gguf.get(key).map(Value::kind), Some(value.kind()));
        seen += format!("{value} {value:?}").len() + value.as_array().map_or(0, elements);
        let _ = (
            gguf.str(key),
            gguf.u32(key),
            gguf.u64(key),
            gguf.f32(key),
            gguf.bool(key),
        );
    }
    for tensor in gguf.tensors() {
        assert_eq!(
            gguf.tensor(tensor.name).map(|t| t.offset),
            Some(tensor.offset)
        );
        assert_eq!(
            tensor.dtype.row_bytes(tensor.cols()).unwrap() * tensor.rows(),
            tensor.data.len()
        );
        seen += tensor.elements() + tensor.data.iter().filter(|b| **b == 0).count();
    }
    seen
}
