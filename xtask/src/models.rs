//! Tests the catalog's real models: an answer from each, and the agreement with
//! references.

use crate::steps::{Extent, Outcome, cargo, output, root, run, run_env};
use std::fs;
use std::path::{Path, PathBuf};

/// A record of a full-precision engine, and the largest difference that a fast ISA may
/// have from it: that of an engine with 8-bit activations.
pub struct Record {
    pub model: &'static str,
    pub file: &'static str,
    pub max_dlnp: &'static str,
}

impl Record {
    pub fn path(&self) -> PathBuf {
        root().join("tests/data/records").join(self.file)
    }
}

pub const RECORDS: [Record; 2] = [
    Record {
        model: "smollm2",
        file: "smollm2-135m-q4_1.f32.jsonl",
        max_dlnp: "0.114",
    },
    Record {
        model: "gemma3-270m",
        file: "gemma-3-270m-q4_k_m.f32.jsonl",
        max_dlnp: "0.130",
    },
];

/// Tokens of a text over which perplexity is measured.
const TOKENS: &str = "1024";

/// A full-precision engine's perplexity over the first [`TOKENS`] of a text, from
/// `tests/data/texts/perplexity.py`.
struct Perplexity {
    model: &'static str,
    text: &'static str,
    truth: f64,
}

const PERPLEXITIES: [Perplexity; 3] = [
    Perplexity {
        model: "smollm2",
        text: "en.txt",
        truth: 47.80346,
    },
    Perplexity {
        model: "gemma3-270m",
        text: "en.txt",
        truth: 45.87534,
    },
    Perplexity {
        model: "gemma3-270m",
        text: "ko.txt",
        truth: 38.56546,
    },
];

/// The kernels of most machines, and the largest difference of their perplexity from
/// the reference.
const FAST: (&str, f64) = ("avx2", 0.005);
const EXACT: (&str, f64) = ("exact", 0.0005);

/// The number of records with which the exact kernels are tested: they take five times as long as
/// fast ones.
const PART: usize = 2;

/// Tests an answer from each model, its memory against the announced size, its
/// agreement with the records, and perplexities.
pub fn models(extent: Extent) -> Outcome {
    let ondol = command()?;
    RECORDS
        .iter()
        .try_for_each(|record| answer(&ondol, record))?;
    memory(&ondol)?;
    RECORDS
        .iter()
        .try_for_each(|record| agree(&ondol, record, extent))?;
    for check in &PERPLEXITIES {
        perplexity(&ondol, check, FAST, &[])?;
        perplexity(&ondol, check, EXACT, &[])?;
    }
    perplexity(&ondol, &PERPLEXITIES[0], FAST, &["--kv-type", "q8_0"])
}

fn answer(ondol: &str, record: &Record) -> Outcome {
    let prompt = ["run", record.model, "The capital of France is", "--raw"];
    let short = ["--max-tokens", "8", "--temperature", "0"];
    run(ondol, &[&prompt[..], &short].concat())
}

/// Builds the command; returns the path. It builds the whole workspace, because
/// building one package alone would rebuild its dependencies with other features.
pub fn command() -> Result<String, String> {
    cargo(&["build", "--workspace", "--all-targets"])?;
    Ok(text(&target().join("debug/ondol")))
}

/// The folder with the built programs.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Fetches the models of the records, if they are not here yet.
pub fn fetch() -> Outcome {
    let ondol = command()?;
    let pull = |record: &Record| run(&ondol, &["pull", record.model]);
    RECORDS.iter().try_for_each(pull)
}

/// The file of SmolLM2, which is fetched if it is not here yet; `None`, and prints why, if
/// it can't be fetched. The command must have been built.
pub fn smollm2() -> Result<Option<String>, String> {
    let ondol = text(&target().join("debug/ondol"));
    if let Err(failed) = run(&ondol, &["pull", "smollm2"]) {
        eprintln!("xtask: SKIPPED answers of SmolLM2: {failed} failed");
        return Ok(None);
    }
    let list = output(&ondol, &["list", "--json"])?;
    let file = json_texts(&list, "path").find(|path| path.contains("smollm2"));
    Ok(file.map(str::to_owned))
}

/// Measures the memory of models and their packed copies, each in a separate process,
/// because freed memory is not always returned to the system.
fn memory(ondol: &str) -> Outcome {
    let test = ["test", "--workspace", "--test", "resident"];
    let test = [&test[..], &["--", "--ignored", "--nocapture"]].concat();
    let list = output(ondol, &["list", "--json"])?;
    let files = json_texts(&list, "path").chain(json_texts(&list, "packed"));
    files
        .into_iter()
        .try_for_each(|file| run_env("cargo", &test, &[("ONDOL_TEST_MODEL", file)]))
}

/// Tests the exact kernels on some records or all, and the fast kernels on all.
fn agree(ondol: &str, record: &Record, extent: Extent) -> Outcome {
    let exact = match extent {
        Extent::Part => part(record)?,
        Extent::All => record.path(),
    };
    let near = ["--max-dlnp", "0.01", "--min-top1", "0.995"];
    agree_by(ondol, record, &exact, EXACT.0, &near)?;
    let far = ["--max-dlnp", record.max_dlnp, "--min-top1", "0.97"];
    agree_by(ondol, record, &record.path(), FAST.0, &far)
}

fn agree_by(ondol: &str, record: &Record, file: &Path, level: &str, limits: &[&str]) -> Outcome {
    let agree = ["agree", record.model, &text(file), "--kernels", level];
    run(ondol, &[&agree[..], limits].concat())
}

/// Writes the first records of a file to another file; returns the path.
fn part(record: &Record) -> Result<PathBuf, String> {
    let file = record.file;
    let all = fs::read_to_string(record.path()).map_err(|e| format!("{file}: {e}"))?;
    let first: String = all.split_inclusive('\n').take(PART).collect();
    let path = target().join(format!("part.{file}"));
    fs::write(&path, first).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

fn perplexity(
    ondol: &str,
    check: &Perplexity,
    (level, tolerance): (&str, f64),
    more: &[&str],
) -> Outcome {
    let file = text(&root().join("tests/data/texts").join(check.text));
    let measure = ["perplexity", check.model, "-f", &file, "--tokens", TOKENS];
    let engine = ["--json", "--kernels", level];
    let printed = output(ondol, &[&measure[..], &engine, more].concat())?;
    let Some(found) = json_number(&printed, "perplexity") else {
        return Err(format!(
            "perplexity of {}: no figure in `{printed}`",
            check.model
        ));
    };
    let off = found / check.truth - 1.0;
    eprintln!(
        "xtask: {} on {}, {}: {found:.4} ({:+.3} %)",
        check.model,
        check.text,
        [&[level], more].concat().join(" "),
        off * 100.0
    );
    // A result that is not a number is not within the limit.
    match off.abs() <= tolerance {
        true => Ok(()),
        false => Err(format!("perplexity of {} on {}", check.model, check.text)),
    }
}

/// The number with a given key in a flat JSON object.
fn json_number(json: &str, key: &str) -> Option<f64> {
    let rest = json.split(&format!("\"{key}\":")).nth(1)?;
    let end = rest.find([',', '}'])?;
    rest[..end].trim().parse().ok()
}

/// The strings with a given key in a list of JSON objects. Paths with quotes do not
/// occur.
fn json_texts<'j>(json: &'j str, key: &str) -> impl Iterator<Item = &'j str> {
    let start = format!("\"{key}\":\"");
    let rests: Vec<&str> = json.split(&start).skip(1).collect();
    rests.into_iter().filter_map(|rest| rest.split('"').next())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
