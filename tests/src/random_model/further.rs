//! The tensors of the architectures in [`super::FURTHER`].

use super::RandomModel;
use super::tensors::{Fill, List, fitting};
use ondol_models::quant::DType;

/// The tensors outside of the layers that not every architecture has.
pub fn whole(list: &mut List<'_>) {
    let m = list.model;
    match m.architecture {
        "starcoder2" | "stablelm" => list.vector("output_norm.bias".into(), m.width, 0.0, 0.2),
        "phi2" => {
            list.vector("output_norm.bias".into(), m.width, 0.0, 0.2);
            list.vector("output.bias".into(), m.vocabulary, 0.0, 0.3);
        }
        "gemma4" | "gemma3n" => per_layer_tables(list),
        _ => {}
    }
    if m.architecture == "gemma3n" {
        let others = m.number("altup.num_inputs") - 1;
        for name in ["altup_proj.weight", "altup_unembd_proj.weight"] {
            list.stack(name.into(), vec![m.width, m.width, others], 1.0);
        }
    }
}

/// Embeddings for each layer, if the model has them.
fn per_layer_tables(list: &mut List<'_>) {
    let m = list.model;
    let each = m.number("embedding_length_per_layer_input");
    if each > 0 {
        let fill = Fill::Random {
            mean: 0.0,
            deviation: 0.2,
        };
        list.push(
            "per_layer_token_embd.weight".into(),
            vec![each * m.layers, m.vocabulary],
            fitting(m.table_dtype, each * m.layers),
            fill,
        );
        list.matrix("per_layer_model_proj".into(), each * m.layers, m.width, 1.0);
        list.norm("per_layer_proj_norm".into(), each);
    }
}

/// All tensors of a layer.
pub fn layer(list: &mut List<'_>, number: usize) {
    let m = list.model;
    let mut layer = Layer { list, number };
    match m.architecture {
        "gemma" | "granite" | "granitemoe" | "minicpm" | "smollm3" | "mistral3" => {
            layer.norms(&["attn_norm", "ffn_norm"]);
            layer.attention();
            layer.feed_forward();
        }
        "olmo2" => {
            layer.norms(&["post_attention_norm", "post_ffw_norm"]);
            layer.attention();
            layer.wide_head_norms();
            layer.feed_forward();
        }
        "olmoe" => {
            layer.norms(&["attn_norm", "ffn_norm"]);
            layer.attention();
            layer.wide_head_norms();
            layer.feed_forward();
        }
        "hunyuan-dense" | "qwen3moe" | "exaone-moe" => {
            layer.norms(&["attn_norm", "ffn_norm"]);
            layer.attention();
            layer.head_norms(m.head_dim);
            layer.feed_forward();
        }
        "glm4" => {
            layer.norms(&[
                "attn_norm",
                "ffn_norm",
                "post_attention_norm",
                "post_ffw_norm",
            ]);
            layer.attention();
            layer.matrix("ffn_up", 2 * m.hidden, m.width, 1.0);
            layer.matrix("ffn_down", m.width, m.hidden, 1.0);
        }
        "cohere2" => {
            layer.norms(&["attn_norm"]);
            layer.attention();
            layer.feed_forward();
        }
        "phi2" => {
            layer.layer_norms(&["attn_norm"]);
            layer.attention();
            layer.plain_feed_forward();
        }
        "starcoder2" => {
            layer.layer_norms(&["attn_norm", "ffn_norm"]);
            layer.attention();
            layer.plain_feed_forward();
        }
        "stablelm" => layer.stablelm(),
        "gpt-oss" => layer.gpt_oss(),
        "deepseek2" => {
            layer.norms(&["attn_norm", "ffn_norm"]);
            layer.latent_attention();
            layer.feed_forward();
        }
        "lfm2" | "lfm2moe" => {
            layer.norms(&["attn_norm", "ffn_norm"]);
            if m.number_of("attention.head_count_kv", number) == Some(0) {
                layer.short_convolution();
            } else {
                layer.attention();
                layer.head_norms(m.head_dim);
            }
            layer.feed_forward();
        }
        "qwen35" | "qwen35moe" => {
            layer.norms(&["attn_norm", "post_attention_norm"]);
            if m.flag_of("attention.recurrent_layers", number) {
                layer.delta();
            } else {
                layer.gated_attention();
            }
            layer.feed_forward();
        }
        "granitehybrid" => {
            layer.norms(&["attn_norm", "ffn_norm"]);
            if m.number_of("attention.head_count_kv", number) == Some(0) {
                layer.mamba2();
            } else {
                layer.attention();
            }
            layer.feed_forward();
        }
        "mamba2" => {
            layer.norms(&["attn_norm"]);
            layer.mamba2();
        }
        "falcon-h1" => {
            layer.norms(&["attn_norm"]);
            // In its files this name does not end in `.weight`.
            layer.vector("ffn_norm", m.width, 1.0, 0.2);
            layer.attention();
            layer.mamba2();
            layer.feed_forward();
        }
        "gemma4" => layer.gemma4(),
        "gemma3n" => layer.gemma3n(),
        other => panic!("no tensors are known of {other}"),
    }
}

/// Adds the tensors of one layer to the list.
struct Layer<'l, 'm> {
    list: &'l mut List<'m>,
    number: usize,
}

impl<'m> Layer<'_, 'm> {
    fn model(&self) -> &'m RandomModel {
        self.list.model
    }

    fn at(&self, name: &str) -> String {
        format!("blk.{}.{name}", self.number)
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize, gain: f32) {
        self.list.matrix(self.at(name), rows, cols, gain);
    }

    /// A vector; `name` is its full name after `blk.N.`.
    fn vector(&mut self, name: &str, len: usize, mean: f32, deviation: f32) {
        self.list.vector(self.at(name), len, mean, deviation);
    }

    fn bias(&mut self, name: &str, len: usize) {
        self.vector(&format!("{name}.bias"), len, 0.0, 0.3);
    }

    /// A matrix that files have in F32.
    fn small_matrix(&mut self, name: &str, dims: [usize; 2], mean: f32, deviation: f32) {
        let fill = Fill::Random { mean, deviation };
        self.list
            .push(self.at(name), dims.to_vec(), DType::F32, fill);
    }

    fn norm(&mut self, name: &str, len: usize) {
        self.list.norm(self.at(name), len);
    }

    /// Norms of the residual stream.
    fn norms(&mut self, names: &[&str]) {
        let width = self.model().width;
        names.iter().for_each(|name| self.norm(name, width));
    }

    fn layer_norms(&mut self, names: &[&str]) {
        let width = self.model().width;
        self.norms(names);
        names.iter().for_each(|name| self.bias(name, width));
    }

    fn attention(&mut self) {
        let m = self.model();
        self.attention_of(m.head_dim);
    }

    /// q, k, v and output, and their biases if there are any.
    fn attention_of(&mut self, head_dim: usize) {
        let m = self.model();
        let (q, kv) = (m.heads * head_dim, self.kv_heads() * head_dim);
        self.matrix("attn_q", q, m.width, 1.5);
        self.matrix("attn_k", kv, m.width, 1.5);
        self.matrix("attn_v", kv, m.width, 1.0);
        self.matrix("attn_output", m.width, q, 1.0);
        if m.biases || self.has_all_biases() {
            self.bias("attn_q", q);
            self.bias("attn_k", kv);
            self.bias("attn_v", kv);
        }
        if self.has_all_biases() {
            self.bias("attn_output", m.width);
        }
    }

    fn has_all_biases(&self) -> bool {
        matches!(self.model().architecture, "phi2" | "starcoder2" | "gpt-oss")
    }

    fn kv_heads(&self) -> usize {
        let m = self.model();
        let of_layer = m.number_of("attention.head_count_kv", self.number);
        of_layer.unwrap_or(m.kv_heads)
    }

    fn head_norms(&mut self, head_dim: usize) {
        self.norm("attn_q_norm", head_dim);
        self.norm("attn_k_norm", head_dim);
    }

    /// Norms of q and k over all attention heads at once.
    fn wide_head_norms(&mut self) {
        let m = self.model();
        self.norm("attn_q_norm", m.heads * m.head_dim);
        self.norm("attn_k_norm", m.kv_heads * m.head_dim);
    }

    /// A dense block; or experts, and a block for all tokens if the model has one.
    fn feed_forward(&mut self) {
        let m = self.model();
        let dense = self.number < m.number("leading_dense_block_count");
        if m.number("expert_count") == 0 || dense {
            self.dense("", m.hidden);
            return;
        }
        self.experts();
        let shared = match m.architecture {
            "deepseek2" => m.number("expert_shared_count") * self.expert_width(),
            _ => m.number("expert_shared_feed_forward_length"),
        };
        if shared > 0 {
            self.dense("_shexp", shared);
        }
        if m.architecture == "qwen35moe" {
            self.small_matrix("ffn_gate_inp_shexp.weight", [m.width, 1], 0.0, 0.2);
        }
    }

    fn dense(&mut self, end: &str, hidden: usize) {
        let width = self.model().width;
        self.matrix(&format!("ffn_gate{end}"), hidden, width, 1.0);
        self.matrix(&format!("ffn_up{end}"), hidden, width, 1.0);
        self.matrix(&format!("ffn_down{end}"), width, hidden, 1.0);
    }

    fn plain_feed_forward(&mut self) {
        let m = self.model();
        self.matrix("ffn_up", m.hidden, m.width, 1.0);
        self.bias("ffn_up", m.hidden);
        self.matrix("ffn_down", m.width, m.hidden, 1.0);
        self.bias("ffn_down", m.width);
    }

    fn expert_width(&self) -> usize {
        let m = self.model();
        m.number_of("expert_feed_forward_length", 0)
            .unwrap_or(m.hidden)
    }

    fn experts(&mut self) {
        let (m, hidden) = (self.model(), self.expert_width());
        self.router();
        self.stack("ffn_gate_exps", hidden, m.width);
        self.stack("ffn_up_exps", hidden, m.width);
        self.stack("ffn_down_exps", m.width, hidden);
    }

    /// The router; if it chooses by sigmoid it has a bias.
    fn router(&mut self) {
        let m = self.model();
        let experts = m.number("expert_count");
        let deviation = 2.0 / (m.width as f32).sqrt();
        self.small_matrix("ffn_gate_inp.weight", [m.width, experts], 0.0, deviation);
        if m.number("expert_gating_func") == 2 {
            self.vector("exp_probs_b.bias", experts, 0.0, 0.2);
        }
    }

    /// A tensor with one matrix for each expert.
    fn stack(&mut self, name: &str, rows: usize, cols: usize) {
        let dims = vec![cols, rows, self.model().number("expert_count")];
        self.list
            .stack(self.at(&format!("{name}.weight")), dims, 1.0);
    }

    fn stablelm(&mut self) {
        let m = self.model();
        self.layer_norms(&["attn_norm"]);
        self.attention();
        self.dense("", m.hidden);
        // The large models have these norms in place of the second norm of a layer.
        if m.flag_of("use_parallel_residual", 0) {
            for (name, heads) in [("attn_q_norm", m.heads), ("attn_k_norm", m.kv_heads)] {
                self.small_matrix(&format!("{name}.weight"), [m.head_dim, heads], 1.0, 0.2);
            }
        } else {
            self.layer_norms(&["ffn_norm"]);
        }
    }

    fn gpt_oss(&mut self) {
        let (m, hidden) = (self.model(), self.expert_width());
        let experts = m.number("expert_count");
        self.norms(&["attn_norm", "post_attention_norm"]);
        self.attention();
        self.vector("attn_sinks.weight", m.heads, 0.0, 1.0);
        self.experts();
        self.bias("ffn_gate_inp", experts);
        for (name, len) in [
            ("ffn_gate_exps.bias", hidden),
            ("ffn_up_exps.bias", hidden),
            ("ffn_down_exps.bias", m.width),
        ] {
            self.small_matrix(name, [len, experts], 0.0, 0.3);
        }
    }

    /// DeepSeek's attention. With `attention.q_lora_rank` queries have a latent row too.
    fn latent_attention(&mut self) {
        let m = self.model();
        let rank = m.number("attention.kv_lora_rank");
        let (key, value) = (
            m.number("attention.key_length_mla"),
            m.number("attention.value_length_mla"),
        );
        let rotated = m.number("rope.dimension_count");
        match m.number("attention.q_lora_rank") {
            0 => self.matrix("attn_q", m.heads * key, m.width, 1.5),
            rank => {
                self.matrix("attn_q_a", rank, m.width, 1.0);
                self.norm("attn_q_a_norm", rank);
                self.matrix("attn_q_b", m.heads * key, rank, 1.5);
            }
        }
        self.matrix("attn_kv_a_mqa", rank + rotated, m.width, 1.5);
        self.norm("attn_kv_a_norm", rank);
        for (name, dims) in [
            ("attn_k_b.weight", vec![key - rotated, rank, m.heads]),
            ("attn_v_b.weight", vec![rank, value, m.heads]),
        ] {
            self.list.stack(self.at(name), dims, 1.0);
        }
        self.matrix("attn_output", m.width, m.heads * value, 1.0);
    }

    fn short_convolution(&mut self) {
        let m = self.model();
        let taps = m.number("shortconv.l_cache");
        self.small_matrix("shortconv.conv.weight", [taps, m.width], 0.0, 0.5);
        self.matrix("shortconv.in_proj", 3 * m.width, m.width, 1.0);
        self.matrix("shortconv.out_proj", m.width, m.width, 1.0);
    }

    /// Mamba-2. Files of Falcon-H1 may have the norm or not, and no key says which; here
    /// the models with more than one group have it.
    fn mamba2(&mut self) {
        let m = self.model();
        let (inner, heads) = (m.number("ssm.inner_size"), m.number("ssm.time_step_rank"));
        let groups = m.number("ssm.group_count");
        let convolved = inner + 2 * groups * m.number("ssm.state_size");
        self.matrix("ssm_in", inner + convolved + heads, m.width, 1.0);
        self.convolution(convolved);
        self.bias("ssm_conv1d", convolved);
        self.vector("ssm_dt.bias", heads, -1.0, 0.5);
        self.small_matrix("ssm_a", [1, heads], -2.0, 0.5);
        self.small_matrix("ssm_d", [1, heads], 1.0, 0.3);
        if m.architecture != "falcon-h1" || groups > 1 {
            self.small_matrix("ssm_norm.weight", [inner / groups, groups], 1.0, 0.2);
        }
        self.matrix("ssm_out", m.width, inner, 1.0);
    }

    fn convolution(&mut self, columns: usize) {
        let taps = self.model().number("ssm.conv_kernel");
        self.small_matrix("ssm_conv1d.weight", [taps, columns], 0.0, 0.5);
    }

    /// The gated delta rule.
    fn delta(&mut self) {
        let m = self.model();
        let (inner, heads) = (m.number("ssm.inner_size"), m.number("ssm.time_step_rank"));
        let keys = m.number("ssm.group_count") * m.number("ssm.state_size");
        self.matrix("attn_qkv", 2 * keys + inner, m.width, 1.0);
        self.matrix("attn_gate", inner, m.width, 1.0);
        self.convolution(2 * keys + inner);
        self.vector("ssm_dt.bias", heads, -1.0, 0.5);
        self.vector("ssm_a", heads, -2.0, 0.5);
        self.matrix("ssm_alpha", heads, m.width, 1.0);
        self.matrix("ssm_beta", heads, m.width, 1.0);
        self.norm("ssm_norm", inner / heads);
        self.matrix("ssm_out", m.width, inner, 1.0);
    }

    /// Attention whose q is twice as wide, since it also has the gates.
    fn gated_attention(&mut self) {
        let m = self.model();
        let (q, kv) = (m.heads * m.head_dim, m.kv_heads * m.head_dim);
        self.matrix("attn_q", 2 * q, m.width, 1.5);
        self.matrix("attn_k", kv, m.width, 1.5);
        self.matrix("attn_v", kv, m.width, 1.0);
        self.matrix("attn_output", m.width, q, 1.0);
        self.head_norms(m.head_dim);
    }

    /// The norms of Gemma 3n and Gemma 4, and the embeddings of the layer if there are any.
    fn gemma(&mut self) {
        let m = self.model();
        let each = m.number("embedding_length_per_layer_input");
        self.norms(&[
            "attn_norm",
            "post_attention_norm",
            "ffn_norm",
            "post_ffw_norm",
        ]);
        if each > 0 {
            self.matrix("inp_gate", each, m.width, 1.0);
            self.matrix("proj", m.width, each, 1.0);
            self.norms(&["post_norm"]);
        }
    }

    fn gemma4(&mut self) {
        let m = self.model();
        self.gemma();
        self.gemma4_attention();
        let hidden = m.number_of("feed_forward_length", self.number);
        self.dense("", hidden.unwrap_or(m.hidden));
        self.vector("layer_output_scale.weight", 1, 1.0, 0.3);
        if m.number("expert_count") > 0 {
            self.gemma4_experts();
        }
    }

    /// Gemma 4's attention. In models in which no layer reads another layer's keys, the
    /// layers without a window have no matrix of values: their values are the keys.
    fn gemma4_attention(&mut self) {
        let m = self.model();
        let windowed = m.flag_of("attention.sliding_window_pattern", self.number);
        let head_dim = if windowed {
            m.number("attention.key_length_swa")
        } else {
            m.head_dim
        };
        let shared = m.number("attention.shared_kv_layers");
        let (q, kv) = (m.heads * head_dim, self.kv_heads() * head_dim);
        self.matrix("attn_q", q, m.width, 1.0);
        self.norm("attn_q_norm", head_dim);
        if self.number < m.layers - shared {
            self.matrix("attn_k", kv, m.width, 1.0);
            self.norm("attn_k_norm", head_dim);
            if windowed || shared > 0 {
                self.matrix("attn_v", kv, m.width, 1.0);
            }
        }
        self.matrix("attn_output", m.width, q, 1.0);
    }

    fn gemma4_experts(&mut self) {
        let (m, hidden) = (self.model(), self.expert_width());
        self.router();
        self.vector("ffn_gate_inp.scale", m.width, 1.0, 0.2);
        self.stack("ffn_gate_up_exps", 2 * hidden, m.width);
        self.stack("ffn_down_exps", m.width, hidden);
        self.vector("ffn_down_exps.scale", m.number("expert_count"), 1.0, 0.2);
        self.norms(&["pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"]);
    }

    /// Gemma 3n. In its files all layers have keys and values, also those that do not use
    /// them.
    fn gemma3n(&mut self) {
        let m = self.model();
        let (streams, rank) = (m.number("altup.num_inputs"), 16);
        self.gemma();
        self.attention();
        self.head_norms(m.head_dim);
        self.dense("", m.hidden);
        self.matrix("altup_router", streams, m.width, 1.0);
        self.norms(&["altup_router_norm"]);
        let squared = streams * streams;
        self.small_matrix("altup_predict_coef.weight", [streams, squared], 0.0, 0.3);
        self.small_matrix("altup_correct_coef.weight", [streams, streams], 0.0, 0.3);
        self.vector("altup_correct_scale.weight", m.width, 1.0, 0.2);
        self.matrix("laurel_l", rank, m.width, 1.0);
        self.matrix("laurel_r", m.width, rank, 1.0);
        self.norms(&["laurel_post_norm"]);
    }
}
