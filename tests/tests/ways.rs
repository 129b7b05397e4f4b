//! For every architecture: each way to the same tokens gives the same result. Prompts in
//! one pass, in several, or token by token; after a rewind; beside another sequence; in a
//! fork, and in a session that was restored; with one thread and with more.

use ondol::{CancelToken, Isa, KvType, Model, Session, SessionOptions};
use ondol_models::gguf::Gguf;
use ondol_models::quant::DType;
use ondol_tests::random_model::{ARCHITECTURES, RandomModel, further};

/// Longer than every window, and no multiple of a chunk.
const PROMPT: usize = 43;
const DECODED: usize = 6;

fn prompt() -> Vec<u32> {
    (0..PROMPT as u32).map(|i| (i * 7919 + 13) % 300).collect()
}

fn options(kv_type: KvType, level: Option<Isa>) -> SessionOptions {
    SessionOptions {
        threads: Some(1),
        kernels: level,
        context: Some(128),
        prefill_chunk: 64,
        batch: 2,
        kv_type,
        ..SessionOptions::default()
    }
}

fn prefilled(model: &Model, options: &SessionOptions) -> Session {
    let mut session = model.session(options).unwrap();
    session.prefill(&prompt(), &CancelToken::new()).unwrap();
    session
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = (0..).zip(logits).max_by(|a, b| a.1.total_cmp(b.1));
    best.unwrap().0
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// The likeliest tokens from here on, each run, and the bits of the logits before them.
fn greedy(session: &mut Session) -> (Vec<u32>, Vec<Vec<u32>>) {
    let (mut tokens, mut trace) = (Vec::new(), Vec::new());
    for _ in 0..DECODED {
        let logits = session.last_logits();
        trace.push(bits(logits));
        let token = likeliest(logits);
        tokens.push(token);
        session.decode(token).unwrap();
    }
    (tokens, trace)
}

/// At the exact level: the same tokens.
fn check_ways(name: &str, model: &Model, kv_type: KvType) {
    let whole = options(kv_type, Some(Isa::Exact));
    let expected = greedy(&mut prefilled(model, &whole)).0;
    let chunks = SessionOptions {
        prefill_chunk: 7,
        ..whole.clone()
    };
    let found = greedy(&mut prefilled(model, &chunks)).0;
    assert_eq!(found, expected, "{name}, {kv_type}: in chunks");

    let mut session = model.session(&whole).unwrap();
    for token in prompt() {
        session.decode(token).unwrap();
    }
    let found = greedy(&mut session).0;
    assert_eq!(found, expected, "{name}, {kv_type}: token by token");

    // States that can't go back begin anew.
    let left = session.rewind(PROMPT - 5);
    assert!(left <= PROMPT - 5, "{name}: {left}");
    let rest = &prompt()[left..];
    session.prefill(rest, &CancelToken::new()).unwrap();
    let found = greedy(&mut session).0;
    assert_eq!(found, expected, "{name}, {kv_type}: after a rewind");
}

/// At the fast level: the same bits.
fn check_bits(name: &str, model: &Model, kv_type: KvType) {
    let one = options(kv_type, None);
    let mut session = prefilled(model, &one);
    let mut fork = session.fork().unwrap();
    let mut saved = Vec::new();
    session.save(&mut saved).unwrap();
    let mut restored = model.session(&one).unwrap();
    restored.restore(&saved[..]).unwrap();
    let (tokens, expected) = greedy(&mut session);
    assert!(greedy(&mut fork).1 == expected, "{name}, {kv_type}: a fork");
    // What is restored has no logits before its next pass.
    restored.rewind(PROMPT - 1);
    let left = restored.tokens().len();
    let rest = &prompt()[left..];
    restored.prefill(rest, &CancelToken::new()).unwrap();
    assert_eq!(
        greedy(&mut restored).0,
        tokens,
        "{name}, {kv_type}: restored"
    );

    for threads in [2, 4] {
        let more = SessionOptions {
            threads: Some(threads),
            ..one.clone()
        };
        let found = greedy(&mut prefilled(model, &more)).1;
        assert!(found == expected, "{name}, {kv_type}: {threads} threads");
    }
    check_batch(name, model, &one, &expected);
}

/// Beside a sequence of another length.
fn check_batch(name: &str, model: &Model, options: &SessionOptions, expected: &[Vec<u32>]) {
    let engine = model.engine(options).unwrap();
    let mut batch = engine.batch(2).unwrap();
    let (mut one, mut other) = (engine.session().unwrap(), engine.session().unwrap());
    one.prefill(&prompt(), &CancelToken::new()).unwrap();
    other.prefill(&prompt()[..9], &CancelToken::new()).unwrap();
    let mut logits = one.last_logits().to_vec();
    for expected in expected {
        assert!(
            bits(&logits) == *expected,
            "{name}: beside another sequence"
        );
        let token = likeliest(&logits);
        batch
            .decode(&mut [(&mut one, token), (&mut other, 7)])
            .unwrap();
        logits = batch.logits(0).to_vec();
    }
}

fn check(architecture: &'static str) {
    let random = RandomModel::small(architecture).quantized(DType::Q8_0);
    let model = Model::from_bytes(random.to_bytes()).expect(architecture);
    for kv_type in KvType::ALL {
        // Of some architectures heads are not whole blocks.
        if model.session(&options(kv_type, None)).is_err() {
            assert_eq!(kv_type, KvType::Q8_0, "{architecture}");
            println!("SKIPPED: {architecture} has no cache in {kv_type}");
            continue;
        }
        check_ways(architecture, &model, kv_type);
        check_bits(architecture, &model, kv_type);
    }
}

#[test]
fn of_the_first_architectures() {
    ARCHITECTURES.into_iter().for_each(check);
}

#[test]
fn of_further_dense_ones() {
    further("gemma", "starcoder2")
        .iter()
        .for_each(|architecture| check(architecture));
}

#[test]
fn of_further_experts() {
    further("qwen3moe", "deepseek2")
        .iter()
        .for_each(|architecture| check(architecture));
}

#[test]
fn of_further_hybrids() {
    further("lfm2", "gemma3n")
        .iter()
        .for_each(|architecture| check(architecture));
}

/// Models that differ in their experts alone are different models.
#[test]
fn a_saved_session_is_of_the_experts_that_made_it() {
    let bytes = RandomModel::small("qwen3moe").to_bytes();
    let gguf = Gguf::parse(&bytes).unwrap();
    let experts = gguf.tensor("blk.0.ffn_up_exps.weight").unwrap().data;
    let from = experts.as_ptr() as usize - bytes.as_ptr() as usize;
    let mut changed = bytes.clone();
    // The sign of each float.
    let signs = changed[from..from + experts.len()].iter_mut().skip(3);
    signs.step_by(4).for_each(|byte| *byte ^= 0x80);
    let [made, other] = [bytes, changed].map(|bytes| Model::from_bytes(bytes).unwrap());
    let options = options(KvType::F32, None);
    let mut saved = Vec::new();
    prefilled(&made, &options).save(&mut saved).unwrap();
    assert!(made.session(&options).unwrap().restore(&saved[..]).is_ok());
    let refused = other.session(&options).unwrap().restore(&saved[..]);
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("another model"), "{refused}");
}
