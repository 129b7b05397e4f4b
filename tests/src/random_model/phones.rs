//! Shapes of models that phones run, of 0.5 to 1 billion parameters, for benchmarks.

use super::RandomModel;
use ondol_models::quant::DType;

/// The architectures for which [`RandomModel::phone`] has a shape.
pub const PHONES: [&str; 4] = ["qwen35", "lfm2", "qwen3moe", "gpt-oss"];

impl RandomModel {
    /// A model as large as those on phones, in the format that such files usually have.
    ///
    /// # Panics
    /// If the architecture is none of [`PHONES`].
    pub fn phone(architecture: &'static str) -> RandomModel {
        let model = RandomModel {
            width: 1024,
            vocabulary: 49_152,
            context: 8192,
            dtype: DType::Q4_0,
            table_dtype: DType::Q6_K,
            ..RandomModel::small(architecture)
        };
        match architecture {
            "qwen35" => qwen35(model),
            "lfm2" => lfm2(model),
            "qwen3moe" => qwen3moe(model),
            "gpt-oss" => gpt_oss(model),
            other => panic!("no shape of {other}"),
        }
    }
}

/// Three of four layers have the gated delta rule, one has attention.
fn qwen35(model: RandomModel) -> RandomModel {
    let recurrent = (1..=24).map(|n| n % 4 != 0).collect::<Vec<bool>>();
    RandomModel {
        layers: 24,
        hidden: 3584,
        heads: 8,
        kv_heads: 2,
        head_dim: 256,
        tied: true,
        ..model
    }
    .with("rope.dimension_count", 64u32)
    .with("rope.dimension_sections", vec![11u32, 11, 10, 0])
    .with("ssm.inner_size", 2048u32)
    .with("ssm.state_size", 128u32)
    .with("ssm.time_step_rank", 16u32)
    .with("ssm.group_count", 16u32)
    .with("full_attention_interval", 4u32)
    .with("attention.recurrent_layers", recurrent)
}

fn lfm2(model: RandomModel) -> RandomModel {
    let attention = [2, 5, 8, 10, 12, 14];
    let kv_heads = |layer| if attention.contains(&layer) { 8 } else { 0 };
    RandomModel {
        layers: 16,
        width: 1536,
        hidden: 6912,
        heads: 24,
        kv_heads: 8,
        head_dim: 64,
        ..model
    }
    .with(
        "attention.head_count_kv",
        (0..16).map(kv_heads).collect::<Vec<i32>>(),
    )
}

/// Each token uses four of 32 experts in each layer.
fn qwen3moe(model: RandomModel) -> RandomModel {
    RandomModel {
        layers: 16,
        heads: 16,
        kv_heads: 4,
        head_dim: 128,
        hidden: 512,
        ..model
    }
    .with("expert_count", 32u32)
    .with("expert_used_count", 4u32)
    .with("expert_feed_forward_length", 512u32)
}

/// Each token uses four of 16 experts in each layer; all matrices are in MXFP4.
fn gpt_oss(model: RandomModel) -> RandomModel {
    RandomModel {
        layers: 12,
        heads: 16,
        kv_heads: 4,
        head_dim: 64,
        hidden: 1024,
        dtype: DType::MXFP4,
        table_dtype: DType::Q8_0,
        ..model
    }
    .with("expert_count", 16u32)
    .with("expert_used_count", 4u32)
    .with("expert_feed_forward_length", 1024u32)
    .with("attention.sliding_window", 128u32)
}
