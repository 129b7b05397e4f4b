//! The forward pass of each architecture.

use super::Cache;
use super::file::{File, Matrix};
use super::math::{
    Attention, Rope, Rows, add, attention, gated, gelu, linear, rms_norm, silu, softcap,
};
use candle_core::quantized::gguf_file::Value;

/// The logits after each token.
pub fn forward(file: &File, tokens: &[u32], context: usize, cache: Cache) -> Rows {
    let m = Model::new(file, cache);
    match file.architecture() {
        "llama" => m.llama(tokens, true),
        "qwen2" | "exaone" => m.llama(tokens, false),
        "qwen3" => m.qwen3(tokens),
        "gemma2" => m.gemma2(tokens),
        "gemma3" => m.gemma3(tokens),
        "exaone4" => m.exaone4(tokens),
        "phi3" => m.phi3(tokens, context),
        other => panic!("the oracle does not know {other}"),
    }
}

/// A file and its hyperparameters.
struct Model<'a> {
    file: &'a File,
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    eps: f64,
    cache: Cache,
}

impl<'a> Model<'a> {
    fn new(file: &'a File, cache: Cache) -> Self {
        let width = file.integer("embedding_length");
        let heads = file.integer("attention.head_count");
        let or = |value: usize, default: usize| if value == 0 { default } else { value };
        Model {
            file,
            layers: file.integer("block_count") - file.integer("nextn_predict_layers"),
            width,
            heads,
            kv_heads: or(file.integer("attention.head_count_kv"), heads),
            head_dim: or(file.integer("attention.key_length"), width / heads),
            eps: file.float("attention.layer_norm_rms_epsilon", 0.0),
            cache,
        }
    }

    fn embed(&self, tokens: &[u32], scale: f64) -> Rows {
        let table = self.file.tensor("token_embd.weight");
        let row = |token: &u32| {
            table
                .row(*token as usize)
                .iter()
                .map(|v| f64::from(*v) * scale)
                .collect()
        };
        tokens.iter().map(row).collect()
    }

    fn weight(&self, layer: usize, name: &str) -> &Matrix {
        self.file.tensor(&format!("blk.{layer}.{name}.weight"))
    }

    fn linear(&self, x: &Rows, layer: usize, name: &str) -> Rows {
        let bias = self.file.opt_tensor(&format!("blk.{layer}.{name}.bias"));
        linear(x, self.weight(layer, name), bias)
    }

    fn norm(&self, x: &Rows, layer: usize, name: &str) -> Rows {
        rms_norm(x, self.weight(layer, name), self.eps)
    }

    fn feed_forward(&self, x: &Rows, layer: usize, f: fn(f64) -> f64) -> Rows {
        let gate = self.linear(x, layer, "ffn_gate");
        let up = self.linear(x, layer, "ffn_up");
        self.linear(&gated(&gate, &up, f), layer, "ffn_down")
    }

    fn head(&self, x: &Rows) -> Rows {
        let x = rms_norm(x, self.file.tensor("output_norm.weight"), self.eps);
        let tied = self.file.tensor("token_embd.weight");
        let head = self.file.opt_tensor("output.weight").unwrap_or(tied);
        linear(&x, head, self.file.opt_tensor("output.bias"))
    }

    fn attention(&self) -> Attention {
        Attention {
            head_dim: self.head_dim,
            scale: 1.0 / (self.head_dim as f64).sqrt(),
            cap: None,
            window: None,
            f16_cache: self.cache == Cache::F16,
        }
    }

    /// `base^(-2i/dims)`, over the linear factor and the factors of the tensor, if any.
    fn rope(&self, base: f64, linear: f64, factors: Option<&Matrix>) -> Rope {
        let dims = match self.file.integer("rope.dimension_count") {
            0 => self.head_dim,
            dims => dims,
        };
        let factor = |i: usize| factors.map_or(1.0, |f| f64::from(f.data[i]));
        let frequency = |i: usize| base.powf(-2.0 * i as f64 / dims as f64) / linear / factor(i);
        let frequencies = (0..dims / 2).map(frequency).collect();
        Rope {
            interleaved: false,
            frequencies,
            magnitude: 1.0,
        }
    }

    /// YaRN from section 3 of its paper: a pair that turns `32` times or more in the
    /// first training's context stays, one that turns once or less is slowed by the
    /// factor; where between, by its number, with ends at whole pairs.
    fn yarn(&self) -> Rope {
        let factor = self.file.float("rope.scaling.factor", 1.0);
        let base = self.file.float("rope.freq_base", 10_000.0);
        let context = self.file.integer("rope.scaling.original_context_length") as f64;
        let rope = self.rope(base, 1.0, self.file.opt_tensor("rope_freqs.weight"));
        let dims = 2 * rope.frequencies.len();
        // turns = context * base^(-2i/dims) / 2 pi, solved for i.
        let pair = |turns: f64| {
            (context / (std::f64::consts::TAU * turns)).ln() / base.ln() * dims as f64 / 2.0
        };
        let first = pair(self.file.float("rope.scaling.yarn_beta_fast", 32.0)).floor();
        let last = pair(self.file.float("rope.scaling.yarn_beta_slow", 1.0)).ceil();
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

    /// The rope of the whole file, with the scalings of linear factor, YaRN and `rope_freqs`.
    fn file_rope(&self) -> Rope {
        let named = self
            .file
            .value("rope.scaling.type")
            .map(|name| name.to_string().expect("a name").as_str());
        let linear = match named {
            Some("yarn") => return self.yarn(),
            None | Some("linear") => self.file.float("rope.scaling.factor", 1.0),
            _ => 1.0,
        };
        let base = self.file.float("rope.freq_base", 10_000.0);
        self.rope(base, linear, self.file.opt_tensor("rope_freqs.weight"))
    }

    /// Whether a layer slides: per layer, or all but every n-th.
    fn slides(&self, layer: usize, every: usize) -> bool {
        match self.file.value("attention.sliding_window_pattern") {
            None => layer % every != every - 1,
            Some(Value::Array(per_layer)) => per_layer[layer].to_bool().expect("booleans"),
            Some(period) => {
                let every = period.to_u32().expect("a period") as usize;
                layer % every != every - 1
            }
        }
    }

    /// Llama; Qwen2 and EXAONE 3 differ in the pairs that rotate.
    fn llama(&self, tokens: &[u32], interleaved: bool) -> Rows {
        let rope = Rope {
            interleaved,
            ..self.file_rope()
        };
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let mut q = self.linear(&h, layer, "attn_q");
            let mut k = self.linear(&h, layer, "attn_k");
            let v = self.linear(&h, layer, "attn_v");
            rope.rotate(&mut q, self.head_dim);
            rope.rotate(&mut k, self.head_dim);
            let h = attention(&q, &k, &v, &self.attention());
            x = add(&x, &self.linear(&h, layer, "attn_output"));
            let h = self.norm(&x, layer, "ffn_norm");
            x = add(&x, &self.feed_forward(&h, layer, silu));
        }
        self.head(&x)
    }

    fn qwen3(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let mut q = self.norm(&self.linear(&h, layer, "attn_q"), layer, "attn_q_norm");
            let mut k = self.norm(&self.linear(&h, layer, "attn_k"), layer, "attn_k_norm");
            let v = self.linear(&h, layer, "attn_v");
            rope.rotate(&mut q, self.head_dim);
            rope.rotate(&mut k, self.head_dim);
            let h = attention(&q, &k, &v, &self.attention());
            x = add(&x, &self.linear(&h, layer, "attn_output"));
            let h = self.norm(&x, layer, "ffn_norm");
            x = add(&x, &self.feed_forward(&h, layer, silu));
        }
        self.head(&x)
    }

    fn gemma2(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let per_head = if self.layers == 46 {
            self.width / self.heads
        } else {
            self.head_dim
        };
        let scale = 1.0 / (per_head as f64).sqrt();
        let cap = Some(self.file.float("attn_logit_softcapping", 50.0));
        let window = match self.file.integer("attention.sliding_window") {
            0 => 4096,
            window => window,
        };
        let mut x = self.embed(tokens, (self.width as f64).sqrt());
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let mut q = self.linear(&h, layer, "attn_q");
            let mut k = self.linear(&h, layer, "attn_k");
            let v = self.linear(&h, layer, "attn_v");
            rope.rotate(&mut q, self.head_dim);
            rope.rotate(&mut k, self.head_dim);
            let window = self.slides(layer, 2).then_some(window);
            let h = attention(
                &q,
                &k,
                &v,
                &Attention {
                    scale,
                    cap,
                    window,
                    ..self.attention()
                },
            );
            let h = self.linear(&h, layer, "attn_output");
            x = add(&x, &self.norm(&h, layer, "post_attention_norm"));
            let h = self.norm(&x, layer, "ffn_norm");
            let h = self.feed_forward(&h, layer, gelu);
            x = add(&x, &self.norm(&h, layer, "post_ffw_norm"));
        }
        let cap = Some(self.file.float("final_logit_softcapping", 30.0));
        let capped = |row: Vec<f64>| row.into_iter().map(|logit| softcap(logit, cap)).collect();
        self.head(&x).into_iter().map(capped).collect()
    }

    fn gemma3(&self, tokens: &[u32]) -> Rows {
        let global = self.file_rope();
        let local = self.rope(self.file.float("rope.freq_base_swa", 10_000.0), 1.0, None);
        let per_head = if self.layers == 62 {
            self.width / self.heads
        } else {
            self.head_dim
        };
        let scale = 1.0 / (per_head as f64).sqrt();
        let window = self.file.integer("attention.sliding_window");
        let mut x = self.embed(tokens, (self.width as f64).sqrt());
        for layer in 0..self.layers {
            let slides = window > 0 && self.slides(layer, 6);
            let rope = if slides { &local } else { &global };
            let h = self.norm(&x, layer, "attn_norm");
            let mut q = self.norm(&self.linear(&h, layer, "attn_q"), layer, "attn_q_norm");
            let mut k = self.norm(&self.linear(&h, layer, "attn_k"), layer, "attn_k_norm");
            let v = self.linear(&h, layer, "attn_v");
            rope.rotate(&mut q, self.head_dim);
            rope.rotate(&mut k, self.head_dim);
            let window = slides.then_some(window);
            let h = attention(
                &q,
                &k,
                &v,
                &Attention {
                    scale,
                    window,
                    ..self.attention()
                },
            );
            let h = self.linear(&h, layer, "attn_output");
            x = add(&x, &self.norm(&h, layer, "post_attention_norm"));
            let h = self.norm(&x, layer, "ffn_norm");
            let h = self.feed_forward(&h, layer, gelu);
            x = add(&x, &self.norm(&h, layer, "post_ffw_norm"));
        }
        let cap = Some(self.file.float("final_logit_softcapping", 0.0)).filter(|cap| *cap > 0.0);
        let capped = |row: Vec<f64>| row.into_iter().map(|logit| softcap(logit, cap)).collect();
        self.head(&x).into_iter().map(capped).collect()
    }

    fn exaone4(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let window = self.file.integer("attention.sliding_window");
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let slides = window > 0 && self.slides(layer, 4);
            let mut q = self.norm(&self.linear(&x, layer, "attn_q"), layer, "attn_q_norm");
            let mut k = self.norm(&self.linear(&x, layer, "attn_k"), layer, "attn_k_norm");
            let v = self.linear(&x, layer, "attn_v");
            if slides || window == 0 {
                rope.rotate(&mut q, self.head_dim);
                rope.rotate(&mut k, self.head_dim);
            }
            let window = slides.then_some(window);
            let h = attention(
                &q,
                &k,
                &v,
                &Attention {
                    window,
                    ..self.attention()
                },
            );
            let h = self.linear(&h, layer, "attn_output");
            x = add(&x, &self.norm(&h, layer, "post_attention_norm"));
            let h = self.feed_forward(&x, layer, silu);
            x = add(&x, &self.norm(&h, layer, "post_ffw_norm"));
        }
        self.head(&x)
    }

    fn phi3(&self, tokens: &[u32], context: usize) -> Rows {
        let trained = self.file.integer("context_length") as f64;
        let original = match self.file.integer("rope.scaling.original_context_length") {
            0 => trained,
            original => original as f64,
        };
        let factors = if context as f64 > original {
            "rope_factors_long.weight"
        } else {
            "rope_factors_short.weight"
        };
        let rope = match self.file.opt_tensor(factors) {
            None => self.file_rope(),
            factors => Rope {
                magnitude: self.file.float("rope.scaling.attn_factor", 1.0),
                ..self.rope(self.file.float("rope.freq_base", 10_000.0), 1.0, factors)
            },
        };
        let window =
            Some(self.file.integer("attention.sliding_window")).filter(|window| *window > 0);
        let hidden = self.file.integer("feed_forward_length");
        let (q_rows, kv_rows) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let qkv = self.weight(layer, "attn_qkv");
            let mut q = linear(&h, &qkv.slice(0..q_rows), None);
            let mut k = linear(&h, &qkv.slice(q_rows..q_rows + kv_rows), None);
            let v = linear(&h, &qkv.slice(q_rows + kv_rows..q_rows + 2 * kv_rows), None);
            rope.rotate(&mut q, self.head_dim);
            rope.rotate(&mut k, self.head_dim);
            let h = attention(
                &q,
                &k,
                &v,
                &Attention {
                    window,
                    ..self.attention()
                },
            );
            x = add(&x, &self.linear(&h, layer, "attn_output"));
            let h = self.norm(&x, layer, "ffn_norm");
            let both = self.weight(layer, "ffn_up");
            let gate = linear(&h, &both.slice(0..hidden), None);
            let up = linear(&h, &both.slice(hidden..2 * hidden), None);
            x = add(
                &x,
                &self.linear(&gated(&gate, &up, silu), layer, "ffn_down"),
            );
        }
        self.head(&x)
    }
}
