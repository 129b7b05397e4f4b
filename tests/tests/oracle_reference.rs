//! The oracle against the published implementation of each architecture: small files
//! with random weights, and what transformers says of them in f64.
//!
//! Models whose files are missing (`ondol_tests::published`) are skipped, and said to be.

use std::path::Path;

use ondol_tests::oracle::{Cache, Oracle};
use ondol_tests::published;
use ondol_tests::{error, log_probabilities};
use serde_json::Value;

/// Mean difference of ln p. The truth is written with six digits after the point, which
/// is 2.5e-7 on average. Files have epsilons, bases, and some weights that were computed
/// in f64 (`1 + w` of norms, `-exp(A)`), as f32.
const MEAN: f64 = 2e-6;
/// The largest difference of ln p: this, and of the largest that arithmetic in f32 makes
/// of the same file [`OF_F32`], since models amplify such roundings.
const LARGEST: f64 = 1e-5;
const OF_F32: f64 = 0.05;
/// Root mean square of the differences of logits, over that of the truth.
const LOGITS: f64 = 2e-6;

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

/// Differences of ln p after one token, at the ids that the truth lists.
fn differences<'a>(logits: &[f32], position: &'a Value) -> impl Iterator<Item = f64> + 'a {
    let got = log_probabilities(logits);
    array(&position["top"]).iter().map(move |pair| {
        let id = pair[0].as_u64().expect("an id") as usize;
        (got[id] - pair[1].as_f64().expect("ln p")).abs()
    })
}

/// The positions that have all logits, and the logits.
fn full(sequence: &Value) -> impl Iterator<Item = (usize, Vec<f32>)> {
    let all = sequence["full"].as_object().expect("logits by position");
    all.iter().map(|(position, logits)| {
        let logit = |logit: &Value| logit.as_f64().expect("a logit") as f32;
        let logits = array(logits).iter().map(logit).collect();
        (position.parse().expect("a position"), logits)
    })
}

/// What is wrong with the oracle's logits for one file.
fn check(name: &str, file: &Path) -> Option<String> {
    let read = |extension| {
        let path = file.with_extension(extension);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let oracle = Oracle::read(&read("gguf"));
    let truth: Value = serde_json::from_slice(&read("json")).expect("JSON");
    let (mut all, mut logits_error) = (Vec::new(), 0f64);
    for sequence in array(&truth["sequences"]) {
        let id = |id: &Value| id.as_u64().expect("an id") as u32;
        let ids: Vec<u32> = array(&sequence["ids"]).iter().map(id).collect();
        let logits = oracle.logits(&ids, ids.len(), Cache::Full);
        for (logits, position) in logits.iter().zip(array(&sequence["positions"])) {
            all.extend(differences(logits, position));
        }
        let (positions, full): (Vec<usize>, Vec<_>) = full(sequence).unzip();
        let got: Vec<_> = positions.iter().map(|at| logits[*at].clone()).collect();
        logits_error = logits_error.max(error(&got, &full));
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let largest = all.iter().copied().fold(0.0, f64::max);
    let figures =
        format!("{name}: ln p mean {mean:.1e}, max {largest:.1e}, logits {logits_error:.1e}");
    println!("{figures}");
    let f32_error = truth["f32_vs_f64_max_abs_dlnp"].as_f64();
    let bound = LARGEST + OF_F32 * f32_error.expect("a difference");
    let close = mean <= MEAN && largest <= bound && logits_error <= LOGITS;
    (!close).then_some(figures)
}

fn check_all(names: &[&str]) {
    let models = published::models(names).into_iter();
    let wrong: Vec<String> = models
        .filter_map(|(name, file)| check(name, &file))
        .collect();
    assert!(wrong.is_empty(), "too far: {wrong:#?}");
}

#[test]
fn dense() {
    check_all(&[
        "gemma",
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
    ]);
}

#[test]
fn experts() {
    check_all(&[
        "qwen3moe",
        "olmoe",
        "granitemoe",
        "gpt-oss",
        "gpt-oss-mxfp4",
        "exaone-moe",
        "deepseek2-v2",
        "deepseek2-v3",
    ]);
}

#[test]
fn hybrid() {
    check_all(&[
        "lfm2",
        "lfm2moe",
        "qwen35",
        "qwen35moe",
        "mamba2",
        "granitehybrid-dense",
        "granitehybrid-moe",
        "falcon-h1",
    ]);
}

#[test]
fn gemma() {
    check_all(&["gemma4", "gemma4moe", "gemma3n"]);
}
