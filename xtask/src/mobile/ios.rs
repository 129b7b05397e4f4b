//! Builds libraries for iOS, and the XCFramework if Xcode is available.

use super::{Toolchain, copy, folder, symbols, write};
use crate::steps::{Extent, Outcome, root, run};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Targets: devices, and the simulator on Macs with Apple's CPUs.
const TARGETS: [&str; 2] = ["aarch64-apple-ios", "aarch64-apple-ios-sim"];

/// The module map with which Swift imports the header.
const MODULE: &str = "module OndolC {\n    header \"ondol.h\"\n    export *\n}\n";

/// Builds and checks the static libraries of devices and simulator, and the
/// XCFramework.
pub fn ios() -> Outcome {
    let Some(toolchain) = Toolchain::find()? else {
        return Ok(());
    };
    build(&toolchain, Extent::All)?;
    if xcode() {
        return xcframework();
    }
    println!("xtask: SKIPPED Ondol.xcframework: no Xcode");
    Ok(())
}

/// Builds and checks the libraries of all targets, or of the first, in
/// `target/mobile/ios`.
pub fn build(toolchain: &Toolchain, extent: Extent) -> Outcome {
    let home = folder().join("ios");
    let targets = match extent {
        Extent::Part => &TARGETS[..1],
        Extent::All => &TARGETS,
    };
    for target in targets {
        let built = toolchain.library("ios", "ondol-c", target, "staticlib", &[])?;
        let library = home.join(target).join("libondol.a");
        copy(&built.join("libondol.a"), &library)?;
        symbols::check_static(toolchain, &library)?;
        println!("{target}: built and its names checked; not linked, not executed");
    }
    let headers = home.join("include");
    copy(&root().join("bindings/c/ondol.h"), &headers.join("ondol.h"))?;
    write(&headers.join("module.modulemap"), MODULE)
}

/// Whether Xcode's command is installed.
pub fn xcode() -> bool {
    let version = Command::new("xcodebuild").arg("-version").output();
    version.is_ok_and(|output| output.status.success())
}

fn xcframework() -> Outcome {
    let home = folder().join("ios");
    let path = |path: &Path| path.display().to_string();
    let framework = home.join("Ondol.xcframework");
    if framework.exists() {
        // xcodebuild does not overwrite an existing one.
        fs::remove_dir_all(&framework).map_err(|e| format!("{} ({e})", framework.display()))?;
    }
    let headers = path(&home.join("include"));
    let libraries = TARGETS.map(|target| path(&home.join(target).join("libondol.a")));
    let slice = |library| ["-library", library, "-headers", headers.as_str()];
    let slices = [slice(&libraries[0]), slice(&libraries[1])].concat();
    let out = path(&framework);
    let line = [&["-create-xcframework"], &slices[..], &["-output", &out]].concat();
    run("xcodebuild", &line)
}
