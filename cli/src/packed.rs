//! Packed copies of models: eight rows of a matrix interleaved, so that decoding
//! reads memory in one stream. A copy is made once, kept in the home folder, and
//! computes the same as its source, bit for bit.
//!
//! A copy answers in its source's place, so it must be the copy of these very bytes,
//! and whole. Both have a seal ([`crate::seal`] says what it sees, and what not). Where
//! one does not hold, source and copy are hashed again: a copy of other bytes, or one
//! that is damaged, is made anew before it answers. What is no damage (no rights, no
//! memory, a disk that fails) removes nothing: the model runs from its own file, and a
//! line says why.

mod store;

use crate::error::{Error, Result};
use crate::home::Home;
use crate::model::{self, Files};
use crate::outfile::Outfile;
use crate::output::megabytes;
use crate::progress::Progress;
use crate::seal::{Look, Seal, hex};
use ondol::{CancelToken, Model};
use ondol_models::gguf::Gguf;
use ondol_models::pack::{self, PackError, Source};
use sha2::{Digest, Sha256};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
pub use store::{Copy, State, Store};
use store::{Place, Record};

/// Bytes that stay free on the disk when a copy is made unasked.
const RESERVE: u64 = 256 << 20;

/// Bytes that are hashed at a time.
const PIECE: usize = 1 << 22;

/// Whether commands use packed copies.
#[derive(clap::Args, Clone, Debug)]
pub struct PackArgs {
    /// Use the model's file as it is; make and use no packed copy
    #[arg(long, env = "ONDOL_NO_PACK", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_pack: bool,
}

/// How closely a copy that is there is looked at before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Source and copy are hashed where their seals do not hold.
    Seals,
    /// They are hashed.
    Whole,
}

/// Writes the packed copy of a model, loadable or not at all; returns its bytes.
pub fn write(files: &Files, mut out: Outfile, cancel: &CancelToken) -> Result<u64> {
    let gguf = files.gguf()?;
    load(files)?;
    copy(files, &gguf, &mut out, cancel)?;
    check(files, &out)?;
    out.commit()
}

/// Loads the model itself, which costs little: a copy of one that can't be loaded is
/// hardly begun.
fn load(files: &Files) -> Result<()> {
    let name = files.path().display().to_string();
    let loaded = files.paths().first().map(Model::open);
    let loaded = loaded.transpose().map_err(model::runtime_error(&name));
    loaded.map(drop)
}

/// Loads what was written: what can't be loaded is never kept.
fn check(files: &Files, out: &Outfile) -> Result<()> {
    let loaded = out.part().map(Model::open);
    loaded.transpose().map(drop).map_err(|reason| {
        let source = match reason {
            ondol::Error::Io { source, .. } => source,
            reason => io::Error::other(reason),
        };
        Error::Pack {
            path: files.path().to_path_buf(),
            source: PackError::Write(source),
        }
    })
}

/// A copy that was written.
struct Made {
    source: Source,
    sha256: String,
}

/// Writes the copy to `out`.
fn copy(files: &Files, gguf: &Gguf, out: impl Write, cancel: &CancelToken) -> Result<Made> {
    let progress = Progress::bytes(
        &format!("packing {}", files.path().display()),
        files.len() + pack::tensor_bytes(gguf),
    );
    let step = |bytes| {
        progress.add(bytes);
        match cancel.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let made = source(files, step).and_then(|source| {
        let out = HashedWriter::new(out);
        let out = pack::write(gguf, &source, BufWriter::new(out), step)?;
        let out = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Made {
            source,
            sha256: hex(&out.hasher.finalize()),
        })
    });
    progress.finish();
    made.map_err(|source| match source {
        PackError::Cancelled => Error::Cancelled,
        source => Error::Pack {
            path: files.path().to_path_buf(),
            source,
        },
    })
}

/// Hashes what goes through it.
struct HashedWriter<W> {
    out: W,
    hasher: Sha256,
}

impl<W: Write> HashedWriter<W> {
    fn new(out: W) -> HashedWriter<W> {
        let hasher = Sha256::new();
        HashedWriter { out, hasher }
    }
}

impl<W: Write> Write for HashedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The hash and size of a model's files.
fn source(
    files: &Files,
    step: impl Fn(u64) -> ControlFlow<()>,
) -> std::result::Result<Source, PackError> {
    let mut hasher = Sha256::new();
    for piece in files.bytes().flat_map(|bytes| bytes.chunks(PIECE)) {
        hasher.update(piece);
        if step(piece.len() as u64).is_break() {
            return Err(PackError::Cancelled);
        }
    }
    Ok(Source {
        sha256: hex(&hasher.finalize()),
        bytes: files.len(),
    })
}

/// Opens the packed copy of a model's file, which is made first if need be. The
/// file itself is opened where there can be none; a line says why.
pub fn open(path: &Path) -> ondol::Result<Model> {
    let reason = match cached(path, Check::Seals) {
        Ok(Some(copy)) => match Model::open(&copy) {
            Ok(model) => return Ok(model),
            Err(reason) => reason.to_string(),
        },
        Ok(None) => return Model::open(path),
        Err(reason) => reason.to_string(),
    };
    // A file that can't be used itself says so, and that is enough.
    let model = Model::open(path)?;
    note!("{} runs without a packed copy: {reason}", path.display());
    Ok(model)
}

/// The packed copy of a model's file in the home folder, made if it is not there or
/// not to be trusted; `None` if the model gains nothing by it.
///
/// # Errors
/// A copy that can't be read or made. One that is there stays.
pub fn cached(path: &Path, check: Check) -> Result<Option<PathBuf>> {
    let store = Store::of(&Home::find()?);
    let place = store.place(path);
    let holds = |record: &Record| record.holds(&place);
    if let (Some(record), Check::Seals) = (place.record()?, check)
        && holds(&record)?
    {
        return Ok(Some(place.copy));
    }
    let files = Files::of_file(path)?;
    let gguf = files.gguf()?;
    if !pack::gains(&gguf) {
        return Ok(None);
    }
    // Where the folder can't be written, a copy that is whole can still be used.
    let lock = store.lock();
    if let Some(mut record) = place.record()? {
        match record.renew(&place, check)? {
            store::Verdict::Good => {
                if lock.is_ok() {
                    place.keep(&record)?;
                }
                return Ok(Some(place.copy));
            }
            store::Verdict::OtherSource => {}
            store::Verdict::Damaged => note!(
                "the packed copy {} is damaged; it is made again",
                place.copy.display()
            ),
        }
    }
    let _lock = lock?;
    load(&files)?;
    place.remove()?;
    make(&store, &place, &files, &gguf)?;
    Ok(Some(place.copy))
}

fn make(store: &Store, place: &Place, files: &Files, gguf: &Gguf) -> Result<()> {
    let bytes = pack::tensor_bytes(gguf);
    let free = fs4::available_space(&store.folder);
    let free = free.map_err(Error::file("read", &store.folder))?;
    if !has_room(free, bytes) {
        return Err(Error::DiskShort {
            folder: store.folder.clone(),
            needed: megabytes(bytes + RESERVE),
            free: megabytes(free),
        });
    }
    note!(
        "a packed copy of {} is made once, for faster decoding: {} in {} (`ondol list` shows it, \
         `ondol rm` removes it, --no-pack does without)",
        files.path().display(),
        megabytes(bytes),
        place.copy.display()
    );
    let before = Look::at_rest(&place.files)?;
    let mut out = Outfile::create(&place.copy, true, &place.files)?;
    let made = copy(files, gguf, &mut out, &CancelToken::new())?;
    check(files, &out)?;
    if !before.is_same(&Look::at(&place.files)?) {
        return Err(Error::ChangedMeanwhile {
            path: files.path().to_path_buf(),
        });
    }
    out.commit()?;
    let copy = Look::at_rest(std::slice::from_ref(&place.copy))?;
    place.keep(&Record::new(
        place,
        Seal::new(made.source.sha256, before),
        Seal::new(made.sha256, copy),
    ))
}

/// Whether a copy of so many bytes may be made on a disk with so many free ones.
fn has_room(free: u64, bytes: u64) -> bool {
    free >= bytes.saturating_add(RESERVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_leaves_some_room_on_the_disk() {
        assert!(has_room(RESERVE + 10, 10));
        assert!(!has_room(RESERVE + 9, 10));
        assert!(!has_room(u64::MAX - 1, u64::MAX));
    }
}
