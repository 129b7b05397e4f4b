//! Measures the size of a library and of its parts.
//!
//! The total is the size of the stripped shared library. The parts are computed from
//! the symbols of the static library, which the same compilation made. Instances of
//! generic code count for the crate in which the generic code was written.

use super::Toolchain;
use crate::steps::{Outcome, output};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Numbers of functions and of crates to list.
const LONGEST: usize = 20;

/// Fails if the library is larger than its limit.
pub fn check(library: &Path, budget: u64) -> Outcome {
    let bytes = bytes(library)?;
    let path = library.display();
    println!("{path}: {bytes} bytes, of {budget} at most");
    if bytes > budget {
        return Err(format!(
            "{path}: {bytes} bytes are over the budget of {budget}"
        ));
    }
    Ok(())
}

fn bytes(file: &Path) -> Result<u64, String> {
    let meta = fs::metadata(file).map_err(|e| format!("{} ({e})", file.display()))?;
    Ok(meta.len())
}

/// Prints the sections of the shared library, and the code by crate and by function, in
/// the format of docs/size.md.
pub fn report(toolchain: &Toolchain, archive: &Path, shared: &Path) -> Outcome {
    let path = shared.display().to_string();
    let sections = output(&toolchain.tool("llvm-size"), &["-A", &path])?;
    let rows = sections.lines().filter(|line| line.starts_with('.'));
    let rows = rows.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_string(), words.next()?.parse().ok()?))
    });
    table("section", rows.collect());

    let archive = archive.display().to_string();
    let list = output(
        &toolchain.tool("llvm-nm"),
        &[
            "--print-size",
            "--demangle",
            "--defined-only",
            "--quiet",
            &archive,
        ],
    )?;
    let functions: Vec<(String, u64)> = list.lines().filter_map(function).collect();
    let mut crates = BTreeMap::new();
    for (name, bytes) in &functions {
        *crates.entry(first_crate(name).to_string()).or_insert(0) += bytes;
    }
    table("crate", crates.into_iter().collect());
    table("function", functions);
    Ok(())
}

/// A row of nm that describes code: address, bytes, kind and name.
fn function(row: &str) -> Option<(String, u64)> {
    let mut words = row.splitn(4, ' ');
    let (_, bytes, kind, name) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let code = matches!(kind, "t" | "T" | "w" | "W");
    let bytes = u64::from_str_radix(bytes, 16).ok()?;
    code.then(|| (name.to_string(), bytes))
}

/// The first name of the path in a demangled name: `ondol` in `<&ondol::Model as ...>`.
fn first_crate(name: &str) -> &str {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let paths = name.split("::").next().unwrap_or(name);
    if paths.len() == name.len() {
        return "(C names)";
    }
    paths
        .rsplit(|c| !word(c))
        .find(|part| !part.is_empty())
        .unwrap_or(name)
}

/// Prints the largest rows.
fn table(what: &str, mut rows: Vec<(String, u64)>) {
    rows.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let all: u64 = rows.iter().map(|(_, bytes)| bytes).sum();
    println!("\n| {what} | bytes |\n| --- | --- |");
    for (name, bytes) in rows.iter().take(LONGEST) {
        println!("| `{name}` | {bytes} |");
    }
    println!("| all {} | {all} |\n", rows.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_code_are_read() {
        let row = "0000000000001000 00000000000000ff t <core::fmt::Formatter>::pad";
        let expected = ("<core::fmt::Formatter>::pad".to_string(), 255);
        assert_eq!(function(row), Some(expected));
        assert_eq!(function("0000000000001000 00000000000000ff r TABLE"), None);
        assert_eq!(function("libondol.o:"), None);
    }

    #[test]
    fn the_first_crate_of_a_name() {
        assert_eq!(first_crate("ondol::session::Session::prefill"), "ondol");
        assert_eq!(
            first_crate("<&minijinja::Value as core::fmt::Debug>::fmt"),
            "minijinja"
        );
        assert_eq!(first_crate("<[alloc::string::String]>::join"), "alloc");
        assert_eq!(first_crate("memcpy"), "(C names)");
    }
}
