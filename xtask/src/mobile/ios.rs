//! Builds libraries for iOS, and an XCFramework for the Swift package.

use super::xcframework::{self, LIBRARY, SLICES};
use super::{Toolchain, copy, folder, privacy, symbols, write};
use crate::steps::{Outcome, root, run};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The module map with which Swift imports the header of the C API.
const MODULE: &str = "module OndolC {\n    header \"ondol.h\"\n    export *\n}\n";

/// Builds and checks the static libraries of devices and simulator, and puts those of the
/// Swift package together in an XCFramework: by Xcode, or without it, which its name says.
pub fn ios() -> Outcome {
    let Some(toolchain) = Toolchain::find()? else {
        return Ok(());
    };
    for_c(&toolchain)?;
    let home = folder().join("ios");
    for slice in &SLICES {
        for_swift(&toolchain, &home, slice.target)?;
    }
    if xcode() {
        return by_xcode(&home);
    }
    let framework = home.join("Ondol-unlinked.xcframework");
    xcframework::unlinked(&home, &framework)?;
    println!("{}: put together without Xcode", framework.display());
    Ok(())
}

/// Builds and checks the C API's libraries of all targets, in `target/mobile/ios`.
fn for_c(toolchain: &Toolchain) -> Outcome {
    let home = folder().join("ios");
    for slice in &SLICES {
        let target = slice.target;
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

/// Builds and checks the library of the Swift package for a target.
fn for_swift(toolchain: &Toolchain, home: &Path, target: &str) -> Outcome {
    let built = toolchain.library("ios", "ondol-uniffi", target, "staticlib", &[])?;
    let library = home.join(target).join(LIBRARY);
    copy(&built.join(LIBRARY), &library)?;
    symbols::check_has(toolchain, &library, xcframework::HEADER)?;
    privacy::check(toolchain, &library)?;
    println!("{target}: {LIBRARY} has what the Swift package calls; not linked");
    Ok(())
}

/// Whether Xcode's command is installed.
pub fn xcode() -> bool {
    let version = Command::new("xcodebuild").arg("-version").output();
    version.is_ok_and(|output| output.status.success())
}

fn by_xcode(home: &Path) -> Outcome {
    let path = |path: &Path| path.display().to_string();
    let framework = home.join("Ondol.xcframework");
    if framework.exists() {
        // xcodebuild does not overwrite an existing one.
        fs::remove_dir_all(&framework).map_err(|e| format!("{} ({e})", framework.display()))?;
    }
    let headers = home.join("include-swift");
    xcframework::headers(&headers)?;
    let headers = path(&headers);
    let libraries = SLICES.each_ref();
    let libraries = libraries.map(|slice| path(&home.join(slice.target).join(LIBRARY)));
    let slice = |library| ["-library", library, "-headers", headers.as_str()];
    let slices = [slice(&libraries[0]), slice(&libraries[1])].concat();
    let out = path(&framework);
    let line = [&["-create-xcframework"], &slices[..], &["-output", &out]].concat();
    run("xcodebuild", &line)
}
