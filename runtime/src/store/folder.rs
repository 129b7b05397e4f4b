//! The folder of packed copies: `NAME-HASH.gguf`, and for each a record
//! `NAME-HASH.json` with what it was made of. HASH is of the source's path with
//! symlinks resolved, so a file has one copy however many symlinks lead to it.
//!
//! A process that changes the folder holds a lock. A record is removed before its copy
//! is replaced, and written after it: a copy without a record is not used, and is made
//! again.

use super::error::{Result, StoreError};
use super::event::{Event, Watch};
use super::record::{Record, is_there};
use super::{CopyState, PackedCopy, Pruned, Store};
use crate::files::{Hasher, folder_of, parts, regular, sync_folder};
use std::format;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::vec::Vec;

const LOCK: &str = ".lock";

/// How long to wait before a lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Digits of a path's hash in the name of its copy.
const DIGITS: usize = 12;

/// The paths of a file's packed copy, whether it exists or not.
pub(super) struct Place {
    /// The files of the source, with canonical paths if they have them.
    pub files: Vec<PathBuf>,
    pub copy: PathBuf,
    pub record: PathBuf,
}

impl Store {
    /// The place for the copy of the model whose first file is `path`.
    pub(super) fn place(&self, path: &Path) -> Place {
        let first = canonical(path);
        let files = parts(path).iter().map(|part| canonical(part)).collect();
        let stem = first.file_stem().unwrap_or_default().to_string_lossy();
        let mut hasher = Hasher::new();
        hasher.update(first.as_os_str().as_encoded_bytes());
        let name = format!("{stem}-{}", &hasher.finish()[..DIGITS]);
        Place {
            files,
            copy: self.folder.join(format!("{name}.gguf")),
            record: self.folder.join(format!("{name}.json")),
        }
    }

    /// Creates the folder and waits for its lock, which is held until the returned
    /// value is dropped.
    pub(super) fn lock(&self, watch: &mut Watch<'_>) -> Result<File> {
        fs::create_dir_all(&self.folder).map_err(StoreError::file("create", &self.folder))?;
        let path = self.folder.join(LOCK);
        let file = regular::append(&path).map_err(StoreError::file("create", &path))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(e)) => return Err(StoreError::file("lock", &path)(e)),
                Err(TryLockError::WouldBlock) if told => {}
                Err(TryLockError::WouldBlock) => watch.tell(Event::Waiting),
            }
            told = true;
            watch.check()?;
            std::thread::sleep(RETRY);
        }
    }

    /// All copies, by name.
    pub(super) fn copies(&self) -> Result<Vec<PackedCopy>> {
        Ok(self.copy_paths()?.into_iter().map(PackedCopy::at).collect())
    }

    pub(super) fn copy_paths(&self) -> Result<Vec<PathBuf>> {
        let mut copies = self.entries()?;
        copies.retain(|path| is_copy(path));
        copies.sort();
        Ok(copies)
    }

    /// Removes the copy of this file, which may no longer exist, or the copy with this
    /// path.
    pub(super) fn remove_copy(&self, path: &Path) -> Result<Option<u64>> {
        let full = canonical(path);
        if full.parent() == Some(canonical(&self.folder).as_path()) && is_copy(&full) {
            return remove(&[full.with_extension("json"), full]);
        }
        self.place(path).remove()
    }

    pub(super) fn remove_useless(&self, watch: &mut Watch<'_>) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for path in self.entries()? {
            match self.remove_if_useless(&path, watch) {
                Ok(Some(bytes)) => pruned.removed.push((path, bytes)),
                Ok(None) => {}
                Err(StoreError::Cancelled) => return Err(StoreError::Cancelled),
                Err(reason) => pruned.kept.push((path, reason)),
            }
        }
        Ok(pruned)
    }

    /// Removes a file of the folder if it has no use, and returns its bytes then.
    fn remove_if_useless(&self, path: &Path, watch: &mut Watch<'_>) -> Result<Option<u64>> {
        let record = path.with_extension("json");
        match path.extension().and_then(|e| e.to_str()) {
            Some("gguf") => {
                let known = Record::read(&record)?;
                let of_use = known.map_or(Ok(false), |mut known| known.is_of_use(watch))?;
                match of_use {
                    true => Ok(None),
                    false => remove(&[record, path.to_path_buf()]),
                }
            }
            Some("json") if !is_there(&path.with_extension("gguf"))? => remove(&[record]),
            // A part was left by a killed process: a process that writes one holds the
            // lock that this one holds now. Older versions had a lock for each copy.
            Some("lock" | "part") => remove(&[path.to_path_buf()]),
            _ => Ok(None),
        }
    }

    /// The paths of all files in the folder.
    fn entries(&self) -> Result<Vec<PathBuf>> {
        let failed = || StoreError::file("read", &self.folder);
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed())?,
        };
        let paths = entries.map(|entry| Ok(entry.map_err(failed())?.path()));
        paths.collect()
    }
}

impl Place {
    /// The copy's record; `None` if there is no copy, or the record is damaged.
    pub fn known(&self) -> Result<Option<Record>> {
        match is_there(&self.copy)? {
            true => Record::read(&self.record),
            false => Ok(None),
        }
    }

    /// Removes the copy, and copies that older versions made of this source.
    pub fn remove(&self) -> Result<Option<u64>> {
        let name = self.copy.file_stem().unwrap_or_default();
        let older = format!("{}-", name.to_string_lossy());
        let folder = folder_of(&self.copy);
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let is_older = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&older)
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(is_older);
        // The record is removed before its copy.
        paths.splice(..0, [self.record.clone(), self.copy.clone()]);
        remove(&paths)
    }
}

impl PackedCopy {
    fn at(path: PathBuf) -> PackedCopy {
        let record_path = path.with_extension("json");
        let record = Record::read(&record_path);
        let (source, state) = match record {
            Ok(Some(record)) => (record.files().into_iter().next(), record.state()),
            Ok(None) => (None, CopyState::Stale),
            Err(_) => (None, CopyState::Unreadable),
        };
        PackedCopy {
            bytes: size(&path),
            used: last_use(&record_path),
            path,
            source,
            state,
        }
    }
}

fn is_copy(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "gguf")
}

/// Records that the copy of this record is used now. If the store can't be written to,
/// the copy is still used.
pub(super) fn note_use(record: &Path) {
    let file = File::options().write(true).open(record);
    let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
}

/// When the copy of this record was made or last used, if that is known.
pub(super) fn last_use(record: &Path) -> Option<SystemTime> {
    fs::metadata(record).and_then(|about| about.modified()).ok()
}

/// Bytes of a file, 0 if there is no file.
pub(super) fn size(path: &Path) -> u64 {
    let about = fs::symlink_metadata(path).ok();
    about.filter(fs::Metadata::is_file).map_or(0, |a| a.len())
}

/// Removes files of one folder and returns their bytes; `None` if none of them existed.
pub(super) fn remove(paths: &[PathBuf]) -> Result<Option<u64>> {
    let mut removed = None;
    for path in paths {
        let bytes = size(path);
        match fs::remove_file(path) {
            Ok(()) => removed = Some(removed.unwrap_or(0) + bytes),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(StoreError::file("remove", path)(e)),
        }
    }
    if let (Some(_), Some(path)) = (removed, paths.first()) {
        let folder = folder_of(path);
        sync_folder(folder).map_err(StoreError::file("write", folder))?;
    }
    Ok(removed)
}

/// The canonical path of a file; if the file does not exist, the canonical path of its
/// folder with its name.
fn canonical(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let full = std::path::absolute(path).unwrap_or(path.to_path_buf());
    let folder = full.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, full.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => full,
    }
}
