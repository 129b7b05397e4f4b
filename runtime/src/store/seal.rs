//! Whether files still have the bytes that were hashed.
//!
//! To hash a model at each start would cost as much as its packed copy gains: a
//! second for two gigabytes. So a *seal* is kept: the SHA-256 of all bytes, and how the
//! files looked then ([`Look`] says what that is). Where a seal does not hold, nothing is
//! decided yet: the bytes are hashed again, whole. If they are the same, the file was
//! only touched, or copied to another disk, and gets a new seal.
//!
//! What no seal sees is a disk that gives other bytes than were written, between the
//! samples and with no change of the file. [`super::Check::Whole`] finds that.

use super::PIECE;
use super::error::{Result, StoreError};
use super::event::{Event, Watch};
use super::files::{Hasher, regular};
use super::look::Look;
use crate::CancelToken;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::string::String;

/// The SHA-256 of files, and how they looked when they had it. It tells in milliseconds
/// whether they have it still, as far as can be seen without reading all of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seal {
    sha256: String,
    look: Look,
}

impl Seal {
    /// Hashes files, and seals them.
    ///
    /// # Errors
    /// [`StoreError::File`] for one that can't be read, [`StoreError::Cancelled`].
    pub fn of(
        files: &[PathBuf],
        cancel: &CancelToken,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Seal> {
        Seal::hash(files, &mut Watch { cancel, events })
    }

    pub(super) fn hash(files: &[PathBuf], watch: &mut Watch<'_>) -> Result<Seal> {
        let look = Look::at_rest(files)?;
        let sha256 = hash(files, watch)?;
        Ok(Seal { sha256, look })
    }

    /// The seal of files that looked so before they were hashed.
    pub(super) fn new(sha256: String, look: Look) -> Seal {
        Seal { sha256, look }
    }

    /// The same bytes under new names, in files that were just copied or renamed.
    ///
    /// # Errors
    /// [`StoreError::File`] for one that can't be read.
    pub fn moved_to(self, files: &[PathBuf]) -> Result<Seal> {
        let look = Look::at_rest(files)?;
        Ok(Seal { look, ..self })
    }

    /// SHA-256 of the files one after another, 64 hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether the files look as they did. If not, they may have the same bytes yet.
    ///
    /// # Errors
    /// [`StoreError::File`] for one that can't be read.
    pub fn holds(&self, files: &[PathBuf]) -> Result<bool> {
        self.look.holds(files)
    }

    /// Whether the files look as they did but for their times: a guess, to show.
    pub(super) fn seems_to_hold(&self, files: &[PathBuf]) -> Result<bool> {
        Ok(self.look.is_same_but_for_times(&Look::at(files)?))
    }

    /// Whether the files have the bytes that were hashed. All of them are read, unless
    /// the seal holds and `whole` is not asked for; then the seal is made new.
    pub(super) fn renew(
        &mut self,
        files: &[PathBuf],
        whole: bool,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
        if !whole && self.holds(files)? {
            return Ok(true);
        }
        let now = Seal::hash(files, watch)?;
        let same = now.sha256 == self.sha256;
        if same {
            *self = now;
        }
        Ok(same)
    }
}

/// The SHA-256 of files one after another.
fn hash(files: &[PathBuf], watch: &mut Watch<'_>) -> Result<String> {
    let sizes = files.iter().map(fs::metadata);
    let bytes = sizes.flatten().map(|about| about.len()).sum();
    let path = files.first().map_or(Path::new(""), |path| path);
    watch.tell(Event::Verifying { path, bytes });
    let mut hasher = Hasher::new();
    let mut piece = std::vec![0; PIECE];
    for path in files {
        let failed = || StoreError::file("read", path);
        let mut file = regular::open(path).map_err(failed())?;
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&piece[..n]);
                    watch.advance(n as u64)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed()(e)),
            }
        }
    }
    Ok(hasher.finish())
}
