//! The models of [`super::FURTHER`] on which every comparison runs.

use super::{RandomModel, shapes};

/// A model of every architecture in [`super::FURTHER`], and one for each variant that its
/// files may have, with a name for each.
pub fn further_variants() -> Vec<(&'static str, RandomModel)> {
    [dense(), experts(), hybrid(), gemma()].concat()
}

fn small(architecture: &'static str) -> RandomModel {
    RandomModel::small(architecture)
}

fn dense() -> Vec<(&'static str, RandomModel)> {
    vec![
        ("gemma", small("gemma")),
        (
            "gemma, two key heads",
            RandomModel {
                kv_heads: 2,
                ..small("gemma")
            },
        ),
        ("granite", small("granite")),
        ("granite untied", untied(small("granite"))),
        (
            "granite without positions",
            small("granite").with("rope.scaling.finetuned", false),
        ),
        ("granite with the keys of a hybrid", granite_from_hybrid()),
        ("minicpm", small("minicpm")),
        ("minicpm untied", untied(small("minicpm"))),
        ("smollm3", small("smollm3")),
        ("mistral3", small("mistral3")),
        (
            "mistral3, queries that grow earlier",
            small("mistral3").with("rope.scaling.original_context_length", 16u32),
        ),
        ("mistral3 tied", tied(small("mistral3"))),
        ("olmo2", small("olmo2")),
        (
            "olmo2, as many key heads",
            RandomModel {
                kv_heads: 4,
                ..small("olmo2")
            },
        ),
        ("olmo3 window", olmo3()),
        (
            "olmo3 yarn",
            olmo3()
                .with("rope.scaling.type", "yarn")
                .with("rope.scaling.factor", 4f32)
                .with("rope.scaling.original_context_length", 32u32),
        ),
        ("hunyuan-dense", small("hunyuan-dense")),
        (
            "hunyuan-dense with wide heads",
            RandomModel {
                head_dim: 32,
                ..untied(small("hunyuan-dense"))
            },
        ),
        ("glm4", small("glm4")),
        (
            "glm4 without biases",
            RandomModel {
                biases: false,
                head_dim: 32,
                ..small("glm4").with("rope.dimension_count", 16u32)
            },
        ),
        ("cohere2", small("cohere2")),
        ("phi2", small("phi2")),
        ("stablelm", small("stablelm")),
        (
            "stablelm with biases",
            RandomModel {
                biases: true,
                ..small("stablelm")
            },
        ),
        (
            "stablelm in parallel",
            small("stablelm").with("use_parallel_residual", true),
        ),
        ("starcoder2", small("starcoder2")),
        ("starcoder2 untied", untied(small("starcoder2"))),
    ]
}

fn experts() -> Vec<(&'static str, RandomModel)> {
    vec![
        ("qwen3moe", small("qwen3moe")),
        (
            "qwen3moe tied, three experts",
            tied(small("qwen3moe")).with("expert_used_count", 3u32),
        ),
        ("olmoe", small("olmoe")),
        ("granitemoe", small("granitemoe")),
        ("gpt-oss", small("gpt-oss")),
        (
            "gpt-oss, one key head, short first training",
            RandomModel {
                kv_heads: 1,
                ..small("gpt-oss").with("rope.scaling.original_context_length", 64u32)
            },
        ),
        ("exaone-moe", small("exaone-moe")),
        ("deepseek2 v2", deepseek2_v2()),
        ("deepseek2 v3", deepseek2_v3()),
        (
            "deepseek2 v3, narrow queries and groups",
            deepseek2_v3()
                .with("attention.q_lora_rank", 32u32)
                .with("expert_count", 8u32)
                .with("expert_group_count", 4u32)
                .with("expert_group_used_count", 2u32),
        ),
    ]
}

fn hybrid() -> Vec<(&'static str, RandomModel)> {
    vec![
        ("lfm2", small("lfm2")),
        (
            "lfm2, four taps",
            small("lfm2").with("shortconv.l_cache", 4u32),
        ),
        ("lfm2moe", small("lfm2moe")),
        ("qwen35", small("qwen35")),
        (
            "qwen35 tied, a key head for each value head",
            tied(small("qwen35")).with("ssm.group_count", 4u32),
        ),
        ("qwen35moe", small("qwen35moe")),
        ("mamba2", small("mamba2")),
        (
            "mamba2 tied, two groups",
            tied(small("mamba2")).with("ssm.group_count", 2u32),
        ),
        ("granitehybrid", small("granitehybrid")),
        (
            "granitehybrid, two groups",
            untied(small("granitehybrid")).with("ssm.group_count", 2u32),
        ),
        (
            "granitehybrid with experts",
            small("granitehybrid")
                .with("expert_count", 6u32)
                .with("expert_used_count", 2u32)
                .with("expert_shared_feed_forward_length", 48u32),
        ),
        ("falcon-h1", small("falcon-h1")),
        (
            "falcon-h1 with norms, two groups",
            small("falcon-h1").with("ssm.group_count", 2u32),
        ),
    ]
}

fn gemma() -> Vec<(&'static str, RandomModel)> {
    vec![
        ("gemma4", small("gemma4")),
        (
            "gemma4, wider last layers",
            small("gemma4").with("feed_forward_length", vec![96i32, 96, 96, 192, 192, 192]),
        ),
        ("gemma4, values that are keys", gemma4_large()),
        (
            "gemma4 with experts",
            gemma4_large()
                .with("expert_count", 6u32)
                .with("expert_used_count", 2u32)
                .with("expert_feed_forward_length", 32u32),
        ),
        ("gemma3n", small("gemma3n")),
    ]
}

fn tied(model: RandomModel) -> RandomModel {
    RandomModel {
        tied: true,
        ..model
    }
}

fn untied(model: RandomModel) -> RandomModel {
    RandomModel {
        tied: false,
        ..model
    }
}

/// A hybrid with attention in all layers: its file names the architecture `granite`, and has
/// keys of the parts that the model does not have.
fn granite_from_hybrid() -> RandomModel {
    shapes::mamba(small("granite"))
        .with("attention.head_count_kv", vec![2i32, 2, 2])
        .with("rope.scaling.finetuned", true)
        .with("expert_count", 0u32)
        .with("expert_used_count", 0u32)
        .with("expert_shared_feed_forward_length", 96u32)
}

fn olmo3() -> RandomModel {
    let model = RandomModel {
        layers: 4,
        ..small("olmo2")
    };
    model.with("attention.sliding_window", 8u32).with(
        "attention.sliding_window_pattern",
        vec![true, true, true, false],
    )
}

/// With YaRN, and experts chosen by softmax.
fn deepseek2_v2() -> RandomModel {
    small("deepseek2")
        .with("rope.scaling.type", "yarn")
        .with("rope.scaling.factor", 40f32)
        .with("rope.scaling.original_context_length", 64u32)
        .with("rope.scaling.yarn_beta_fast", 32f32)
        .with("rope.scaling.yarn_beta_slow", 1f32)
        .with("rope.scaling.yarn_log_multiplier", 0.0707f32)
}

/// With experts chosen by sigmoid.
fn deepseek2_v3() -> RandomModel {
    small("deepseek2")
        .with("expert_gating_func", 2u32)
        .with("expert_weights_norm", true)
        .with("expert_weights_scale", 2.448f32)
}

/// Without embeddings for layers and without shared keys; layers without a window have one
/// key head.
fn gemma4_large() -> RandomModel {
    RandomModel {
        layers: 3,
        ..small("gemma4")
    }
    .with("attention.sliding_window_pattern", vec![true, true, false])
    .with("attention.head_count_kv", vec![2i32, 2, 1])
    .with("attention.shared_kv_layers", 0u32)
    .with("embedding_length_per_layer_input", 0u32)
}
