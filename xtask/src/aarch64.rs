//! Tests the kernels of 64-bit Arm on cores that qemu emulates: correctness, not speed.
//!
//! The build is for Linux, with Debian's Rust (`rustc-web`), which has a standard
//! library for this target.

use crate::apt;
use crate::models::{self, RECORDS, Record};
use crate::steps::{Outcome, root, run, run_env};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Debian packages that build and run for the target.
const PACKAGES: [&str; 6] = [
    "rustc-web",
    "cargo-web",
    "libstd-rust-web-dev:arm64",
    "gcc-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
    "qemu-user",
];

/// An emulated core, and the ISA that Ondol must choose on it. An instruction that the
/// core does not have ends the program.
pub struct Core {
    pub name: &'static str,
    pub level: &'static str,
}

pub const CORES: [Core; 3] = [
    Core {
        name: "cortex-a53",
        level: "neon",
    },
    Core {
        name: "neoverse-n1",
        level: "dotprod",
    },
    Core {
        name: "max",
        level: "i8mm",
    },
];

/// The part of each file of records with which every ISA is tested, because qemu is slow: one
/// prompt that is long enough for the kernels of prefill, and a few steps for those of decode.
/// [`records`] tests all.
const RECORD: usize = 1;
const STEPS: usize = 4;

/// The runtime's tests that do not depend on the core: the order in which threads see
/// each other's writes.
const THREADS: [&str; 2] = ["cpu::", "governor::"];

/// The command, the runtime and the kernels, built by one cargo call: two calls would
/// build shared dependencies twice, with different features.
const OURS: [&str; 6] = ["-p", "ondol-kernels", "-p", "ondol", "-p", "ondol-cli"];

/// The kernels, whose tests depend on the core's instructions. The command has no tests
/// in a library; it is here for the features of the dependencies.
const KERNELS: [&str; 4] = ["-p", "ondol-kernels", "-p", "ondol-cli"];

/// Seconds after which a run is assumed to hang.
const PATIENCE: &str = "1800";

/// Runs the tests of the kernels, of the thread pool and of the governor, of the choice
/// of an ISA, and of the agreement with a part of the reference records: with SmolLM2's
/// on each core, with gemma's on the last.
pub fn aarch64() -> Outcome {
    if !install(&[])? {
        return Ok(());
    }
    build()?;
    CORES.iter().try_for_each(|core| {
        test(&KERNELS, &[], core)?;
        check_level(core)
    })?;
    let last = &CORES[CORES.len() - 1..];
    test(&OURS, &THREADS, &last[0])?;
    models::fetch()?;
    let [smollm2, gemma] = &RECORDS;
    agree(smollm2, &part(smollm2)?, &CORES)?;
    agree(gemma, &part(gemma)?, last)
}

/// Runs the tests of these packages with these names on a core.
fn test(packages: &[&str], names: &[&str], core: &Core) -> Outcome {
    let test = [&["test"], packages, &["--lib", "--"]].concat();
    cross(&[&test[..], names].concat(), core.name)
}

/// Tests the agreement with all reference records on each core.
pub fn records() -> Outcome {
    if !install(&[])? {
        return Ok(());
    }
    build()?;
    models::fetch()?;
    RECORDS
        .iter()
        .try_for_each(|record| agree(record, &record.path(), &CORES))
}

/// Installs the missing packages, and `more`. Returns false, and prints why, if they
/// can't be installed.
pub fn install(more: &[&str]) -> Result<bool, String> {
    let there = apt::install("aarch64", &[&PACKAGES, more].concat())?;
    if there {
        run("/usr/bin/rustc", &["--version"])?;
    }
    Ok(there)
}

/// Builds the command.
pub fn build() -> Outcome {
    cross(&[&["build"], &OURS[..]].concat(), CORES[0].name)
}

/// A separate target folder: the two Rust toolchains can't share one.
pub fn target_folder() -> PathBuf {
    root().join("target/aarch64")
}

/// Runs Debian's cargo for the target, in release mode. Cargo runs tests and programs on this
/// emulated core.
pub fn cross(args: &[&str], core: &str) -> Outcome {
    let runner = emulator(core).join(" ");
    let folder = text(&target_folder());
    let (command, rest) = args.split_at(1);
    // Dependencies are built with few optimizations: hot loops are in the workspace's own code.
    let others = "profile.release.package.\"*\".opt-level=1";
    let how = ["--release", "--config", others, "--target", TARGET];
    run_env(
        "/usr/bin/cargo",
        &[command, &how, rest].concat(),
        &[
            ("RUSTC", "/usr/bin/rustc"),
            // LTO would take as long as all tests together, and changes no kernel.
            ("CARGO_PROFILE_RELEASE_LTO", "off"),
            ("CARGO_TARGET_DIR", &folder),
            (
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
                "aarch64-linux-gnu-gcc",
            ),
            ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", &runner),
        ],
    )
}

/// The command that runs a program on this core. With `-L` and the libraries of the
/// cross compiler, qemu would mix two C libraries, and threads would hang.
fn emulator(core: &str) -> [&str; 5] {
    ["timeout", PATIENCE, "qemu-aarch64", "-cpu", core]
}

/// Checks the ISA that Ondol chooses by default.
fn check_level(core: &Core) -> Outcome {
    let bench = ["bench", "hello", "-p", "8", "-n", "4", "-r", "1", "--json"];
    let printed = output(core, &[], &bench)?.0;
    let found = printed.split("\"kernels\":").nth(1);
    let found = found
        .and_then(|rest| rest.split('"').nth(1))
        .unwrap_or("nothing");
    eprintln!("xtask: {} has the ISA {found}", core.name);
    if found == core.level {
        Ok(())
    } else {
        Err(format!(
            "ISA of {}: {found} instead of {}",
            core.name, core.level
        ))
    }
}

/// Writes the part of a file of records that the test uses; returns the path.
fn part(record: &Record) -> Result<PathBuf, String> {
    let file = record.file;
    let all = fs::read_to_string(record.path()).map_err(|e| format!("{file}: {e}"))?;
    let part = all.lines().nth(RECORD).and_then(|line| first(line, STEPS));
    let part = part.ok_or_else(|| format!("{file}: no {STEPS} steps in record {RECORD}"))?;
    let path = target_folder().join(file);
    fs::write(&path, part).map_err(|e| format!("{}: {e}", path.display()))?;
    eprintln!("xtask: {file}: record {RECORD} alone, {STEPS} of its steps");
    Ok(path)
}

/// Checks the records of a file with the ISA of each of the cores, within the limits of
/// every fast ISA.
fn agree(record: &Record, path: &Path, cores: &[Core]) -> Outcome {
    let Record {
        model, max_dlnp, ..
    } = record;
    let (ondol, path) = (text(&ondol()), text(path));
    cores.iter().try_for_each(|core| {
        let agree = [&ondol, "agree", model, &path, "--kernels", core.level];
        let limits = ["--max-dlnp", max_dlnp, "--min-top1", "0.97"];
        let [timeout, rest @ ..] = emulator(core.name);
        run(timeout, &[&rest[..], &agree, &limits].concat())
    })
}

/// A record with only its first steps.
fn first(record: &str, steps: usize) -> Option<String> {
    let (rest, _) = record.match_indices("{\"id\":").nth(steps)?;
    Some(format!(
        "{}]}}\n",
        record[..rest].trim_end_matches([',', ' '])
    ))
}

/// The path of the command that was built.
fn ondol() -> PathBuf {
    target_folder().join(TARGET).join("release/ondol")
}

/// Standard output and standard error of the command on this core; `options` are for
/// qemu.
pub fn output(core: &Core, options: &[&str], args: &[&str]) -> Result<(String, String), String> {
    let [timeout, rest @ ..] = emulator(core.name);
    let output = Command::new(timeout)
        .args(rest)
        .args(options)
        .arg(ondol())
        .args(args)
        .output();
    let output = output.map_err(|e| format!("{timeout}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let line = args.join(" ");
        return Err(format!("ondol {line} on {}: {said}", core.name));
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((printed, said))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_steps_of_a_record() {
        let record =
            r#"{"prompt": "a", "steps": [{"id": 1, "top": [[1, -0.5]]}, {"id": 2, "top": []}]}"#;
        let expected = "{\"prompt\": \"a\", \"steps\": [{\"id\": 1, \"top\": [[1, -0.5]]}]}\n";
        assert_eq!(first(record, 1).as_deref(), Some(expected));
        assert_eq!(first(record, 2), None);
    }
}
