//! Decoders with layers that carry a state from token to token, in place of attention or
//! beside it.

use super::experts::swiglu;
use super::math::{Rows, add, attention, columns, each, gated, map, rms_norm, sigmoid, silu, zip};
use super::model::Model;
use super::recurrent::{GatedDelta, StateSpace, convolution};

/// `ln(1 + e^x)`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Model<'_> {
    /// SiLU of the layer's convolution of `x`.
    fn convolved(&self, x: &Rows, layer: usize) -> Rows {
        let kernels = self.weight(layer, "ssm_conv1d");
        let bias = self
            .file
            .opt_tensor(&format!("blk.{layer}.ssm_conv1d.bias"));
        map(&convolution(x, kernels, bias), silu)
    }

    /// The block of Mamba-2. The rows of one matrix give the gate, the input of the
    /// convolution (x, B, C), and the steps. Files of Falcon-H1 may lack the norm.
    pub fn mamba2_block(&self, x: &Rows, layer: usize) -> Rows {
        let inner = self.file.integer("ssm.inner_size");
        let groups = self.file.integer("ssm.group_count");
        let state = groups * self.file.integer("ssm.state_size");
        let all = self.linear(x, layer, "ssm_in");
        let z = columns(&all, 0..inner);
        let convolved = columns(&all, inner..2 * inner + 2 * state);
        let convolved = self.convolved(&convolved, layer);
        let steps = columns(&all, 2 * inner + 2 * state..all[0].len());
        let steps = each(&steps, self.vector(layer, "ssm_dt.bias"), |step, bias| {
            softplus(step + bias)
        });
        let space = StateSpace {
            x: &columns(&convolved, 0..inner),
            steps: &steps,
            b: &columns(&convolved, inner..inner + state),
            c: &columns(&convolved, inner + state..inner + 2 * state),
            a: self.vector(layer, "ssm_a"),
            d: self.vector(layer, "ssm_d"),
            groups,
        };
        let mut y = gated(&z, &space.scan(), silu);
        if self.has(layer, "ssm_norm") {
            y = self.norm(&y, layer, "ssm_norm");
        }
        self.linear(&y, layer, "ssm_out")
    }

    pub fn mamba2(&self, tokens: &[u32]) -> Rows {
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            x = add(&x, &self.mamba2_block(&h, layer));
        }
        self.head(&x)
    }

    /// Falcon-H1: attention and Mamba-2 in parallel. The file's weights already contain the
    /// model's factors.
    pub fn falcon_h1(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let qkv = self.qkv(&h, layer);
            let attended = self.attend(qkv, layer, Some(&rope), &self.attention());
            x = add(&x, &add(&attended, &self.mamba2_block(&h, layer)));
            let h = rms_norm(&x, self.vector(layer, "ffn_norm"), self.eps);
            x = add(&x, &self.feed_forward(&h, layer, silu));
        }
        self.head(&x)
    }

    /// LFM2: layers of attention, or of a short convolution between two gates. In files, the
    /// last norm has the name `token_embd_norm`. Some models have experts after the first
    /// layers.
    pub fn lfm2(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let h = if self.has(layer, "shortconv.conv") {
                self.short_convolution(&h, layer)
            } else {
                let qkv = self.normed_qkv(&h, layer);
                self.attend(qkv, layer, Some(&rope), &self.attention())
            };
            x = add(&x, &h);
            let h = self.norm(&x, layer, "ffn_norm");
            let h = if self.has(layer, "ffn_gate_inp") {
                let choices = self.choose_by_sigmoid(&h, layer, 1e-6);
                self.experts(&h, layer, &choices, swiglu)
            } else {
                self.feed_forward(&h, layer, silu)
            };
            x = add(&x, &h);
        }
        let norm = self.file.tensor("token_embd_norm.weight");
        self.logits(&rms_norm(&x, norm, self.eps))
    }

    fn short_convolution(&self, x: &Rows, layer: usize) -> Rows {
        let all = self.linear(x, layer, "shortconv.in_proj");
        let width = all[0].len() / 3;
        let [b, c, x] = [0, 1, 2].map(|i| columns(&all, i * width..(i + 1) * width));
        let kernels = self.weight(layer, "shortconv.conv");
        let y = convolution(&zip(&b, &x, |b, x| b * x), kernels, None);
        let y = zip(&c, &y, |c, y| c * y);
        self.linear(&y, layer, "shortconv.out_proj")
    }

    /// Qwen3.5: layers of the gated delta rule, or of attention with a gate; with or without
    /// experts.
    pub fn qwen35(&self, tokens: &[u32]) -> Rows {
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let h = if self.has(layer, "ssm_out") {
                self.delta_block(&h, layer)
            } else {
                self.gated_attention(&h, layer)
            };
            x = add(&x, &h);
            let h = self.norm(&x, layer, "post_attention_norm");
            let h = if self.has(layer, "ffn_gate_inp") {
                self.experts_with_gated_shared(&h, layer)
            } else {
                self.feed_forward(&h, layer, silu)
            };
            x = add(&x, &h);
        }
        self.head(&x)
    }

    fn delta_block(&self, x: &Rows, layer: usize) -> Rows {
        let groups = self.file.integer("ssm.group_count");
        let keys = groups * self.file.integer("ssm.state_size");
        let convolved = self.convolved(&self.linear(x, layer, "attn_qkv"), layer);
        let alpha = self.linear(x, layer, "ssm_alpha");
        let steps = each(&alpha, self.vector(layer, "ssm_dt.bias"), |alpha, bias| {
            softplus(alpha + bias)
        });
        let delta = GatedDelta {
            q: &columns(&convolved, 0..keys),
            k: &columns(&convolved, keys..2 * keys),
            v: &columns(&convolved, 2 * keys..convolved[0].len()),
            decays: &each(&steps, self.vector(layer, "ssm_a"), |step, a| step * a),
            betas: &map(&self.linear(x, layer, "ssm_beta"), sigmoid),
            key_heads: groups,
        };
        let y = self.norm(&delta.scan(), layer, "ssm_norm");
        let z = self.linear(x, layer, "attn_gate");
        self.linear(&gated(&z, &y, silu), layer, "ssm_out")
    }

    /// Attention with a gate. Each attention head of `attn_q` has a query, followed by the
    /// gate of the head's output.
    fn gated_attention(&self, x: &Rows, layer: usize) -> Rows {
        let [both, k, v] = self.qkv(x, layer);
        let half = |which: usize| -> Rows {
            let runs = |row: &Vec<f64>| {
                row.chunks_exact(self.head_dim)
                    .skip(which)
                    .step_by(2)
                    .flatten()
                    .copied()
                    .collect()
            };
            both.iter().map(runs).collect()
        };
        let mut q = self.norm(&half(0), layer, "attn_q_norm");
        let mut k = self.norm(&k, layer, "attn_k_norm");
        let rope = self.file_rope();
        rope.rotate(&mut q, self.head_dim);
        rope.rotate(&mut k, self.head_dim);
        let y = attention(&q, &k, &v, &self.attention());
        self.linear(&gated(&half(1), &y, sigmoid), layer, "attn_output")
    }

    fn experts_with_gated_shared(&self, x: &Rows, layer: usize) -> Rows {
        let choices = self.choose_by_softmax(x, layer, true);
        let routed = self.experts(x, layer, &choices, swiglu);
        let shared = self.shared_feed_forward(x, layer, silu);
        let gate = map(&self.linear(x, layer, "ffn_gate_inp_shexp"), sigmoid);
        let one = |(row, gate): (&Vec<f64>, &Vec<f64>)| row.iter().map(|v| v * gate[0]).collect();
        add(&routed, &shared.iter().zip(&gate).map(one).collect())
    }
}
