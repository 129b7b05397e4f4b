//! The GGUF file: metadata, vocabulary, weights.

use ondol_models::gguf::Writer;
use ondol_models::quant::{self, DType};

use crate::bpe::{CONTROL, Vocabulary};
use crate::model::{Config, Model};

/// Tokens of context that the file promises.
pub const CONTEXT: usize = 512;

type Error = Box<dyn std::error::Error>;

/// ChatML: each turn is `<|im_start|>role`, a line break, the text, `<|im_end|>`.
const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// Numbers of `tokenizer.ggml.token_type`.
const NORMAL: i32 = 1;
const CONTROL_TYPE: i32 = 3;

/// A file of metadata and vocabulary, without weights.
pub fn vocabulary(vocabulary: &Vocabulary) -> Writer {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    writer.set("general.name", "hello");
    writer.set("general.author", "The Ondol project");
    writer.set("general.license", "Apache-2.0 OR MIT");
    writer.set("general.size_label", "0.7M");
    writer.set(
        "general.languages",
        vec!["en".to_string(), "ko".to_string()],
    );
    let normal = vocabulary.tokens.len() - CONTROL.len();
    let id = |at: usize| (normal + at) as u32;
    let kinds: Vec<i32> = (0..vocabulary.tokens.len())
        .map(|i| if i < normal { NORMAL } else { CONTROL_TYPE })
        .collect();
    writer.set("tokenizer.ggml.model", "gpt2");
    writer.set("tokenizer.ggml.pre", "smollm");
    writer.set("tokenizer.ggml.tokens", vocabulary.tokens.clone());
    writer.set("tokenizer.ggml.token_type", kinds);
    writer.set("tokenizer.ggml.merges", vocabulary.merges.clone());
    writer.set("tokenizer.ggml.bos_token_id", id(0));
    writer.set("tokenizer.ggml.eos_token_id", id(0));
    writer.set("tokenizer.ggml.eot_token_id", id(2));
    writer.set("tokenizer.ggml.padding_token_id", id(0));
    writer.set("tokenizer.ggml.add_bos_token", false);
    writer.set("tokenizer.chat_template", CHAT_TEMPLATE);
    writer
}

/// The whole file: matrices in Q8_0, norms in F32.
pub fn file(mut writer: Writer, model: &Model) -> Result<Vec<u8>, Error> {
    set_hyperparameters(&mut writer, &model.config);
    let mut data = Vec::new();
    for weight in &model.weights {
        let dims: Vec<u64> = weight.var.dims().iter().rev().map(|&n| n as u64).collect();
        let dtype = if dims.len() == 1 {
            DType::F32
        } else {
            DType::Q8_0
        };
        let values = weight.var.flatten_all()?.to_vec1::<f32>()?;
        let mut bytes = vec![
            0;
            dtype
                .row_bytes(values.len())
                .ok_or("rows of whole blocks")?
        ];
        quant::quantize(dtype, &values, &mut bytes, None)?;
        writer.add_tensor(&weight.name, dtype, &dims)?;
        data.push(bytes);
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    Ok(writer.to_vec(&data)?)
}

fn set_hyperparameters(writer: &mut Writer, config: &Config) {
    let mut set = |key: &str, value: usize| writer.set(&format!("llama.{key}"), value as u32);
    set("vocab_size", config.vocabulary);
    set("context_length", CONTEXT);
    set("embedding_length", config.width);
    set("block_count", config.layers);
    set("feed_forward_length", config.hidden);
    set("attention.head_count", config.heads);
    set("attention.head_count_kv", config.kv_heads);
    set("rope.dimension_count", config.head_dim);
    writer.set("llama.rope.freq_base", config.rope_base);
    writer.set("llama.attention.layer_norm_rms_epsilon", config.eps);
}
