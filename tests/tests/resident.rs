//! Rule 1, by what the system says is resident: `Model::memory` is what a model and its
//! session hold, and memory is touched when it is used.

#![cfg(target_os = "linux")]

use ondol::{CancelToken, KvType, Model, SessionOptions};
use ondol_tests::holding::{compare, fill, options};

/// The file `ONDOL_TEST_MODEL`, by what the system says that is resident and no page of a file.
#[test]
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

/// A context that is not used yet takes no memory, however long it may become.
#[test]
fn a_long_context_is_resident_where_it_was_used() {
    let model = Model::hello().unwrap();
    let prompt: Vec<u32> = (3..43).collect();
    let held = [64, 4096, 65_536].map(|context| {
        let before = resident();
        let options = SessionOptions {
            threads: Some(2),
            context: Some(context),
            prefill_chunk: 32,
            ..SessionOptions::default()
        };
        let mut session = model.session(&options).unwrap();
        session.prefill(&prompt, &CancelToken::new()).unwrap();
        session.decode(50).unwrap();
        let held = resident().saturating_sub(before);
        let cache = model.memory(&options).unwrap().kv_cache;
        println!("context {context}: {held} bytes resident, a cache of {cache}");
        held
    });
    assert!(held.iter().all(|bytes| bytes.abs_diff(held[0]) < 5 << 20));
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}
