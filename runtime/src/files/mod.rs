//! Regular files: opened without waiting for a pipe's other end, hashed, and written
//! whole or not at all. For the store, and for programs that keep files of their own
//! beside it.

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

/// The path, or the paths of all parts of the split model that it is the first part of.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    match gguf::shard_names(name.unwrap_or_default()) {
        Some(names) => names.iter().map(|name| path.with_file_name(name)).collect(),
        None => std::vec![path.to_path_buf()],
    }
}

/// The folder that a path's last name lies in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes renames and removals in a folder survive a loss of power.
///
/// # Errors
/// A folder that can't be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    // Windows has no way to open a folder as a file, and needs none.
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}
