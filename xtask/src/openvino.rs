//! Tests the delegate for Intel NPUs: its own tests and `ondol verify`, with OpenVINO
//! on the CPU.

use crate::delegate::TOKENS;
use crate::models;
use crate::steps::{Outcome, python, root, run_env};
use std::fs;
use std::path::{Path, PathBuf};

/// The version of OpenVINO that is tested. It is not part of the plug-in, which loads
/// the machine's own.
const PACKAGE: &str = "openvino==2026.4.0";
const CRATE: &str = "ondol-delegate-openvino";

/// Levels that OpenVINO's CPU device can pass.
const LEVELS: &str = "abi,op,model,end-to-end,determinism";

/// Runs the plug-in's own tests, then `ondol verify` with it.
pub fn openvino() -> Outcome {
    let library = match library() {
        Ok(library) => library.display().to_string(),
        Err(reason) => {
            eprintln!("xtask: SKIPPED the OpenVINO delegate: {reason}");
            return Ok(());
        }
    };
    let env = [
        ("ONDOL_OPENVINO_LIB", library.as_str()),
        ("ONDOL_OPENVINO_DEVICE", "CPU"),
    ];
    // Builds the whole workspace, because building one package alone would rebuild its
    // dependencies. No other crate has tests with these names.
    let own = ["test", "--workspace", "--lib", "--", "device_tests::"];
    run_env("cargo", &own, &env)?;
    let ondol = models::command()?;
    let name = CRATE.replace('-', "_");
    let plugin = Path::new(&ondol).with_file_name(format!(
        "{}{name}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    ));
    let plugin = plugin.display().to_string();
    let report = folder().join("report").display().to_string();
    let verify = ["verify", "--delegate", &plugin];
    run_env(&ondol, &[&verify[..], &["hello"]].concat(), &env)?;
    let smollm2 = ["smollm2", "--level", LEVELS, "--tokens", TOKENS];
    let smollm2 = [&smollm2[..], &["--report", &report, "--force"]].concat();
    run_env(&ondol, &[&verify[..], &smollm2].concat(), &env)
}

/// OpenVINO's C library, from its wheel, which is fetched once. The error is the reason
/// why it is not available.
fn library() -> Result<PathBuf, String> {
    let unpacked = folder().join("unpacked");
    if let Some(library) = find(&unpacked) {
        return Ok(library);
    }
    let wheels = folder().join("wheel");
    let pip = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-input",
    ];
    let binary = [
        "--only-binary",
        ":all:",
        "--disable-pip-version-check",
        "-d",
    ];
    python(&[&pip[..], &binary, &[&text(&wheels), PACKAGE]].concat())?;
    let wheel = first_in(&wheels, |name| name.ends_with(".whl"));
    let wheel = wheel.ok_or("pip left no wheel")?;
    python(&["-m", "zipfile", "-e", &text(&wheel), &text(&unpacked)])?;
    find(&unpacked).ok_or_else(|| "there is no libopenvino_c in the wheel".to_owned())
}

fn find(unpacked: &Path) -> Option<PathBuf> {
    let prefix = format!("{}openvino_c.", std::env::consts::DLL_PREFIX);
    first_in(&unpacked.join("openvino/libs"), |name| {
        name.starts_with(&prefix)
    })
}

fn first_in(folder: &Path, is: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| is(&name.to_string_lossy()))
        })
}

fn folder() -> PathBuf {
    root().join("target/openvino")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
