//! The record of a copy: what it was made from, and the seals of both.

use super::error::{Result, StoreError};
use super::event::Watch;
use super::seal::Seal;
use super::{Check, CopyState};
use crate::files::{AtomicFile, folder_of, regular};
use ondol_models::quant::packed::VERSION;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::vec::Vec;

/// The version of the contents of copies. Copies of another version are made again.
const CONTENTS: u32 = 2;

/// The seals of a copy and of its source.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// The version of the packed layout and of copies.
    version: (u32, u32),
    files: Vec<OsString>,
    source: Seal,
    copy: Seal,
}

/// The result of hashing a copy and its source.
pub(super) enum Verdict {
    Good,
    /// The source has other bytes now, or this build packs differently.
    OtherSource,
    Damaged,
}

impl Record {
    pub fn new(files: &[PathBuf], source: Seal, copy: Seal) -> Record {
        Record {
            version: (VERSION, CONTENTS),
            files: files.iter().map(OsString::from).collect(),
            source,
            copy,
        }
    }

    /// The record at `path`; `None` if there is none, or it is damaged.
    pub fn read(path: &Path) -> Result<Option<Record>> {
        match regular::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::file("read", path)(e)),
        }
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let write = || -> io::Result<u64> {
            let text = serde_json::to_vec(self)?;
            let mut out = AtomicFile::create_in(folder_of(path))?;
            out.write_all(&text)?;
            out.commit(path)
        };
        write().map(drop).map_err(StoreError::file("write", path))
    }

    /// Whether both seals match, so that the copy can be used.
    pub fn holds(&self, files: &[PathBuf], copy: &PathBuf) -> Result<bool> {
        Ok(self.is_of(files)
            && self.source.holds(files)?
            && self.copy.holds(std::slice::from_ref(copy))?)
    }

    /// Hashes what must be hashed, and renews the seals.
    pub fn renew(
        &mut self,
        files: &[PathBuf],
        copy: &PathBuf,
        check: Check,
        watch: &mut Watch<'_>,
    ) -> Result<Verdict> {
        let whole = check == Check::Whole;
        if !self.is_of(files) || !self.source.renew(files, whole, watch)? {
            return Ok(Verdict::OtherSource);
        }
        let copy = std::slice::from_ref(copy);
        Ok(match self.copy.renew(copy, whole, watch)? {
            true => Verdict::Good,
            false => Verdict::Damaged,
        })
    }

    /// Whether the source exists with the bytes that the copy was made from.
    pub fn is_of_use(&mut self, watch: &mut Watch<'_>) -> Result<bool> {
        let files = self.files();
        Ok(self.is_of(&files) && are_there(&files)? && self.source.renew(&files, false, watch)?)
    }

    /// As [`Record::is_of_use`], but without hashing, for display.
    pub fn state(&self) -> CopyState {
        let files = self.files();
        let holds = match are_there(&files) {
            Ok(false) => return CopyState::Orphaned,
            Ok(true) if self.is_of(&files) => self.source.seems_to_hold(&files),
            Ok(true) => Ok(false),
            Err(reason) => Err(reason),
        };
        match holds {
            Ok(true) => CopyState::Current,
            Ok(false) => CopyState::Stale,
            Err(_) => CopyState::Unreadable,
        }
    }

    /// The files of the source.
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.iter().map(PathBuf::from).collect()
    }

    /// Whether this build made the record, of these files.
    fn is_of(&self, files: &[PathBuf]) -> bool {
        self.version == (VERSION, CONTENTS) && self.files() == files
    }
}

/// Whether all files exist. A file that can't be examined is an error, since it may
/// exist.
fn are_there(files: &[PathBuf]) -> Result<bool> {
    for file in files {
        if !is_there(file)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether something exists at this path. A path that can't be examined is an error.
pub(super) fn is_there(path: &Path) -> Result<bool> {
    match path.try_exists() {
        Ok(is_there) => Ok(is_there),
        Err(e) if e.kind() == ErrorKind::NotADirectory => Ok(false),
        Err(e) => Err(StoreError::file("read", path)(e)),
    }
}

#[cfg(test)]
impl Record {
    /// Replaces the copy's look by its present one, without hashing.
    pub fn pretend_nothing_changed(&mut self, copy: &PathBuf) {
        let copy_seal = self.copy.clone().moved_to(std::slice::from_ref(copy));
        self.copy = copy_seal.unwrap();
    }
}
