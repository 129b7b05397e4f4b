//! Compares the public API of the crate `ondol` with a text, so that every change of it
//! is visible.
//!
//! rustdoc writes the API as JSON, whose format changes with the compiler. If the crate
//! `public-api` can't read this format, the chore prints so and checks nothing.

use crate::steps::{Outcome, root, run_env};
use std::fs;

/// The file with the expected API.
const PAGE: &str = "docs/public-api.txt";

/// Compares the API with [`PAGE`], or writes it there.
pub fn api(args: &[String]) -> Outcome {
    let write = match args {
        [] => false,
        [arg] if arg == "--write" => true,
        _ => return Err("`api` takes `--write` alone".into()),
    };
    let Some(found) = page()? else {
        eprintln!("xtask: skipped: `public-api` does not read the JSON of this rustdoc");
        return Ok(());
    };
    let path = root().join(PAGE);
    if write {
        return fs::write(path, found).map_err(|e| format!("{PAGE}: {e}"));
    }
    let expected = fs::read_to_string(path).map_err(|e| format!("{PAGE}: {e}"))?;
    let changes = changes(&expected, &found);
    if changes.is_empty() {
        return Ok(());
    }
    changes.iter().for_each(|line| eprintln!("{line}"));
    Err(format!(
        "{PAGE}: the public API has changed; `cargo xtask api --write` writes it anew,"
    ))
}

/// All public items, one on each line; `None` if rustdoc's JSON can't be read.
fn page() -> Result<Option<String>, String> {
    let target = root().join("target/api");
    let target = target.to_string_lossy();
    let arguments = [
        "rustdoc",
        "-p",
        "ondol",
        "--lib",
        "--features",
        "std,delegate,all",
    ];
    let json = ["--", "-Z", "unstable-options", "--output-format", "json"];
    // A separate folder, because cargo rebuilds everything when the variable that allows unstable
    // options changes.
    let env = [("RUSTC_BOOTSTRAP", "1"), ("CARGO_TARGET_DIR", &*target)];
    run_env("cargo", &[&arguments[..], &json].concat(), &env)?;
    let json = root().join("target/api/doc/ondol.json");
    let built = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    Ok(built.ok().map(|page| page.to_string()))
}

/// The removed lines, and the new lines.
fn changes(expected: &str, found: &str) -> Vec<String> {
    let without = |lines: &str, others: &str, sign: &str| -> Vec<String> {
        let others: Vec<&str> = others.lines().collect();
        let lines = lines.lines().filter(|line| !others.contains(line));
        lines.map(|line| format!("{sign} {line}")).collect()
    };
    let mut changes = without(expected, found, "-");
    changes.extend(without(found, expected, "+"));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_and_what_is_new() {
        let changes = changes("pub fn a()\npub fn b()\n", "pub fn b()\npub fn c()\n");
        assert_eq!(changes, ["- pub fn a()", "+ pub fn c()"]);
    }
}
