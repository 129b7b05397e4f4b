//! Sliding windows: layers that look at the last positions keep no others, and nothing
//! else changes.

use ondol::{
    CancelToken, GenerateOptions, Isa, KvType, Model, SamplerOptions, Session, SessionOptions,
};
use ondol_tests::random_model::RandomModel;

const WINDOW: u32 = 64;

/// Six layers, of which five have a window.
fn model() -> Model {
    let model = RandomModel {
        layers: 6,
        ..RandomModel::small("gemma3")
    };
    let file = model.with("attention.sliding_window", WINDOW).to_bytes();
    Model::from_bytes(file).unwrap()
}

fn options(kv_type: KvType, chunk: usize, context: usize) -> SessionOptions {
    SessionOptions {
        threads: Some(2),
        context: Some(context),
        prefill_chunk: chunk,
        kv_type,
        ..SessionOptions::default()
    }
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| 3 + i * i * 7 % 290).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// A context of one pass keeps all positions; a longer one keeps rings. Every token's
/// logits are the same, before the window is full and after, around and around the ring.
#[test]
fn a_ring_of_positions_gives_the_same_logits() {
    let model = RandomModel::small("gemma3").quantized(ondol::models::quant::DType::Q8_0);
    let file = model.with("attention.sliding_window", WINDOW).to_bytes();
    let model = Model::from_bytes(file).unwrap();
    for kv_type in KvType::ALL {
        for level in Isa::ALL {
            let with = |chunk| SessionOptions {
                kernels: Some(level),
                ..options(kv_type, chunk, 600)
            };
            let (Ok(mut full), Ok(mut ring)) =
                (model.session(&with(600)), model.session(&with(20)))
            else {
                continue;
            };
            for (i, &token) in tokens(600).iter().enumerate() {
                let expected = bits(full.decode(token).unwrap());
                assert!(
                    bits(ring.decode(token).unwrap()) == expected,
                    "{level} {kv_type} {i}"
                );
            }
        }
    }
}

/// As much memory as the windows hold.
#[test]
fn windows_take_what_they_hold() {
    let model = model();
    let cache = |context| {
        let options = options(KvType::F16, 64, context);
        model.memory(&options).unwrap().kv_cache
    };
    let position = 2 * 2 * 16 * 2;
    // One layer has all positions. The others' rings have the window and a pass in whole
    // tiles, and their checkpoints a window and some more.
    let rings = 5 * position * (192 + 192);
    assert_eq!(cache(4096), position * 4096 + rings);
    assert_eq!(cache(32_768), position * 32_768 + rings);
}

fn answer(session: &mut Session, prompt: &[u32], count: usize) -> (Vec<u32>, usize) {
    let options = GenerateOptions {
        sampler: SamplerOptions::greedy(),
        max_tokens: Some(count),
        ..GenerateOptions::default()
    };
    let cancel = CancelToken::new();
    let mut generation = session.generate(prompt, &options, &cancel).unwrap();
    generation.by_ref().for_each(|piece| drop(piece.unwrap()));
    let stats = generation.stats();
    (
        generation.tokens().to_vec(),
        stats.prompt_tokens - stats.cached_tokens,
    )
}

/// A template that leaves 1,000 tokens of reasoning out costs the next turn its new
/// tokens alone, and the answer is that of a session that never had them.
#[test]
fn reasoning_that_is_left_out_costs_nothing() {
    let model = model();
    let first = tokens(200);
    let mut session = model.session(&options(KvType::F16, 64, 4096)).unwrap();
    let (_, run) = answer(&mut session, &first, 1000);
    assert_eq!(run, 200);
    assert!(session.tokens().len() >= 1100, "the model went on");
    let next: Vec<u32> = first.iter().copied().chain([9, 8, 7, 6, 5]).collect();
    let (found, run) = answer(&mut session, &next, 300);
    assert_eq!(run, 5);
    let mut fresh = model.session(&options(KvType::F16, 64, 4096)).unwrap();
    fresh.prefill(&first, &CancelToken::new()).unwrap();
    let (expected, _) = answer(&mut fresh, &next, 300);
    assert_eq!(found, expected);
}
