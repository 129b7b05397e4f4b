//! What the tests of the store share.
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;
use std::{fs, io};

/// An empty folder for one test.
pub fn folder(test: &str) -> PathBuf {
    let name = std::format!("ondol-store-{test}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The names of all that is in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

pub fn refuse(_path: &Path) -> io::Result<()> {
    Ok(())
}
