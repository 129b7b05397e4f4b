//! Models on a device: with the sample plug-in, over the whole path. Whatever the
//! device does, the answer is the model's.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use ondol::delegate::{Code, Delegate, Offload, OffloadOptions, OffloadStats, Stage, Store};
use ondol::models::quant::DType;
use ondol::models::template::Message;
use ondol::testing::Drafts;
use ondol::{
    CancelToken, Error, GenerateOptions, Isa, Model, SamplerOptions, Session, SessionOptions,
};
use ondol_tests::error;
use ondol_tests::random_model::{ARCHITECTURES, RandomModel, variants};
use ondol_tests::softnpu;
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Tokens of one prefill pass: more than a program of 16 rows takes.
const CHUNK: usize = 64;

/// Root mean square error that 8-bit weights and activations add to logits.
const NEAR: f64 = 0.1;

/// Long beside a test, for those that do not wait for it.
const LONG: Duration = Duration::from_secs(60);

/// Short beside a test, long beside a job.
const SHORT: Duration = Duration::from_millis(300);

/// What a loaded machine may take longer than its share.
const SLACK: Duration = Duration::from_secs(5);

fn hello() -> Model {
    Model::hello().unwrap()
}

fn small_programs() -> OffloadOptions {
    OffloadOptions {
        rows: 16,
        deadline: LONG,
        ..OffloadOptions::default()
    }
}

/// Decode runs on the device too.
fn all_passes() -> OffloadOptions {
    OffloadOptions {
        decode: true,
        ..small_programs()
    }
}

fn try_offload(
    model: &Model,
    device: &Delegate,
    options: &OffloadOptions,
) -> Result<Offload, Error> {
    Offload::new(model, device, options, &CancelToken::new(), |_, _| ())
}

fn offload(model: &Model, options: &OffloadOptions) -> Offload {
    try_offload(model, &softnpu::open(), options).unwrap()
}

fn options(offload: Option<&Offload>) -> SessionOptions {
    SessionOptions {
        threads: Some(2),
        context: Some(256),
        prefill_chunk: CHUNK,
        offload: offload.cloned(),
        ..SessionOptions::default()
    }
}

fn session(model: &Model, offload: Option<&Offload>) -> Session {
    model.session(&options(offload)).unwrap()
}

fn prompt(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|i| (i * 7919 + 13) % 300).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// Bits of the logits after a prompt, from an empty cache.
fn try_prefill(session: &mut Session, tokens: u32) -> Result<Vec<u32>, Error> {
    session.clear();
    session
        .prefill(&prompt(tokens), &CancelToken::new())
        .map(bits)
}

fn prefill(session: &mut Session, tokens: u32) -> Vec<u32> {
    try_prefill(session, tokens).unwrap()
}

/// Logits after each token of a prompt.
fn scores(session: &mut Session, tokens: u32) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    let cancel = CancelToken::new();
    session.clear();
    let scored = session.score(&prompt(tokens), &cancel, |_, row| all.push(row.to_vec()));
    scored.unwrap();
    all
}

fn floats(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|&x| f32::from_bits(x)).collect()
}

/// Not a number is near nothing.
#[track_caller]
fn assert_near(got: &[u32], truth: &[u32]) {
    let error = error(&[floats(got)], &[floats(truth)]);
    assert!(error <= NEAR, "{error}");
}

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

fn stats(session: &Session) -> OffloadStats {
    session.engine().offload_stats().unwrap().clone()
}

fn spans(session: &Session) -> u64 {
    session.engine().offload().unwrap().report().spans.len() as u64
}

/// All spans of so many passes ran on the device, and audits found nothing.
#[track_caller]
fn assert_all_on_device(session: &Session, passes: u64) {
    let stats = stats(session);
    assert_eq!(stats.on_device, spans(session) * passes, "{stats:?}");
    assert_eq!((stats.on_cpu, stats.failures), (0, 0), "{stats:?}");
    // The first call of each span, and then each sixteenth.
    assert_eq!(stats.audits, spans(session) * passes.div_ceil(16));
    assert!(
        stats.worst_audit > 0.0 && stats.worst_audit < 2e-3,
        "{stats:?}"
    );
    assert!(stats.time > Duration::ZERO);
    assert!(stats.last_failure.is_none() && !stats.given_up);
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
        assert_eq!(report.share, 1.0, "{name}: {report:?}");
        assert!(report.refused.is_empty(), "{name}: {report:?}");

        let mut session = session(&model, Some(&offload));
        let error = error(&scores(&mut session, 40), &truth);
        assert!(error <= NEAR, "{name}: {error}");
        assert_all_on_device(&session, 1);
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
    assert!(report.share > 0.8 && report.share < 0.9, "{report:?}");
    // What was refused was not handed over.
    let handed_over: usize = report.weights.iter().map(|weights| weights.count).sum();
    let matmuls: usize = report.spans.iter().map(|span| span.matmuls).sum();
    assert_eq!(handed_over, matmuls);

    let mut session = session(&model, Some(&offload));
    assert!(error(&scores(&mut session, 40), &truth) <= NEAR);
    assert_all_on_device(&session, 1);
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
        assert_all_on_device(&session, u64::from(tokens).div_ceil(CHUNK as u64));
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
    assert!(stats.on_device > 0);
    assert_eq!((stats.on_cpu, stats.failures), (0, 0), "{stats:?}");
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
        assert_all_on_device(&session, 9);
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
    assert_all_on_device(&session, 1);
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
        assert_eq!(stats(&session).on_cpu, 0);
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

// ---- what goes wrong ----

/// A session that prefills 100 tokens while a fault strikes its third job; what
/// came of it, and after how long.
fn with_fault(
    model: &Model,
    fault: &CStr,
    options: &OffloadOptions,
) -> (Session, Result<Vec<u32>, Error>, Duration) {
    let device = softnpu::open();
    let offload = try_offload(model, &device, options).unwrap();
    let mut session = session(model, Some(&offload));
    device.inject(fault, 2).unwrap();
    let began = Instant::now();
    let logits = try_prefill(&mut session, 100);
    (session, logits, began.elapsed())
}

/// One job per span and pass.
fn whole_passes() -> OffloadOptions {
    OffloadOptions {
        rows: 64,
        ..small_programs()
    }
}

/// Whatever struck, the CPU did what the device did not, and it was counted.
#[track_caller]
fn assert_cpu_took_over(
    fault: &CStr,
    options: &OffloadOptions,
    (stage, code): (Stage, Code),
    failures: u64,
) -> (Session, Duration) {
    let model = hello();
    let (session, logits, time) = with_fault(&model, fault, options);
    assert_near(
        &logits.unwrap(),
        &prefill(&mut self::session(&model, None), 100),
    );
    let stats = stats(&session);
    let last = stats.last_failure.clone().unwrap();
    assert_eq!((last.stage, last.code), (stage, code), "{last}");
    assert_eq!(stats.failures, failures, "{stats:?}");
    assert_eq!(
        stats.on_device + stats.on_cpu,
        2 * spans(&session),
        "{stats:?}"
    );
    assert!(stats.on_device >= 2, "{stats:?}");
    (session, time)
}

/// The device is used again, and alone.
#[track_caller]
fn assert_used_again(mut session: Session, failed: u64) {
    let before = stats(&session);
    assert!(!before.given_up);
    assert_eq!(before.on_cpu, failed, "{before:?}");
    let again = prefill(&mut session, 100);
    let after = stats(&session);
    assert_eq!(after.on_device - before.on_device, 2 * spans(&session));
    assert_eq!(after.failures, before.failures);
    let model = hello();
    let offload = offload(&model, &whole_passes());
    assert!(again == prefill(&mut self::session(&model, Some(&offload)), 100));
}

#[track_caller]
fn assert_given_up(mut session: Session) {
    let before = stats(&session);
    assert!(before.given_up);
    assert_eq!(before.on_device, 2, "{before:?}");
    let again = prefill(&mut session, 100);
    assert_eq!(stats(&session).on_device, 2);
    assert!(again == prefill(&mut self::session(&hello(), None), 100));
}

#[test]
fn a_busy_device_is_asked_again() {
    let told = (Stage::Submit, Code::Busy);
    let (session, _) = assert_cpu_took_over(c"busy", &whole_passes(), told, 1);
    assert_used_again(session, 1);
}

#[test]
fn a_hot_device_is_asked_again() {
    let told = (Stage::Submit, Code::Thermal);
    let (session, _) = assert_cpu_took_over(c"throttle", &whole_passes(), told, 3);
    assert_used_again(session, 3);
}

#[test]
fn a_lost_device_is_given_up() {
    let told = (Stage::Wait, Code::DeviceLost);
    let (session, _) = assert_cpu_took_over(c"device-lost", &whole_passes(), told, 1);
    assert!(stats(&session).last_failure.unwrap().needs_reset);
    assert_given_up(session);
}

#[test]
fn a_device_that_gives_back_no_numbers_is_given_up() {
    let told = (Stage::Output, Code::Corrupt);
    let (session, _) = assert_cpu_took_over(c"nan", &whole_passes(), told, 1);
    assert_given_up(session);
}

fn short_deadline() -> OffloadOptions {
    OffloadOptions {
        deadline: SHORT,
        ..whole_passes()
    }
}

/// Both end when they are cancelled, at the deadline.
#[test]
fn a_device_that_is_late_is_not_waited_for() {
    for fault in [c"hang", c"late"] {
        let told = (Stage::Wait, Code::Timeout);
        let (session, time) = assert_cpu_took_over(fault, &short_deadline(), told, 1);
        assert!(time >= SHORT && time < SHORT + SLACK, "{time:?}");
        assert_used_again(session, 1);
    }
}

#[test]
fn a_device_that_hangs_for_ever_is_left_alone() {
    let told = (Stage::Wait, Code::Timeout);
    let (session, time) = assert_cpu_took_over(c"hang-hard", &short_deadline(), told, 1);
    assert!(time >= SHORT && time < SHORT + SLACK, "{time:?}");
    let stats = stats(&session);
    assert_eq!(stats.on_device, 2, "{stats:?}");
    let began = Instant::now();
    drop(session);
    assert!(began.elapsed() < SHORT, "{:?}", began.elapsed());
}

/// In programs of one row every call has a row that is wrong, so the first audit
/// finds it.
#[test]
fn wrong_numbers_are_found_by_the_audit() {
    let model = hello();
    let device = softnpu::open();
    let single_rows = OffloadOptions {
        rows: 1,
        ..small_programs()
    };
    let offload = try_offload(&model, &device, &single_rows).unwrap();
    let mut session = session(&model, Some(&offload));
    device.inject(c"silent-corruption", 0).unwrap();
    let logits = prefill(&mut session, 40);
    assert!(logits == prefill(&mut self::session(&model, None), 40));
    let stats = stats(&session);
    assert!(stats.given_up);
    assert_eq!((stats.on_device, stats.audits, stats.failures), (0, 1, 1));
    assert!(stats.worst_audit > 2e-2, "{stats:?}");
    let last = stats.last_failure.unwrap();
    assert_eq!((last.stage, last.code), (Stage::Output, Code::Corrupt));
}

/// Later audits find what begins later.
#[test]
fn a_device_that_goes_bad_is_found_within_sixteen_calls() {
    let model = hello();
    let device = softnpu::open();
    let single_rows = OffloadOptions {
        rows: 1,
        ..small_programs()
    };
    let offload = try_offload(&model, &device, &single_rows).unwrap();
    let mut session = session(&model, Some(&offload));
    prefill(&mut session, 10);
    device.inject(c"silent-corruption", 0).unwrap();
    let passes = (1..=16).find(|_| {
        prefill(&mut session, 10);
        stats(&session).given_up
    });
    assert_eq!(passes, Some(16));
}

#[test]
fn a_device_without_memory_leaves_the_session_to_the_cpu() {
    let model = hello();
    let device = softnpu::open();
    let offload = try_offload(&model, &device, &whole_passes()).unwrap();
    device.inject(c"no-memory", 0).unwrap();
    let mut session = session(&model, Some(&offload));
    assert!(prefill(&mut session, 40) == prefill(&mut self::session(&model, None), 40));
    let stats = stats(&session);
    assert!(stats.given_up);
    assert_eq!((stats.on_device, stats.on_cpu), (0, spans(&session)));
    let last = stats.last_failure.unwrap();
    assert_eq!((last.stage, last.code), (Stage::Session, Code::NoMemory));
}

fn told(result: Result<impl Sized, Error>) -> (Stage, Code) {
    match result {
        Err(Error::Delegate(error)) => (error.stage, error.code),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn programs_that_do_not_fit_are_an_error() {
    let device = softnpu::open();
    device.inject(c"no-memory", 0).unwrap();
    let refused = told(try_offload(&hello(), &device, &whole_passes()));
    assert_eq!(refused, (Stage::Compile, Code::NoMemory));
}

#[test]
fn no_program_is_small_enough() {
    let none = OffloadOptions {
        rows: 0,
        ..small_programs()
    };
    let refused = told(try_offload(&hello(), &softnpu::open(), &none));
    assert_eq!(refused, (Stage::Claim, Code::Unsupported));
}

#[test]
fn where_the_cpu_may_not_take_over_faults_are_errors() {
    let model = hello();
    let strict = OffloadOptions {
        strict: true,
        ..short_deadline()
    };
    for (fault, expected) in [
        (c"busy", (Stage::Submit, Code::Busy)),
        (c"throttle", (Stage::Submit, Code::Thermal)),
        (c"device-lost", (Stage::Wait, Code::DeviceLost)),
        (c"nan", (Stage::Output, Code::Corrupt)),
        (c"hang", (Stage::Wait, Code::Timeout)),
        (c"late", (Stage::Wait, Code::Timeout)),
        (c"hang-hard", (Stage::Wait, Code::Timeout)),
    ] {
        let (session, result, time) = with_fault(&model, fault, &strict);
        assert_eq!(told(result), expected, "{fault:?}");
        assert!(time < SHORT + SLACK, "{fault:?}: {time:?}");
        assert_eq!(stats(&session).on_cpu, 0, "{fault:?}");
    }
    let device = softnpu::open();
    let offload = try_offload(&model, &device, &strict).unwrap();
    device.inject(c"no-memory", 0).unwrap();
    let refused = told(model.session(&options(Some(&offload))));
    assert_eq!(refused, (Stage::Session, Code::NoMemory));
}

/// After an error the device that is not given up is tried again; the one that is
/// stays an error.
#[test]
fn an_error_is_over_with_its_fault() {
    let strict = OffloadOptions {
        strict: true,
        ..whole_passes()
    };
    let (mut busy, _, _) = with_fault(&hello(), c"busy", &strict);
    assert!(try_prefill(&mut busy, 100).is_ok());
    let (mut lost, _, _) = with_fault(&hello(), c"device-lost", &strict);
    assert_eq!(
        told(try_prefill(&mut lost, 100)),
        (Stage::Wait, Code::DeviceLost)
    );
}

/// Cancels a prefill whose third job hangs, long before its deadline.
fn cancelled_in(fault: &CStr) -> Session {
    let device = softnpu::open();
    let model = hello();
    let offload = try_offload(&model, &device, &whole_passes()).unwrap();
    let mut session = session(&model, Some(&offload));
    device.inject(fault, 2).unwrap();
    let cancel = CancelToken::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            cancel.cancel();
        });
        let began = Instant::now();
        let result = session.prefill(&prompt(100), &cancel).map(|_| ());
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    });
    assert_eq!(stats(&session).failures, 0);
    session
}

#[test]
fn a_cancel_is_heard_while_the_device_hangs() {
    let model = hello();
    let mut session = cancelled_in(c"hang");
    let offload = offload(&model, &whole_passes());
    let expected = prefill(&mut self::session(&model, Some(&offload)), 100);
    assert!(prefill(&mut session, 100) == expected);
    assert_eq!(stats(&session).on_cpu, 0);
}

#[test]
fn after_a_cancel_the_cpu_goes_on_where_the_device_does_not() {
    let mut session = cancelled_in(c"hang-hard");
    let expected = prefill(&mut self::session(&hello(), None), 100);
    assert!(prefill(&mut session, 100) == expected);
    assert_eq!(stats(&session).on_device, 2);
}

// ---- the cache of programs ----

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("delegate-{name}-{}", std::process::id());
        Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kept_in(folder: &Path) -> OffloadOptions {
    OffloadOptions {
        cache: Some(folder.to_path_buf()),
        ..all_passes()
    }
}

/// How many programs came from the cache, of how many, and the logits of a prompt.
fn cached(model: &Model, options: &OffloadOptions) -> (usize, usize, Vec<u32>) {
    let offload = offload(model, options);
    let report = offload.report();
    let logits = prefill(&mut session(model, Some(&offload)), 50);
    (report.from_cache, report.programs, logits)
}

#[test]
fn programs_are_compiled_once() {
    let folder = Folder::new("once");
    let options = kept_in(&folder.0);
    let (kept, programs, first) = cached(&hello(), &options);
    assert_eq!(kept, 0);
    assert_eq!(folder.files().len(), programs);
    assert!(cached(&hello(), &options) == (programs, programs, first));
}

#[test]
fn a_damaged_program_is_compiled_anew() {
    let folder = Folder::new("damaged");
    let options = kept_in(&folder.0);
    let (_, programs, first) = cached(&hello(), &options);
    let path = folder.files().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(cached(&hello(), &options) == (programs - 1, programs, first.clone()));
    // And is whole again.
    assert!(cached(&hello(), &options) == (programs, programs, first));
}

/// Models that differ in nothing but numbers; the forms of both lose nothing.
#[test]
fn programs_of_another_model_are_not_taken() {
    let folder = Folder::new("another");
    let options = kept_in(&folder.0);
    let with_seed = |seed| {
        let random = RandomModel {
            seed,
            ..RandomModel::small("llama").quantized(DType::Q4_0)
        };
        Model::from_bytes(random.to_bytes()).unwrap()
    };
    let (_, programs, one) = cached(&with_seed(1), &options);
    let (kept, _, two) = cached(&with_seed(2), &options);
    assert_eq!(kept, 0);
    assert!(one != two);
    assert!(cached(&with_seed(1), &options) == (programs, programs, one));
}

#[test]
fn a_folder_that_can_not_be_written_is_no_error() {
    let folder = Folder::new("file");
    fs::write(&folder.0, "a file").unwrap();
    let (kept, _, logits) = cached(&hello(), &kept_in(&folder.0.join("below")));
    fs::remove_file(&folder.0).unwrap();
    assert_eq!(kept, 0);
    assert!(logits == cached(&hello(), &all_passes()).2);
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
