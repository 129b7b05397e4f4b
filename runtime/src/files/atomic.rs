//! Files that are complete under their name, or do not exist.
//!
//! The private name is `.ondol-` and a random number. It is always a new file, so no
//! existing file is truncated, and two processes with the same output both write
//! complete files. The writer holds a lock on it. A file that can be locked was left by
//! a killed process, and is removed when the next one is made in the folder.

use super::{folder_of, sync_folder};
use std::format;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

const PREFIX: &str = ".ondol-";
const SUFFIX: &str = ".part";

/// A file that is being written under a private name. It is removed unless
/// [`AtomicFile::commit`] is called.
#[derive(Debug)]
pub struct AtomicFile {
    part: PathBuf,
    file: File,
    bytes: u64,
}

impl AtomicFile {
    /// Makes a new file in `folder`, and removes files that killed processes left there.
    ///
    /// # Errors
    /// If the folder does not exist or can't be written.
    pub fn create_in(folder: &Path) -> io::Result<AtomicFile> {
        remove_leftovers(folder);
        loop {
            let random = RandomState::new().build_hasher().finish();
            let part = folder.join(format!("{PREFIX}{random:016x}{SUFFIX}"));
            let mut options = OpenOptions::new();
            let file = match options.read(true).write(true).create_new(true).open(&part) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            // On a file system without locks, files of killed processes stay.
            let _ = file.lock();
            // Another process may have removed it as a leftover before it was locked.
            if part.exists() {
                let bytes = 0;
                return Ok(AtomicFile { part, file, bytes });
            }
        }
    }

    /// Its private path, to check it before [`AtomicFile::commit`].
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Syncs the bytes to the disk.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Syncs the bytes to the disk and renames the file to `path`, which is on the same
    /// file system; an existing file is replaced. Returns the number of bytes.
    ///
    /// # Errors
    /// Errors of the disk, and of renaming.
    pub fn commit(self, path: &Path) -> io::Result<u64> {
        self.sync()?;
        fs::rename(&self.part, path)?;
        sync_folder(folder_of(path))?;
        Ok(self.bytes)
    }
}

impl Drop for AtomicFile {
    /// Removes the file. This fails, as intended, if the file was renamed.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.part);
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Removes files that killed processes left in a folder.
fn remove_leftovers(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            remove_if_dead(&entry.path());
        }
    }
}

fn remove_if_dead(part: &Path) {
    if let Ok(file) = File::open(part)
        && file.try_lock().is_ok()
    {
        let _ = fs::remove_file(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::{folder, names};

    #[test]
    fn a_file_is_whole_under_its_name_or_not_there() {
        let folder = folder("atomic");
        let path = folder.join("out");
        for text in ["one", "two"] {
            let mut dropped = AtomicFile::create_in(&folder).unwrap();
            dropped.write_all(b"half").unwrap();
            drop(dropped);
            let mut out = AtomicFile::create_in(&folder).unwrap();
            out.write_all(text.as_bytes()).unwrap();
            assert_eq!(out.commit(&path).unwrap(), 3);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(&folder), ["out"]);
    }

    #[test]
    fn leftovers_of_the_dead_go_and_parts_of_the_living_stay() {
        let folder = folder("leftovers");
        let dead = folder.join(".ondol-0123456789abcdef.part");
        fs::write(&dead, "left").unwrap();
        fs::write(folder.join("x.gguf.part"), "the user's").unwrap();
        let living = AtomicFile::create_in(&folder).unwrap();
        assert!(!dead.exists());
        let other = AtomicFile::create_in(&folder).unwrap();
        assert!(living.part().exists() && other.part().exists());
        assert_ne!(living.part(), other.part());
        drop((living, other));
        assert_eq!(names(&folder), ["x.gguf.part"]);
    }
}
