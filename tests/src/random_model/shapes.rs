//! The shape of a small model of each architecture in [`super::FURTHER`], with the keys that
//! its files have.

use super::RandomModel;
use ondol_models::gguf::Value;

/// The shape of a small model, made from that of a small Llama.
pub fn shaped(model: RandomModel) -> RandomModel {
    match model.architecture {
        "gemma" => RandomModel {
            kv_heads: 1,
            head_dim: 32,
            ..model
        },
        "granite" => granite(model).with("rope.freq_base", 1e7f32),
        "granitemoe" => granite(experts(model)).with("rope.freq_base", 10_000f32),
        "granitehybrid" => mamba(granite(model))
            .with("rope.freq_base", 10_000f32)
            .with("rope.scaling.finetuned", false)
            .with("attention.head_count_kv", vec![0i32, 0, 2]),
        "minicpm" => model
            .with("rope.freq_base", 10_000f32)
            .with("embedding_scale", 2f32)
            .with("residual_scale", 0.8f32)
            .with("logit_scale", 2f32),
        "smollm3" => RandomModel { layers: 5, ..model }.with("rope.freq_base", 5e6f32),
        "mistral3" => mistral3(untied(model)),
        "olmo2" => untied(model).with("rope.freq_base", 500_000f32),
        "hunyuan-dense" => model
            .with("rope.freq_base", 15_848_932f32)
            .with("rope.scaling.type", "none")
            .with("rope.scaling.factor", 1f32)
            .with("rope.scaling.original_context_length", 2048u32),
        "glm4" => RandomModel {
            biases: true,
            ..untied(model)
                .with("rope.freq_base", 10_000f32)
                .with("rope.dimension_count", 8u32)
        },
        "cohere2" => RandomModel { layers: 4, ..model }
            .with("rope.freq_base", 50_000f32)
            .with("rope.scaling.type", "none")
            .with("attention.sliding_window", 8u32)
            .with("logit_scale", 0.25f32),
        "phi2" => all_heads(untied(model)).with("rope.dimension_count", 8u32),
        "stablelm" => all_heads(untied(model))
            .with("rope.dimension_count", 4u32)
            .with("use_parallel_residual", false),
        "starcoder2" => model.with("rope.freq_base", 1e6f32),
        "qwen3moe" => RandomModel {
            head_dim: 32,
            ..experts(untied(model))
                .with("rope.freq_base", 1e6f32)
                .with("expert_feed_forward_length", 64u32)
        },
        "olmoe" => all_heads(experts(untied(model))).with("rope.freq_base", 10_000f32),
        "gpt-oss" => gpt_oss(experts(untied(model))),
        "exaone-moe" => exaone_moe(experts(untied(model))),
        "deepseek2" => deepseek2(experts(untied(model))),
        "lfm2" => lfm2(model),
        "lfm2moe" => lfm2(experts(model))
            .with("expert_feed_forward_length", 64u32)
            .with("expert_gating_func", 2u32)
            .with("leading_dense_block_count", 1u32),
        "qwen35" => delta(untied(model)),
        "qwen35moe" => delta(experts(untied(model)))
            .with("expert_feed_forward_length", 64u32)
            .with("expert_shared_feed_forward_length", 32u32),
        "mamba2" => RandomModel {
            heads: 0,
            kv_heads: 0,
            hidden: 0,
            ..mamba(untied(model))
        },
        "falcon-h1" => mamba(untied(model)).with("rope.freq_base", 1e11f32),
        "gemma4" => gemma4(model),
        "gemma3n" => gemma3n(model),
        _ => model,
    }
}

fn untied(model: RandomModel) -> RandomModel {
    RandomModel {
        tied: false,
        ..model
    }
}

/// As many key heads as query heads.
fn all_heads(model: RandomModel) -> RandomModel {
    RandomModel {
        kv_heads: model.heads,
        ..model
    }
}

/// Six experts, of which each token uses two; their width is `hidden`, or that of a key.
fn experts(model: RandomModel) -> RandomModel {
    RandomModel {
        hidden: 64,
        ..model
    }
    .with("expert_count", 6u32)
    .with("expert_used_count", 2u32)
}

fn granite(model: RandomModel) -> RandomModel {
    model
        .with("attention.scale", 0.2f32)
        .with("embedding_scale", 2f32)
        .with("residual_scale", 0.5f32)
        .with("logit_scale", 4f32)
}

/// With YaRN from a context of `original` tokens to `factor` times as many.
fn yarn(model: RandomModel, factor: f32, original: u32) -> RandomModel {
    model
        .with("rope.scaling.type", "yarn")
        .with("rope.scaling.factor", factor)
        .with("rope.scaling.original_context_length", original)
        .with("rope.scaling.yarn_beta_fast", 32f32)
        .with("rope.scaling.yarn_beta_slow", 1f32)
}

fn mistral3(model: RandomModel) -> RandomModel {
    yarn(model, 16.0, 32)
        .with("rope.freq_base", 1e6f32)
        .with("rope.scaling.yarn_log_multiplier", 1f32)
        .with("attention.temperature_scale", 0.1f32)
}

fn gpt_oss(model: RandomModel) -> RandomModel {
    RandomModel {
        biases: true,
        head_dim: 64,
        ..yarn(model, 32.0, 4096)
    }
    .with("rope.freq_base", 150_000f32)
    .with("attention.sliding_window", 8u32)
    .with("expert_feed_forward_length", 64u32)
}

fn exaone_moe(model: RandomModel) -> RandomModel {
    RandomModel {
        layers: 4,
        head_dim: 32,
        ..model
    }
    .with("nextn_predict_layers", 0u32)
    .with("rope.freq_base", 1e6f32)
    .with("rope.scaling.type", "none")
    .with("attention.sliding_window", 8u32)
    .with(
        "attention.sliding_window_pattern",
        vec![true, true, true, false],
    )
    .with("expert_feed_forward_length", 64u32)
    .with("expert_shared_count", 1u32)
    .with("expert_shared_feed_forward_length", 32u32)
    .with("expert_group_count", 1u32)
    .with("expert_group_used_count", 1u32)
    .with("expert_gating_func", 2u32)
    .with("expert_weights_scale", 2.5f32)
    .with("expert_weights_norm", true)
    .with("leading_dense_block_count", 1u32)
}

/// Attention heads with 16 elements that do not rotate and 16 that do, from a latent row of
/// 32 elements.
fn deepseek2(model: RandomModel) -> RandomModel {
    model
        .with("rope.freq_base", 10_000f32)
        .with("attention.head_count_kv", 1u32)
        .with("attention.kv_lora_rank", 32u32)
        .with("attention.key_length", 48u32)
        .with("attention.value_length", 32u32)
        .with("attention.key_length_mla", 32u32)
        .with("attention.value_length_mla", 16u32)
        .with("rope.dimension_count", 16u32)
        .with("expert_feed_forward_length", 64u32)
        .with("expert_shared_count", 2u32)
        .with("expert_group_count", 1u32)
        .with("expert_group_used_count", 1u32)
        .with("expert_weights_scale", 1f32)
        .with("leading_dense_block_count", 1u32)
}

/// Two layers with a short convolution, and one with attention.
fn lfm2(model: RandomModel) -> RandomModel {
    model
        .with("rope.freq_base", 1e6f32)
        .with("attention.head_count_kv", vec![0i32, 0, 2])
        .with("shortconv.l_cache", 3u32)
}

/// Mamba-2 with eight heads of 16 elements.
pub fn mamba(model: RandomModel) -> RandomModel {
    model
        .with("ssm.conv_kernel", 4u32)
        .with("ssm.inner_size", 128u32)
        .with("ssm.state_size", 16u32)
        .with("ssm.time_step_rank", 8u32)
        .with("ssm.group_count", 1u32)
}

/// Two layers of the delta rule, with two key heads and four value heads of 16 elements, and
/// one layer of attention, of which a fourth of each head rotates.
fn delta(model: RandomModel) -> RandomModel {
    RandomModel {
        head_dim: 32,
        ..model
    }
    .with("rope.freq_base", 1e7f32)
    .with("rope.dimension_count", 8u32)
    .with("rope.dimension_sections", vec![2u32, 1, 1, 0])
    .with("ssm.conv_kernel", 4u32)
    .with("ssm.inner_size", 64u32)
    .with("ssm.state_size", 16u32)
    .with("ssm.time_step_rank", 4u32)
    .with("ssm.group_count", 2u32)
    .with("full_attention_interval", 3u32)
    .with("attention.recurrent_layers", vec![true, true, false])
}

/// Gemma 4: the last three layers read keys and values of the first three.
fn gemma4(model: RandomModel) -> RandomModel {
    let global = RandomModel {
        layers: 6,
        head_dim: 32,
        // A fourth of the pairs rotates; the frequency of the others is nearly zero.
        factors: vec![("rope_freqs", [vec![1.0; 4], vec![1e30; 12]].concat())],
        ..model
    };
    gemma_windows(global, vec![true, true, false, true, true, false])
        .with("attention.key_length_swa", 16u32)
        .with("attention.value_length_swa", 16u32)
        .with("rope.dimension_count", 32u32)
        .with("rope.dimension_count_swa", 16u32)
        .with("attention.shared_kv_layers", 3u32)
        .with("embedding_length_per_layer_input", 16u32)
}

/// Gemma 3n: the last two layers read keys and values of earlier ones; the first two have
/// sparse activations.
fn gemma3n(model: RandomModel) -> RandomModel {
    let model = RandomModel { layers: 5, ..model };
    gemma_windows(model, vec![true, false, true, true, false])
        .with("attention.shared_kv_layers", 2u32)
        .with("embedding_length_per_layer_input", 16u32)
        .with("altup.active_idx", 0u32)
        .with("altup.num_inputs", 4u32)
        .with(
            "activation_sparsity_scale",
            vec![1.644_853_6f32, 1.644_853_6, 0.0, 0.0, 0.0],
        )
}

fn gemma_windows(model: RandomModel, pattern: Vec<bool>) -> RandomModel {
    model
        .with("rope.freq_base", 1e6f32)
        .with("rope.freq_base_swa", 10_000f32)
        .with("final_logit_softcapping", 30f32)
        .with("attention.sliding_window", 8u32)
        .with("attention.sliding_window_pattern", pattern)
}

impl RandomModel {
    /// The value of a key for a layer: the value itself, or that layer's element if it is an
    /// array. If a key is there twice, the last value counts, as in the file.
    fn key(&self, key: &str, layer: usize) -> Option<Value<'_>> {
        let (_, value) = self.keys.iter().rfind(|(name, _)| *name == key)?;
        match value.value()? {
            Value::Array(per_layer) => per_layer.iter().nth(layer),
            value => Some(value),
        }
    }

    /// The number of a key, or zero.
    pub(super) fn number(&self, key: &str) -> usize {
        self.number_of(key, 0).unwrap_or(0)
    }

    /// The number of a key for a layer, if the model has the key.
    pub(super) fn number_of(&self, key: &str, layer: usize) -> Option<usize> {
        let value = self.key(key, layer)?;
        Some(value.as_u64().expect(key) as usize)
    }

    /// Whether a key is true for a layer; false without the key.
    pub(super) fn flag_of(&self, key: &str, layer: usize) -> bool {
        self.key(key, layer)
            .is_some_and(|value| value.as_bool().expect(key))
    }
}
