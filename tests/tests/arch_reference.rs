//! The runtime against the published implementation of each architecture.
//!
//! Without the files (`ondol_tests::published`) this is skipped, and said to be.

use ondol::{CancelToken, Isa, KvType, Model, Session, SessionOptions};
use ondol_tests::published;
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
        let max = logits.iter().copied().fold(f32::MIN, f32::max);
        let exps = logits.iter().map(|&x| f64::from(x - max).exp());
        let log_sum = exps.sum::<f64>().ln();
        for &(id, truth) in top {
            sum += (f64::from(logits[id] - max) - log_sum - truth).abs();
            count += 1;
        }
    }
    sum / f64::from(count)
}

#[test]
fn matches_the_published_implementations() {
    let Some(folder) = published::folder() else {
        return;
    };
    let mut failed = Vec::new();
    for name in MODELS {
        let path = folder.join(format!("{name}.gguf"));
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
