//! Damaged copies of `hello`, plain and packed, and of a packed model with a screen, through load
//! and four tokens: an error or an answer, never a panic, and never more memory than was announced.

use ondol::{CancelToken, Isa, Model, SessionOptions};
use ondol_kernels::Kernels;
use ondol_models::quant::DType;
use ondol_tests::counting::Counting;
use ondol_tests::hostile::{fields, mutate};
use ondol_tests::packing::packed;
use ondol_tests::random::Random;
use ondol_tests::random_model::{FURTHER, RandomModel};
use std::sync::Mutex;

/// What loading may allocate: vocabulary, graph and messages, for a file of this size.
const LOAD_BYTES_PER_FILE_BYTE: usize = 8;
const LOAD_BYTES: usize = 4 << 20;
/// The sessions' limit.
const MEMORY_LIMIT: u64 = 64 << 20;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// The counts are the process's: one mutant at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What became of a mutant.
#[derive(PartialEq)]
enum Fate {
    Refused,
    Ran,
}

fn run(bytes: Vec<u8>, level: Isa) -> Fate {
    let _alone = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let load_bound = bytes.len() * LOAD_BYTES_PER_FILE_BYTE + LOAD_BYTES;
    let before = ALLOCATOR.restart_peak();
    let peak = || ALLOCATOR.peak() - before;

    let model = Model::from_bytes(bytes);
    assert!(
        peak() <= load_bound,
        "loading took {} bytes, {load_bound} were announced",
        peak()
    );
    let Ok(model) = model else {
        return Fate::Refused;
    };
    let options = SessionOptions {
        threads: Some(1),
        context: Some(16),
        memory_limit: Some(MEMORY_LIMIT),
        kernels: Some(level),
        ..SessionOptions::default()
    };
    let announced = match model.memory(&options) {
        Ok(memory) => memory.total as usize,
        Err(_) => return Fate::Refused,
    };
    let Ok(mut session) = model.session(&options) else {
        return Fate::Refused;
    };
    for token in [1, 2, 3, 4] {
        let _ = match token {
            1 => session.prefill(&[token], &CancelToken::new()).map(drop),
            2 => session.decode(token).map(drop),
            _ => session.decode_top(token, 20).map(drop),
        };
    }
    let bound = load_bound + announced;
    assert!(
        peak() <= bound,
        "the session took {} bytes, {bound} were announced",
        peak()
    );
    Fate::Ran
}

/// `hello` as it is and packed, and a packed model whose head has a screen.
fn files() -> [Vec<u8>; 3] {
    let screened = RandomModel {
        layers: 1,
        vocabulary: 4_304,
        table_dtype: DType::Q8_0,
        ..RandomModel::small("llama").quantized(DType::Q4_0)
    };
    let screened = packed(&screened.to_bytes());
    assert!(Model::from_bytes(screened.clone()).unwrap().has_screen());
    let hello = Model::hello_bytes();
    [hello.to_vec(), packed(hello), screened]
}

fn run_mutants(count: u64) {
    let files = files();
    let each = count / files.len() as u64;
    files.iter().for_each(|file| run_mutants_of(file, each));
}

fn run_mutants_of(file: &[u8], count: u64) {
    let (fields, header) = fields(file);
    assert!(
        run(file.to_vec(), Isa::Exact) == Fate::Ran,
        "the file itself must run"
    );
    // Every level that this CPU has, in turn: weights of NaN take other paths in each.
    let levels: Vec<Isa> = Isa::ALL
        .into_iter()
        .filter(|&l| Kernels::with_isa(l).is_some())
        .collect();
    let mut ran = 0;
    for number in 0..count {
        let mutant = mutate(file, &fields, header, &mut Random(number));
        let fate = std::panic::catch_unwind(|| run(mutant, levels[number as usize % levels.len()]));
        match fate {
            Ok(Fate::Ran) => ran += 1,
            Ok(Fate::Refused) => {}
            Err(_) => panic!("mutant {number} panicked"),
        }
    }
    println!("{count} mutants: {ran} ran, {} were refused", count - ran);
    assert!(
        ran > 0 && ran < count,
        "the mutator no longer reaches both outcomes"
    );
}

/// Keys and shapes of every architecture.
#[test]
fn mutants_of_every_architecture_are_survived() {
    for architecture in FURTHER {
        run_mutants_of(&RandomModel::small(architecture).to_bytes(), 250);
    }
}

#[test]
fn truncation_at_every_field_is_refused() {
    for file in files() {
        let (fields, header) = fields(&file);
        let cuts = fields.iter().step_by(7).map(|field| field.at);
        for cut in cuts.chain([header, file.len() - 1]) {
            let fate = run(file[..cut].to_vec(), Isa::Exact);
            assert!(fate == Fate::Refused, "cut at {cut}");
        }
    }
}

#[test]
fn a_thousand_mutants() {
    run_mutants(1_000);
}

#[test]
#[ignore = "long: `cargo xtask hostile` runs it"]
fn twenty_thousand_mutants() {
    run_mutants(20_000);
}
