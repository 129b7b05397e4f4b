//! Models on a device: with the sample plug-in, over the whole path.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use ondol::delegate::{Offload, OffloadOptions, Store};
use ondol::models::quant::DType;
use ondol::models::template::Message;
use ondol::testing::Drafts;
use ondol::{CancelToken, Error, GenerateOptions, Isa, Model, SamplerOptions, SessionOptions};
use ondol_tests::error;
use ondol_tests::offloads::*;
use ondol_tests::random_model::{ARCHITECTURES, RandomModel, variants};
use ondol_tests::softnpu;

fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
    logits.iter().map(|&x| f64::from(x) - sum.ln()).collect()
}

/// Kullback-Leibler divergence of `got` from `truth`, on average over rows.
fn divergence(got: &[Vec<f32>], truth: &[Vec<f32>]) -> f64 {
    let of_row = |(got, truth): (&Vec<f32>, &Vec<f32>)| -> f64 {
        let pairs = log_probabilities(truth)
            .into_iter()
            .zip(log_probabilities(got));
        pairs.map(|(p, q)| p.exp() * (p - q)).sum()
    };
    got.iter().zip(truth).map(of_row).sum::<f64>() / truth.len() as f64
}

// ---- what the device computes ----

/// Models of a few layers.
fn shallow() -> impl Iterator<Item = (&'static str, Model)> {
    let models = variants().into_iter().filter(|(_, m)| m.layers <= 8);
    models.map(|(name, random)| (name, Model::from_bytes(random.to_bytes()).expect(name)))
}

#[test]
fn every_architecture_runs_on_the_device() {
    for (name, model) in shallow() {
        let exact = SessionOptions {
            kernels: Some(Isa::Exact),
            ..options(None)
        };
        let truth = scores(&mut model.session(&exact).unwrap(), 40);
        let offload = offload(&model, &small_programs());
        let report = offload.report();
        assert_eq!(report.work.prefill, 1.0, "{name}: {report:?}");
        assert!(report.refused.is_empty(), "{name}: {report:?}");

        let mut session = session(&model, Some(&offload));
        let error = error(&scores(&mut session, 40), &truth);
        assert!(error <= NEAR, "{name}: {error}");
        assert_all_on_device(&session, 1, 0);
    }
}

#[test]
fn weights_of_four_bits_are_handed_over_as_they_are() {
    for architecture in ARCHITECTURES {
        let random = RandomModel::small(architecture).quantized(DType::Q4_0);
        let model = Model::from_bytes(random.to_bytes()).unwrap();
        let truth = scores(&mut session(&model, None), 20);
        let offload = offload(&model, &small_programs());
        let [weights] = offload.report().weights.as_slice() else {
            panic!("{architecture}: several forms");
        };
        assert_eq!(weights.form.store, Store::I4, "{architecture}");
        assert_eq!(weights.worst_loss, 0.0, "{architecture}");
        let scored = scores(&mut session(&model, Some(&offload)), 20);
        assert!(error(&scored, &truth) <= NEAR, "{architecture}");
    }
}

/// Rows of 80 are no whole groups of 32.
#[test]
fn what_the_device_can_not_take_stays_on_the_cpu() {
    let random = RandomModel {
        hidden: 80,
        ..RandomModel::small("llama")
    };
    let model = Model::from_bytes(random.to_bytes()).unwrap();
    let truth = scores(&mut session(&model, None), 40);
    let offload = offload(&model, &small_programs());
    let report = offload.report();
    // The last layer's is for the last token alone, and no part of a span.
    let [refused] = report.refused.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!(refused.nodes, 2, "{report:?}");
    assert!(refused.reason.contains("80"), "{report:?}");
    assert!(
        report.work.prefill > 0.8 && report.work.prefill < 0.9,
        "{report:?}"
    );
    // What was refused was not handed over.
    let handed_over: usize = report.weights.iter().map(|weights| weights.count).sum();
    let matmuls: usize = report.spans.iter().map(|span| span.matmuls).sum();
    assert_eq!(handed_over, matmuls);

    let mut session = session(&model, Some(&offload));
    assert!(error(&scores(&mut session, 40), &truth) <= NEAR);
    assert_all_on_device(&session, 1, 0);
}

#[test]
fn hello_is_near_whatever_the_length_of_the_prompt() {
    let model = hello();
    let offload = offload(&model, &small_programs());
    for tokens in [1, 15, 16, 17, 33, 100] {
        let truth = scores(&mut session(&model, None), tokens);
        let mut session = session(&model, Some(&offload));
        let scored = scores(&mut session, tokens);
        let divergence = divergence(&scored, &truth);
        println!("{tokens}: {divergence:.1e} {:.1e}", error(&scored, &truth));
        assert!(divergence < 5e-3, "{tokens} tokens: {divergence}");
        assert_all_on_device(&session, u64::from(tokens).div_ceil(CHUNK as u64), 0);
    }
}

#[test]
fn hello_answers() {
    let model = hello();
    let offload = offload(&model, &all_passes());
    let mut session = session(&model, Some(&offload));
    let question = [Message::user("What is the capital of Japan?")];
    let prompt = model.encode_chat(&question).unwrap();
    let options = GenerateOptions {
        sampler: SamplerOptions::greedy(),
        max_tokens: Some(40),
        ..GenerateOptions::default()
    };
    let generation = session.generate(&prompt, &options, &CancelToken::new());
    let answer: String = generation
        .unwrap()
        .map(|piece| piece.unwrap().text)
        .collect();
    assert!(answer.contains("Tokyo"), "{answer}");
    let stats = stats(&session);
    assert!(stats.on_device() > 0);
    assert_eq!((stats.on_cpu(), stats.failures), (0, 0), "{stats:?}");
}

// ---- what must not change a bit ----

/// A row of the device's depends on that row alone, and the same kernels of the
/// CPU's run between spans, however many rows a program has.
#[test]
fn rows_of_programs_do_not_change_a_bit() {
    let model = hello();
    let device = softnpu::open();
    let with_rows = |rows| {
        let some = OffloadOptions {
            rows,
            ..small_programs()
        };
        let offload = try_offload(&model, &device, &some).unwrap();
        assert_eq!(offload.report().rows, rows.min(256));
        prefill(&mut session(&model, Some(&offload)), 100)
    };
    let expected = with_rows(1);
    for rows in [16, 64, 128, 256, 1000] {
        assert!(with_rows(rows) == expected, "{rows} rows");
    }
}

/// As on the CPU alone but for one thing: attention sums the keys of a token that
/// comes alone in another order.
#[test]
fn cuts_of_a_prompt_do_not_change_a_bit() {
    let model = hello();
    let offload = offload(&model, &small_programs());
    let in_chunks = |prefill_chunk| {
        let options = SessionOptions {
            prefill_chunk,
            ..options(Some(&offload))
        };
        prefill(&mut model.session(&options).unwrap(), 100)
    };
    let expected = in_chunks(100);
    for chunk in [2, 7, 16, 17, 32, 64, 98] {
        assert!(in_chunks(chunk) == expected, "chunks of {chunk}");
    }
    // One by one; and one at the end.
    for chunk in [1, 33, 99] {
        assert_near(&in_chunks(chunk), &expected);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let model = hello();
    let offload = offload(&model, &all_passes());
    let with_threads = |threads| {
        let options = SessionOptions {
            threads: Some(threads),
            ..options(Some(&offload))
        };
        let mut session = model.session(&options).unwrap();
        let mut all = vec![prefill(&mut session, 50)];
        all.extend((0..5).map(|token| bits(session.decode(40 + token).unwrap())));
        all
    };
    assert!(with_threads(1) == with_threads(2));
}

#[test]
fn sessions_of_an_offload_do_not_disturb_each_other() {
    let model = hello();
    let offload = offload(&model, &small_programs());
    let expected = prefill(&mut session(&model, Some(&offload)), 50);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut session = session(&model, Some(&offload));
                for _ in 0..5 {
                    assert!(prefill(&mut session, 50) == expected);
                }
            });
        }
    });
}

#[test]
fn score_and_prefill_agree() {
    let model = hello();
    let offload = offload(&model, &small_programs());
    for score_rows in [1, 5] {
        let options = SessionOptions {
            score_rows,
            ..options(Some(&offload))
        };
        let mut session = model.session(&options).unwrap();
        let scored = scores(&mut session, 40);
        assert_eq!(scored.len(), 40);
        assert!(bits(&scored[39]) == prefill(&mut session, 40));
    }
}

// ---- decode ----

#[test]
fn decode_runs_on_the_device() {
    for (name, model) in shallow() {
        let offload = offload(&model, &all_passes());
        let report = offload.report();
        assert_eq!(report.programs, 2 * report.spans.len(), "{name}");
        let decoded = |offload: Option<&Offload>| {
            let mut session = session(&model, offload);
            prefill(&mut session, 20);
            let decode = |token: u32| session.decode(40 + token).unwrap().to_vec();
            ((0..8).map(decode).collect::<Vec<_>>(), session)
        };
        let (truth, _) = decoded(None);
        let (got, session) = decoded(Some(&offload));
        let error = error(&got, &truth);
        assert!(error <= NEAR, "{name}: {error}");
        assert_all_on_device(&session, 1, 8);
    }
}

#[test]
fn decode_stays_on_the_cpu_unless_asked_for() {
    let model = hello();
    let offload = offload(&model, &small_programs());
    let mut session = session(&model, Some(&offload));
    prefill(&mut session, 20);
    for token in 0..3 {
        session.decode(token).unwrap();
    }
    assert_all_on_device(&session, 1, 0);
}

/// Of drafts, each is a row of its own on the device.
#[test]
fn drafts_do_not_change_a_bit() {
    for (name, model) in shallow() {
        let offload = offload(&model, &all_passes());
        let mut session = session(&model, Some(&offload));
        prefill(&mut session, 20);
        let tokens: Vec<u32> = (40..45).collect();
        let one_by_one: Vec<Vec<u32>> = tokens
            .iter()
            .map(|&token| bits(session.decode(token).unwrap()))
            .collect();
        session.rewind(20);
        let mut together = vec![bits(session.run_drafts(&tokens).unwrap())];
        together.extend(
            tokens[1..]
                .iter()
                .map(|&t| bits(session.accept_draft(t).unwrap())),
        );
        assert!(one_by_one == together, "{name}");
        // And the cache is the same.
        let next = bits(session.decode(50).unwrap());
        session.rewind(25);
        assert!(next == bits(session.decode(50).unwrap()), "{name}");
        assert_eq!(stats(&session).on_cpu(), 0);
    }
}

#[test]
fn guesses_do_not_change_the_text() {
    let model = hello();
    let offload = offload(&model, &all_passes());
    let prompt = model.encode_prompt("Hello! Hello! Hello!");
    let text = |drafts| {
        let options = SessionOptions {
            drafts,
            ..options(Some(&offload))
        };
        let mut session = model.session(&options).unwrap();
        let greedy = GenerateOptions {
            sampler: SamplerOptions::greedy(),
            max_tokens: Some(40),
            ..GenerateOptions::default()
        };
        let mut generation = session
            .generate(&prompt, &greedy, &CancelToken::new())
            .unwrap();
        generation.by_ref().for_each(|piece| drop(piece.unwrap()));
        generation.tokens().to_vec()
    };
    assert_eq!(text(0), text(7));
}

// ---- models and memory ----

#[test]
fn an_offload_is_for_one_model() {
    let (one, other) = (hello(), hello());
    let offload = offload(&one, &small_programs());
    let options = options(Some(&offload));
    assert!(matches!(other.session(&options), Err(Error::OtherModel)));
    assert!(matches!(other.memory(&options), Err(Error::OtherModel)));
    assert!(one.clone().session(&options).is_ok());
}

#[test]
fn memory_on_the_way_to_the_device_counts() {
    let model = hello();
    let offload = offload(&model, &small_programs());
    let with = model.memory(&options(Some(&offload))).unwrap();
    let without = model.memory(&options(None)).unwrap();
    assert_eq!(without.delegate, 0);
    assert!(with.delegate > 0);
    // The spans' places are among the steps.
    let mut expected = without;
    expected.delegate = with.delegate;
    expected.steps = with.steps;
    expected.total += with.delegate + with.steps - without.steps;
    assert_eq!(with, expected);

    let limited = |memory_limit| SessionOptions {
        memory_limit: Some(memory_limit),
        ..options(Some(&offload))
    };
    let refused = model.session(&limited(with.total - 1));
    assert!(matches!(refused, Err(Error::DoesNotFit { .. })));
    assert!(model.session(&limited(with.total)).is_ok());
}

#[test]
fn compiling_can_be_cancelled() {
    let cancel = CancelToken::new();
    let (model, device) = (hello(), softnpu::open());
    let mut heard = Vec::new();
    let stopped = Offload::new(&model, &device, &small_programs(), &cancel, |made, of| {
        heard.push((made, of));
        cancel.cancel();
    });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    let programs = offload(&model, &small_programs()).report().programs;
    assert_eq!(heard, [(0, programs)]);
}
