//! Helpers of tests: folders that are removed after their test, and files that the
//! system refuses to open.

use std::cell::RefCell;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

/// An empty folder for one test. It is removed when this is dropped.
pub struct Folder(PathBuf);

impl std::ops::Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn folder(test: &str) -> Folder {
    let name = std::format!("ondol-{test}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    Folder(folder)
}

/// The sorted names of all entries of a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

std::thread_local! {
    /// A file that can't be opened, with the error.
    static REFUSED: RefCell<Option<(PathBuf, ErrorKind)>> = const { RefCell::new(None) };
}

/// In test builds, called before a file is opened.
pub fn refuse(path: &Path) -> io::Result<()> {
    REFUSED.with_borrow(|refused| match refused {
        Some((file, kind)) if file == path => Err((*kind).into()),
        _ => Ok(()),
    })
}

/// Calls `work`, during which this file can't be opened.
pub fn with_refused<T>(path: &Path, kind: ErrorKind, work: impl FnOnce() -> T) -> T {
    REFUSED.set(Some((path.to_path_buf(), kind)));
    let done = work();
    REFUSED.set(None);
    done
}
