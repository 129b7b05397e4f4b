//! Small models of each architecture, with the answers of its published implementation.
//!
//! A few are in `tests/data/arch`. The others are in the folder that the environment
//! variable `ONDOL_REFERENCE` names, by default `../shared/reference` beside the workspace.

use std::path::{Path, PathBuf};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folder of all models. If there is none, prints where it was looked for, and that the
/// test is skipped.
pub fn folder() -> Option<PathBuf> {
    let beside = here("../../shared/reference");
    let folder = std::env::var_os("ONDOL_REFERENCE").map_or(beside, PathBuf::from);
    let folder = folder.join("arch");
    if folder.is_dir() {
        return Some(folder);
    }
    println!(
        "SKIPPED: no reference models in {}; set ONDOL_REFERENCE",
        folder.display()
    );
    None
}

/// The paths of those of these models that exist; prints the names of the others.
pub fn models<'n>(names: &[&'n str]) -> Vec<(&'n str, PathBuf)> {
    let folders = [Some(here("data/arch")), folder()];
    let find = |name: &&'n str| {
        let files = folders.iter().flatten();
        let mut files = files.map(|folder| folder.join(format!("{name}.gguf")));
        files.find(|file| file.is_file()).map(|file| (*name, file))
    };
    let found: Vec<_> = names.iter().filter_map(find).collect();
    let missing: Vec<_> = names.iter().filter(|name| find(name).is_none()).collect();
    if !missing.is_empty() {
        println!("SKIPPED: {missing:?}");
    }
    found
}
