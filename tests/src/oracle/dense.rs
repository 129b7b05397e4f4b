//! The dense decoders that firmware does not have: layers of attention and one feed-forward
//! block.

use super::experts::swiglu;
use super::math::{Attention, Rows, add, gelu, scaled, silu};
use super::model::Model;

impl Model<'_> {
    /// The first Gemma. Norms are stored as `1 + w`.
    pub fn gemma(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let mut x = self.embed(tokens, (self.width as f64).sqrt());
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let qkv = self.qkv(&h, layer);
            x = add(&x, &self.attend(qkv, layer, Some(&rope), &self.attention()));
            let h = self.norm(&x, layer, "ffn_norm");
            x = add(&x, &self.feed_forward(&h, layer, gelu));
        }
        self.head(&x)
    }

    /// Granite: a Llama with four factors, in some models with experts or Mamba-2. MiniCPM
    /// has all of these factors except that of attention.
    pub fn granite(&self, tokens: &[u32]) -> Rows {
        let rope = self.interleaved_rope();
        // Files of models that were trained without positions have this key as false.
        let rope = Some(&rope).filter(|_| self.file.flag("rope.scaling.finetuned", true));
        let options = Attention {
            scale: self.file.float("attention.scale", self.attention().scale),
            ..self.attention()
        };
        let residual = self.file.float("residual_scale", 1.0);
        let mut x = self.embed(tokens, self.file.float("embedding_scale", 1.0));
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let h = if self.has(layer, "ssm_in") {
                self.mamba2_block(&h, layer)
            } else {
                self.attend(self.qkv(&h, layer), layer, rope, &options)
            };
            x = add(&x, &scaled(&h, residual));
            let h = self.norm(&x, layer, "ffn_norm");
            let h = self.granite_feed_forward(&h, layer);
            x = add(&x, &scaled(&h, residual));
        }
        scaled(&self.head(&x), 1.0 / self.file.float("logit_scale", 1.0))
    }

    /// A dense feed-forward block, or experts, with or without a block for all tokens.
    fn granite_feed_forward(&self, x: &Rows, layer: usize) -> Rows {
        if !self.has(layer, "ffn_gate_inp") {
            return self.feed_forward(x, layer, silu);
        }
        let choices = self.choose_by_softmax(x, layer, true);
        let routed = self.experts(x, layer, &choices, swiglu);
        if self.has(layer, "ffn_gate_shexp") {
            add(&routed, &self.shared_feed_forward(x, layer, silu))
        } else {
            routed
        }
    }

    /// SmolLM3: a Llama in which every fourth layer has no rotary embedding.
    pub fn smollm3(&self, tokens: &[u32]) -> Rows {
        let rope = self.interleaved_rope();
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let rope = Some(&rope).filter(|_| layer % 4 != 3);
            let h = self.norm(&x, layer, "attn_norm");
            let qkv = self.qkv(&h, layer);
            x = add(&x, &self.attend(qkv, layer, rope, &self.attention()));
            let h = self.norm(&x, layer, "ffn_norm");
            x = add(&x, &self.feed_forward(&h, layer, silu));
        }
        self.head(&x)
    }

    /// Mistral 3: a Llama with YaRN. Queries are multiplied by a factor that grows with each
    /// multiple of the original context length.
    pub fn mistral3(&self, tokens: &[u32]) -> Rows {
        let rope = self.yarn_of_unit_magnitude();
        let growth = self.file.float("attention.temperature_scale", 0.0);
        let trained = self.file.integer("rope.scaling.original_context_length");
        let grown = |(position, q): (usize, &Vec<f64>)| -> Vec<f64> {
            let factor = 1.0 + growth * (1.0 + (position / trained) as f64).ln();
            q.iter().map(|q| q * factor).collect()
        };
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let [q, k, v] = self.qkv(&h, layer);
            let q = q.iter().enumerate().map(grown).collect();
            let h = self.attend([q, k, v], layer, Some(&rope), &self.attention());
            x = add(&x, &h);
            let h = self.norm(&x, layer, "ffn_norm");
            x = add(&x, &self.feed_forward(&h, layer, silu));
        }
        self.head(&x)
    }

    /// OLMo 2 has norms after its blocks and none before them. OLMo 3 also has layers with a
    /// window, and scales only the rotary embedding of the layers without a window.
    pub fn olmo2(&self, tokens: &[u32]) -> Rows {
        let base = self.file.float("rope.freq_base", 10_000.0);
        let local = self.rope(self.file.float("rope.freq_base_swa", base), 1.0, None);
        let global = self.file_rope();
        let window = self.file.integer("attention.sliding_window");
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let windowed = window > 0 && self.windowed(layer, 4);
            let rope = if windowed { &local } else { &global };
            let options = Attention {
                window: windowed.then_some(window),
                ..self.attention()
            };
            let h = self.attend(self.normed_qkv(&x, layer), layer, Some(rope), &options);
            x = add(&x, &self.norm(&h, layer, "post_attention_norm"));
            let h = self.feed_forward(&x, layer, silu);
            x = add(&x, &self.norm(&h, layer, "post_ffw_norm"));
        }
        self.head(&x)
    }

    /// Hunyuan: the norms of q and k come after the rotation.
    pub fn hunyuan(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let [mut q, mut k, v] = self.qkv(&h, layer);
            rope.rotate(&mut q, self.head_dim);
            rope.rotate(&mut k, self.head_dim);
            let q = self.norm(&q, layer, "attn_q_norm");
            let k = self.norm(&k, layer, "attn_k_norm");
            x = add(&x, &self.attend([q, k, v], layer, None, &self.attention()));
            let h = self.norm(&x, layer, "ffn_norm");
            x = add(&x, &self.feed_forward(&h, layer, silu));
        }
        self.head(&x)
    }

    /// GLM-4: norms before and after each block. Half of each attention head rotates.
    pub fn glm4(&self, tokens: &[u32]) -> Rows {
        let rope = self.interleaved_rope();
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let qkv = self.qkv(&h, layer);
            let h = self.attend(qkv, layer, Some(&rope), &self.attention());
            x = add(&x, &self.norm(&h, layer, "post_attention_norm"));
            let h = self.norm(&x, layer, "ffn_norm");
            let h = self.fused_feed_forward(&h, layer, silu);
            x = add(&x, &self.norm(&h, layer, "post_ffw_norm"));
        }
        self.head(&x)
    }

    /// Cohere 2: attention and feed-forward block read the output of the same norm. Only
    /// layers with a window have a rotary embedding.
    pub fn cohere2(&self, tokens: &[u32]) -> Rows {
        let rope = self.interleaved_rope();
        let window = self.file.integer("attention.sliding_window");
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let windowed = self.windowed(layer, 4);
            let options = Attention {
                window: windowed.then_some(window),
                ..self.attention()
            };
            let h = self.layer_norm(&x, layer, "attn_norm");
            let rope = Some(&rope).filter(|_| windowed);
            let attended = self.attend(self.qkv(&h, layer), layer, rope, &options);
            x = add(&x, &add(&attended, &self.feed_forward(&h, layer, silu)));
        }
        scaled(
            &self.layer_norm_head(&x),
            self.file.float("logit_scale", 1.0),
        )
    }

    /// Phi-2: attention and feed-forward block read the output of the same norm.
    pub fn phi2(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.layer_norm(&x, layer, "attn_norm");
            let qkv = self.qkv(&h, layer);
            let attended = self.attend(qkv, layer, Some(&rope), &self.attention());
            let fed = self.plain_feed_forward(&h, layer, gelu);
            x = add(&x, &add(&attended, &fed));
        }
        self.layer_norm_head(&x)
    }

    /// StableLM: layer norms; in files that have them, also layer norms of q and k with
    /// weights for each attention head.
    pub fn stablelm(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let parallel = self.file.flag("use_parallel_residual", false);
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.layer_norm(&x, layer, "attn_norm");
            let [mut q, mut k, v] = self.qkv(&h, layer);
            if self.has(layer, "attn_q_norm") {
                q = self.layer_norm(&q, layer, "attn_q_norm");
                k = self.layer_norm(&k, layer, "attn_k_norm");
            }
            let attended = self.attend([q, k, v], layer, Some(&rope), &self.attention());
            x = add(&x, &attended);
            let h = if parallel {
                h
            } else {
                self.layer_norm(&x, layer, "ffn_norm")
            };
            x = add(&x, &self.feed_forward(&h, layer, silu));
        }
        self.layer_norm_head(&x)
    }

    /// StarCoder 2: layer norms, biases, and a feed-forward block without a gate.
    pub fn starcoder2(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.layer_norm(&x, layer, "attn_norm");
            let qkv = self.qkv(&h, layer);
            x = add(&x, &self.attend(qkv, layer, Some(&rope), &self.attention()));
            let h = self.layer_norm(&x, layer, "ffn_norm");
            x = add(&x, &self.plain_feed_forward(&h, layer, gelu));
        }
        self.layer_norm_head(&x)
    }
}
