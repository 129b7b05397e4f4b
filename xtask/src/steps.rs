//! The steps of each chore: commands, run from the workspace's root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What failed: the command line, or a check by name.
pub type Outcome = Result<(), String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

fn run(program: &str, args: &[&str]) -> Outcome {
    run_env(program, args, &[])
}

fn run_env(program: &str, args: &[&str], env: &[(&str, &str)]) -> Outcome {
    let line = format!("{program} {}", args.join(" "));
    eprintln!("xtask: {line}");
    let status = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(line),
        Err(error) => Err(format!("{line} ({error})")),
    }
}

fn cargo(args: &[&str]) -> Outcome {
    run("cargo", args)
}

/// Everything that CI runs.
pub fn test() -> Outcome {
    lint()?;
    no_std()?;
    unit()?;
    hostile()?;
    models()
}

/// Formatting, lints and documentation.
pub fn lint() -> Outcome {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])?;
    run_env(
        "cargo",
        &["doc", "--workspace", "--no-deps"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}

/// All tests but the long ones.
pub fn unit() -> Outcome {
    cargo(&["test", "--workspace"])
}

/// The two storeys without the standard library.
pub fn no_std() -> Outcome {
    cargo(&[
        "clippy",
        "-p",
        "ondol-models",
        "-p",
        "ondol",
        "--no-default-features",
        "--",
        "-D",
        "warnings",
    ])
}

/// Damaged copies of `hello` through load and four tokens.
pub fn hostile() -> Outcome {
    cargo(&[
        "test",
        "-p",
        "ondol-tests",
        "--test",
        "hostile",
        "--",
        "--ignored",
        "--nocapture",
    ])
}

/// The fuzz targets, a minute each.
pub fn fuzz() -> Outcome {
    for target in ["gguf_reader", "tokenizer"] {
        cargo(&[
            "+nightly",
            "fuzz",
            "run",
            target,
            "--",
            "-max_total_time=60",
        ])?;
    }
    Ok(())
}

/// The catalog's real models: an answer from each, and agreement with the
/// reference records and perplexities where `ONDOL_REFERENCE` (or
/// `../shared/reference`) holds them.
pub fn models() -> Outcome {
    cargo(&["build", "--release", "-p", "ondol-cli"])?;
    let ondol = root().join("target/release/ondol");
    let ondol = std::env::var("CARGO_TARGET_DIR")
        .map_or(ondol, |dir| Path::new(&dir).join("release/ondol"));
    let ondol = ondol.to_string_lossy().into_owned();
    for model in ["smollm2", "gemma3-270m"] {
        run(
            &ondol,
            &[
                "run",
                model,
                "The capital of France is",
                "--raw",
                "--max-tokens",
                "8",
                "--temperature",
                "0",
            ],
        )?;
    }
    let reference = std::env::var("ONDOL_REFERENCE")
        .map_or_else(|_| root().join("../shared/reference"), PathBuf::from);
    if !reference.is_dir() {
        eprintln!(
            "xtask: SKIPPED agreement with the reference: no folder {} (set ONDOL_REFERENCE)",
            reference.display()
        );
        return Ok(());
    }
    let file = |name: &str| reference.join(name).to_string_lossy().into_owned();
    for check in AGREEMENT {
        let (record, text) = (file(check.record), file(check.text));
        let exact = ["--max-dlnp", "0.01", "--min-top1", "0.995"];
        run(
            &ondol,
            &[
                &["agree", check.model, &record, "--kernels", "exact"],
                &exact[..],
            ]
            .concat(),
        )?;
        run(
            &ondol,
            &[
                "agree",
                check.model,
                &record,
                "--max-dlnp",
                check.max_dlnp,
                "--min-top1",
                "0.97",
            ],
        )?;
        perplexity(&ondol, check, &text)?;
    }
    Ok(())
}

/// What is required of a model, from the reference's table.
struct Agreement {
    model: &'static str,
    record: &'static str,
    text: &'static str,
    /// What an 8-bit engine loses.
    max_dlnp: &'static str,
    perplexity: f64,
}

const AGREEMENT: [Agreement; 3] = [
    Agreement {
        model: "smollm2",
        record: "smollm2-135m-q4_1.f32.jsonl",
        text: "en.txt",
        max_dlnp: "0.114",
        perplexity: 16.87249,
    },
    Agreement {
        model: "gemma3-270m",
        record: "gemma-3-270m-q4_k_m.f32.jsonl",
        text: "en.txt",
        max_dlnp: "0.130",
        perplexity: 17.25139,
    },
    Agreement {
        model: "gemma3-270m",
        record: "gemma-3-270m-q4_k_m.f32.jsonl",
        text: "ko.txt",
        max_dlnp: "0.130",
        perplexity: 18.63695,
    },
];

/// Perplexity within 0.5 % of the truth, 0.05 % for the exact level.
fn perplexity(ondol: &str, check: &Agreement, text: &str) -> Outcome {
    for (level, tolerance) in [(None, 0.005), (Some("exact"), 0.0005)] {
        let mut command = Command::new(ondol);
        command.args([
            "perplexity",
            check.model,
            "-f",
            text,
            "--tokens",
            "2048",
            "--json",
        ]);
        command.args(level.into_iter().flat_map(|level| ["--kernels", level]));
        let output = command.output().map_err(|e| e.to_string())?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let found = printed.split("\"perplexity\":").nth(1).and_then(|rest| {
            let number: String = rest
                .trim_start()
                .chars()
                .take_while(|c| c.is_ascii_digit() || *c == '.')
                .collect();
            number.parse::<f64>().ok()
        });
        let Some(found) = found else {
            return Err(format!(
                "perplexity of {}: no figure in {printed}",
                check.model
            ));
        };
        let off = found / check.perplexity - 1.0;
        eprintln!(
            "xtask: {} {} {}: {found:.4} ({:+.3} %)",
            check.model,
            check.text,
            level.unwrap_or("fast"),
            off * 100.0
        );
        if off.abs() > tolerance {
            return Err(format!("perplexity of {} on {}", check.model, check.text));
        }
    }
    Ok(())
}
