//! For all vocabularies: the tokenizer refuses one, or encodes any text to ids that it has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondol_models::gguf::Gguf;
use ondol_models::tokenizer::{EncodeOptions, Tokenizer};

/// Bytes of the file that are encoded as text. They hold pieces of the
/// vocabulary, so merges and special tokens occur.
const TEXT_BYTES: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::parse(bytes) else { return };
    let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) else { return };
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES)]);
    for special in [false, true] {
        let options = EncodeOptions { add_special: special, parse_special: special };
        let ids = tokenizer.encode(&text, options);
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size()));
        tokenizer.decode(&ids);
    }
});
