//! Tests the sample delegate: its own tests, also with sanitizers, and the conformance
//! kit with a real model.

use crate::apt;
use crate::models;
use crate::steps::{Outcome, root, run};
use std::fs;
use std::path::PathBuf;

const PACKAGES: [&str; 2] = ["gcc", "libc6-dev"];

const STRICT: [&str; 6] = [
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-g",
    "-Iruntime/delegates",
];

/// The options with which the sample is built, and the command that runs its tests.
const BUILDS: [(&str, &[&str]); 3] = [
    ("plain", &["-O3"]),
    (
        "address",
        &[
            "-O1",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
        ],
    ),
    ("thread", &["-O1", "-fsanitize=thread"]),
];

/// Tokens of each text with the real model, which the build for tests computes slowly.
pub const TOKENS: &str = "96";

/// Runs the C tests with each build, then `ondol verify` with the plain build.
pub fn delegate() -> Outcome {
    if !apt::install("the sample delegate", &PACKAGES)? {
        return Ok(());
    }
    for (name, flags) in BUILDS {
        let library = library(name, flags)?;
        let test = compile(name, flags, "test", &["-ldl"], "tests")?;
        run(&test, &[&library])?;
    }
    let ondol = models::command()?;
    let library = folder("plain").join("libsoftnpu.so").display().to_string();
    let report = folder("report").display().to_string();
    run(&ondol, &["verify", "hello", "--delegate", &library])?;
    run(
        &ondol,
        &[
            "verify",
            "smollm2",
            "--delegate",
            &library,
            "--tokens",
            TOKENS,
            "--report",
            &report,
            "--force",
        ],
    )
}

/// Builds the sample; returns the path.
pub fn sample() -> Result<String, String> {
    let [(name, flags), ..] = BUILDS;
    library(name, flags)
}

fn library(build: &str, flags: &[&str]) -> Result<String, String> {
    let kind = ["-fPIC", "-shared", "-fvisibility=hidden"];
    compile(build, flags, "libsoftnpu.so", &kind, "")
}

/// Compiles the sample's sources in a separate folder; returns the path of the result.
fn compile(
    build: &str,
    flags: &[&str],
    name: &str,
    kind: &[&str],
    sources: &str,
) -> Result<String, String> {
    let out = folder(build);
    fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    let out = out.join(name).display().to_string();
    let files = sources_in(sources)?;
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let libraries = ["-o", &out, "-lpthread", "-lm"];
    run(
        "gcc",
        &[&STRICT[..], flags, &files, kind, &libraries].concat(),
    )?;
    Ok(out)
}

fn sources_in(sub: &str) -> Result<Vec<String>, String> {
    let folder = root().join("runtime/delegates/sample").join(sub);
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "c"))
        .map(|path| path.display().to_string())
        .collect();
    files.sort();
    Ok(files)
}

fn folder(build: &str) -> PathBuf {
    root().join("target/delegate").join(build)
}
