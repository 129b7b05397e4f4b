//! Decoders with experts: a router chooses feed-forward blocks for each token.

use super::Cache;
use super::file::Matrix;
use super::math::{
    Attention, Rope, Rows, add, attention, columns, linear, rounded, scaled, sigmoid, silu, softmax,
};
use super::model::Model;

/// The experts of a token by index, and the weight of each: the route.
pub type Choice = Vec<(usize, f64)>;

/// The gated unit of an expert: a function of an element of its gate and of its up matrix's
/// output.
pub type Gate = fn(f64, f64) -> f64;

pub fn swiglu(gate: f64, up: f64) -> f64 {
    silu(gate) * up
}

/// The gated unit of gpt-oss.
fn clamped_swiglu(gate: f64, up: f64) -> f64 {
    let (gate, up) = (gate.min(7.0), up.clamp(-7.0, 7.0));
    gate / (1.0 + (-1.702 * gate).exp()) * (up + 1.0)
}

/// The indices of the `count` largest scores, in descending order of the scores.
fn largest(scores: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order.truncate(count);
    order
}

/// The scores of the experts in the best `used` groups; all others become negative infinity.
/// The score of a group is the sum of its two largest scores.
fn within_groups(scores: &[f64], groups: usize, used: usize) -> Vec<f64> {
    let size = scores.len() / groups;
    let of_group = |group: &[f64]| largest(group, 2).iter().map(|i| group[*i]).sum();
    let of_groups: Vec<f64> = scores.chunks_exact(size).map(of_group).collect();
    let best = largest(&of_groups, used);
    let mut kept = vec![f64::NEG_INFINITY; scores.len()];
    for group in best {
        let range = group * size..(group + 1) * size;
        kept[range.clone()].copy_from_slice(&scores[range]);
    }
    kept
}

impl Model<'_> {
    fn router(&self, x: &Rows, layer: usize) -> Rows {
        self.linear(x, layer, "ffn_gate_inp")
    }

    /// The most probable experts by softmax. To normalize their weights is the same as a
    /// softmax over the chosen experts alone.
    pub fn choose_by_softmax(&self, x: &Rows, layer: usize, normalize: bool) -> Vec<Choice> {
        let used = self.file.integer("expert_used_count");
        let one = |scores: &Vec<f64>| {
            let p = softmax(scores);
            let chosen = largest(&p, used);
            let sum: f64 = chosen.iter().map(|e| p[*e]).sum();
            let weight = |p: f64| if normalize { p / sum } else { p };
            chosen.into_iter().map(|e| (e, weight(p[e]))).collect()
        };
        self.router(x, layer).iter().map(one).collect()
    }

    /// The experts with the largest sigmoid plus bias. Their weights are the sigmoids
    /// without the bias, divided by their sum plus `more`.
    pub fn choose_by_sigmoid(&self, x: &Rows, layer: usize, more: f64) -> Vec<Choice> {
        let used = self.file.integer("expert_used_count");
        let groups = self.file.integer("expert_group_count").max(1);
        let groups_used = self.file.integer("expert_group_used_count").max(1);
        let bias = self.file.tensor(&format!("blk.{layer}.exp_probs_b.bias"));
        let one = |scores: &Vec<f64>| {
            let p: Vec<f64> = scores.iter().map(|score| sigmoid(*score)).collect();
            let biased = p.iter().zip(&bias.data).map(|(p, b)| p + f64::from(*b));
            let biased: Vec<f64> = biased.collect();
            let chosen = largest(&within_groups(&biased, groups, groups_used), used);
            let sum: f64 = chosen.iter().map(|e| p[*e]).sum();
            chosen
                .into_iter()
                .map(|e| (e, p[e] / (sum + more)))
                .collect()
        };
        self.router(x, layer).iter().map(one).collect()
    }

    /// For each token, the weighted sum of the outputs of its experts.
    pub fn experts(&self, x: &Rows, layer: usize, choices: &[Choice], gate: Gate) -> Rows {
        let one = |(x, choice): (&Vec<f64>, &Choice)| {
            let mut sum = vec![0.0; x.len()];
            for (expert, weight) in choice {
                let y = self.expert(x, layer, *expert, gate);
                sum.iter_mut()
                    .zip(y)
                    .for_each(|(sum, y)| *sum += weight * y);
            }
            sum
        };
        x.iter().zip(choices).map(one).collect()
    }

    fn expert(&self, x: &[f64], layer: usize, expert: usize, gate: Gate) -> Vec<f64> {
        let x = vec![x.to_vec()];
        let (gates, ups) = if self.has(layer, "ffn_gate_up_exps") {
            let both = self.of_expert(&x, layer, expert, "ffn_gate_up_exps");
            let hidden = both[0].len() / 2;
            (
                columns(&both, 0..hidden),
                columns(&both, hidden..2 * hidden),
            )
        } else {
            (
                self.of_expert(&x, layer, expert, "ffn_gate_exps"),
                self.of_expert(&x, layer, expert, "ffn_up_exps"),
            )
        };
        let gated = gates[0].iter().zip(&ups[0]).map(|(g, u)| gate(*g, *u));
        let gated = vec![gated.collect()];
        self.of_expert(&gated, layer, expert, "ffn_down_exps")
            .remove(0)
    }

    /// `x` times the matrix of one expert, plus its bias, if any: a tensor has the matrices
    /// of all experts, one after another.
    fn of_expert(&self, x: &Rows, layer: usize, expert: usize, name: &str) -> Rows {
        let all = self.weight(layer, name);
        let rows = all.rows().count() / self.file.integer("expert_count");
        let w = all.slice(expert * rows..(expert + 1) * rows);
        let biases = self.file.opt_tensor(&format!("blk.{layer}.{name}.bias"));
        let bias: Option<Matrix> = biases.map(|all| all.slice(expert..expert + 1));
        linear(x, &w, bias.as_ref())
    }

    /// Qwen3 with experts.
    pub fn qwen3moe(&self, tokens: &[u32]) -> Rows {
        self.pre_norm_moe(tokens, true)
    }

    /// OLMoE: norms of all of q and of k. The weights of the chosen experts are not
    /// normalized.
    pub fn olmoe(&self, tokens: &[u32]) -> Rows {
        self.pre_norm_moe(tokens, false)
    }

    fn pre_norm_moe(&self, tokens: &[u32], normalize: bool) -> Rows {
        let rope = self.file_rope();
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let qkv = self.normed_qkv(&h, layer);
            x = add(&x, &self.attend(qkv, layer, Some(&rope), &self.attention()));
            let h = self.norm(&x, layer, "ffn_norm");
            let choices = self.choose_by_softmax(&h, layer, normalize);
            x = add(&x, &self.experts(&h, layer, &choices, swiglu));
        }
        self.head(&x)
    }

    /// gpt-oss: biases everywhere, attention sinks, windows in the layers 0, 2, ...
    pub fn gpt_oss(&self, tokens: &[u32]) -> Rows {
        let rope = self.yarn(false);
        let window = self.file.integer("attention.sliding_window");
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let sinks = &self.weight(layer, "attn_sinks").data;
            let options = Attention {
                window: self.windowed(layer, 2).then_some(window),
                sinks: Some(sinks.iter().map(|s| f64::from(*s)).collect()),
                ..self.attention()
            };
            let h = self.norm(&x, layer, "attn_norm");
            let h = self.attend(self.qkv(&h, layer), layer, Some(&rope), &options);
            x = add(&x, &h);
            let h = self.norm(&x, layer, "post_attention_norm");
            let choices = self.choose_by_softmax(&h, layer, true);
            x = add(&x, &self.experts(&h, layer, &choices, clamped_swiglu));
        }
        self.head(&x)
    }

    /// EXAONE MoE: three layers in four have a window, and only they have a rotary
    /// embedding.
    pub fn exaone_moe(&self, tokens: &[u32]) -> Rows {
        let rope = self.file_rope();
        let window = self.file.integer("attention.sliding_window");
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let windowed = self.windowed(layer, 4);
            let options = Attention {
                window: windowed.then_some(window),
                ..self.attention()
            };
            let h = self.norm(&x, layer, "attn_norm");
            let rope = Some(&rope).filter(|_| windowed);
            let h = self.attend(self.normed_qkv(&h, layer), layer, rope, &options);
            x = add(&x, &h);
            let h = self.norm(&x, layer, "ffn_norm");
            x = add(&x, &self.deepseek_feed_forward(&h, layer));
        }
        self.head(&x)
    }

    /// DeepSeek 2 and 3, with latent attention: keys and values are matrices times one short
    /// latent row for each token, and the key of each attention head ends with a rotated
    /// part that all heads share.
    pub fn deepseek2(&self, tokens: &[u32]) -> Rows {
        let rope = self.yarn_of_unit_magnitude();
        let head_dim = self.file.integer("attention.key_length_mla");
        let multiplier = self.file.float("rope.scaling.yarn_log_multiplier", 0.0);
        let magnitude = 1.0 + multiplier * self.file.float("rope.scaling.factor", 1.0).ln();
        let options = Attention {
            head_dim,
            scale: magnitude.powi(2) / (head_dim as f64).sqrt(),
            // The cache holds the latent rows, of which keys and values are made.
            f16_cache: false,
            ..self.attention()
        };
        let mut x = self.embed(tokens, 1.0);
        for layer in 0..self.layers {
            let h = self.norm(&x, layer, "attn_norm");
            let q = self.latent_query(&h, layer, head_dim, &rope);
            let (k, v) = self.latent_key_and_value(&h, layer, &rope);
            let h = attention(&q, &k, &v, &options);
            x = add(&x, &self.linear(&h, layer, "attn_output"));
            let h = self.norm(&x, layer, "ffn_norm");
            x = add(&x, &self.deepseek_feed_forward(&h, layer));
        }
        self.head(&x)
    }

    /// Queries, with the last elements of each attention head rotated.
    fn latent_query(&self, x: &Rows, layer: usize, head_dim: usize, rope: &Rope) -> Rows {
        let q = if self.has(layer, "attn_q_a") {
            let narrow = self.linear(x, layer, "attn_q_a");
            let narrow = self.norm(&narrow, layer, "attn_q_a_norm");
            self.linear(&narrow, layer, "attn_q_b")
        } else {
            self.linear(x, layer, "attn_q")
        };
        let plain = head_dim - 2 * rope.frequencies.len();
        let mut heads = Vec::new();
        for head in 0..self.heads {
            let start = head * head_dim;
            heads.push(columns(&q, start..start + plain));
            let mut rotated = columns(&q, start + plain..start + head_dim);
            rope.rotate(&mut rotated, head_dim - plain);
            heads.push(rotated);
        }
        side_by_side(&heads)
    }

    /// Keys and values of all attention heads. `attn_k_b` is stored transposed.
    fn latent_key_and_value(&self, x: &Rows, layer: usize, rope: &Rope) -> (Rows, Rows) {
        let rank = self.file.integer("attention.kv_lora_rank");
        let both = self.linear(x, layer, "attn_kv_a_mqa");
        let mut latent = self.norm(&columns(&both, 0..rank), layer, "attn_kv_a_norm");
        let mut rotated = columns(&both, rank..both[0].len());
        rope.rotate(&mut rotated, both[0].len() - rank);
        if self.cache == Cache::F16 {
            (latent, rotated) = (rounded(&latent), rounded(&rotated));
        }
        let (k_b, v_b) = (
            self.weight(layer, "attn_k_b"),
            self.weight(layer, "attn_v_b"),
        );
        let value_dim = v_b.rows().count() / self.heads;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for head in 0..self.heads {
            let k_b = transposed(&k_b.slice(head * rank..(head + 1) * rank));
            keys.push(linear(&latent, &k_b, None));
            keys.push(rotated.clone());
            let v_b = v_b.slice(head * value_dim..(head + 1) * value_dim);
            values.push(linear(&latent, &v_b, None));
        }
        (side_by_side(&keys), side_by_side(&values))
    }

    /// The first layers are dense; the others have experts, and a block for all tokens.
    fn deepseek_feed_forward(&self, x: &Rows, layer: usize) -> Rows {
        if layer < self.file.integer("leading_dense_block_count") {
            return self.feed_forward(x, layer, silu);
        }
        let choices = if self.file.integer("expert_gating_func") == 2 {
            self.choose_by_sigmoid(x, layer, 1e-20)
        } else {
            self.choose_by_softmax(x, layer, self.file.flag("expert_weights_norm", false))
        };
        let scale = self.file.float("expert_weights_scale", 1.0);
        let routed = scaled(&self.experts(x, layer, &choices, swiglu), scale);
        add(&routed, &self.shared_feed_forward(x, layer, silu))
    }
}

/// The rows of all parts, joined: columns of the first part, then of the second, ...
fn side_by_side(parts: &[Rows]) -> Rows {
    let row = |token: usize| parts.iter().flat_map(|part| part[token].clone()).collect();
    (0..parts[0].len()).map(row).collect()
}

fn transposed(w: &Matrix) -> Matrix {
    let column = |at: usize| w.rows().map(move |row| row[at]);
    Matrix {
        cols: w.rows().count(),
        data: (0..w.cols).flat_map(column).collect(),
    }
}
