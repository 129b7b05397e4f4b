//! Small models with random weights: one for each architecture, and one for each variant
//! that its files may have.
//!
//! Tests compare the runtime with the oracle on these models;
//! [`RandomModel::one_billion`] and [`RandomModel::phone`] are for benchmarks. The same seed
//! gives the same bytes.

mod further;
mod further_variants;
mod phones;
mod shapes;
mod tensors;
mod variants;
mod write;

use ondol_models::gguf::MetaValue;
use ondol_models::quant::DType;

pub use further_variants::further_variants;
pub use phones::PHONES;
pub use variants::variants;

/// The architectures that firmware builds may have.
pub const ARCHITECTURES: [&str; 8] = [
    "llama", "qwen2", "qwen3", "gemma2", "gemma3", "exaone", "exaone4", "phi3",
];

/// Further architectures, which firmware does not have.
pub static FURTHER: [&str; 27] = [
    "gemma",
    "granite",
    "minicpm",
    "smollm3",
    "mistral3",
    "olmo2",
    "hunyuan-dense",
    "glm4",
    "cohere2",
    "phi2",
    "stablelm",
    "starcoder2",
    "qwen3moe",
    "olmoe",
    "granitemoe",
    "gpt-oss",
    "exaone-moe",
    "deepseek2",
    "lfm2",
    "lfm2moe",
    "qwen35",
    "qwen35moe",
    "mamba2",
    "granitehybrid",
    "falcon-h1",
    "gemma4",
    "gemma3n",
];

/// The names in [`FURTHER`] from `first` to `last`, both included.
///
/// # Panics
/// If one of the two is not in [`FURTHER`].
pub fn further(first: &str, last: &str) -> &'static [&'static str] {
    let place = |name| FURTHER.iter().position(|&known| known == name).expect(name);
    &FURTHER[place(first)..=place(last)]
}

/// The description of a random model. Fields may be changed before it is written.
#[derive(Debug, Clone)]
pub struct RandomModel {
    /// Name in `general.architecture`.
    pub architecture: &'static str,
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Width of the feed-forward block.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Whether every second layer has half the query heads, one key head, and half the
    /// width of the feed-forward block.
    pub uneven: bool,
    /// Tokens: three special ones, 256 bytes, and pieces; so 260 or more.
    pub vocabulary: usize,
    /// Tokens of context in the metadata.
    pub context: usize,
    /// Whether the output head is the embedding table.
    pub tied: bool,
    /// Whether q, k and v have biases.
    pub biases: bool,
    /// Format of the matrices; vectors are F32.
    pub dtype: DType,
    /// Format of the embedding table and of the output head.
    pub table_dtype: DType,
    /// Further metadata of the architecture, by key without its name.
    pub keys: Vec<(&'static str, MetaValue)>,
    /// Frequency factors of the rotary embedding, by the name of their tensor.
    pub factors: Vec<(&'static str, Vec<f32>)>,
    /// Seed of the weights.
    pub seed: u64,
}

impl RandomModel {
    /// A model of a few layers, of a megabyte or less, in F32.
    pub fn small(architecture: &'static str) -> RandomModel {
        shapes::shaped(RandomModel {
            architecture,
            layers: 3,
            width: 64,
            hidden: 96,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            uneven: false,
            vocabulary: 300,
            context: 2048,
            tied: true,
            biases: architecture == "qwen2",
            dtype: DType::F32,
            table_dtype: DType::F32,
            keys: Vec::new(),
            factors: Vec::new(),
            seed: 1,
        })
    }

    /// A Llama of about a billion parameters. In Q4_0 its file has 632 MB: in files of
    /// 4-bit formats the embedding table, which is also the output head, is in Q6_K.
    pub fn one_billion(dtype: DType) -> RandomModel {
        let four_bits = matches!(
            dtype,
            DType::Q4_0 | DType::Q4_1 | DType::Q4_K | DType::IQ4_NL | DType::IQ4_XS
        );
        RandomModel {
            layers: 16,
            width: 2048,
            hidden: 8192,
            heads: 32,
            kv_heads: 8,
            head_dim: 64,
            vocabulary: 49_152,
            context: 8192,
            dtype,
            table_dtype: if four_bits { DType::Q6_K } else { dtype },
            ..RandomModel::small("llama")
        }
    }

    /// Query heads, key heads and feed-forward width of a layer.
    fn shape(&self, layer: usize) -> [usize; 3] {
        match self.uneven && layer % 2 == 1 {
            true => [self.heads / 2, 1, self.hidden / 2],
            false => [self.heads, self.kv_heads, self.hidden],
        }
    }

    /// The same model with its weights in another format, and rows of 256 and 512 elements,
    /// which are multiples of any block.
    pub fn quantized(self, dtype: DType) -> RandomModel {
        // The number of frequency factors, if any, fixes the width of a head.
        let head_dim = match self.heads {
            heads if heads > 0 && self.factors.is_empty() => 256 / heads,
            _ => self.head_dim,
        };
        RandomModel {
            width: 256,
            hidden: if self.hidden > 0 { 512 } else { 0 },
            head_dim,
            dtype,
            table_dtype: dtype,
            ..self
        }
    }

    /// The same model with one more key.
    pub fn with(mut self, key: &'static str, value: impl Into<MetaValue>) -> RandomModel {
        self.keys.push((key, value.into()));
        self
    }
}
