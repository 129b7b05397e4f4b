//! Too little memory: an error and the exit code 1, no part of a file, no hang.
//!
//! Linux alone holds a process to a limit of its address space (`ulimit -v`).
#![cfg(target_os = "linux")]

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{folder, ondol, said};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// From what suffices for no command to what suffices for all, in steps of KiB.
const STEPS: u64 = 20;

/// A run that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command under a limit of its address space.
fn limited(home: &Path, args: &[&str], kib: u64, backtrace: bool) -> Command {
    let mut shell = Command::new("sh");
    let plain = ondol(home);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .current_dir(home)
        .env("RUST_BACKTRACE", if backtrace { "1" } else { "0" })
        .arg("-c")
        .arg(format!("ulimit -v {kib}; exec \"$0\" \"$@\""))
        .arg(plain.get_program())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    shell
}

/// The exit code, and what was said on standard error; it must end.
#[track_caller]
fn outcome(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it hangs: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let said = said(child.wait_with_output().unwrap());
    (Some(said.code).filter(|code| *code >= 0), said.err)
}

/// The least address space in KiB with which the command succeeds, about.
fn enough(home: &Path, args: &[&str], clean: impl Fn()) -> u64 {
    let (mut low, mut high) = (0_u64, 4 << 20);
    while high - low > 64 {
        let middle = low.midpoint(high);
        clean();
        match outcome(limited(home, args, middle, false)).0 {
            Some(0) => high = middle,
            _ => low = middle,
        }
    }
    high
}

/// What a command leaves in the two folders that it writes to.
fn names(home: &Path) -> Vec<String> {
    let folders = [home.to_path_buf(), home.join("packed")];
    let entries = folders.iter().flat_map(fs::read_dir).flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn check(test: &str, args: &[&str]) {
    let home = folder(test);
    fs::write(home.join("plain.gguf"), tiny::with_rows(3000)).unwrap();
    let quantize = ["quantize", "plain.gguf", "model.gguf", "Q4_0"];
    common::run(ondol(&home).current_dir(&home).args(quantize)).expect(0);
    let clean = || {
        let _ = fs::remove_file(home.join("out.gguf"));
        let _ = fs::remove_dir_all(home.join("packed"));
    };
    let enough = enough(&home, args, clean);
    // Below a few MB the system can't even load the program.
    let least = {
        let (mut low, mut high) = (0_u64, enough);
        while high - low > 64 {
            let middle = low.midpoint(high);
            match outcome(limited(&home, &["--version"], middle, false)).0 {
                Some(0) => high = middle,
                _ => low = middle,
            }
        }
        high
    };
    let mut refused = 0;
    for step in 0..=STEPS {
        let kib = least + (enough - least) * step / STEPS;
        for backtrace in [false, true] {
            clean();
            let (code, err) = outcome(limited(&home, args, kib, backtrace));
            let what = format!("{args:?} with {kib} KiB, backtrace {backtrace}: {code:?}\n{err}");
            assert!(matches!(code, Some(0 | 1)), "{what}");
            if code == Some(1) {
                assert!(err.contains("error: "), "{what}");
                assert!(!home.join("out.gguf").exists(), "{what}");
                refused += 1;
            }
            assert!(!err.contains("panicked"), "{what}");
            let left = names(&home);
            assert!(
                !left.iter().any(|name| name.ends_with(".part")),
                "{what}{left:?}"
            );
        }
    }
    assert!(refused > 0, "no limit was too tight for {args:?}");
}

#[test]
fn run_with_too_little_memory() {
    check(
        "run",
        &[
            "run",
            "model.gguf",
            "Hi",
            "--raw",
            "--max-tokens",
            "2",
            "-t",
            "2",
        ],
    );
}

#[test]
fn chat_templates_with_too_little_memory() {
    check(
        "chat",
        &["run", "model.gguf", "Hi", "--max-tokens", "2", "-t", "2"],
    );
}

#[test]
fn pack_with_too_little_memory() {
    check("pack", &["pack", "model.gguf", "out.gguf"]);
}

#[test]
fn quantize_with_too_little_memory() {
    check(
        "quantize",
        &["quantize", "plain.gguf", "out.gguf", "Q4_K_M", "-t", "2"],
    );
}

#[test]
fn inspect_with_too_little_memory() {
    check("inspect", &["inspect", "model.gguf"]);
}
