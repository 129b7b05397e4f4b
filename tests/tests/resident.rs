//! Rule 1, of a real model: `Model::memory` is what it and its session keep resident.

#![cfg(target_os = "linux")]

use ondol::{KvType, Model};
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

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}
