//! Checks that the files of `runtime/src` depend on each other only as `docs/design.md`
//! allows.

use crate::steps::root;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The diagram is the code block after this line.
const DRAWING: &str = "Inside `runtime/src` a file depends only on";
/// The file whose variants name the errors of rows above it.
const EXCEPTION: &str = "error";

/// The row of each module in the diagram, counted from the bottom.
fn rows() -> BTreeMap<String, usize> {
    let design = fs::read_to_string(root().join("docs/design.md")).unwrap();
    let (_, after) = design.split_once(DRAWING).expect("the drawing's line");
    let drawing = after.split("```").nth(1).expect("a code block");
    let mut rows = BTreeMap::new();
    for (row, line) in drawing.lines().rev().enumerate() {
        let rooms = line.split_whitespace();
        let names = rooms.map(|room| room.trim_end_matches('/').trim_end_matches(".rs"));
        rows.extend(names.map(|room| (room.to_owned(), row)));
    }
    rows
}

/// The Rust files below a folder, without tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") && name != "tests" {
            found.push(path);
        }
    }
    found
}

/// The module of each name that `lib.rs` re-exports.
fn re_exports(lib: &str) -> BTreeMap<String, String> {
    let uses = lib.split("pub use ").skip(1);
    let uses = uses.filter_map(|rest| rest.split(';').next()?.split_once("::"));
    let mut rooms = BTreeMap::new();
    for (room, path) in uses {
        let names = path.split(|c: char| !c.is_alphanumeric() && c != '_');
        rooms.extend(names.map(|name| (name.to_owned(), room.to_owned())));
    }
    rooms
}

/// What follows each `crate::` in a source, without comments and tests: the first name,
/// or all first names in braces.
fn names(source: &str) -> Vec<String> {
    let code = source
        .split("#[cfg(test)]\nmod ")
        .next()
        .unwrap_or_default();
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""));
    let code: String = lines.map(|line| format!("{line}\n")).collect();
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or(""),
        };
        let first = |path: &str| path.trim().split(' ').next().unwrap_or("").to_owned();
        names.extend(list.split(',').map(first).filter(|name| !name.is_empty()));
    }
    names
}

#[test]
fn no_file_depends_on_a_room_above_it() {
    let (rows, folder) = (rows(), root().join("runtime/src"));
    let re_exports = re_exports(&fs::read_to_string(folder.join("lib.rs")).unwrap());
    let mut wrong = Vec::new();
    for path in sources(&folder) {
        let file = path
            .strip_prefix(&folder)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let room = file.split('/').next().unwrap().trim_end_matches(".rs");
        if room == "lib" || room == EXCEPTION {
            continue;
        }
        let row = rows
            .get(room)
            .unwrap_or_else(|| panic!("{room} is not drawn"));
        for name in names(&fs::read_to_string(&path).unwrap()) {
            let target = re_exports.get(&name).unwrap_or(&name);
            if rows.get(target).is_some_and(|other| other > row) {
                wrong.push(format!("{file} -> {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that run up: {wrong:#?}");
}

#[test]
fn names_are_found() {
    let source = "use crate::plan::Plan;\nuse crate::{Error, Model};\n// crate::batch\n\
                  fn f(x: crate::store::Seal) {}\n#[cfg(test)]\nmod tests { use crate::session; }";
    assert_eq!(names(source), ["plan", "Error", "Model", "store"]);
}
