//! Runs the measurements: the programs of the crate `ondol-benches`.

use crate::steps::{Outcome, cargo};

/// Measures the kernels for the given formats; with options, compares Ondol with other
/// engines.
pub fn bench(args: &[String]) -> Outcome {
    let program = match args.first() {
        Some(option) if option.starts_with('-') => "peers",
        _ => "kernels",
    };
    let run = [
        "run",
        "--release",
        "-p",
        "ondol-benches",
        "--bin",
        program,
        "--",
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    cargo(&[&run[..], &args].concat())
}
