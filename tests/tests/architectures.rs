//! What the runtime computes for each architecture is what the oracle says: in
//! one chunk and in several, then token by token, at the exact level and the fast one.
//!
//! Errors are relative to the root mean square of the true logits. The oracle
//! rounds keys and values to f16 as the runtime's cache does, so the exact level
//! is left with the few of them that fall on the other side of a rounding.

use ondol::models::quant::DType;
use ondol::{CancelToken, Isa, Model, SessionOptions};
use ondol_tests::error;
use ondol_tests::oracle::{Cache, Oracle};
use ondol_tests::random_model::{ARCHITECTURES, RandomModel};
use ondol_tests::random_model::{further, further_variants, variants};

const CONTEXT: usize = 256;
/// Longer than every window, and no multiple of a chunk or of a kernel's tile.
const PROMPT: usize = 43;
const DECODED: usize = 9;

/// Root mean square error of the exact level.
const EXACT: f64 = 5e-4;
/// The same for dozens of layers with random weights, which amplify.
const EXACT_DEEP: f64 = 5e-3;
/// Root mean square error of 8-bit activations.
const FAST: f64 = 5e-2;

fn tokens() -> Vec<u32> {
    (0..(PROMPT + DECODED) as u32)
        .map(|i| (i * 7919 + 13) % 300)
        .collect()
}

/// The logits after each token: the prompt's in chunks, the rest by decode.
fn logits(model: &Model, level: Option<Isa>, prefill_chunk: usize) -> Vec<Vec<f32>> {
    let options = SessionOptions {
        threads: Some(1),
        kernels: level,
        context: Some(CONTEXT),
        prefill_chunk,
        ..SessionOptions::default()
    };
    let mut session = model.session(&options).expect("a session");
    let (tokens, cancel) = (tokens(), CancelToken::new());
    let (prompt, further) = tokens.split_at(PROMPT);
    let mut all = Vec::new();
    let scored = session.score(prompt, &cancel, |_, logits| all.push(logits.to_vec()));
    scored.expect("a prompt that fits");
    for token in further {
        all.push(session.decode(*token).expect("a token that fits").to_vec());
    }

    session.clear();
    let prefilled = session
        .prefill(prompt, &cancel)
        .expect("a prompt that fits");
    assert_eq!(prefilled, all[PROMPT - 1], "prefill and score differ");
    all
}

/// Each run is a level, a chunk of the prompt, and the error that is allowed.
fn check(name: &str, random: &RandomModel, runs: &[(Option<Isa>, usize, f64)]) {
    let file = random.to_bytes();
    let truth = Oracle::read(&file).logits(&tokens(), CONTEXT, Cache::F16);
    let model = Model::from_bytes(file).expect(name);
    for (level, chunk, bound) in runs {
        let error = error(&logits(&model, *level, *chunk), &truth);
        let run = format!("{name}, level {level:?}, chunks of {chunk}");
        assert!(error <= *bound, "{run}: {error:.1e} > {bound:.0e}");
    }
}

fn check_variants(architecture: &str) {
    for (name, random) in variants().into_iter().chain(further_variants()) {
        if random.architecture == architecture {
            let bound = if random.layers > 8 { EXACT_DEEP } else { EXACT };
            let exact = Some(Isa::Exact);
            check(name, &random, &[(exact, 64, bound), (exact, 7, bound)]);
        }
    }
}

#[test]
fn llama() {
    check_variants("llama");
}

#[test]
fn qwen2() {
    check_variants("qwen2");
}

#[test]
fn qwen3() {
    check_variants("qwen3");
}

#[test]
fn gemma2() {
    check_variants("gemma2");
}

#[test]
fn gemma3() {
    check_variants("gemma3");
}

#[test]
fn exaone() {
    check_variants("exaone");
}

#[test]
fn exaone4() {
    check_variants("exaone4");
}

#[test]
fn phi3() {
    check_variants("phi3");
}

fn check_further(first: &str, last: &str) {
    further(first, last)
        .iter()
        .for_each(|architecture| check_variants(architecture));
}

#[test]
fn further_dense() {
    check_further("gemma", "starcoder2");
}

#[test]
fn further_experts() {
    check_further("qwen3moe", "deepseek2");
}

#[test]
fn further_hybrids() {
    check_further("lfm2", "gemma3n");
}

#[test]
fn quantized() {
    for architecture in ARCHITECTURES {
        for dtype in [DType::Q4_0, DType::Q4_K] {
            let random = RandomModel::small(architecture).quantized(dtype);
            let runs = [
                (Some(Isa::Exact), 64, EXACT),
                (None, 64, FAST),
                (None, 7, FAST),
            ];
            check(&format!("{architecture} {dtype}"), &random, &runs);
        }
    }
}

/// Experts, a delta net and a state space with the kernels of quantized weights.
#[test]
fn quantized_further() {
    for architecture in ["qwen3moe", "qwen35", "granitehybrid"] {
        let random = RandomModel::small(architecture).quantized(DType::Q4_0);
        let runs = [
            (Some(Isa::Exact), 64, EXACT),
            (None, 64, FAST),
            (None, 7, FAST),
        ];
        check(&format!("{architecture} quantized"), &random, &runs);
    }
}
