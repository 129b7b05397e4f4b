//! Measurements. `bin/peers` compares Ondol with other engines on the same files,
//! `bin/kernels` compares each kernel with the machine's limits, `bin/redraw` writes
//! tables and plots of results again. `README.md` says how to read the figures.

pub mod builds;
pub mod ceilings;
pub mod engines;
pub mod files;
pub mod machine;
pub mod plot;
pub mod process;
pub mod results;
pub mod suite;
pub mod table;

use std::path::{Path, PathBuf};

/// The result of a step. Its error is a text for people, since no caller distinguishes errors.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}
