//! The catalog's real models: an answer from each, and the reference's figures.

use crate::steps::{Outcome, cargo, output, root, run, run_env};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A full-precision engine's record, and how far a fast level may be from it:
/// no further than an engine with 8-bit activations is.
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

/// A full-precision engine's perplexity over the first 2048 tokens of a text.
struct Perplexity {
    model: &'static str,
    text: &'static str,
    truth: f64,
}

const PERPLEXITIES: [Perplexity; 3] = [
    Perplexity {
        model: "smollm2",
        text: "en.txt",
        truth: 16.87249,
    },
    Perplexity {
        model: "gemma3-270m",
        text: "en.txt",
        truth: 17.25139,
    },
    Perplexity {
        model: "gemma3-270m",
        text: "ko.txt",
        truth: 18.63695,
    },
];

/// How far a level's perplexity may be from the truth.
const LEVELS: [(&str, f64); 2] = [("avx2", 0.005), ("exact", 0.0005)];

/// An answer from each model, its memory against what was announced, and its agreement
/// with the records; perplexities where `ONDOL_REFERENCE` (or `../shared/reference`)
/// holds the texts.
pub fn models() -> Outcome {
    let ondol = command()?;
    for Record { model, .. } in RECORDS {
        let prompt = "The capital of France is";
        run(
            &ondol,
            &[
                "run",
                model,
                prompt,
                "--raw",
                "--max-tokens",
                "8",
                "--temperature",
                "0",
            ],
        )?;
    }
    memory(&ondol)?;
    RECORDS
        .iter()
        .try_for_each(|record| agree(&ondol, record))?;
    let Some(reference) = reference() else {
        return Ok(());
    };
    for check in &PERPLEXITIES {
        for (level, tolerance) in LEVELS {
            perplexity(&ondol, check, &["--kernels", level], tolerance, &reference)?;
        }
    }
    let (check, tolerance) = (&PERPLEXITIES[0], LEVELS[0].1);
    let args = ["--kernels", "avx2", "--kv-type", "q8_0"];
    perplexity(&ondol, check, &args, tolerance, &reference)
}

/// Builds the command; where it lies.
pub fn command() -> Result<String, String> {
    cargo(&["build", "--release", "-p", "ondol-cli"])?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(text(&target.join("release/ondol")))
}

/// Fetches the models that the records are of, where they are not here yet.
pub fn fetch() -> Outcome {
    let ondol = command()?;
    let pull = |record: &Record| run(&ondol, &["pull", record.model]);
    RECORDS.iter().try_for_each(pull)
}

/// The folder of the texts for perplexity; says so if it is not there.
fn reference() -> Option<PathBuf> {
    let folder = std::env::var_os("ONDOL_REFERENCE");
    let folder = folder.map_or_else(|| root().join("../shared/reference"), PathBuf::from);
    if !folder.is_dir() {
        let folder = folder.display();
        eprintln!("xtask: SKIPPED the perplexities: no folder {folder} (set ONDOL_REFERENCE)");
        return None;
    }
    Some(folder)
}

/// What models and their packed copies take, one a process: what is freed is not
/// always given back.
fn memory(ondol: &str) -> Outcome {
    let test = ["test", "--workspace", "--test", "resident"];
    let test = [&test[..], &["--", "--ignored", "--nocapture"]].concat();
    let list = output(ondol, &["list", "--json"])?;
    let files = json_texts(&list, "path").chain(json_texts(&list, "packed"));
    files
        .into_iter()
        .try_for_each(|file| run_env("cargo", &test, &[("ONDOL_TEST_MODEL", file)]))
}

fn agree(ondol: &str, record: &Record) -> Outcome {
    let file = text(&record.path());
    let agree = ["agree", record.model, &file, "--kernels"];
    run(
        ondol,
        &[
            &agree[..],
            &["exact", "--max-dlnp", "0.01", "--min-top1", "0.995"],
        ]
        .concat(),
    )?;
    run(
        ondol,
        &[
            &agree[..],
            &["avx2", "--max-dlnp", record.max_dlnp, "--min-top1", "0.97"],
        ]
        .concat(),
    )
}

fn perplexity(
    ondol: &str,
    check: &Perplexity,
    engine: &[&str],
    tolerance: f64,
    reference: &Path,
) -> Outcome {
    let file = text(&reference.join(check.text));
    let args = [
        "perplexity",
        check.model,
        "-f",
        &file,
        "--tokens",
        "2048",
        "--json",
    ];
    let output = Command::new(ondol)
        .args(args)
        .args(engine)
        .output()
        .map_err(|e| e.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout);
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
        engine.join(" "),
        off * 100.0
    );
    // What is no number is not within it.
    match off.abs() <= tolerance {
        true => Ok(()),
        false => Err(format!("perplexity of {} on {}", check.model, check.text)),
    }
}

/// The number of a key of a flat JSON object.
fn json_number(json: &str, key: &str) -> Option<f64> {
    let rest = json.split(&format!("\"{key}\":")).nth(1)?;
    let end = rest.find([',', '}'])?;
    rest[..end].trim().parse().ok()
}

/// The texts that a key has in a list of JSON objects; paths with quotes are not met.
fn json_texts<'j>(json: &'j str, key: &str) -> impl Iterator<Item = &'j str> {
    let start = format!("\"{key}\":\"");
    let rests: Vec<&str> = json.split(&start).skip(1).collect();
    rests.into_iter().filter_map(|rest| rest.split('"').next())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
