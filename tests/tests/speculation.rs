//! Speculation changes no bit: a token's logits are the same decoded alone and
//! beside others, for every architecture, format and kernel level; so whoever
//! samples from them gets the same tokens.

use ondol::generate::{Sampler, SamplerOptions};
use ondol::models::quant::DType;
use ondol::testing::Drafts;
use ondol::{CancelToken, Isa, Model, Session, SessionOptions};
use ondol_tests::packing::packed;
use ondol_tests::random_model::{ARCHITECTURES, RandomModel, variants};

/// Most tokens of a pass.
const PASS: usize = 9;

/// Tokens before a pass: the pass lies before the ends of attention's tiles and
/// runs of keys, and across them.
const STARTS: [usize; 3] = [3, 60, 250];

/// Tokens of context.
const CONTEXT: usize = 270;

fn options(level: Isa, threads: usize) -> SessionOptions {
    SessionOptions {
        threads: Some(threads),
        kernels: Some(level),
        context: Some(CONTEXT),
        drafts: PASS - 1,
        ..SessionOptions::default()
    }
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// Logits after each of `tokens`, decoded one by one.
fn alone(session: &mut Session, tokens: &[u32]) -> Vec<Vec<u32>> {
    let decode = |&token| bits(session.decode(token).unwrap());
    tokens.iter().map(decode).collect()
}

/// The same, decoded together.
fn together(session: &mut Session, tokens: &[u32]) -> Vec<Vec<u32>> {
    let mut all = vec![bits(session.run_drafts(tokens).unwrap())];
    all.extend(
        tokens[1..]
            .iter()
            .map(|&t| bits(session.accept_draft(t).unwrap())),
    );
    all
}

#[track_caller]
fn check(file: Vec<u8>, name: &str, starts: &[usize]) {
    let model = Model::from_bytes(file).unwrap();
    let vocabulary = model.graph().vocabulary as u32;
    let tokens: Vec<u32> = (0..CONTEXT as u32)
        .map(|i| (3 + i * i * 11) % vocabulary)
        .collect();
    for level in Isa::ALL {
        let Ok(mut one) = model.session(&options(level, 1)) else {
            continue;
        };
        let mut many = model.session(&options(level, 2)).unwrap();
        for &start in starts {
            let cancel = CancelToken::new();
            for session in [&mut one, &mut many] {
                let new = session.tokens().len()..start;
                session.prefill(&tokens[new], &cancel).unwrap();
            }
            let tokens = &tokens[start..][..PASS + 1];
            let truth = alone(&mut one, tokens);
            one.rewind(start);
            // Drafts that are not accepted leave no trace.
            let wrong: Vec<u32> = tokens.iter().rev().copied().collect();
            many.run_drafts(&wrong).unwrap();
            many.rewind(start);
            for pass in 1..=PASS {
                let case = format!("{name}, level {level}, {pass} tokens at {start}");
                let got = together(&mut many, &tokens[..pass]);
                assert!(got == truth[..pass], "{case}");
                // And the cache is the same, to the bit.
                let next = bits(many.decode(tokens[pass]).unwrap());
                assert!(next == truth[pass], "{case}, the next one");
                many.rewind(start);
            }
        }
    }
}

#[test]
fn every_variant() {
    for (name, model) in variants() {
        let deep = model.layers > 8;
        let starts = if deep { &STARTS[..1] } else { &STARTS };
        check(model.to_bytes(), name, starts);
    }
}

#[test]
fn every_architecture_packed() {
    for architecture in ARCHITECTURES {
        let model = RandomModel::small(architecture).quantized(DType::Q4_0);
        check(packed(&model.to_bytes()), architecture, &STARTS[..1]);
    }
}

/// Rows of 1280 columns are summed in several parts.
#[test]
fn every_format() {
    for dtype in DType::all() {
        let mut model = RandomModel::small("llama").quantized(dtype);
        (model.layers, model.hidden) = (1, 1280);
        let file = model.to_bytes();
        if ondol::models::quant::packed::can_pack(dtype) {
            check(packed(&file), &format!("{dtype}, packed"), &STARTS[..1]);
        }
        check(file, dtype.name(), &STARTS[..1]);
    }
}

#[test]
fn hello() {
    check(Model::hello_bytes().to_vec(), "hello", &STARTS);
}

/// Tokens that a sampler chooses, each decoded with drafts of which `right`
/// come true, where `truth` is known.
fn sampled(model: &Model, sampling: &SamplerOptions, truth: &[u32], right: usize) -> Vec<u32> {
    let mut session = model.session(&options(Isa::Scalar, 2)).unwrap();
    let vocabulary = model.graph().vocabulary;
    let mut sampler = Sampler::new(sampling, vocabulary).unwrap();
    session.prefill(&[1, 2, 3], &CancelToken::new()).unwrap();
    let mut chosen = Vec::new();
    while chosen.len() < 40 {
        let token = sampler.sample(session.last_logits(), &mut []).unwrap();
        sampler.accept(token);
        chosen.push(token);
        if session.accept_draft(token).is_none() {
            let known = truth.iter().skip(chosen.len()).take(right).copied();
            let wrong = core::iter::once((token + 1) % vocabulary as u32);
            let pass: Vec<u32> = [token].into_iter().chain(known).chain(wrong).collect();
            session.run_drafts(&pass).unwrap();
        }
    }
    chosen
}

#[test]
fn samplers_choose_the_same_tokens() {
    let penalties = SamplerOptions {
        temperature: 1.2,
        repetition_penalty: 1.3,
        frequency_penalty: 0.2,
        seed: 5,
        ..SamplerOptions::default()
    };
    for (name, model) in variants() {
        let model = Model::from_bytes(model.to_bytes()).unwrap();
        for sampling in [SamplerOptions::greedy(), penalties.clone()] {
            let truth = sampled(&model, &sampling, &[], 0);
            for right in [1, 2, 7, 20] {
                let got = sampled(&model, &sampling, &truth, right);
                assert_eq!(got, truth, "{name}, {right} right drafts");
            }
        }
    }
}

#[test]
fn what_is_no_draft_is_not_accepted() {
    let model = Model::hello().unwrap();
    let mut session = model.session(&options(Isa::Scalar, 1)).unwrap();
    assert!(session.accept_draft(5).is_none());
    session.run_drafts(&[4, 5, 6]).unwrap();
    assert!(session.accept_draft(6).is_none());
    assert!(session.accept_draft(5).is_some());
    assert_eq!(session.tokens(), [4, 5]);
    session.rewind(1);
    assert!(session.accept_draft(6).is_none());
    session.run_drafts(&[4, 5, 6]).unwrap();
    session.prefill(&[7], &CancelToken::new()).unwrap();
    assert!(session.accept_draft(5).is_none());
    assert_eq!(session.tokens(), [4, 4, 7]);
    // No more drafts than there is room for.
    let long: Vec<u32> = (10..30).collect();
    session.run_drafts(&long).unwrap();
    let accepted = long[1..]
        .iter()
        .take_while(|&&t| session.accept_draft(t).is_some());
    assert_eq!(accepted.count(), PASS - 1);
    assert!(session.run_drafts(&[1; 300]).is_err());
    assert!(session.run_drafts(&[1, u32::MAX]).is_err());
}
