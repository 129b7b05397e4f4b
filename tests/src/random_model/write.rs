//! A random model as a GGUF file.

use super::RandomModel;
use super::tensors::{Fill, Tensor};
use crate::random::Random;
use ondol_models::gguf::Writer;
use ondol_models::quant;
use std::io::{self, Write};

/// The special tokens, and one token for each byte.
const FIRST_PIECE: usize = 3 + 256;

impl RandomModel {
    /// Writes the file with one tensor at a time in memory.
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::InvalidInput`] where rows are not whole
    /// blocks of the format.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut writer = Writer::new();
        self.set_hyperparameters(&mut writer);
        self.set_tokenizer(&mut writer);
        let tensors = self.tensors();
        for tensor in &tensors {
            writer
                .add_tensor(&tensor.name, tensor.dtype, &tensor.dims)
                .map_err(io::Error::other)?;
        }
        let mut stream = writer.stream(out)?;
        for (index, tensor) in (1..).zip(&tensors) {
            stream.tensor(&tensor.bytes(Random(self.seed << 32 | index))?)?;
        }
        stream.finish().map(drop)
    }

    /// The file in memory; panics where [`RandomModel::write`] fails.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes).expect("rows of whole blocks");
        bytes
    }

    fn set_hyperparameters(&self, writer: &mut Writer) {
        writer.set("general.architecture", self.architecture);
        writer.set("general.name", "random weights");
        let mut set = |key: &str, value: usize| {
            writer.set(&format!("{}.{key}", self.architecture), value as u32)
        };
        set("block_count", self.layers);
        set("context_length", self.context);
        set("embedding_length", self.width);
        let other_heads = self.heads > 0 && self.head_dim * self.heads != self.width;
        if self.uneven || other_heads {
            set("attention.key_length", self.head_dim);
            set("attention.value_length", self.head_dim);
        }
        let names = [
            "attention.head_count",
            "attention.head_count_kv",
            "feed_forward_length",
        ];
        for (which, name) in names.into_iter().enumerate() {
            // Mamba 2 has no key heads, and Qwen3.5 with experts no dense block.
            let lacks = match self.architecture {
                "mamba2" => which == 1,
                "qwen35moe" => which == 2,
                _ => false,
            };
            if lacks {
                continue;
            }
            let key = format!("{}.{name}", self.architecture);
            match self.uneven {
                true => {
                    let values = (0..self.layers).map(|layer| self.shape(layer)[which] as u32);
                    writer.set(&key, values.collect::<Vec<u32>>());
                }
                false => writer.set(&key, self.shape(0)[which] as u32),
            }
        }
        let epsilon = match self.architecture {
            "cohere2" | "phi2" | "stablelm" | "starcoder2" => "layer_norm_epsilon",
            _ => "layer_norm_rms_epsilon",
        };
        writer.set(
            &format!("{}.attention.{epsilon}", self.architecture),
            1e-5f32,
        );
        for (key, value) in &self.keys {
            writer.set(&format!("{}.{key}", self.architecture), value.clone());
        }
    }

    /// A SentencePiece vocabulary that can spell any text in bytes.
    fn set_tokenizer(&self, writer: &mut Writer) {
        let ids = || 0..self.vocabulary;
        writer.set("tokenizer.ggml.model", "llama");
        writer.set(
            "tokenizer.ggml.tokens",
            ids().map(piece).collect::<Vec<_>>(),
        );
        writer.set(
            "tokenizer.ggml.scores",
            ids().map(|id| -(id as f32)).collect::<Vec<_>>(),
        );
        writer.set(
            "tokenizer.ggml.token_type",
            ids().map(token_type).collect::<Vec<_>>(),
        );
        writer.set("tokenizer.ggml.unknown_token_id", 0u32);
        writer.set("tokenizer.ggml.bos_token_id", 1u32);
        writer.set("tokenizer.ggml.eos_token_id", 2u32);
    }
}

fn piece(id: usize) -> String {
    match id {
        0 => "<unk>".into(),
        1 => "<s>".into(),
        2 => "</s>".into(),
        byte @ 3..FIRST_PIECE => format!("<0x{:02X}>", byte - 3),
        _ => format!("▁{id}"),
    }
}

/// The numbers of `llama_token_type`: normal, unknown, control, byte.
fn token_type(id: usize) -> i32 {
    match id {
        0 => 2,
        1 | 2 => 3,
        3..FIRST_PIECE => 6,
        _ => 1,
    }
}

impl Tensor {
    /// The tensor's data, quantized a row at a time.
    fn bytes(&self, mut random: Random) -> io::Result<Vec<u8>> {
        let cols = self.dims[0] as usize;
        let rows = self.dims[1..].iter().product::<u64>() as usize;
        let row_bytes = self
            .dtype
            .row_bytes(cols)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut bytes = vec![0; rows * row_bytes];
        for out in bytes.chunks_exact_mut(row_bytes) {
            let row: Vec<f32> = match &self.fill {
                Fill::Values(values) => values.clone(),
                Fill::Random { mean, deviation } => (0..cols)
                    .map(|_| mean + deviation * random.normal())
                    .collect(),
            };
            quant::quantize(self.dtype, &row, out, None).map_err(io::Error::other)?;
        }
        Ok(bytes)
    }
}
