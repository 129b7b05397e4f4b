//! Packed copies of models: eight rows of a matrix interleaved, so that decoding reads
//! memory in one stream. A copy is made once, kept in a folder, and computes the same
//! as its source, bit for bit.
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
//! let session = opened.model.session(&ondol::Options::default())?;
//! # Ok::<(), ondol::Error>(())
//! ```
//!
//! A copy answers in its source's place, so it must be the copy of these very bytes,
//! and whole. Both have a [`Seal`]. Where one does not hold, source and copy are hashed
//! again: a copy of other bytes, or one that is damaged, is made anew before it answers.
//! What is no damage (no rights, no memory, a disk that fails) removes nothing: the
//! model runs from its own file, and [`Opened::reason`] says why.
//!
//! | file | job |
//! | --- | --- |
//! | `folder` | where copies lie, the lock, listing and removing |
//! | `record` | what is known of a copy |
//! | `seal`, `look` | whether files have the bytes that were hashed |
//! | `pack` | a copy is made |
//! | `limit` | the bytes that all copies may take |
//! | `event`, `error` | what a store tells |
//!
//! Files are opened, hashed and written by [`crate::files`].

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

/// [`StoreOptions::reserve`] where nothing else is asked for.
const RESERVE: u64 = 256 << 20;

/// What a store may do.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Bytes that all copies together may take; `None` sets no limit. Copies that were
    /// not used for longest are removed to keep it, and one that has more bytes alone
    /// is not made.
    pub limit: Option<u64>,
    /// Bytes that stay free on the disk when a copy is made: 256 MiB by default.
    pub reserve: u64,
    /// How closely files are looked at before a copy is used.
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

/// How closely a model and its copy are looked at before the copy is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Check {
    /// They are hashed where their seals do not hold. Takes milliseconds where they do.
    #[default]
    Seals,
    /// They are hashed. Takes a second for each one or two gigabytes.
    Whole,
}

/// A folder of packed copies. It holds nothing open; any number of them, in any number
/// of processes, may share a folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    options: StoreOptions,
}

/// A model that a store opened.
pub struct Opened {
    /// The model, ready to run.
    pub model: Model,
    /// The copy that it runs from; `None` where it runs from its own file.
    pub copy: Option<PathBuf>,
    /// Why it runs from its own file though it would gain by a copy.
    pub reason: Option<StoreError>,
}

/// A copy in a store, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackedCopy {
    /// Its file.
    pub path: PathBuf,
    /// Bytes of its file.
    pub bytes: u64,
    /// The first file of the model that it was made of, where that is known.
    pub source: Option<PathBuf>,
    /// When it was made or used last, where that is known.
    pub used: Option<SystemTime>,
    /// Whether it is of use.
    pub state: State,
}

/// Whether a copy is of use, as far as can be seen at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Its source is there.
    Current,
    /// Its source has other bytes, or another version made it.
    Stale,
    /// Its source is gone.
    Orphaned,
    /// What is known of it, or its source, can't be read; [`Store::prune`] leaves it.
    Unreadable,
}

/// What [`Store::prune`] did.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Files that were removed, and their bytes.
    pub removed: Vec<(PathBuf, u64)>,
    /// Files that stay since they could not be judged or removed, and why.
    pub kept: Vec<(PathBuf, StoreError)>,
}

impl Store {
    /// The store in `folder`, which is made when the first copy is.
    pub fn new(folder: impl Into<PathBuf>, options: StoreOptions) -> Store {
        let folder = folder.into();
        Store { folder, options }
    }

    /// Where the copies lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens a model by its packed copy, which is made first if it is not there, not to
    /// be trusted, or of other bytes. Where there can be none, the model's own file is
    /// opened, and [`Opened::reason`] says why. A split model is opened by its first part.
    ///
    /// `events` hears what takes time. Making a copy reads and writes the whole model.
    /// The conditions of [`Model::open`] hold for both files.
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
        Ok(Opened {
            model: Model::open(path)?,
            copy: None,
            reason,
        })
    }

    /// The path of a model's packed copy, which is made if it is not there or not to be
    /// trusted; `None` if the model gains nothing by one.
    ///
    /// # Errors
    /// [`StoreError`] where there can be none. A copy that is there stays, unless it was
    /// hashed and is of other bytes or damaged.
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

    /// The copy of a model's file, if one is there; whether it is to be trusted is not
    /// looked at.
    pub fn find(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let place = self.place(path.as_ref());
        let is_here = place.copy.exists() && place.record.exists();
        is_here.then_some(place.copy)
    }

    /// All copies, by name.
    ///
    /// # Errors
    /// [`StoreError::File`] for a folder that can't be read.
    pub fn list(&self) -> Result<Vec<PackedCopy>> {
        self.copies()
    }

    /// Removes the copy of this model's file, which may be gone, or the copy with this
    /// path. Returns the bytes that were freed, `None` if there was no copy.
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

    /// Removes copies whose source is gone or has other bytes, what older versions and
    /// killed processes left, and copies beyond the limit. A source that does not look
    /// as it did is hashed.
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
        for copy in self.victims(0)? {
            match self.evict(std::slice::from_ref(&copy), watch) {
                Ok(()) => pruned.removed.push((copy.path, copy.bytes)),
                Err(reason) => pruned.kept.push((copy.path, reason)),
            }
        }
        Ok(pruned)
    }

    /// Hashes a copy that is there, as far as need be, and keeps its new seals; returns
    /// whether it is to be trusted.
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

    /// Uses a copy that is trusted, unless it has more bytes than all may have by now.
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
    /// Whether the copy is there, and it and its source look as when they were hashed.
    fn is_sealed(&self) -> Result<bool> {
        let known = self.known()?;
        known.map_or(Ok(false), |record| record.holds(&self.files, &self.copy))
    }
}
