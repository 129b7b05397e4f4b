//! Opens regular files only, since opening a pipe would wait for its other end; hashes
//! files; and writes them completely or not at all. The store uses this, and so do
//! programs that keep files of their own.

mod atomic;
mod hash;
mod model;
pub mod regular;
#[cfg(test)]
pub(crate) mod testing;

pub use atomic::AtomicFile;
pub use hash::{Hasher, HashingWriter, hex};
pub use model::ModelFiles;

use ondol_models::gguf;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::vec::Vec;

/// The path, or the paths of all parts if it is the first part of a split model.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    match gguf::shard_names(name.unwrap_or_default()) {
        Some(names) => names.iter().map(|name| path.with_file_name(name)).collect(),
        None => std::vec![path.to_path_buf()],
    }
}

/// The folder of a path; `.` if the path has none.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Syncs a folder, so that renames and removals in it survive a power failure.
///
/// # Errors
/// If the folder can't be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    // Windows can't open a folder as a file, and does not need it.
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}
