//! The runtime against the published implementation of each architecture.
//!
//! Models whose files are missing (`ondol_tests::published`) are skipped, and said to be.

use ondol::{CancelToken, Isa, KvType, Model, Session, SessionOptions};
use ondol_kernels::Kernels;
use ondol_models::quant::Mix;
use ondol_tests::log_probabilities;
use ondol_tests::published;
use ondol_tests::quantizing::quantized;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The models of the folder that have to match.
const MODELS: [&str; 33] = [
    "gemma",
    "gemma4",
    "gemma4moe",
    "gpt-oss",
    "gpt-oss-mxfp4",
    "gemma3n",
    "deepseek2-v2",
    "deepseek2-v3",
    "granite",
    "granite4-dense",
    "minicpm",
    "smollm3",
    "olmo2",
    "olmo3",
    "mistral3",
    "hunyuan-dense",
    "glm4",
    "cohere2",
    "phi2",
    "stablelm",
    "starcoder2",
    "mamba2",
    "falcon-h1",
    "granitehybrid-dense",
    "granitehybrid-moe",
    "lfm2",
    "lfm2moe",
    "qwen35",
    "qwen35moe",
    "qwen3moe",
    "olmoe",
    "granitemoe",
    "exaone-moe",
];

/// The bound of the mean difference of `ln p` at the exact level with a cache in f32.
const EXACT: f64 = 1e-4;

/// The bounds of the mean difference of `ln p` between the fast level and the exact one on
/// the file in Q8_0, in prefill and in decode. Measured: at most 0.43 and 8.2e-3
/// (`benches/NOTES.md`). Weights are random, so that scores of experts are often nearly
/// equal; there a rounding chooses another expert.
const FAST: [f64; 2] = [0.6, 2e-2];

/// A sequence of tokens, and the likeliest tokens after each: `(id, ln p)`.
struct Truth {
    ids: Vec<u32>,
    top: Vec<Vec<(usize, f64)>>,
}

fn truths(path: &Path) -> Vec<Truth> {
    let text = fs::read_to_string(path).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let numbers = |list: &Value| -> Vec<u32> {
        let list = list.as_array().unwrap().iter();
        list.map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let pair = |pair: &Value| {
        (
            pair[0].as_u64().unwrap() as usize,
            pair[1].as_f64().unwrap(),
        )
    };
    let top = |position: &Value| -> Vec<(usize, f64)> {
        position["top"]
            .as_array()
            .unwrap()
            .iter()
            .map(pair)
            .collect()
    };
    let sequences = json["sequences"].as_array().unwrap().iter();
    sequences
        .map(|sequence| Truth {
            ids: numbers(&sequence["ids"]),
            top: sequence["positions"]
                .as_array()
                .unwrap()
                .iter()
                .map(top)
                .collect(),
        })
        .collect()
}

fn session(model: &Model, isa: Isa, prefill_chunk: usize, threads: usize) -> Session {
    let options = SessionOptions {
        threads: Some(threads),
        kernels: Some(isa),
        context: Some(128),
        kv_type: KvType::F32,
        prefill_chunk,
        ..SessionOptions::default()
    };
    model.session(&options).unwrap()
}

/// The logits after each token, computed in passes of at most a chunk.
fn scored(session: &mut Session, ids: &[u32]) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    session.clear();
    let cancel = CancelToken::new();
    let scored = session.score(ids, &cancel, |_, logits| all.push(logits.to_vec()));
    scored.unwrap();
    all
}

/// The logits after each token, computed one at a time.
fn decoded(session: &mut Session, ids: &[u32]) -> Vec<Vec<f32>> {
    session.clear();
    let decode = |&id: &u32| session.decode(id).unwrap().to_vec();
    ids.iter().map(decode).collect()
}

/// The mean difference of `ln p` over the listed tokens.
fn difference(logits: &[Vec<f32>], truth: &Truth) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for (logits, top) in logits.iter().zip(&truth.top) {
        let found = log_probabilities(logits);
        for &(id, truth) in top {
            sum += (found[id] - truth).abs();
            count += 1;
        }
    }
    sum / f64::from(count)
}

#[test]
fn matches_the_published_implementations() {
    let mut failed = Vec::new();
    for (name, path) in published::models(&MODELS) {
        let model = match Model::open(&path) {
            Ok(model) => model,
            Err(error) => {
                failed.push(format!("{name}: {error}"));
                continue;
            }
        };
        for (which, truth) in truths(&path.with_extension("json")).iter().enumerate() {
            for (how, chunk, threads) in [("one pass", 64, 1), ("chunks", 7, 2), ("decode", 64, 1)]
            {
                let mut session = session(&model, Isa::Exact, chunk, threads);
                let logits = match how {
                    "decode" => decoded(&mut session, &truth.ids),
                    _ => scored(&mut session, &truth.ids),
                };
                let difference = difference(&logits, truth);
                println!("{name} {which} {how}: {difference:.1e}");
                if difference.is_nan() || difference >= EXACT {
                    failed.push(format!("{name} {which} {how}: {difference:.1e}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The fast kernels on quantized weights, against the exact level on the same ones.
#[test]
fn fast_levels_are_near_the_exact_one() {
    let mut failed = Vec::new();
    for (name, path) in published::models(&MODELS) {
        let file = quantized(&fs::read(&path).unwrap(), Mix::Q8_0);
        let model = Model::from_bytes(file).unwrap();
        for truth in truths(&path.with_extension("json")) {
            let exact = scored(&mut session(&model, Isa::Exact, 64, 1), &truth.ids);
            let exact = Truth {
                top: exact.iter().map(|logits| likeliest(logits)).collect(),
                ids: truth.ids,
            };
            for isa in [Isa::Scalar, Kernels::detect().isa()] {
                let mut session = session(&model, isa, 64, 1);
                let prefill = difference(&scored(&mut session, &exact.ids), &exact);
                let decode = difference(&decoded(&mut session, &exact.ids), &exact);
                println!("{name} Q8_0 {isa}: {prefill:.1e} in prefill, {decode:.1e} in decode");
                if !(prefill < FAST[0] && decode < FAST[1]) {
                    failed.push(format!("{name} {isa}: {prefill:.1e}, {decode:.1e}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The ten likeliest tokens and their `ln p`.
fn likeliest(logits: &[f32]) -> Vec<(usize, f64)> {
    let mut all: Vec<_> = log_probabilities(logits).into_iter().enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(10);
    all
}
