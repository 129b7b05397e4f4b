//! For all bytes: the parser refuses them, or everything that it returns can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondol_models::gguf::{Array, Gguf};

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::parse(bytes) else { return };
    for (key, value) in gguf.metadata() {
        assert_eq!(gguf.get(key).map(|v| v.kind()), Some(value.kind()));
        let _ = value.to_string();
        value.as_array().map(walk);
    }
    for tensor in gguf.tensors() {
        assert_eq!(gguf.tensor(tensor.name).map(|t| t.offset), Some(tensor.offset));
        let row = tensor.dtype.row_bytes(tensor.cols()).expect("whole blocks");
        assert_eq!(row * tensor.rows(), tensor.data.len());
    }
});

fn walk(array: Array<'_>) {
    let mut count = 0;
    for value in array.iter() {
        count += 1;
        value.as_array().map(walk);
    }
    assert_eq!(count, array.len());
    array.texts().for_each(|text| assert!(text.len() <= isize::MAX as usize));
}
