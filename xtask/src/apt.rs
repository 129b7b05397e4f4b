//! Installs the Debian packages that a chore needs.

use crate::steps::{Outcome, run};
use std::fs::File;
use std::process::Command;

/// Installs the packages that are missing; `name:architecture` is one of another
/// architecture. Returns false, and prints why, if they can't be installed.
pub fn install(chore: &str, packages: &[&str]) -> Result<bool, String> {
    let there = Command::new("dpkg").arg("-s").args(packages).output();
    if there.is_ok_and(|output| output.status.success()) {
        return Ok(true);
    }
    if Command::new("apt-get").arg("--version").output().is_err() {
        eprintln!("xtask: SKIPPED {chore}: {packages:?} are missing, and there is no apt-get");
        return Ok(false);
    }
    // Chores run at the same time, and apt fails while another apt runs.
    let lock = File::create(std::env::temp_dir().join("ondol-xtask-apt.lock"));
    let lock = lock.map_err(|error| format!("the lock of apt ({error})"))?;
    lock.lock()
        .map_err(|error| format!("the lock of apt ({error})"))?;
    for (_, architecture) in packages.iter().filter_map(|name| name.split_once(':')) {
        as_root(&["dpkg", "--add-architecture", architecture])?;
    }
    as_root(&["apt-get", "update", "-q"])?;
    let install = ["apt-get", "install", "-y", "-q", "--no-install-recommends"];
    as_root(&[&install[..], packages].concat())?;
    Ok(true)
}

fn as_root(command: &[&str]) -> Outcome {
    let id = Command::new("id").arg("-u").output();
    let root = id.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let env = ["env", "DEBIAN_FRONTEND=noninteractive"];
    let line = [if root { &[][..] } else { &["sudo"] }, &env, command].concat();
    run(line[0], &line[1..])
}
