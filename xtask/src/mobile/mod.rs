//! Builds libraries for phones; contains what Android and iOS share.
//!
//! Debian's Rust, with the standard library's source (`rust-web-src`), builds for every
//! target, as for firmware. Without apt (on a Mac), rustup's Rust builds for the
//! targets that were added to it.

mod aar;
mod android;
mod bionic;
mod ios;
mod privacy;
mod size;
mod symbols;
mod xcframework;

use crate::apt;
use crate::steps::{Outcome, root, run, run_env};
use std::fs;
use std::path::{Path, PathBuf};

pub use aar::stand_in;
pub use android::android;
pub use ios::ios;

const PACKAGES: [&str; 6] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "clang-19",
    "lld-19",
    "llvm-19",
];

/// The compiler and its tools.
enum Toolchain {
    /// Debian's Rust, which builds the standard library from source.
    Debian,
    /// rustup's Rust, and LLVM's tools without a version in their names.
    Rustup,
}

impl Toolchain {
    /// Installs missing packages if there is apt. Returns `None`, and prints why, if
    /// nothing can be built.
    fn find() -> Result<Option<Toolchain>, String> {
        if apt::install("phones by Debian's Rust", &PACKAGES)? {
            run("/usr/bin/rustc", &["--version"])?;
            return Ok(Some(Toolchain::Debian));
        }
        if android::ndk().is_none() && !ios::xcode() {
            println!("xtask: SKIPPED phones: no apt, no ANDROID_NDK_HOME, no Xcode");
            return Ok(None);
        }
        Ok(Some(Toolchain::Rustup))
    }

    /// The name of one of LLVM's tools.
    fn tool(&self, name: &str) -> String {
        match self {
            Toolchain::Debian => format!("{name}-19"),
            Toolchain::Rustup => name.to_string(),
        }
    }

    /// Builds the library of a package for a target of a system, with options for the
    /// final link. Returns its folder. Each system has a separate folder, so that both
    /// can be built at the same time.
    fn library(
        &self,
        system: &str,
        package: &str,
        target: &str,
        kinds: &str,
        link: &[String],
    ) -> Result<PathBuf, String> {
        let built = folder().join("build").join(system);
        let folder = built.display().to_string();
        let package = ["rustc", "--profile", "mobile", "--lib", "-p", package];
        let what = ["--target", target, "--crate-type", kinds];
        // Without the code that prints backtraces: the libraries have no names to print.
        let std = ["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="];
        let link: Vec<&str> = link.iter().map(String::as_str).collect();
        let target_folder = ("CARGO_TARGET_DIR", folder.as_str());
        match self {
            Toolchain::Debian => run_env(
                "/usr/bin/cargo",
                &[&package[..], &what, &std, &["--"], &link].concat(),
                &[
                    ("RUSTC", "/usr/bin/rustc"),
                    ("RUSTC_BOOTSTRAP", "1"),
                    target_folder,
                ],
            )?,
            Toolchain::Rustup => run_env(
                "cargo",
                &[&package[..], &what, &["--"], &link].concat(),
                &[target_folder],
            )?,
        }
        Ok(built.join(target).join("mobile"))
    }
}

/// The folder of all results.
fn folder() -> PathBuf {
    root().join("target/mobile")
}

/// Copies a file and makes the missing folders of its new path.
fn copy(from: &Path, to: &Path) -> Outcome {
    make_folder(to.parent().unwrap_or(to))?;
    let copied = fs::copy(from, to);
    copied.map_err(|e| format!("copy {} to {} ({e})", from.display(), to.display()))?;
    Ok(())
}

fn make_folder(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|e| format!("{} ({e})", folder.display()))
}

fn write(path: &Path, text: &str) -> Outcome {
    make_folder(path.parent().unwrap_or(path))?;
    fs::write(path, text).map_err(|e| format!("{} ({e})", path.display()))
}
