//! The reader against files that are right, cut, and wrong.

use super::*;
use alloc::vec;

#[test]
fn an_empty_model_parses() {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(vec![0; 16]);
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!((gguf.version(), gguf.alignment()), (3, 32));
    assert!(gguf.tensors().is_empty() && gguf.metadata().is_empty());
}
