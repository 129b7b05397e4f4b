//! Small models of each architecture with the answers of its published implementation.
//!
//! They can't be committed. They are looked for in the folder `ONDOL_REFERENCE`, else in
//! `../shared/reference` beside the workspace.

use std::path::{Path, PathBuf};

/// The folder of the models; says where it is not, for tests that are then skipped.
pub fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
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
