//! The steps of each chore: commands, run from the workspace's root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What failed: the command line, or a check by name.
pub type Outcome = Result<(), String>;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

pub fn run(program: &str, args: &[&str]) -> Outcome {
    run_env(program, args, &[])
}

pub fn run_env(program: &str, args: &[&str], env: &[(&str, &str)]) -> Outcome {
    let line = format!("{program} {}", args.join(" "));
    eprintln!("xtask: {line}");
    let status = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root())
        // No step asks anything, and `ondol run` reads what is piped in.
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(line),
        Err(error) => Err(format!("{line} ({error})")),
    }
}

/// What a program prints.
pub fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let line = format!("{program} {}", args.join(" "));
    let output = Command::new(program)
        .args(args)
        .current_dir(root())
        .output()
        .map_err(|error| format!("{line} ({error})"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{line}: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub fn cargo(args: &[&str]) -> Outcome {
    run("cargo", args)
}

type Step = (&'static str, fn() -> Outcome);

/// Everything that CI runs, and how long each step took.
pub fn test() -> Outcome {
    const STEPS: [Step; 11] = [
        ("lint", lint),
        ("no-std", no_std),
        ("unit", unit),
        ("c", crate::c::c),
        ("firmware", crate::firmware::firmware),
        ("mobile", crate::mobile::test),
        ("hostile", hostile),
        ("models", crate::models::models),
        ("delegate", crate::delegate::delegate),
        ("openvino", crate::openvino::openvino),
        ("aarch64", crate::aarch64::aarch64),
    ];
    let mut taken = Vec::new();
    let outcome = STEPS.into_iter().try_for_each(|(name, step)| {
        let start = Instant::now();
        let outcome = step();
        taken.push((name, start.elapsed().as_secs_f64()));
        outcome
    });
    taken.push(("all", taken.iter().map(|(_, seconds)| seconds).sum()));
    for (name, seconds) in taken {
        eprintln!("xtask: {name:10} {seconds:7.1} s");
    }
    outcome
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

/// The two storeys without the standard library, with everything and with least.
pub fn no_std() -> Outcome {
    let both = ["clippy", "-p", "ondol-models", "-p", "ondol"];
    let strict = ["--", "-D", "warnings"];
    let without = ["--no-default-features"];
    cargo(&[&both[..], &without, &["--features", "all"], &strict].concat())?;
    cargo(&[&both[..], &without, &strict].concat())
}

/// Damaged copies of `hello` through load and four tokens. Of the workspace, since
/// a package alone would have its dependencies built anew, with other features.
pub fn hostile() -> Outcome {
    cargo(&[
        "test",
        "--workspace",
        "--test",
        "hostile",
        "--",
        "--ignored",
        "--nocapture",
    ])
}

/// The fuzz targets, a minute each.
pub fn fuzz() -> Outcome {
    let run = |target| {
        cargo(&[
            "+nightly",
            "fuzz",
            "run",
            target,
            "--",
            "-max_total_time=60",
        ])
    };
    ["gguf_reader", "tokenizer"].into_iter().try_for_each(run)
}
