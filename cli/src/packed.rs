//! Packed copies of models: eight rows of a matrix interleaved, so that decoding
//! reads memory in one stream. A copy is made once, kept in the home folder, and
//! computes the same as its source, bit for bit.

use crate::error::{Error, Result};
use crate::home::{Home, sync_folder, write_beside};
use crate::model::Files;
use crate::output::megabytes;
use crate::progress::Progress;
use ondol::{CancelToken, Model};
use ondol_models::gguf::Gguf;
use ondol_models::pack::{self, PackError, Source};
use ondol_models::quant::packed::VERSION;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Bytes that stay free on the disk when a copy is made unasked.
const RESERVE: u64 = 256 << 20;

/// Counts up when other things go into a copy, so that older ones are made again.
const CONTENTS: u32 = 2;

/// Bytes that are hashed at a time.
const PIECE: usize = 1 << 22;

/// Whether commands use packed copies.
#[derive(clap::Args, Clone, Debug)]
pub struct PackArgs {
    /// Use the model's file as it is; make and use no packed copy
    #[arg(long, env = "ONDOL_NO_PACK", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_pack: bool,
}

/// Writes the packed copy of a model to `to`: whole and loadable, or not at all.
pub fn write(files: &Files, to: &Path, cancel: &CancelToken) -> Result<()> {
    let gguf = files.gguf()?;
    let failed = |source| match source {
        PackError::Cancelled => Error::Cancelled,
        source => Error::Pack {
            path: files.path().to_path_buf(),
            source,
        },
    };
    write_beside(to, |part| {
        let file = File::create(part).map_err(Error::file("write", part))?;
        let file = copy(files, &gguf, BufWriter::new(file), cancel).map_err(failed)?;
        let file = file.into_inner();
        let file = file.map_err(|e| failed(PackError::Write(e.into_error())))?;
        file.sync_all().map_err(Error::file("write", part))?;
        // What can't be loaded is never kept.
        let check = Model::open(part);
        check
            .map(drop)
            .map_err(crate::model::runtime_error("the packed copy"))
    })
}

fn copy(
    files: &Files,
    gguf: &Gguf,
    out: BufWriter<File>,
    cancel: &CancelToken,
) -> std::result::Result<BufWriter<File>, PackError> {
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
    let source = source(files, step)?;
    let out = pack::write(gguf, &source, out, step);
    progress.finish();
    out
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
    match cached(path) {
        Ok(Some(copy)) => match Model::open(&copy) {
            Ok(model) => return Ok(model),
            Err(reason) => {
                note!(
                    "the packed copy {} is damaged and is removed: {reason}",
                    copy.display()
                );
                let _ = fs::remove_file(&copy);
            }
        },
        Ok(None) => {}
        Err(reason) => note!("{} runs without a packed copy: {reason}", path.display()),
    }
    Model::open(path)
}

/// The packed copy of a model's file in the home folder, made if it is not
/// there; `None` if the model gains nothing by it.
pub fn cached(path: &Path) -> Result<Option<PathBuf>> {
    let place = Place::of(&Home::find()?, path)?;
    if place.copy.exists() {
        return Ok(Some(place.copy));
    }
    let files = Files::of_file(path)?;
    let gguf = files.gguf()?;
    if !pack::gains(&gguf) {
        return Ok(None);
    }
    let bytes = pack::tensor_bytes(&gguf);
    fs::create_dir_all(&place.folder).map_err(Error::file("create", &place.folder))?;
    let lock = place.folder.join(format!("{}.lock", place.prefix));
    let lock_file = File::create(&lock).map_err(Error::file("create", &lock))?;
    lock_file.lock().map_err(Error::file("lock", &lock))?;
    // Another process may have made it while this one waited.
    if place.copy.exists() {
        return Ok(Some(place.copy));
    }
    place.remove()?;
    let free = fs4::available_space(&place.folder).map_err(Error::file("read", &place.folder))?;
    if !has_room(free, bytes) {
        return Err(Error::DiskShort {
            folder: place.folder,
            needed: megabytes(bytes + RESERVE),
            free: megabytes(free),
        });
    }
    write(&files, &place.copy, &CancelToken::new())?;
    Ok(Some(place.copy))
}

/// Whether a copy of so many bytes may be made on a disk with so many free ones.
fn has_room(free: u64, bytes: u64) -> bool {
    free >= bytes.saturating_add(RESERVE)
}

/// The packed copy of a model's file that is there and up to date.
pub fn existing(home: &Home, path: &Path) -> Option<PathBuf> {
    let copy = Place::of(home, path).ok()?.copy;
    copy.exists().then_some(copy)
}

/// Removes every packed copy that was made of this file, whose bytes may have
/// changed since or be gone.
pub fn remove(home: &Home, path: &Path) -> Result<bool> {
    Place::new(home, path, "")?.remove()
}

/// Where the packed copy of a file is kept.
struct Place {
    folder: PathBuf,
    /// Names the source by its path.
    prefix: String,
    /// The prefix, and what the source's bytes go by: a source that changes has
    /// another copy.
    copy: PathBuf,
}

impl Place {
    /// Bytes are told apart by size and time of change: reading them all to hash
    /// them would cost every start as much as a packed copy gains.
    fn of(home: &Home, path: &Path) -> Result<Place> {
        let about = fs::metadata(path).map_err(Error::file("read", path))?;
        let changed = about.modified().ok();
        let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let state = format!("{VERSION} {CONTENTS} {} {changed:?}", about.len());
        Place::new(home, path, &state)
    }

    fn new(home: &Home, path: &Path, state: &str) -> Result<Place> {
        let full = std::path::absolute(path).map_err(Error::file("find", path))?;
        let short = |bytes: &[u8]| hex(&Sha256::digest(bytes)[..6]);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let prefix = format!("{stem}-{}", short(full.as_os_str().as_encoded_bytes()));
        let folder = home.packed();
        let copy = folder.join(format!("{prefix}-{}.gguf", short(state.as_bytes())));
        Ok(Place {
            folder,
            prefix,
            copy,
        })
    }

    /// Removes all copies of this source, and what a killed process left of one.
    fn remove(&self) -> Result<bool> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Ok(false);
        };
        let mut found = false;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours = name.strip_prefix(&self.prefix);
            if ours.is_some_and(|rest| rest.starts_with('-')) {
                fs::remove_file(entry.path()).map_err(Error::file("remove", &entry.path()))?;
                found = true;
            }
        }
        sync_folder(&self.folder)?;
        Ok(found)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
