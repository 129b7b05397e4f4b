//! A KV cache of q8_0 blocks: how many bytes it takes, and that all that holds
//! for one of half floats holds for it.

use ondol::testing::Drafts;
use ondol::{CancelToken, Error, Isa, KvType, Model, Session, SessionOptions};
use ondol_tests::random_model::RandomModel;

/// Levels that the machine may have; those that it has not are left out.
const LEVELS: [Isa; 5] = [Isa::Exact, Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon];

fn options(kv_type: KvType, level: Isa) -> SessionOptions {
    SessionOptions {
        threads: Some(2),
        kernels: Some(level),
        context: Some(256),
        prefill_chunk: 24,
        kv_type,
        ..SessionOptions::default()
    }
}

/// Sessions of the built-in model with a q8_0 cache, one a level.
fn sessions() -> impl Iterator<Item = Session> {
    let model = Model::hello().unwrap();
    let sessions = LEVELS.map(|level| model.session(&options(KvType::Q8_0, level)).ok());
    sessions.into_iter().flatten()
}

fn prompt() -> Vec<u32> {
    (0..90).map(|i| 3 + i * 11 % 300).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// The largest difference of two rows of logits.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, f32::max)
}

#[test]
fn a_number_takes_34_bytes_for_32() {
    let model = Model::hello().unwrap();
    let bytes = |kv_type| {
        let memory = model.memory(&options(kv_type, Isa::Scalar)).unwrap();
        (memory.kv_cache, memory.total)
    };
    let (f16, q8_0) = (bytes(KvType::F16), bytes(KvType::Q8_0));
    assert_eq!(q8_0.0 * 64, f16.0 * 34);
    assert_eq!(f16.1 - q8_0.1, f16.0 - q8_0.0, "the rest is the same");
}

/// The logits of one path are near to those of the other, and of another cache.
#[test]
fn prefill_and_decode_agree() {
    let model = Model::hello().unwrap();
    let tokens = prompt();
    for mut session in sessions() {
        let level = session.engine().isa();
        let mut halves = model.session(&options(KvType::F16, level)).unwrap();
        let cancel = CancelToken::new();
        let f16 = halves.prefill(&tokens, &cancel).unwrap();
        let at_once = session.prefill(&tokens, &cancel).unwrap().to_vec();
        let lost = distance(&at_once, f16);
        session.clear();
        let by_one = tokens.iter().map(|&t| session.decode(t).unwrap().to_vec());
        let apart = distance(&at_once, &by_one.last().unwrap());
        assert!(lost > 0.0 && lost < 0.5, "level {level}: {lost} lost");
        assert!(apart < 0.5, "level {level}: {apart} apart");
    }
}

/// What was forgotten, or guessed and not accepted, leaves no trace.
#[test]
fn rollback_and_guesses_change_no_bit() {
    let (tokens, cancel) = (prompt(), CancelToken::new());
    for mut session in sessions() {
        session.prefill(&tokens, &cancel).unwrap();
        let truth: Vec<_> = (40..46).map(|t| bits(session.decode(t).unwrap())).collect();
        session.rewind(tokens.len());
        session.run_drafts(&[40, 7, 7, 7]).unwrap();
        assert!(session.accept_draft(41).is_none());
        session.rewind(tokens.len());
        session.release_unused();
        let mut got = vec![bits(session.run_drafts(&[40, 41, 42]).unwrap())];
        got.extend([41, 42].map(|t| bits(session.accept_draft(t).unwrap())));
        got.extend((43..46).map(|t| bits(session.decode(t).unwrap())));
        assert!(got == truth, "level {}", session.engine().isa());
    }
}

#[test]
fn heads_that_are_not_whole_blocks_are_refused() {
    let model = Model::from_bytes(RandomModel::small("llama").to_bytes()).unwrap();
    let options = options(KvType::Q8_0, Isa::Scalar);
    let refused = [
        model.memory(&options).err(),
        model.session(&options).map(drop).err(),
    ];
    for error in refused {
        let error = error.unwrap();
        assert!(
            matches!(error, Error::PartKvBlock { head_dim: 16, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("--kv-type f16"), "{error}");
    }
}
