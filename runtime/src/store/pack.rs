//! Makes packed copies, to be shipped or for the store.

use super::error::{Result, StoreError};
use super::event::{Event, Watch};
use super::folder::Place;
use super::look::Look;
use super::record::Record;
use super::seal::Seal;
use super::{PIECE, Store};
use crate::files::{AtomicFile, Hasher, HashingWriter, ModelFiles};
use crate::{CancelToken, Error, Model};
use ondol_models::gguf::Gguf;
use ondol_models::pack::{self, PackError, Source};
use std::io::{self, BufWriter, IntoInnerError, Write};
use std::string::String;

/// Writes the packed copy of a model to `out` and flushes it: for a file that is
/// shipped. All bytes of the model are hashed, and the copy contains their hash.
///
/// [`Event::Advanced`] counts up to [`pack_work`].
///
/// # Errors
/// [`StoreError::Model`] for a model that can't be loaded, before anything is written;
/// [`StoreError::Pack`]; [`StoreError::Changed`] and [`StoreError::Cancelled`], after
/// which `out` has no complete model.
pub fn pack(
    files: &ModelFiles,
    out: impl Write,
    cancel: &CancelToken,
    events: &mut dyn FnMut(Event<'_>),
) -> Result<()> {
    check_loads(files)?;
    write(files, &files.gguf()?, out, &mut Watch { cancel, events }).map(drop)
}

/// The bytes that [`pack()`] reads and writes.
///
/// # Errors
/// [`StoreError::Model`].
pub fn pack_work(files: &ModelFiles) -> Result<u64> {
    Ok(work(files, &files.gguf()?))
}

fn work(files: &ModelFiles, gguf: &Gguf<'_>) -> u64 {
    files.byte_len() + pack::tensor_bytes(gguf)
}

/// Loads the model first, which takes little time: a copy of a model that can't be
/// loaded is useless.
fn check_loads(files: &ModelFiles) -> Result<()> {
    let loaded = files.paths().first().map(|path| Model::checked(path));
    Ok(loaded.transpose().map(drop)?)
}

/// A copy that was written.
struct Written {
    source: Seal,
    sha256: String,
}

/// Writes the copy to `out`.
fn write(
    files: &ModelFiles,
    gguf: &Gguf<'_>,
    out: impl Write,
    watch: &mut Watch<'_>,
) -> Result<Written> {
    let paths = files.paths();
    let before = Look::at_rest(&paths)?;
    let source = Source {
        sha256: hash(files, watch)?,
        bytes: files.byte_len(),
    };
    let out = BufWriter::new(HashingWriter::new(out));
    let out = pack::write(gguf, &source, out, |bytes| watch.step(bytes));
    let out = out.map_err(|reason| refused(files, reason))?;
    let out = out.into_inner().map_err(IntoInnerError::into_error);
    let out = out.map_err(|reason| refused(files, reason.into()))?;
    if !before.is_same(&Look::at(&paths)?) {
        let path = files.path().to_path_buf();
        return Err(StoreError::Changed { path });
    }
    Ok(Written {
        source: Seal::new(source.sha256, before),
        sha256: out.finish(),
    })
}

/// SHA-256 of a model's files one after another.
fn hash(files: &ModelFiles, watch: &mut Watch<'_>) -> Result<String> {
    let mut hasher = Hasher::new();
    for piece in files.bytes().flat_map(|bytes| bytes.chunks(PIECE)) {
        hasher.update(piece);
        watch.advance(piece.len() as u64)?;
    }
    Ok(hasher.finish())
}

fn refused(files: &ModelFiles, source: PackError) -> StoreError {
    let path = files.path().to_path_buf();
    match source {
        PackError::Cancelled => StoreError::Cancelled,
        source => StoreError::Pack { path, source },
    }
}

impl Store {
    /// Makes the copy of a model. The caller holds the lock of the folder.
    pub(super) fn make(
        &self,
        place: &Place,
        files: &ModelFiles,
        gguf: &Gguf<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        check_loads(files)?;
        let bytes = pack::file_bytes(gguf).map_err(|reason| refused(files, reason))?;
        self.allow(bytes)?;
        // An existing copy is damaged or of other bytes, and the new one may need its
        // place on the disk.
        place.remove()?;
        self.make_room(bytes, watch)?;
        let failed = || StoreError::file("write", &place.copy);
        let mut out = AtomicFile::create_in(&self.folder).map_err(failed())?;
        watch.tell(Event::Packing {
            source: files.path(),
            copy: &place.copy,
            part: out.part(),
            bytes,
            work: work(files, gguf),
        });
        let written = write(files, gguf, &mut out, watch)?;
        check_written(files, &out)?;
        out.commit(&place.copy).map_err(failed())?;
        let copy = Look::at_rest(std::slice::from_ref(&place.copy))?;
        let copy = Seal::new(written.sha256, copy);
        Record::new(&place.files, written.source, copy).write(&place.record)
    }

    /// Removes other copies to keep the limit, unless the disk would be too full even
    /// then.
    fn make_room(&self, bytes: u64, watch: &mut Watch<'_>) -> Result<()> {
        let removable = self.removable(bytes)?;
        let freed: u64 = removable.iter().map(|copy| copy.bytes).sum();
        let free = fs4::available_space(&self.folder);
        let free = free.map_err(StoreError::file("read", &self.folder))?;
        let needed = bytes.saturating_add(self.options.reserve);
        if free.saturating_add(freed) < needed {
            return Err(StoreError::DiskShort {
                folder: self.folder.clone(),
                needed,
                free,
            });
        }
        self.evict(&removable, watch)
    }
}

/// Loads what was written: a copy that can't be loaded is not kept.
fn check_written(files: &ModelFiles, out: &AtomicFile) -> Result<()> {
    Model::checked(out.part()).map(drop).map_err(|reason| {
        let source = match reason {
            Error::Io { source, .. } => source,
            reason => io::Error::other(reason),
        };
        refused(files, source.into())
    })
}
