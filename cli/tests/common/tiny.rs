//! A llama of two layers with random weights and a vocabulary of bytes, as a GGUF file.

use ondol_models::gguf::Writer;
use ondol_models::quant::DType;

/// Width of the residual stream, wide enough for blocks of 256.
pub const WIDTH: usize = 256;
/// Tokens: the 256 bytes and three control tokens.
pub const VOCABULARY: usize = 259;
/// The end-of-text token.
pub const END: u32 = 256;

/// The vocabulary and hyperparameters, without tensors.
pub fn vocabulary_only() -> Writer {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    writer.set("general.name", "tiny");
    for (key, value) in [
        ("block_count", 2),
        ("context_length", 512),
        ("embedding_length", WIDTH as u32),
        ("feed_forward_length", 512),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
    ] {
        writer.set(&format!("llama.{key}"), value);
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5_f32);
    let mut tokens: Vec<String> = (0..=255).map(|byte| spelling(byte).to_string()).collect();
    tokens.extend(["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned));
    let kinds: Vec<i32> = (0..VOCABULARY)
        .map(|id| if id < 256 { 1 } else { 3 })
        .collect();
    writer.set("tokenizer.ggml.model", "gpt2");
    writer.set("tokenizer.ggml.pre", "gpt-2");
    writer.set("tokenizer.ggml.tokens", tokens);
    writer.set("tokenizer.ggml.token_type", kinds);
    writer.set("tokenizer.ggml.merges", Vec::<String>::new());
    writer.set("tokenizer.ggml.bos_token_id", END);
    writer.set("tokenizer.ggml.eos_token_id", END);
    writer
}

/// The whole model in F32.
#[allow(dead_code)] // Not every test file uses it.
pub fn model() -> Vec<u8> {
    with_rows(VOCABULARY)
}

/// The same with so many rows in the table that is embedding and head: those past
/// the vocabulary are padding.
pub fn with_rows(rows: usize) -> Vec<u8> {
    let mut writer = vocabulary_only();
    let mut shapes = vec![
        ("token_embd.weight".to_owned(), vec![WIDTH, rows]),
        ("output_norm.weight".to_owned(), vec![WIDTH]),
    ];
    for layer in 0..2 {
        for (name, dims) in [
            ("attn_norm", vec![WIDTH]),
            ("attn_q", vec![WIDTH, WIDTH]),
            ("attn_k", vec![WIDTH, WIDTH / 2]),
            ("attn_v", vec![WIDTH, WIDTH / 2]),
            ("attn_output", vec![WIDTH, WIDTH]),
            ("ffn_norm", vec![WIDTH]),
            ("ffn_gate", vec![WIDTH, 512]),
            ("ffn_up", vec![WIDTH, 512]),
            ("ffn_down", vec![512, WIDTH]),
        ] {
            shapes.push((format!("blk.{layer}.{name}.weight"), dims));
        }
    }
    let mut random = 1_u32;
    let data: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, dims)| floats(dims, &mut random))
        .collect();
    for (name, dims) in &shapes {
        let dims: Vec<u64> = dims.iter().map(|&d| d as u64).collect();
        writer.add_tensor(name, DType::F32, &dims).unwrap();
    }
    writer
        .to_vec(&data.iter().map(Vec::as_slice).collect::<Vec<_>>())
        .unwrap()
}

/// Norms of one, and matrices of small numbers.
fn floats(dims: &[usize], random: &mut u32) -> Vec<u8> {
    let count: usize = dims.iter().product();
    let mut next = || {
        *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(*random) / f64::from(u32::MAX) - 0.5
    };
    let value = |_| if dims.len() == 1 { 1.0 } else { next() * 0.4 };
    (0..count)
        .map(value)
        .flat_map(|x| (x as f32).to_le_bytes())
        .collect()
}

/// How byte-level vocabularies spell a byte: printable ones as they are, others moved to U+0100 and on.
fn spelling(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match printable(byte) {
        true => char::from(byte),
        false => {
            let moved = (0..byte).filter(|&b| !printable(b)).count() as u32;
            char::from_u32(0x100 + moved).unwrap()
        }
    }
}
