//! Tells the commit, for reports.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    let git = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = git.ok().filter(|output| output.status.success());
    let commit = commit.map_or_else(String::new, |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    });
    println!("cargo:rustc-env=ONDOL_COMMIT={commit}");
}
