//! Measurements. `bin/peers` runs Ondol beside other engines on the same files,
//! `bin/kernels` holds each kernel against the machine's ceilings, `bin/redraw`
//! makes table and plot of results again. `README.md` says how to read them.

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

/// What can go wrong in a tool for people at a desk: anything, told in words.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}
