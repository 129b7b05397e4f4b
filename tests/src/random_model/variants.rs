//! The models on which every comparison runs.

use super::RandomModel;

/// A model of every architecture in [`super::ARCHITECTURES`], and one for each variant that
/// its files may have, with a name for each.
pub fn variants() -> Vec<(&'static str, RandomModel)> {
    let small = RandomModel::small;
    let linear = |model: RandomModel, factor: f32| {
        let model = model.with("rope.scaling.type", "linear");
        model.with("rope.scaling.factor", factor)
    };
    let window = |model: RandomModel, window: u32| model.with("attention.sliding_window", window);
    vec![
        ("llama", small("llama")),
        (
            "llama untied",
            RandomModel {
                tied: false,
                ..small("llama")
            },
        ),
        (
            "llama with biases",
            RandomModel {
                biases: true,
                ..small("llama")
            },
        ),
        (
            "llama with wide heads",
            RandomModel {
                head_dim: 32,
                ..small("llama")
            },
        ),
        (
            "llama, one key head",
            RandomModel {
                kv_heads: 1,
                ..small("llama")
            },
        ),
        (
            "llama, as many key heads",
            RandomModel {
                kv_heads: 4,
                ..small("llama")
            },
        ),
        (
            "llama, uneven layers",
            RandomModel {
                uneven: true,
                hidden: 128,
                ..small("llama")
            },
        ),
        ("llama 3.1 rope", llama3_rope(small("llama"))),
        ("llama linear rope", linear(small("llama"), 4.0)),
        ("llama yarn", yarn(small("llama"), 32)),
        ("qwen2", small("qwen2").with("rope.freq_base", 1e6f32)),
        (
            "qwen2 untied",
            RandomModel {
                tied: false,
                ..small("qwen2")
            },
        ),
        (
            "qwen3",
            RandomModel {
                head_dim: 32,
                ..small("qwen3")
            },
        ),
        (
            "qwen3 untied",
            RandomModel {
                tied: false,
                ..small("qwen3")
            },
        ),
        (
            "qwen3 yarn",
            yarn(small("qwen3").with("rope.freq_base", 1e6f32), 64)
                .with("rope.scaling.yarn_beta_fast", 8f32)
                .with("rope.scaling.yarn_attn_factor", 1.25f32),
        ),
        (
            "gemma2",
            RandomModel {
                head_dim: 32,
                ..small("gemma2")
            },
        ),
        (
            "gemma2, uneven layers",
            RandomModel {
                uneven: true,
                hidden: 128,
                ..window(small("gemma2"), 8)
            },
        ),
        ("gemma2 window", window(small("gemma2"), 8)),
        ("gemma2 low caps", {
            let caps = small("gemma2").with("attn_logit_softcapping", 3.0f32);
            caps.with("final_logit_softcapping", 2.0f32)
        }),
        (
            "gemma2 27b",
            RandomModel {
                layers: 46,
                head_dim: 32,
                ..window(small("gemma2"), 8)
            },
        ),
        (
            "gemma3",
            RandomModel {
                layers: 7,
                head_dim: 32,
                ..gemma3(8)
            },
        ),
        (
            "gemma3 without window",
            small("gemma3").with("rope.freq_base", 1e6f32),
        ),
        (
            "gemma3 linear rope",
            RandomModel {
                layers: 7,
                ..linear(gemma3(8), 8.0)
            },
        ),
        ("gemma3 period and local base", {
            let period = gemma3(8).with("attention.sliding_window_pattern", 2u32);
            period.with("rope.freq_base_swa", 500.0f32)
        }),
        (
            "gemma3 logit cap",
            gemma3(8).with("final_logit_softcapping", 2.0f32),
        ),
        (
            "gemma3 27b",
            RandomModel {
                layers: 62,
                head_dim: 32,
                ..gemma3(8)
            },
        ),
        (
            "exaone",
            RandomModel {
                tied: false,
                ..small("exaone")
            },
        ),
        ("exaone llama 3.1 rope", llama3_rope(small("exaone"))),
        ("exaone4", llama3_rope(small("exaone4"))),
        ("exaone4 yarn", yarn(llama3_rope(small("exaone4")), 32)),
        (
            "exaone4 window",
            RandomModel {
                layers: 64,
                ..window(small("exaone4"), 8)
            },
        ),
        ("exaone4 window by layer", {
            let by_layer: Vec<bool> = (0..64).map(|layer| layer % 3 != 1).collect();
            let model = RandomModel {
                layers: 64,
                tied: false,
                ..window(llama3_rope(small("exaone4")), 8)
            };
            model.with("attention.sliding_window_pattern", by_layer)
        }),
        ("phi3", small("phi3")),
        (
            "phi3 part of the head rotates",
            small("phi3").with("rope.dimension_count", 12u32),
        ),
        ("phi3 short factors", phi3_long_rope(1024)),
        ("phi3 long factors", phi3_long_rope(32)),
        (
            "phi3 window",
            window(
                RandomModel {
                    tied: false,
                    ..small("phi3")
                },
                8,
            ),
        ),
    ]
}

fn gemma3(window: u32) -> RandomModel {
    let model = RandomModel::small("gemma3").with("rope.freq_base", 1e6f32);
    model.with("attention.sliding_window", window)
}

/// The factors of Llama 3.1 grow from 1 for fast pairs to 8 for slow ones.
fn llama3_rope(model: RandomModel) -> RandomModel {
    let pairs = model.head_dim / 2;
    let factors = (0..pairs)
        .map(|i| 1.0 + 7.0 * i as f32 / (pairs - 1) as f32)
        .collect();
    RandomModel {
        factors: vec![("rope_freqs", factors)],
        ..model
    }
}

/// With YaRN from a context of `original` tokens to four times as many.
fn yarn(model: RandomModel, original: u32) -> RandomModel {
    let model = model.with("rope.scaling.type", "yarn");
    let model = model.with("rope.scaling.factor", 4f32);
    model.with("rope.scaling.original_context_length", original)
}

/// With LongRoPE, which uses the long factors for contexts above `original` tokens.
fn phi3_long_rope(original: u32) -> RandomModel {
    let model = RandomModel::small("phi3");
    let pairs = model.head_dim / 2;
    let short = (0..pairs).map(|i| 1.0 + 0.1 * i as f32).collect();
    let long = (0..pairs).map(|i| 1.5 + 3.0 * i as f32).collect();
    let factors = vec![("rope_factors_long", long), ("rope_factors_short", short)];
    let model = model.with("rope.scaling.original_context_length", original);
    RandomModel {
        factors,
        ..model.with("rope.scaling.attn_factor", 1.19f32)
    }
}
