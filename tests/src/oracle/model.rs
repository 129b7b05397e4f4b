//! A file with its hyperparameters, and the blocks that several architectures share.

use super::Cache;
use super::file::{File, Matrix};
use super::math::{
    Attention, Rope, Rows, attention, columns, gated, layer_norm, linear, map, rms_norm,
};
use candle_core::quantized::gguf_file::Value;

/// A file and its hyperparameters.
pub struct Model<'a> {
    pub file: &'a File,
    pub layers: usize,
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub eps: f64,
    pub cache: Cache,
}

impl<'a> Model<'a> {
    pub fn new(file: &'a File, cache: Cache) -> Self {
        let width = file.integer("embedding_length");
        let heads = file.integer("attention.head_count");
        let or = |value: usize, default: usize| if value == 0 { default } else { value };
        Model {
            file,
            layers: file.integer("block_count") - file.integer("nextn_predict_layers"),
            width,
            heads,
            kv_heads: or(file.integer("attention.head_count_kv"), heads),
            head_dim: or(file.integer("attention.key_length"), width / heads.max(1)),
            eps: file.float("attention.layer_norm_rms_epsilon", 0.0),
            cache,
        }
    }

    pub fn embed(&self, tokens: &[u32], scale: f64) -> Rows {
        self.embed_by("token_embd.weight", tokens, scale)
    }

    /// The rows of the table `table` for these tokens, times `scale`.
    pub fn embed_by(&self, table: &str, tokens: &[u32], scale: f64) -> Rows {
        let table = self.file.tensor(table);
        let row = |token: &u32| {
            table
                .row(*token as usize)
                .iter()
                .map(|v| f64::from(*v) * scale)
                .collect()
        };
        tokens.iter().map(row).collect()
    }

    /// Whether a layer has this matrix or norm.
    pub fn has(&self, layer: usize, name: &str) -> bool {
        self.file
            .opt_tensor(&format!("blk.{layer}.{name}.weight"))
            .is_some()
    }

    pub fn weight(&self, layer: usize, name: &str) -> &Matrix {
        self.file.tensor(&format!("blk.{layer}.{name}.weight"))
    }

    /// A tensor of a layer whose name does not end in `.weight`.
    pub fn vector(&self, layer: usize, name: &str) -> &Matrix {
        self.file.tensor(&format!("blk.{layer}.{name}"))
    }

    pub fn linear(&self, x: &Rows, layer: usize, name: &str) -> Rows {
        let bias = self.file.opt_tensor(&format!("blk.{layer}.{name}.bias"));
        linear(x, self.weight(layer, name), bias)
    }

    pub fn norm(&self, x: &Rows, layer: usize, name: &str) -> Rows {
        rms_norm(x, self.weight(layer, name), self.eps)
    }

    pub fn layer_norm(&self, x: &Rows, layer: usize, name: &str) -> Rows {
        self.layer_norm_by(x, &format!("blk.{layer}.{name}"))
    }

    fn layer_norm_by(&self, x: &Rows, name: &str) -> Rows {
        let eps = self.file.float("attention.layer_norm_epsilon", 0.0);
        let bias = self.file.opt_tensor(&format!("{name}.bias"));
        layer_norm(x, self.file.tensor(&format!("{name}.weight")), bias, eps)
    }

    pub fn feed_forward(&self, x: &Rows, layer: usize, f: fn(f64) -> f64) -> Rows {
        let gate = self.linear(x, layer, "ffn_gate");
        let up = self.linear(x, layer, "ffn_up");
        self.linear(&gated(&gate, &up, f), layer, "ffn_down")
    }

    /// The feed-forward block that every token passes beside its experts.
    pub fn shared_feed_forward(&self, x: &Rows, layer: usize, f: fn(f64) -> f64) -> Rows {
        let gate = self.linear(x, layer, "ffn_gate_shexp");
        let up = self.linear(x, layer, "ffn_up_shexp");
        self.linear(&gated(&gate, &up, f), layer, "ffn_down_shexp")
    }

    /// A feed-forward block whose gate is the first half of the rows of `ffn_up`.
    pub fn fused_feed_forward(&self, x: &Rows, layer: usize, f: fn(f64) -> f64) -> Rows {
        let both = self.linear(x, layer, "ffn_up");
        let hidden = both[0].len() / 2;
        let gate = columns(&both, 0..hidden);
        let up = columns(&both, hidden..2 * hidden);
        self.linear(&gated(&gate, &up, f), layer, "ffn_down")
    }

    /// A feed-forward block without a gate.
    pub fn plain_feed_forward(&self, x: &Rows, layer: usize, f: fn(f64) -> f64) -> Rows {
        let up = self.linear(x, layer, "ffn_up");
        self.linear(&map(&up, f), layer, "ffn_down")
    }

    pub fn head(&self, x: &Rows) -> Rows {
        self.logits(&rms_norm(
            x,
            self.file.tensor("output_norm.weight"),
            self.eps,
        ))
    }

    /// The logits, after a layer norm.
    pub fn layer_norm_head(&self, x: &Rows) -> Rows {
        self.logits(&self.layer_norm_by(x, "output_norm"))
    }

    /// The logits of the rows `x`, which have passed the last norm.
    pub fn logits(&self, x: &Rows) -> Rows {
        let tied = self.file.tensor("token_embd.weight");
        let head = self.file.opt_tensor("output.weight").unwrap_or(tied);
        linear(x, head, self.file.opt_tensor("output.bias"))
    }

    /// q, k and v of a layer that has a matrix for each.
    pub fn qkv(&self, x: &Rows, layer: usize) -> [Rows; 3] {
        ["attn_q", "attn_k", "attn_v"].map(|name| self.linear(x, layer, name))
    }

    /// The same, with the norms of q and k: of each head, or of all heads at once if the
    /// norm is that wide.
    pub fn normed_qkv(&self, x: &Rows, layer: usize) -> [Rows; 3] {
        let [q, k, v] = self.qkv(x, layer);
        [
            self.norm(&q, layer, "attn_q_norm"),
            self.norm(&k, layer, "attn_k_norm"),
            v,
        ]
    }

    /// Rotates q and k, computes the attention, and multiplies with the output matrix.
    pub fn attend(
        &self,
        [mut q, mut k, v]: [Rows; 3],
        layer: usize,
        rope: Option<&Rope>,
        options: &Attention,
    ) -> Rows {
        if let Some(rope) = rope {
            rope.rotate(&mut q, options.head_dim);
            rope.rotate(&mut k, options.head_dim);
        }
        self.linear(&attention(&q, &k, &v, options), layer, "attn_output")
    }

    pub fn attention(&self) -> Attention {
        Attention {
            head_dim: self.head_dim,
            scale: 1.0 / (self.head_dim as f64).sqrt(),
            cap: None,
            window: None,
            sinks: None,
            f16_cache: self.cache == Cache::F16,
        }
    }

    /// [`Model::rope_of`], with the file's number of elements.
    pub fn rope(&self, base: f64, linear: f64, factors: Option<&Matrix>) -> Rope {
        match self.file.integer("rope.dimension_count") {
            0 => self.rope_of(self.head_dim, base, linear, factors),
            dims => self.rope_of(dims, base, linear, factors),
        }
    }

    /// The rotary embedding of `dims` elements: the frequency of pair `i` is
    /// `base^(-2i/dims)`, divided by the linear factor and by the tensor's factor, if any.
    pub fn rope_of(&self, dims: usize, base: f64, linear: f64, factors: Option<&Matrix>) -> Rope {
        let factor = |i: usize| factors.map_or(1.0, |f| f64::from(f.data[i]));
        let frequency = |i: usize| base.powf(-2.0 * i as f64 / dims as f64) / linear / factor(i);
        let frequencies = (0..dims / 2).map(frequency).collect();
        Rope {
            interleaved: false,
            frequencies,
            magnitude: 1.0,
        }
    }

    /// YaRN, from section 3 of its paper. A pair that turns 32 times or more within the
    /// original context keeps its frequency; the frequency of a pair that turns once or less
    /// is divided by the factor; between them the frequency is interpolated by the number of
    /// the pair.
    ///
    /// `whole_pairs` rounds the two ends to whole pairs; gpt-oss does not round them.
    pub fn yarn(&self, whole_pairs: bool) -> Rope {
        let factor = self.file.float("rope.scaling.factor", 1.0);
        let base = self.file.float("rope.freq_base", 10_000.0);
        let context = self.file.integer("rope.scaling.original_context_length") as f64;
        let rope = self.rope(base, 1.0, self.file.opt_tensor("rope_freqs.weight"));
        let dims = 2 * rope.frequencies.len();
        // turns = context * base^(-2i/dims) / 2 pi, solved for i.
        let pair = |turns: f64| {
            (context / (std::f64::consts::TAU * turns)).ln() / base.ln() * dims as f64 / 2.0
        };
        let mut first = pair(self.file.float("rope.scaling.yarn_beta_fast", 32.0));
        let mut last = pair(self.file.float("rope.scaling.yarn_beta_slow", 1.0));
        if whole_pairs {
            (first, last) = (first.floor(), last.ceil());
        }
        let (first, last) = (first.max(0.0), last.min(dims as f64 - 1.0));
        let slowed = |(i, frequency): (usize, &f64)| {
            let slow = ((i as f64 - first) / (last - first)).clamp(0.0, 1.0);
            frequency * (1.0 - slow) + frequency / factor * slow
        };
        let magnitude = 1.0 + factor.ln() / 10.0;
        Rope {
            frequencies: rope.frequencies.iter().enumerate().map(slowed).collect(),
            magnitude: self.file.float("rope.scaling.yarn_attn_factor", magnitude),
            ..rope
        }
    }

    /// The file's rotary embedding, scaled by a linear factor, YaRN and `rope_freqs`.
    pub fn file_rope(&self) -> Rope {
        let named = self
            .file
            .value("rope.scaling.type")
            .map(|name| name.to_string().expect("a name").as_str());
        let linear = match named {
            Some("yarn") => return self.yarn(true),
            None | Some("linear") => self.file.float("rope.scaling.factor", 1.0),
            _ => 1.0,
        };
        let base = self.file.float("rope.freq_base", 10_000.0);
        self.rope(base, linear, self.file.opt_tensor("rope_freqs.weight"))
    }

    /// [`Model::file_rope`] in which elements `2i` and `2i+1` are a pair.
    pub fn interleaved_rope(&self) -> Rope {
        Rope {
            interleaved: true,
            ..self.file_rope()
        }
    }

    /// YaRN of DeepSeek and Mistral 3, interleaved. Its magnitude is the ratio of two
    /// numbers of which files contain only one; in all published models they are equal, so
    /// the magnitude is 1.
    pub fn yarn_of_unit_magnitude(&self) -> Rope {
        let rope = self.interleaved_rope();
        match self.file.value("rope.scaling.yarn_log_multiplier") {
            None => rope,
            Some(_) => Rope {
                magnitude: 1.0,
                ..rope
            },
        }
    }

    /// Whether a layer's attention has a window: as the file says for each layer, or all
    /// layers except every `every`-th.
    pub fn windowed(&self, layer: usize, every: usize) -> bool {
        match self.file.value("attention.sliding_window_pattern") {
            None => layer % every != every - 1,
            Some(Value::Array(per_layer)) => per_layer[layer].to_bool().expect("booleans"),
            Some(period) => {
                let every = period.to_u32().expect("a period") as usize;
                layer % every != every - 1
            }
        }
    }
}
