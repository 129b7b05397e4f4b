//! Gemma 3n and Gemma 4: they have embeddings for each layer, and their last layers read the
//! keys and values of earlier layers.

use super::experts::Gate;
use super::math::{
    Attention, Rope, Rows, add, attention, columns, each, gated, gelu, linear, map, rms_norm,
    scaled, softcap, unit_rms, zip,
};
use super::model::Model;
use std::f64::consts::SQRT_2;

const GEGLU: Gate = |gate, up| gelu(gate) * up;

/// Keys and values of each layer, as attention reads them.
type Kept = Vec<(Rows, Rows)>;

impl Model<'_> {
    /// The second input of each layer, beside the residual stream: for each token, the
    /// inputs of all layers, one after another.
    fn per_layer_inputs(&self, tokens: &[u32], x: &Rows) -> Rows {
        let norm = self.file.tensor("per_layer_proj_norm.weight");
        let projection = self.file.tensor("per_layer_model_proj.weight");
        let projected = scaled(
            &linear(x, projection, None),
            1.0 / (self.width as f64).sqrt(),
        );
        let embedded = self.embed_by(
            "per_layer_token_embd.weight",
            tokens,
            (norm.cols as f64).sqrt(),
        );
        let sum = add(&rms_norm(&projected, norm, self.eps), &embedded);
        scaled(&sum, 1.0 / SQRT_2)
    }

    /// What a layer adds to the residual stream from its part of `per_layer_inputs`.
    fn per_layer_block(&self, x: &Rows, layer: usize, inputs: &Rows) -> Rows {
        let gate = self.linear(x, layer, "inp_gate");
        let width = gate[0].len();
        let input = columns(inputs, layer * width..(layer + 1) * width);
        let y = self.linear(&gated(&gate, &input, gelu), layer, "proj");
        self.norm(&y, layer, "post_norm")
    }

    /// Attention with norms of q, k and v, and without a scale. The last layers have no
    /// keys and values: they read those of the last earlier layer of their kind (with or
    /// without a window).
    fn gemma4_attention(&self, x: &Rows, layer: usize, rope: &Rope, kept: &mut Kept) -> Rows {
        let q_norm = self.weight(layer, "attn_q_norm");
        let head_dim = q_norm.cols;
        let mut q = self.norm(&self.linear(x, layer, "attn_q"), layer, "attn_q_norm");
        rope.rotate(&mut q, head_dim);
        let shared = self.file.integer("attention.shared_kv_layers");
        if layer < self.layers - shared {
            kept.push(self.gemma4_key_and_value(x, layer, rope, head_dim));
        }
        let windowed = self.windowed(layer, 0);
        let source = (0..kept.len()).rfind(|at| self.windowed(*at, 0) == windowed);
        let (k, v) = &kept[source.expect("an earlier layer of the kind")];
        let options = Attention {
            head_dim,
            scale: 1.0,
            window: windowed.then(|| self.file.integer("attention.sliding_window")),
            ..self.attention()
        };
        self.linear(&attention(&q, k, v, &options), layer, "attn_output")
    }

    /// Keys and values. If there is no matrix of values, the values are the keys before the
    /// norm of the keys.
    fn gemma4_key_and_value(
        &self,
        x: &Rows,
        layer: usize,
        rope: &Rope,
        head_dim: usize,
    ) -> (Rows, Rows) {
        let k = self.linear(x, layer, "attn_k");
        let v = if self.has(layer, "attn_v") {
            self.linear(x, layer, "attn_v")
        } else {
            k.clone()
        };
        let mut k = self.norm(&k, layer, "attn_k_norm");
        rope.rotate(&mut k, head_dim);
        (k, unit_rms(&v, head_dim, self.eps))
    }

    fn capped_head(&self, x: &Rows) -> Rows {
        let cap = Some(self.file.float("final_logit_softcapping", 0.0)).filter(|cap| *cap > 0.0);
        map(&self.head(x), |logit| softcap(logit, cap))
    }

    /// The rotary embedding of layers with a window.
    fn window_rope(&self) -> Rope {
        let base = self.file.float("rope.freq_base_swa", 10_000.0);
        match self.file.integer("rope.dimension_count_swa") {
            0 => self.rope(base, 1.0, None),
            dims => self.rope_of(dims, base, 1.0, None),
        }
    }

    pub fn gemma4(&self, tokens: &[u32]) -> Rows {
        // The frequency factors are so large that some pairs do not rotate.
        let (local, global) = (self.window_rope(), self.file_rope());
        let mut x = self.embed(tokens, (self.width as f64).sqrt());
        let inputs = (self.file.integer("embedding_length_per_layer_input") > 0)
            .then(|| self.per_layer_inputs(tokens, &x));
        let mut kept = Kept::new();
        for layer in 0..self.layers {
            let rope = if self.windowed(layer, 0) {
                &local
            } else {
                &global
            };
            let h = self.norm(&x, layer, "attn_norm");
            let h = self.gemma4_attention(&h, layer, rope, &mut kept);
            x = add(&x, &self.norm(&h, layer, "post_attention_norm"));
            x = add(&x, &self.gemma4_feed_forward(&x, layer));
            if let Some(inputs) = &inputs {
                x = add(&x, &self.per_layer_block(&x, layer, inputs));
            }
            x = scaled(
                &x,
                f64::from(self.weight(layer, "layer_output_scale").data[0]),
            );
        }
        self.capped_head(&x)
    }

    /// A dense block and, in parallel and with norms of their own, experts.
    fn gemma4_feed_forward(&self, x: &Rows, layer: usize) -> Rows {
        let h = self.norm(x, layer, "ffn_norm");
        let mut h = self.feed_forward(&h, layer, gelu);
        if self.has(layer, "ffn_gate_inp") {
            let dense = self.norm(&h, layer, "post_ffw_norm_1");
            let routed = self.gemma4_experts(x, layer);
            h = add(&dense, &self.norm(&routed, layer, "post_ffw_norm_2"));
        }
        self.norm(&h, layer, "post_ffw_norm")
    }

    /// Experts. The router's input has a norm without weights and scales for its elements;
    /// each expert's weight has a scale.
    fn gemma4_experts(&self, x: &Rows, layer: usize) -> Rows {
        let scales = self.vector(layer, "ffn_gate_inp.scale");
        let normed = unit_rms(x, self.width, self.eps);
        let input = scaled(
            &each(&normed, scales, |x, s| x * s),
            1.0 / (self.width as f64).sqrt(),
        );
        let mut choices = self.choose_by_softmax(&input, layer, true);
        let scales = self.vector(layer, "ffn_down_exps.scale");
        for (expert, weight) in choices.iter_mut().flatten() {
            *weight *= f64::from(scales.data[*expert]);
        }
        let h = self.norm(x, layer, "pre_ffw_norm_2");
        self.experts(&h, layer, &choices, GEGLU)
    }

    /// Gemma 3n has several residual streams (AltUp, arXiv:2301.13310): each layer predicts
    /// the streams, computes the active one, and corrects all by the error of its
    /// prediction.
    pub fn gemma3n(&self, tokens: &[u32]) -> Rows {
        let (local, global) = (self.window_rope(), self.file_rope());
        let active = self.file.integer("altup.active_idx");
        let x = self.embed(tokens, (self.width as f64).sqrt());
        let inputs = self.per_layer_inputs(tokens, &x);
        let mut streams = self.streams(x);
        let mut kept = Kept::new();
        for layer in 0..self.layers {
            let rope = if self.windowed(layer, 0) {
                &local
            } else {
                &global
            };
            let predicted = self.predicted(&streams, layer, active);
            let x = &predicted[active];
            let h = self.norm(x, layer, "attn_norm");
            let laurel = self.laurel(&h, layer);
            let h = self.gemma4_attention(&h, layer, rope, &mut kept);
            let attended = add(x, &self.norm(&h, layer, "post_attention_norm"));
            let x = scaled(&add(&attended, &laurel), 1.0 / SQRT_2);
            let h = self.norm(&x, layer, "ffn_norm");
            let h = self.sparse_feed_forward(&h, layer);
            let x = add(&x, &self.norm(&h, layer, "post_ffw_norm"));
            streams = self.corrected(&predicted, &x, layer, active);
            let scale = self.weight(layer, "altup_correct_scale");
            let first = each(&streams[active], scale, |x, s| x * s);
            let more = self.per_layer_block(&first, layer, &inputs);
            for stream in &mut streams[1..] {
                *stream = add(stream, &more);
            }
        }
        self.capped_head(&self.joined(&streams))
    }

    /// The first stream, and its projections as the other streams, each scaled to the root
    /// mean square of the first.
    fn streams(&self, x: Rows) -> Vec<Rows> {
        let count = self.file.integer("altup.num_inputs");
        let all = self.file.tensor("altup_proj.weight");
        let other = |at: usize| {
            let w = all.slice(at * self.width..(at + 1) * self.width);
            as_long_as(&linear(&x, &w, None), &x)
        };
        let others: Vec<Rows> = (0..count - 1).map(other).collect();
        std::iter::once(x).chain(others).collect()
    }

    /// The mean of the first stream and the projections of the others, each scaled to the
    /// root mean square of the first.
    fn joined(&self, streams: &[Rows]) -> Rows {
        let all = self.file.tensor("altup_unembd_proj.weight");
        let mut sum = streams[0].clone();
        for (at, stream) in streams[1..].iter().enumerate() {
            let w = all.slice(at * self.width..(at + 1) * self.width);
            sum = add(&sum, &as_long_as(&linear(stream, &w, None), &streams[0]));
        }
        scaled(&sum, 1.0 / streams.len() as f64)
    }

    /// The router's output for the active stream, from which the factors are computed.
    fn modalities(&self, x: &Rows, layer: usize) -> Rows {
        let h = self.norm(x, layer, "altup_router_norm");
        let h = scaled(&h, 1.0 / self.width as f64);
        map(&self.linear(&h, layer, "altup_router"), f64::tanh)
    }

    /// Each stream, plus the sum of all streams weighted by a row of factors.
    fn predicted(&self, streams: &[Rows], layer: usize, active: usize) -> Vec<Rows> {
        let modalities = self.modalities(&streams[active], layer);
        let factors = self.linear(&modalities, layer, "altup_predict_coef");
        let of = |to: usize| {
            let mut sum = streams[to].clone();
            for (from, stream) in streams.iter().enumerate() {
                let at = to * streams.len() + from;
                sum = add(&sum, &by_token(stream, &factors, |factors| factors[at]));
            }
            sum
        };
        (0..streams.len()).map(of).collect()
    }

    /// Each prediction, plus a factor times the error of the active stream's prediction.
    fn corrected(&self, predicted: &[Rows], x: &Rows, layer: usize, active: usize) -> Vec<Rows> {
        let modalities = self.modalities(x, layer);
        let factors = self.linear(&modalities, layer, "altup_correct_coef");
        let error = zip(x, &predicted[active], |x, predicted| x - predicted);
        let of = |(at, stream): (usize, &Rows)| {
            let correction = by_token(&error, &factors, |factors| factors[at] + 1.0);
            add(stream, &correction)
        };
        predicted.iter().enumerate().map(of).collect()
    }

    /// A learned residual of low rank (LAuReL, arXiv:2411.07501).
    fn laurel(&self, x: &Rows, layer: usize) -> Rows {
        let h = self.linear(x, layer, "laurel_l");
        let h = self.linear(&h, layer, "laurel_r");
        add(x, &self.norm(&h, layer, "laurel_post_norm"))
    }

    /// A feed-forward block. In layers with an `activation_sparsity_scale` it keeps of each
    /// token's gates only the amount above their mean plus so many standard deviations.
    fn sparse_feed_forward(&self, x: &Rows, layer: usize) -> Rows {
        let deviations = self.file.float_of_layer("activation_sparsity_scale", layer);
        let mut gate = self.linear(x, layer, "ffn_gate");
        if deviations > 0.0 {
            gate.iter_mut().for_each(|row| keep_above(row, deviations));
        }
        let up = self.linear(x, layer, "ffn_up");
        self.linear(&gated(&gate, &up, gelu), layer, "ffn_down")
    }
}

fn keep_above(row: &mut [f64], deviations: f64) {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    let least = mean + deviations * variance.sqrt();
    row.iter_mut().for_each(|v| *v = (*v - least).max(0.0));
}

/// Each row of `x`, scaled to the root mean square of the same row of `like`.
fn as_long_as(x: &Rows, like: &Rows) -> Rows {
    let mean_square = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64;
    let one = |(x, like): (&Vec<f64>, &Vec<f64>)| {
        let factor = mean_square(like).sqrt() / mean_square(x).max(1e-5).sqrt();
        x.iter().map(|v| v * factor).collect()
    };
    x.iter().zip(like).map(one).collect()
}

/// Each row of `x` times the number that `factor` computes from the same row of `factors`.
fn by_token(x: &Rows, factors: &Rows, factor: impl Fn(&[f64]) -> f64) -> Rows {
    let one = |(x, factors): (&Vec<f64>, &Vec<f64>)| {
        let factor = factor(factors);
        x.iter().map(|v| v * factor).collect()
    };
    x.iter().zip(factors).map(one).collect()
}
