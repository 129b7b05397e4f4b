//! Rule 1: `Model::memory` is what a model and its session hold, before they hold it.

use ondol::{CancelToken, KvType, Memory, Model, Options, Session};
use ondol_models::quant::DType;
use ondol_tests::counting::Counting;
use ondol_tests::packing::packed;
use ondol_tests::random_model::RandomModel;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// Tokens of context, all of which are filled: a pass of prefill, and guesses.
const CONTEXT: usize = 256 + 8;

fn options(kv_type: KvType) -> Options {
    Options {
        threads: Some(2),
        context: Some(CONTEXT),
        kv_type,
        ..Options::default()
    }
}

/// Uses all of a session's memory: the whole cache, a full pass of prefill, the
/// logits of every guess, and the screen.
fn fill(session: &mut Session) {
    let tokens: Vec<u32> = (0..CONTEXT as u32).map(|i| 3 + i % 200).collect();
    let (prompt, drafts) = tokens.split_at(CONTEXT - 8);
    session.prefill(prompt, &CancelToken::new()).unwrap();
    session.decode_with_drafts(drafts).unwrap();
    session.decode_top(5, 40).unwrap();
}

/// Whether `held` is what was announced, but for this part of it.
#[track_caller]
fn compare(model: &Model, memory: Memory, held: usize, part: f64) {
    let off = held as f64 / memory.total as f64 - 1.0;
    println!(
        "{}{}: {} bytes announced, {held} held ({:+.2} %)",
        model.name(),
        if model.is_packed() { ", packed" } else { "" },
        memory.total,
        off * 100.0
    );
    assert!(off.abs() <= part, "{memory:?}");
}

fn packed_model_with_a_screen() -> Vec<u8> {
    let model = RandomModel {
        vocabulary: 20_000,
        dtype: DType::Q4_0,
        table_dtype: DType::Q8_0,
        ..RandomModel::small("llama")
    };
    packed(&model.to_bytes())
}

/// One test: the counts are the process's.
#[test]
fn what_is_announced_is_what_is_allocated() {
    for kv_type in KvType::ALL {
        allocates_what_it_announces(kv_type, || Model::hello().unwrap());
    }
    let file = packed_model_with_a_screen();
    // The copy is the model's: what is not mapped counts.
    allocates_what_it_announces(KvType::F16, || Model::from_bytes(file.clone()).unwrap());
}

fn allocates_what_it_announces(kv_type: KvType, load: impl FnOnce() -> Model) {
    let options = options(kv_type);
    let before = ALLOCATOR.restart_peak();
    let model = load();
    let held = ALLOCATOR.now() - before;
    let memory = model.memory(&options).unwrap();
    let off = held.abs_diff(memory.model as usize);
    // The harness allocates a little meanwhile.
    assert!(off < 2048, "the model holds {held} bytes: {memory:?}");

    let mut session = model.session(&options).unwrap();
    fill(&mut session);
    compare(&model, memory, ALLOCATOR.peak() - before, 0.005);
}

/// The file `ONDOL_TEST_MODEL`, by what the system says that is resident and no page of a file.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs real models: `cargo xtask models` runs it"]
fn what_is_announced_is_what_is_resident() {
    let path = std::env::var_os("ONDOL_TEST_MODEL").expect("a file to open");
    let before = resident();
    let model = Model::open(path).unwrap();
    let options = options(KvType::F16);
    let memory = model.memory(&options).unwrap();
    let mut session = model.session(&options).unwrap();
    fill(&mut session);
    compare(&model, memory, resident() - before, 0.05);
}

#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}
