//! Packed copies of models: eight rows of a matrix interleaved, so that decode reads
//! memory as one stream. A copy is made once, kept in a folder, and gives the same
//! results as its source, bit for bit.
//!
//! ```no_run
//! use ondol::store::{Event, Store, StoreOptions};
//! use ondol::CancelToken;
//!
//! let options = StoreOptions {
//!     limit: Some(4 << 30),
//!     ..StoreOptions::default()
//! };
//! let store = Store::new("cache/packed", options);
//! let opened = store.open("model.gguf", &CancelToken::new(), &mut |event| {
//!     if let Event::Packing { copy, bytes, .. } = event {
//!         println!("{bytes} bytes are written to {}", copy.display());
//!     }
//! })?;
//! if let Some(reason) = opened.reason {
//!     println!("there is no packed copy: {reason}");
//! }
//! let session = opened.model.session(&ondol::SessionOptions::default())?;
//! # Ok::<(), ondol::Error>(())
//! ```
//!
//! A copy is used in place of its source, so it must be complete and made from the same
//! bytes. Both have a [`Seal`]. If one does not match, source and copy are hashed
//! again, and a copy that is damaged or of other bytes is made again before it is used.
//! Other errors (no permission, no memory, a failing disk) remove nothing: the model
//! runs from its own file, and [`Opened::reason`] says why.
//!
//! | file | job |
//! | --- | --- |
//! | `folder` | paths of copies, the lock, listing and removing |
//! | `record` | the record of a copy |
//! | `seal`, `look` | whether files still have the bytes that were hashed |
//! | `pack` | making a copy |
//! | `limit` | the limit of bytes for all copies |
//! | `event`, `error` | what a store reports |
//!
//! [`crate::files`] opens, hashes and writes files.

mod error;
mod event;
mod folder;
mod limit;
mod look;
mod pack;
mod record;
mod seal;
#[cfg(test)]
mod tests;

pub use error::{Result, StoreError};
pub use event::Event;
pub use pack::{pack, pack_work};
pub use seal::Seal;

use crate::files::ModelFiles;
use crate::{CancelToken, Model};
use event::Watch;
use folder::{Place, note_use};
use ondol_models::pack::gains;
use record::{Verdict, is_there};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::vec::Vec;

/// Bytes that are hashed at a time.
const PIECE: usize = 1 << 18;

/// The default of [`StoreOptions::reserve`].
const RESERVE: u64 = 256 << 20;

/// Options of a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The most bytes that all copies together may take; `None` sets no limit. The
    /// copies that were unused for the longest time are removed to keep it. A copy that
    /// alone exceeds it is not made.
    pub limit: Option<u64>,
    /// Bytes of the disk that stay free when a copy is made; 256 MiB by default.
    pub reserve: u64,
    /// How files are checked before a copy is used.
    pub check: Check,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            limit: None,
            reserve: RESERVE,
            check: Check::Seals,
        }
    }
}

/// How a model and its copy are checked before the copy is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Check {
    /// Compares their seals, and hashes the files only if a seal does not match. Takes
    /// milliseconds if they match.
    #[default]
    Seals,
    /// Hashes both files. Takes about a second for each one or two gigabytes.
    Whole,
}

/// A folder of packed copies. It keeps no file open. Any number of stores, in any
/// number of processes, may share a folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    options: StoreOptions,
}

/// A model that a store opened.
pub struct Opened {
    /// The model, ready to run.
    pub model: Model,
    /// The copy that it runs from; `None` if it runs from its own file.
    pub copy: Option<PathBuf>,
    /// Why it runs from its own file although a copy would decode faster; else `None`.
    pub reason: Option<StoreError>,
}

/// A copy in a store, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackedCopy {
    /// Its file.
    pub path: PathBuf,
    /// Bytes of its file.
    pub bytes: u64,
    /// The first file of the model that it was made from, if known.
    pub source: Option<PathBuf>,
    /// When it was made or last used, if known.
    pub used: Option<SystemTime>,
    /// Whether it can still be used.
    pub state: CopyState,
}

/// Whether a copy can still be used, judged without hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyState {
    /// Its source exists and seems unchanged.
    Current,
    /// Its source has other bytes now, or another version of Ondol made it.
    Stale,
    /// Its source does not exist any more.
    Orphaned,
    /// Its record or its source can't be read; [`Store::prune`] leaves it.
    Unreadable,
}

/// The result of [`Store::prune`].
#[derive(Debug, Default)]
pub struct Pruned {
    /// Files that were removed, and their bytes.
    pub removed: Vec<(PathBuf, u64)>,
    /// Files that were kept because they could not be checked or removed, and why.
    pub kept: Vec<(PathBuf, StoreError)>,
}

impl Store {
    /// The store in `folder`, which is created with the first copy.
    pub fn new(folder: impl Into<PathBuf>, options: StoreOptions) -> Store {
        let folder = folder.into();
        Store { folder, options }
    }

    /// The folder of the copies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens a model from its packed copy. The copy is made first if it does not exist,
    /// is damaged, or was made from other bytes. If there can be no copy, the model's
    /// own file is opened, and [`Opened::reason`] says why. For a split model give the
    /// first part.
    ///
    /// `events` is called for operations that take time. Making a copy reads and writes
    /// the whole model. The conditions of [`Model::open`] apply to both files.
    ///
    /// # Errors
    /// Those of [`Model::open`] for the model's own file; [`crate::Error::Cancelled`].
    pub fn open(
        &self,
        path: impl AsRef<Path>,
        cancel: &CancelToken,
        events: &mut dyn FnMut(Event<'_>),
    ) -> crate::Result<Opened> {
        let path = path.as_ref();
        let reason = match self.prepare(path, cancel, events) {
            Ok(Some(copy)) => match Model::open(&copy) {
                Ok(model) => {
                    return Ok(Opened {
                        model,
                        copy: Some(copy),
                        reason: None,
                    });
                }
                Err(reason) => Some(reason.into()),
            },
            Ok(None) => None,
            Err(StoreError::Cancelled) => return Err(crate::Error::Cancelled),
            Err(reason) => Some(reason),
        };
        if let Some(reason) = &reason {
            log::warn!("{path:?} runs without a packed copy: {reason}");
        }
        Ok(Opened {
            model: Model::open(path)?,
            copy: None,
            reason,
        })
    }

    /// The path of a model's packed copy, which is made or made again if needed; `None`
    /// if a copy of this model would not decode faster.
    ///
    /// # Errors
    /// [`StoreError`] if there can be no copy. An existing copy stays, unless it was
    /// hashed and found damaged or of other bytes.
    pub fn prepare(
        &self,
        path: impl AsRef<Path>,
        cancel: &CancelToken,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<PathBuf>> {
        let (path, watch) = (path.as_ref(), &mut Watch { cancel, events });
        let place = self.place(path);
        if self.options.check == Check::Whole || !place.is_sealed()? {
            let files = ModelFiles::open(path)?;
            let gguf = files.gguf()?;
            if !gains(&gguf) {
                return Ok(None);
            }
            // Where the folder can't be written, a copy that is whole can still be used.
            let lock = self.lock(watch);
            if !self.renew(&place, lock.is_ok(), watch)? {
                let _lock = lock?;
                self.make(&place, &files, &gguf, watch)?;
            }
        }
        self.use_copy(place, watch).map(Some)
    }

    /// The copy of a model's file, if one exists. It is not checked.
    pub fn find(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let place = self.place(path.as_ref());
        let is_here = place.copy.exists() && place.record.exists();
        is_here.then_some(place.copy)
    }

    /// All copies, by name.
    ///
    /// # Errors
    /// [`StoreError::File`] if the folder can't be read.
    pub fn list(&self) -> Result<Vec<PackedCopy>> {
        self.copies()
    }

    /// Removes the copy of this model's file, which may no longer exist, or the copy
    /// with this path. Returns the bytes that were freed; `None` if there was no copy.
    ///
    /// # Errors
    /// [`StoreError::File`], [`StoreError::Cancelled`].
    pub fn remove(
        &self,
        path: impl AsRef<Path>,
        cancel: &CancelToken,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<u64>> {
        if !is_there(&self.folder)? {
            return Ok(None);
        }
        let _lock = self.lock(&mut Watch { cancel, events })?;
        self.remove_copy(path.as_ref())
    }

    /// Removes copies whose source is gone or has other bytes, files that older
    /// versions and killed processes left, and copies beyond the limit. A source that
    /// does not match its seal is hashed.
    ///
    /// # Errors
    /// [`StoreError::File`] for the folder itself; [`StoreError::Cancelled`].
    pub fn prune(&self, cancel: &CancelToken, events: &mut dyn FnMut(Event<'_>)) -> Result<Pruned> {
        if !is_there(&self.folder)? {
            return Ok(Pruned::default());
        }
        let watch = &mut Watch { cancel, events };
        let _lock = self.lock(watch)?;
        let mut pruned = self.remove_useless(watch)?;
        for copy in self.removable(0)? {
            match self.evict(std::slice::from_ref(&copy), watch) {
                Ok(()) => pruned.removed.push((copy.path, copy.bytes)),
                Err(reason) => pruned.kept.push((copy.path, reason)),
            }
        }
        Ok(pruned)
    }

    /// Hashes an existing copy and its source as far as needed, and stores new seals.
    /// Returns whether the copy can be used.
    fn renew(&self, place: &Place, locked: bool, watch: &mut Watch<'_>) -> Result<bool> {
        let Some(mut record) = place.known()? else {
            return Ok(false);
        };
        match record.renew(&place.files, &place.copy, self.options.check, watch)? {
            Verdict::Good if locked => record.write(&place.record).map(|()| true),
            Verdict::Good => Ok(true),
            Verdict::OtherSource => Ok(false),
            Verdict::Damaged => {
                let copy = place.copy.as_path();
                watch.tell(Event::Damaged { copy });
                Ok(false)
            }
        }
    }

    /// Uses a copy that was checked, unless it now exceeds the limit.
    fn use_copy(&self, place: Place, watch: &mut Watch<'_>) -> Result<PathBuf> {
        note_use(&place.record);
        let bytes = folder::size(&place.copy);
        match self.hold_limit(watch) {
            Err(StoreError::Cancelled) => Err(StoreError::Cancelled),
            // In a folder that can't be written no limit can be kept.
            Err(_) => Ok(place.copy),
            Ok(()) => self.allow(bytes).map(|()| place.copy),
        }
    }
}

impl Place {
    /// Whether the copy exists, and both it and its source match their seals.
    fn is_sealed(&self) -> Result<bool> {
        let known = self.known()?;
        known.map_or(Ok(false), |record| record.holds(&self.files, &self.copy))
    }
}
