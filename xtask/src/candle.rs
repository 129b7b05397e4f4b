//! Tests the delegate by candle with `ondol verify`: on candle's CPU, or on an NVIDIA GPU.

use crate::models::target;
use crate::plugin::Plugin;
use crate::steps::{Extent, Outcome, cargo};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PACKAGE: &str = "ondol-delegate-candle";
const DEVICE: &str = "ONDOL_CANDLE_DEVICE";

/// The chore with its arguments: none, or `--cuda`.
pub fn chore(args: &[String]) -> Outcome {
    match args {
        [] => candle(Extent::All),
        [only] if only == "--cuda" => cuda(),
        _ => Err("`candle` takes `--cuda` or nothing".into()),
    }
}

/// Verifies the plug-in on candle's CPU: with the built-in model, and if all is to be tested,
/// with a real one.
pub fn candle(extent: Extent) -> Outcome {
    let env = [(DEVICE, "cpu")];
    let plugin = Plugin::built(PACKAGE, &env)?;
    plugin.hello()?;
    match extent {
        Extent::Part => Ok(()),
        Extent::All => plugin.smollm2(&folder()),
    }
}

/// The same on the first NVIDIA GPU, with a release build. Without a GPU or the CUDA toolkit
/// it says so and does nothing.
fn cuda() -> Outcome {
    for (tool, lacks) in [("nvidia-smi", "no NVIDIA GPU"), ("nvcc", "no CUDA toolkit")] {
        if !runs(tool) {
            eprintln!("xtask: SKIPPED candle with CUDA: there is {lacks} ({tool} does not run)");
            return Ok(());
        }
    }
    cargo(&["build", "--release", "-p", "ondol-cli"])?;
    cargo(&["build", "--release", "-p", PACKAGE, "--features", "cuda"])?;
    let plugin = Plugin::beside(
        &target().join("release/ondol"),
        PACKAGE,
        &[(DEVICE, "cuda")],
    );
    plugin.whole(&folder())
}

/// Where reports are written.
fn folder() -> PathBuf {
    target().join("candle")
}

fn runs(tool: &str) -> bool {
    let mut command = Command::new(tool);
    command
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
