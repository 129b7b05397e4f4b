use super::build;
use crate::gguf::{Gguf, MetaValue, Writer};
use crate::graph::{Attention, Builder, Graph, Op, RopeStyle, RowFn};
use crate::quant::DType;
use crate::{Error, Result};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const ALL: [&str; 8] = [
    "llama", "qwen2", "qwen3", "gemma2", "gemma3", "exaone", "exaone4", "phi3",
];
const WIDTH: u64 = 32;
const HIDDEN: u64 = 48;
const VOCABULARY: u64 = 20;

/// A file of four query heads and two key heads, all weights zero.
struct File {
    architecture: &'static str,
    head_dim: u64,
    metadata: Vec<(String, MetaValue)>,
    tensors: Vec<(String, Vec<u64>, Vec<f32>)>,
}

impl File {
    fn new(architecture: &'static str, layers: u32) -> File {
        File::with_heads(architecture, layers, 8)
    }

    fn with_heads(architecture: &'static str, layers: u32, head_dim: u64) -> File {
        let mut file = File {
            architecture,
            head_dim,
            metadata: Vec::new(),
            tensors: Vec::new(),
        };
        for (key, value) in [
            ("block_count", layers),
            ("context_length", 64),
            ("embedding_length", WIDTH as u32),
            ("feed_forward_length", HIDDEN as u32),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("attention.key_length", head_dim as u32),
        ] {
            file = file.with(key, value);
        }
        file = file.with("attention.layer_norm_rms_epsilon", 1e-5f32);
        file.zeros("token_embd.weight", &[WIDTH, VOCABULARY]);
        file.zeros("output_norm.weight", &[WIDTH]);
        (0..layers).for_each(|layer| file.layer(layer));
        file
    }

    fn layer(&mut self, layer: u32) {
        let (q, kv) = (4 * self.head_dim, 2 * self.head_dim);
        let mut matrices = match self.architecture {
            "phi3" => vec![
                ("attn_qkv", WIDTH, q + 2 * kv),
                ("ffn_up", WIDTH, 2 * HIDDEN),
            ],
            _ => vec![
                ("attn_q", WIDTH, q),
                ("attn_k", WIDTH, kv),
                ("attn_v", WIDTH, kv),
                ("ffn_gate", WIDTH, HIDDEN),
                ("ffn_up", WIDTH, HIDDEN),
            ],
        };
        matrices.extend([("attn_output", q, WIDTH), ("ffn_down", HIDDEN, WIDTH)]);
        for (name, cols, rows) in matrices {
            self.zeros(&format!("blk.{layer}.{name}.weight"), &[cols, rows]);
        }
        let (pre, post, heads) = match self.architecture {
            "gemma2" => (true, true, false),
            "gemma3" => (true, true, true),
            "exaone4" => (false, true, true),
            "qwen3" => (true, false, true),
            _ => (true, false, false),
        };
        let norms = [
            (pre, ["attn_norm", "ffn_norm"], WIDTH),
            (post, ["post_attention_norm", "post_ffw_norm"], WIDTH),
            (heads, ["attn_q_norm", "attn_k_norm"], self.head_dim),
        ];
        for (_, names, width) in norms.into_iter().filter(|(has, ..)| *has) {
            for name in names {
                self.zeros(&format!("blk.{layer}.{name}.weight"), &[width]);
            }
        }
    }

    fn zeros(&mut self, name: &str, dims: &[u64]) {
        let values = vec![0.0; dims.iter().product::<u64>() as usize];
        self.tensors.push((name.into(), dims.into(), values));
    }

    fn with(self, key: &str, value: impl Into<MetaValue>) -> File {
        let key = format!("{}.{key}", self.architecture);
        self.with_key(&key, value)
    }

    fn with_key(mut self, key: &str, value: impl Into<MetaValue>) -> File {
        self.metadata.push((key.into(), value.into()));
        self
    }

    fn with_vector(mut self, name: &str, values: &[f32]) -> File {
        self.tensors
            .push((name.into(), vec![values.len() as u64], values.into()));
        self
    }

    fn without(mut self, tensor: &str) -> File {
        self.tensors.retain(|(name, ..)| name != tensor);
        self
    }

    fn graph(&self) -> Result<Graph> {
        build(&Gguf::parse(&self.bytes()?)?)
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new();
        writer.set("general.architecture", self.architecture);
        for (key, value) in &self.metadata {
            writer.set(key, value.clone());
        }
        let mut data: Vec<Vec<u8>> = Vec::new();
        for (name, dims, values) in &self.tensors {
            writer.add_tensor(name, DType::F32, dims)?;
            data.push(
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            );
        }
        let data: Vec<&[u8]> = data.iter().map(|bytes| &bytes[..]).collect();
        writer.to_vec(&data)
    }

    fn error(&self) -> Error {
        self.graph().expect_err("the file should be refused")
    }
}

/// The attention of each layer.
fn attentions(graph: &Graph) -> impl Iterator<Item = &Attention> {
    graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Attention { attention, .. } => Some(attention),
        _ => None,
    })
}

/// The window of each layer.
fn windows(graph: &Graph) -> Vec<Option<usize>> {
    attentions(graph)
        .map(|attention| attention.window)
        .collect()
}

/// The rotary embedding of q in each layer.
fn ropes(graph: &Graph) -> Vec<Option<usize>> {
    let queries = graph.nodes.iter().filter_map(|node| match node.op {
        Op::Attention { q, .. } => Some(&graph.node(q).op),
        _ => None,
    });
    let rope = |op: &Op| match op {
        Op::Rope { rope, .. } => Some(*rope),
        _ => None,
    };
    queries.map(rope).collect()
}

fn assert_names_key(error: &Error, wanted: &str) {
    match error {
        Error::BadValue { key, .. } | Error::MissingKey { key } => assert_eq!(key, wanted),
        other => panic!("expected an error about {wanted}, found: {other}"),
    }
}

#[test]
fn every_architecture_builds() {
    for architecture in ALL {
        let graph = File::new(architecture, 2).graph().expect(architecture);
        assert_eq!((graph.vocabulary, graph.trained_context), (20, 64));
        assert_eq!(
            attentions(&graph).map(|a| a.slot).collect::<Vec<_>>(),
            [0, 1]
        );
        assert_eq!(graph.node(graph.logits).width, 20);
        let text = graph.to_string();
        assert!(
            text.starts_with(&format!("graph {architecture} (vocabulary 20)")),
            "{text}"
        );
    }
}

#[test]
fn pairs_of_a_head_are_neighbours_only_in_llama() {
    for architecture in ALL {
        let graph = File::new(architecture, 1).graph().expect(architecture);
        let interleaved = graph
            .ropes
            .iter()
            .all(|rope| rope.style == RopeStyle::Interleaved);
        assert_eq!(interleaved, architecture == "llama", "{architecture}");
    }
}

#[test]
fn the_head_is_the_embedding_table_unless_the_file_has_one() {
    let head = |file: File| {
        let graph = file.graph().expect("a graph");
        match graph.node(graph.logits).op {
            Op::MatMul { weight, .. } => weight.tensor,
            ref other => panic!("the head is {other:?}"),
        }
    };
    assert_eq!(head(File::new("llama", 1)), 0);
    let mut untied = File::new("llama", 1);
    untied.zeros("output.weight", &[WIDTH, VOCABULARY]);
    let last = untied.tensors.len() as u32 - 1;
    assert_eq!(head(untied), last);
}

#[test]
fn biases_are_added_where_the_file_has_them() {
    let file = File::new("qwen2", 1).with_vector("blk.0.attn_k.bias", &[0.0; 16]);
    let graph = file.graph().expect("a graph");
    let biased = graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::MatMul { bias: Some(_), .. }));
    assert_eq!(biased.map(|n| n.width).collect::<Vec<_>>(), [16]);
}

#[test]
fn gemma2_alternates_and_caps() {
    let graph = File::new("gemma2", 4)
        .with("attention.sliding_window", 5u32)
        .graph()
        .expect("a graph");
    assert_eq!(windows(&graph), [Some(5), None, Some(5), None]);
    assert!(attentions(&graph).all(|a| a.softcap == Some(50.0)));
    assert!(matches!(
        graph.node(graph.logits).op,
        Op::Row {
            function: RowFn::Softcap { cap: 30.0 },
            ..
        }
    ));
    let root = libm::sqrtf(WIDTH as f32);
    assert!(matches!(graph.nodes[0].op, Op::Embed { scale, .. } if scale == root));
}

#[test]
fn gemma3_has_five_sliding_layers_to_a_full_one() {
    let file = File::new("gemma3", 7).with("attention.sliding_window", 5u32);
    let file = file
        .with("rope.freq_base", 1e6f32)
        .with("rope.scaling.factor", 8f32);
    let graph = file.graph().expect("a graph");
    let mut expected = [Some(5); 7];
    expected[5] = None;
    assert_eq!(windows(&graph), expected);
    let of = ropes(&graph)
        .into_iter()
        .map(|rope| &graph.ropes[rope.expect("all layers rotate")]);
    let second: Vec<f32> = of.map(|rope| rope.inverse_frequencies[1]).collect();
    let (local, global) = (libm::powf(1e4, -0.25), libm::powf(1e6, -0.25) / 8.0);
    for (layer, frequency) in second.into_iter().enumerate() {
        let wanted = if layer == 5 { global } else { local };
        assert!(
            (frequency - wanted).abs() < 1e-6,
            "layer {layer}: {frequency}"
        );
    }
}

#[test]
fn the_largest_gemmas_scale_by_width_over_heads() {
    for (architecture, largest) in [("gemma2", 46), ("gemma3", 62)] {
        let scale = |layers| {
            let graph = File::with_heads(architecture, layers, 16)
                .graph()
                .expect("a graph");
            attentions(&graph).map(|a| a.scale).collect::<Vec<_>>()
        };
        assert_eq!(scale(2), [1.0 / libm::sqrtf(16.0); 2]);
        assert_eq!(
            scale(largest),
            vec![1.0 / libm::sqrtf(8.0); largest as usize]
        );
    }
}

#[test]
fn exaone4_rotates_sliding_layers_only_if_any_slide() {
    let graph = File::new("exaone4", 5).graph().expect("a graph");
    assert_eq!(
        (windows(&graph), ropes(&graph)),
        (vec![None; 5], vec![Some(0); 5])
    );

    let sliding = || File::new("exaone4", 5).with("attention.sliding_window", 6u32);
    let graph = sliding().graph().expect("a graph");
    assert_eq!(windows(&graph), [Some(6), Some(6), Some(6), None, Some(6)]);
    assert_eq!(ropes(&graph), [Some(0), Some(0), Some(0), None, Some(0)]);

    let pattern = vec![false, true, false, true, false];
    let graph = sliding()
        .with("attention.sliding_window_pattern", pattern)
        .graph()
        .expect("a graph");
    assert_eq!(windows(&graph), [None, Some(6), None, Some(6), None]);
    assert_eq!(ropes(&graph), [None, Some(0), None, Some(0), None]);
}

#[test]
fn layers_that_predict_further_tokens_are_left_out() {
    let said = || File::new("exaone4", 3).with("nextn_predict_layers", 1u32);
    let file = said().with_vector("blk.2.nextn.eh_proj.weight", &[0.0; 8]);
    assert_eq!(windows(&file.graph().expect("a graph")).len(), 2);
    // A converter may leave out the tensors of these layers.
    let file = File::new("exaone4", 2).with("block_count", 3u32);
    let file = file.with("nextn_predict_layers", 1u32);
    assert_eq!(windows(&file.graph().expect("a graph")).len(), 2);
    // A last layer without a `nextn` tensor is a plain layer, so the key must be wrong.
    assert_names_key(&said().error(), "exaone4.nextn_predict_layers");
    let elsewhere = said().with_vector("blk.1.nextn.eh_proj.weight", &[0.0; 8]);
    assert_names_key(&elsewhere.error(), "exaone4.nextn_predict_layers");
    assert_names_key(
        &File::new("exaone4", 3)
            .with("nextn_predict_layers", 3u32)
            .error(),
        "exaone4.nextn_predict_layers",
    );
}

#[test]
fn phi3_takes_its_matrices_out_of_fused_tensors() {
    let graph = File::new("phi3", 1).graph().expect("a graph");
    let parts = graph.nodes.iter().filter_map(|node| match node.op {
        Op::MatMul { weight, .. } => Some((weight.first_row, weight.rows)),
        _ => None,
    });
    let expected = [
        (0, 32),
        (32, 16),
        (48, 16),
        (0, 32),
        (0, 48),
        (48, 48),
        (0, 32),
        (0, 20),
    ];
    assert_eq!(parts.collect::<Vec<_>>(), expected);
    let biased = File::new("phi3", 1).with_vector("blk.0.attn_qkv.bias", &[0.0; 64]);
    assert!(
        matches!(biased.error(), Error::BadShape { name, .. } if name == "blk.0.attn_qkv.bias")
    );
}

#[test]
fn phi3_changes_its_frequencies_in_long_contexts() {
    let factors = || {
        let file = File::new("phi3", 1).with("rope.scaling.attn_factor", 1.5f32);
        let file = file.with("rope.scaling.original_context_length", 32u32);
        file.with_vector("rope_factors_short.weight", &[2.0; 4])
    };
    let graph = factors()
        .with_vector("rope_factors_long.weight", &[8.0; 4])
        .graph()
        .expect("a graph");
    let rope = &graph.ropes[0];
    assert_eq!(
        (
            rope.magnitude,
            rope.frequencies(32)[0],
            rope.frequencies(33)[0]
        ),
        (1.5, 0.5, 0.125)
    );
    assert_eq!(
        factors().error(),
        Error::MissingTensor {
            name: "rope_factors_long.weight".into()
        }
    );
    let none = File::new("phi3", 1).with("rope.scaling.type", "longrope");
    assert_eq!(
        none.error(),
        Error::MissingTensor {
            name: "rope_factors_short.weight".into()
        }
    );
}

#[test]
fn frequencies_are_divided_by_the_factors_of_the_file() {
    let second = |file: File| file.graph().expect("a graph").ropes[0].inverse_frequencies[1];
    assert_eq!(second(File::new("llama", 1)), 0.1);
    assert_eq!(
        second(File::new("llama", 1).with("rope.scaling.factor", 4f32)),
        0.025
    );
    assert_eq!(
        second(File::new("llama", 1).with("rope.scale_linear", 4f32)),
        0.025
    );
    let none = File::new("llama", 1).with("rope.scaling.factor", 4f32);
    assert_eq!(second(none.with("rope.scaling.type", "none")), 0.1);
    let factors = File::new("llama", 1).with_vector("rope_freqs.weight", &[1.0, 2.0, 4.0, 8.0]);
    assert_eq!(second(factors), 0.05);
}

#[test]
fn bad_frequency_factors_are_refused() {
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let file = File::new("llama", 1).with_vector("rope_freqs.weight", &[1.0, 1.0, bad, 1.0]);
        assert_names_key(&file.error(), "rope_freqs.weight");
    }
    let short = File::new("llama", 1).with_vector("rope_freqs.weight", &[1.0; 3]);
    assert!(matches!(short.error(), Error::BadShape { name, .. } if name == "rope_freqs.weight"));
}

#[test]
fn hyperparameters_may_differ_from_layer_to_layer() {
    let mut file = File::new("llama", 2).with("attention.head_count_kv", vec![2u32, 1]);
    assert!(matches!(file.error(), Error::BadShape { name, .. } if name == "blk.1.attn_k.weight"));
    for name in ["blk.1.attn_k.weight", "blk.1.attn_v.weight"] {
        file = file.without(name);
        file.zeros(name, &[WIDTH, 8]);
    }
    let graph = file.graph().unwrap();
    let attentions = graph.nodes.iter().filter_map(|node| match node.op {
        Op::Attention { attention, .. } => Some(attention.kv_heads),
        _ => None,
    });
    assert_eq!(attentions.collect::<Vec<_>>(), [2, 1]);
    for bad in [vec![2u32], vec![], vec![2, 3], vec![2, 0]] {
        let file = File::new("llama", 2).with("attention.head_count_kv", bad);
        assert_names_key(&file.error(), "llama.attention.head_count_kv");
    }
    // A number that the graph has once must be the same for all layers.
    let rope = File::new("llama", 2).with("rope.dimension_count", vec![8u32, 4]);
    assert_names_key(&rope.error(), "llama.rope.dimension_count");
    let texts = File::new("llama", 2).with("attention.head_count_kv", vec!["2", "2"]);
    assert_names_key(&texts.error(), "llama.attention.head_count_kv");
}

#[test]
fn absurd_hyperparameters_are_refused_by_name() {
    let huge = 1u32 << 21;
    for (key, value) in [
        ("block_count", 0u32.into()),
        ("block_count", 5000u32.into()),
        ("context_length", 0u32.into()),
        ("embedding_length", MetaValue::from(huge)),
        ("feed_forward_length", 0u32.into()),
        ("attention.head_count", 0u32.into()),
        ("attention.head_count", "four".into()),
        ("attention.head_count", (1u32 << 20).into()),
        ("attention.head_count_kv", 3u32.into()),
        ("attention.head_count_kv", (-2i32).into()),
        ("attention.key_length", 12u32.into()),
        ("attention.layer_norm_rms_epsilon", f32::NAN.into()),
        ("attention.layer_norm_rms_epsilon", 0f32.into()),
        ("attention.layer_norm_rms_epsilon", (-1f32).into()),
        ("attention.sliding_window", u32::MAX.into()),
        ("attention.sliding_window_pattern", vec![true, false].into()),
        ("attention.sliding_window_pattern", vec![1u32; 3].into()),
        ("attn_logit_softcapping", f32::INFINITY.into()),
        ("rope.dimension_count", 7u32.into()),
        ("rope.dimension_count", 10u32.into()),
        ("rope.freq_base", (-1f32).into()),
        ("rope.scaling.type", "dynamic".into()),
        ("rope.scaling.factor", f32::NAN.into()),
        ("expert_count", 8u32.into()),
    ] {
        let error = File::new("gemma2", 3).with(key, value).error();
        assert_names_key(&error, &format!("gemma2.{key}"));
    }
}

#[test]
fn missing_and_misshapen_tensors_are_refused_by_name() {
    for name in [
        "token_embd.weight",
        "output_norm.weight",
        "blk.1.attn_k.weight",
        "blk.0.ffn_down.weight",
    ] {
        let error = File::new("llama", 2).without(name).error();
        assert_eq!(error, Error::MissingTensor { name: name.into() });
    }
    let mut file = File::new("llama", 2).without("blk.1.attn_k.weight");
    file.zeros("blk.1.attn_k.weight", &[WIDTH, 17]);
    assert!(matches!(file.error(), Error::BadShape { name, .. } if name == "blk.1.attn_k.weight"));
}

#[test]
fn unknown_architectures_are_refused_by_name() {
    let mut writer = Writer::new();
    writer.set("general.architecture", "mamba");
    let bytes = writer.to_vec(&[]).expect("a file");
    match build(&Gguf::parse(&bytes).expect("a header")) {
        Err(Error::UnknownArchitecture { name, known }) => {
            assert_eq!(name, "mamba");
            assert!(known.starts_with(&ALL.join(", ")), "{known}");
            assert!(known.ends_with("exaone-moe"), "{known}");
        }
        other => panic!("expected an unknown architecture, found {other:?}"),
    }
}

/// A file with one more tensor, of this name.
fn with_tensor(architecture: &'static str, name: &str) -> File {
    File::new(architecture, 2).with_vector(name, &[0.0; 8])
}

#[test]
fn what_the_graph_does_not_use_is_refused_by_name() {
    for (architecture, name) in [
        ("llama", "blk.1.attn_q_norm.weight"),
        ("llama", "blk.0.post_attention_norm.weight"),
        ("llama", "blk.0.attn_norm.bias"),
        ("llama", "blk.0.attn_q.scale"),
        ("llama", "blk.0.attn_sinks.weight"),
        ("llama", "blk.0.attn_q.weight.lora_a"),
        ("llama", "output.bias"),
        ("llama", "position_embd.weight"),
        ("llama", "v.patch_embd.weight"),
        ("llama", "rope_factors_long.weight"),
        ("qwen2", "blk.2.attn_norm.weight"),
        ("qwen3", "cls.output.weight"),
        ("exaone4", "blk.1.attn_norm.weight"),
        ("gemma3", "mm.input_projection.weight"),
        ("phi3", "rope_freqs.bias"),
    ] {
        match with_tensor(architecture, name).error() {
            Error::UnusedTensors { names, .. } => assert_eq!(names, format!("`{name}`")),
            other => panic!("{architecture} with {name}: {other}"),
        }
    }
    let mut variant = File::new("llama", 1);
    for name in ["a", "b", "c", "d", "e"] {
        variant = variant.with_vector(name, &[0.0]);
    }
    let error = variant.error().to_string();
    assert!(error.contains("`a`, `b`, `c` and 2 more"), "{error}");
    let layers = File::new("llama", 4).with("block_count", 3u32);
    assert!(layers.error().to_string().contains("blk.3."));
}

#[test]
fn tensors_that_change_nothing_are_let_pass() {
    for name in ["blk.0.attn_rot_embd.inv_freq", crate::screen::WEIGHT] {
        assert!(with_tensor("llama", name).graph().is_ok(), "{name}");
    }
    let nextn = File::new("exaone4", 3).with("nextn_predict_layers", 1u32);
    let nextn = nextn.with_vector("blk.2.nextn.eh_proj.weight", &[0.0; 8]);
    assert!(nextn.graph().is_ok());
    let named = |kind: &str| File::new("llama", 1).with_key("general.type", kind);
    assert!(named("model").graph().is_ok());
    assert_names_key(&named("adapter").error(), "general.type");
}

#[test]
fn keys_that_change_the_numbers_are_refused_by_name() {
    let half = MetaValue::from(0.5f32);
    for (architecture, key, value) in [
        ("llama", "logit_scale", half.clone()),
        ("llama", "residual_scale", half.clone()),
        ("qwen3", "embedding_scale", half.clone()),
        ("llama", "attention.scale", half.clone()),
        ("llama", "attn_logit_softcapping", half.clone()),
        ("qwen2", "final_logit_softcapping", half.clone()),
        ("llama", "attention.clamp_kqv", half.clone()),
        ("gemma3", "attn_logit_softcapping", half.clone()),
        ("llama", "rope.scaling.attn_factor", half.clone()),
        ("llama", "rope.scaling.alpha", half),
        ("qwen2", "attention.causal", false.into()),
        ("llama", "use_parallel_residual", true.into()),
        ("llama", "attention.sliding_window", 63u32.into()),
        (
            "qwen3",
            "rope.dimension_sections",
            vec![1u32, 1, 2, 0].into(),
        ),
        ("llama", "hidden_activation", "gelu".into()),
    ] {
        let error = File::new(architecture, 1).with(key, value).error();
        assert_names_key(&error, &format!("{architecture}.{key}"));
    }
    let windows = || File::new("exaone4", 4).with("attention.sliding_window", 8u32);
    let other = windows().with("rope.freq_base", 2f32);
    let error = other.with("rope.freq_base_swa", 3f32).error();
    assert_names_key(&error, "exaone4.rope.freq_base_swa");
}

#[test]
fn keys_that_say_what_is_done_anyway_are_let_pass() {
    for (key, value) in [
        ("logit_scale", MetaValue::from(1f32)),
        ("residual_scale", 0f32.into()),
        ("attn_logit_softcapping", 0f32.into()),
        ("attention.causal", true.into()),
        ("attention.sliding_window", 0u32.into()),
        ("rope.dimension_sections", vec![0u32; 4].into()),
        ("rope.freq_base_swa", 3f32.into()),
        ("use_parallel_residual", false.into()),
        ("expert_count", 0u32.into()),
        ("vocab_size", (VOCABULARY as u32).into()),
        ("pooling_type", 3u32.into()),
        ("rope.scaling.finetuned", true.into()),
    ] {
        let graph = File::new("llama", 1).with(key, value).graph();
        assert!(graph.is_ok(), "{key}: {graph:?}");
    }
    // A window as long as the context.
    let file = File::new("qwen2", 1).with("attention.sliding_window", 64u32);
    assert!(file.graph().is_ok());
    let same = File::new("exaone4", 4).with("attention.sliding_window", 8u32);
    let same = same
        .with("rope.freq_base", 2f32)
        .with("rope.freq_base_swa", 2f32);
    assert!(same.graph().is_ok());
}

/// A file of heads of 64, scaled by YaRN from a context of 4096 with base 1e6.
fn yarn(architecture: &'static str) -> File {
    let file = File::with_heads(architecture, 1, 64).with("rope.freq_base", 1e6f32);
    let file = file.with("rope.scaling.type", "yarn");
    file.with("rope.scaling.original_context_length", 4096u32)
}

/// The frequencies and the magnitude of YaRN as the paper's formulas give them,
/// in plain floats: dims 64, base 1e6, context 4096.
fn yarn_by_hand(factor: f64, fast: f64, slow: f64) -> (Vec<f64>, f64) {
    use core::f64::consts::PI;
    // The pair `i` that turns this often in the context: 4096 = turns * 2 pi * 1e6^(2i/64).
    let pair = |turns: f64| 32.0 * (4096.0 / (2.0 * PI * turns)).ln() / 1e6f64.ln();
    let (low, high) = (pair(fast).floor().max(0.0), pair(slow).ceil().min(63.0));
    let frequencies = (0..32).map(|i| {
        let plain = 1e6f64.powf(-f64::from(i) / 32.0);
        let interpolated = match f64::from(i) {
            i if i <= low => 0.0,
            i if i >= high => 1.0,
            i => (i - low) / (high - low),
        };
        plain / factor * interpolated + plain * (1.0 - interpolated)
    });
    (frequencies.collect(), 0.1 * factor.ln() + 1.0)
}

#[test]
fn yarn_is_as_in_its_paper() {
    let qwen = || yarn("qwen2").with("rope.scaling.factor", 4f32);
    let betas = qwen().with("rope.scaling.yarn_beta_fast", 16f32);
    let betas = betas.with("rope.scaling.yarn_beta_slow", 2f32);
    let forty = yarn("llama").with("rope.scaling.factor", 40f32);
    for (file, (frequencies, magnitude)) in [
        (qwen(), yarn_by_hand(4.0, 32.0, 1.0)),
        (betas, yarn_by_hand(4.0, 16.0, 2.0)),
        (forty, yarn_by_hand(40.0, 32.0, 1.0)),
    ] {
        let rope = &file.graph().expect("a graph").ropes[0];
        for (found, wanted) in rope.inverse_frequencies.iter().zip(&frequencies) {
            assert!(
                (f64::from(*found) / wanted - 1.0).abs() < 1e-6,
                "{found} {wanted}"
            );
        }
        assert!((f64::from(rope.magnitude) - magnitude).abs() < 1e-6);
    }
    let frequencies = |file: File| {
        file.graph().expect("a graph").ropes[0]
            .inverse_frequencies
            .clone()
    };
    let extrapolated = |share: f32| qwen().with("rope.scaling.yarn_ext_factor", share);
    for unset in [-1.0, 1.0] {
        assert_eq!(frequencies(extrapolated(unset)), frequencies(qwen()));
    }
    let plain = File::with_heads("qwen2", 1, 64).with("rope.freq_base", 1e6f32);
    for (found, plain) in frequencies(extrapolated(0.0))
        .iter()
        .zip(frequencies(plain))
    {
        assert!((found / plain * 4.0 - 1.0).abs() < 1e-6, "{found} {plain}");
    }
    let given = qwen().with("rope.scaling.yarn_attn_factor", 1.25f32);
    assert_eq!(given.graph().expect("a graph").ropes[0].magnitude, 1.25);
}

/// Numbers of `_compute_yarn_parameters` in transformers 5.24.0 for Qwen2.5 with the
/// settings that its model card names.
#[test]
fn yarn_is_as_in_transformers() {
    let file = File::with_heads("qwen2", 1, 128).with("rope.freq_base", 1e6f32);
    let file = file.with("rope.scaling.type", "yarn");
    let file = file.with("rope.scaling.factor", 4f32);
    let file = file.with("rope.scaling.original_context_length", 32_768u32);
    let rope = &file.graph().expect("a graph").ropes[0];
    for (pair, wanted) in [
        (0, 1.0),
        (16, 0.031_622_776),
        (24, 0.005_375_321_5),
        (32, 0.000_602_941_2),
        (40, 4.445_698_5e-5),
        (48, 7.905_694e-6),
        (63, 3.102_344_4e-7),
    ] {
        let found = rope.inverse_frequencies[pair];
        assert!((found / wanted - 1.0).abs() < 1e-6, "pair {pair}: {found}");
    }
    assert!((rope.magnitude - 1.138_629_4).abs() < 1e-6);
}

#[test]
fn yarn_without_meaning_is_refused_by_name() {
    assert_names_key(&yarn("llama").error(), "llama.rope.scaling.factor");
    let zero = yarn("llama").with("rope.scaling.factor", 0f32).error();
    assert!(
        zero.to_string().contains("0 is not a positive number"),
        "{zero}"
    );
    for (key, value) in [
        ("rope.freq_base", 1f32),
        ("rope.scaling.factor", -2.0),
        ("rope.scaling.yarn_ext_factor", 1.5),
        ("rope.scaling.yarn_ext_factor", f32::NAN),
        ("rope.scaling.yarn_attn_factor", 0.0),
        ("rope.scaling.yarn_beta_slow", 0.0),
        ("rope.scaling.yarn_beta_fast", f32::NAN),
        ("rope.scaling.yarn_log_multiplier", 0.1),
    ] {
        let file = yarn("llama").with("rope.scaling.factor", 4f32);
        assert_names_key(&file.with(key, value).error(), &format!("llama.{key}"));
    }
}

const KEYS: [&str; 23] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attn_logit_softcapping",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.factor",
    "rope.scaling.type",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.dimension_sections",
    "nextn_predict_layers",
];

fn any_value() -> impl Strategy<Value = MetaValue> {
    let integers = prop_oneof![0..70u32, Just(1 << 20), any::<u32>()];
    prop_oneof![
        integers.prop_map(MetaValue::from),
        any::<f32>().prop_map(MetaValue::from),
        any::<u64>().prop_map(MetaValue::from),
        any::<i32>().prop_map(MetaValue::from),
        proptest::collection::vec(any::<bool>(), 0..4).prop_map(MetaValue::from),
        proptest::collection::vec(any::<u32>(), 0..4).prop_map(MetaValue::from),
        "[a-z]{0,8}|yarn".prop_map(MetaValue::from),
    ]
}

proptest! {
    /// Whatever the metadata says, there is a graph or an error: no panic.
    #[test]
    fn no_metadata_panics(
        architecture in prop::sample::select(&ALL),
        changes in proptest::collection::vec((prop::sample::select(&KEYS), any_value()), 1..4),
    ) {
        let mut file = File::new(architecture, 2);
        for (key, value) in changes {
            file = file.with(key, value);
        }
        let _ = file.graph();
    }
}

/// A layer's experts lie one after another in a tensor of three dimensions.
#[test]
fn a_tensor_of_three_dimensions_is_matrices() {
    let mut file = File::new("llama", 1);
    file.zeros("blk.0.ffn_up_exps.weight", &[WIDTH, HIDDEN, 3]);
    let bytes = file.bytes().unwrap();
    let gguf = Gguf::parse(&bytes).unwrap();
    let mut b = Builder::new(&gguf).unwrap();
    b.enter(Some(0));
    let (rows, cols) = (HIDDEN as usize, WIDTH as usize);
    let experts = b.matrices("ffn_up_exps", 3, rows, cols).unwrap();
    let places: Vec<_> = experts.iter().map(|w| (w.first_row, w.rows)).collect();
    assert_eq!(places, [(0, rows), (rows, rows), (2 * rows, rows)]);
    for (count, rows) in [(2, rows), (4, rows), (3, rows - 1), (1, 3 * rows)] {
        let wrong = b.matrices("ffn_up_exps", count, rows, cols);
        assert!(
            matches!(wrong, Err(Error::BadShape { .. })),
            "{count} of {rows}"
        );
    }
    // The tensor can't be read as one matrix.
    assert!(b.matrix("ffn_up_exps", 3 * rows, cols).is_err());
    assert!(b.matrices("ffn_up", 1, rows, cols).is_err());
}
