//! The forward pass of each architecture.

use super::Cache;
use super::file::File;
use super::math::{Attention, Rope, Rows, add, attention, gated, gelu, linear, silu, softcap};
use super::model::Model;

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
        "gemma" => m.gemma(tokens),
        "granite" | "granitemoe" | "granitehybrid" | "minicpm" => m.granite(tokens),
        "smollm3" => m.smollm3(tokens),
        "mistral3" => m.mistral3(tokens),
        "olmo2" => m.olmo2(tokens),
        "hunyuan-dense" => m.hunyuan(tokens),
        "glm4" => m.glm4(tokens),
        "cohere2" => m.cohere2(tokens),
        "phi2" => m.phi2(tokens),
        "stablelm" => m.stablelm(tokens),
        "starcoder2" => m.starcoder2(tokens),
        "qwen3moe" => m.qwen3moe(tokens),
        "olmoe" => m.olmoe(tokens),
        "gpt-oss" => m.gpt_oss(tokens),
        "exaone-moe" => m.exaone_moe(tokens),
        "deepseek2" => m.deepseek2(tokens),
        "lfm2" | "lfm2moe" => m.lfm2(tokens),
        "qwen35" | "qwen35moe" => m.qwen35(tokens),
        "mamba2" => m.mamba2(tokens),
        "falcon-h1" => m.falcon_h1(tokens),
        "gemma4" => m.gemma4(tokens),
        "gemma3n" => m.gemma3n(tokens),
        other => panic!("the oracle does not know {other}"),
    }
}

impl Model<'_> {
    /// Llama; in Qwen2 and EXAONE 3 other pairs of elements rotate together.
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
            let window = self.windowed(layer, 2).then_some(window);
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
            let windowed = window > 0 && self.windowed(layer, 6);
            let rope = if windowed { &local } else { &global };
            let h = self.norm(&x, layer, "attn_norm");
            let mut q = self.norm(&self.linear(&h, layer, "attn_q"), layer, "attn_q_norm");
            let mut k = self.norm(&self.linear(&h, layer, "attn_k"), layer, "attn_k_norm");
            let v = self.linear(&h, layer, "attn_v");
            rope.rotate(&mut q, self.head_dim);
            rope.rotate(&mut k, self.head_dim);
            let window = windowed.then_some(window);
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
            let windowed = window > 0 && self.windowed(layer, 4);
            let mut q = self.norm(&self.linear(&x, layer, "attn_q"), layer, "attn_q_norm");
            let mut k = self.norm(&self.linear(&x, layer, "attn_k"), layer, "attn_k_norm");
            let v = self.linear(&x, layer, "attn_v");
            if windowed || window == 0 {
                rope.rotate(&mut q, self.head_dim);
                rope.rotate(&mut k, self.head_dim);
            }
            let window = windowed.then_some(window);
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
