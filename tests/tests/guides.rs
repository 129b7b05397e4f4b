//! The guides quote real code: every block of Rust in them is part of a source file, line
//! by line.

use std::fs;
use std::path::{Path, PathBuf};

const GUIDES: [&str; 3] = [
    "add-a-kernel.md",
    "add-a-quant-type.md",
    "add-an-architecture.md",
];
const SOURCES: [&str; 2] = ["models/src", "runtime/kernels/src"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a folder and of the folders in it.
fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => add_files(&path, files),
            false => files.push(path),
        }
    }
}

/// Lines without their indentation, since a quotation may begin anywhere.
fn lines(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
}

/// The blocks of Rust of a page.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    let begun = page.split("```rust\n").skip(1);
    begun.map(|rest| rest.split("```").next().unwrap())
}

#[test]
fn the_code_of_the_guides_is_the_code() {
    let mut files = Vec::new();
    for folder in SOURCES {
        add_files(&root().join(folder), &mut files);
    }
    let sources: Vec<String> = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .collect();
    let sources: Vec<Vec<&str>> = sources.iter().map(|source| lines(source)).collect();
    let mut quoted = 0;
    for guide in GUIDES {
        let page = fs::read_to_string(root().join("docs").join(guide)).unwrap();
        for block in blocks(&page) {
            let wanted = lines(block);
            let holds =
                |source: &Vec<&str>| source.windows(wanted.len()).any(|part| part == wanted);
            assert!(sources.iter().any(holds), "{guide}: no source has\n{block}");
            quoted += 1;
        }
    }
    assert!(quoted > 10, "{quoted}");
}
