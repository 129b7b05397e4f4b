//! Bundles: all programs of a model in one file, which is compiled on one machine and
//! loaded on others that have the same part.
//!
//! Layout: the magic; the programs, one after another; the index as JSON; the SHA-256 of
//! the index (32 bytes); its length (8 bytes, little endian). The index comes last, so
//! that a program is written as soon as it is saved. Every program has its SHA-256 in the
//! index.

use super::blob::{Hash, hash};
use super::device::Delegate;
use super::error::{Code, DelegateError, Stage};
use super::program::Program;
use crate::files::hex;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

const MAGIC: &[u8; 8] = b"ONDOLNB1";
/// Bytes behind the index: its hash and its length.
const TAIL: u64 = 32 + 8;

/// The part for which programs were compiled: programs of the same part are exchangeable,
/// whatever machine compiled them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    plugin: String,
    version: String,
    arch: String,
    driver: String,
}

impl Part {
    pub fn of(delegate: &Delegate) -> Part {
        let info = delegate.info();
        let [plugin, version, _] = &info.plugin;
        let [plugin, version, arch, driver] =
            [plugin, version, &info.arch, &info.driver].map(ToString::to_string);
        Part {
            plugin,
            version,
            arch,
            driver,
        }
    }
}

impl core::fmt::Display for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Part {
            plugin,
            version,
            arch,
            driver,
        } = self;
        write!(
            f,
            "{plugin} {version}, architecture {arch}, driver {driver}"
        )
    }
}

/// Everything about a bundle but the programs themselves.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    part: Part,
    /// Rows of the programs of each span.
    rows: Vec<usize>,
    programs: Vec<Entry>,
}

/// A program of a bundle.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// Its key and its SHA-256, in hexadecimal.
    key: String,
    sha256: String,
    /// Where its bytes are in the file.
    offset: u64,
    bytes: u64,
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The plug-in can't save a program.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// The system refused a write.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes programs with their keys as a bundle. Returns the number of bytes.
pub(super) fn write<'p>(
    out: &mut impl Write,
    part: &Part,
    rows: Vec<usize>,
    programs: impl Iterator<Item = (Hash, &'p Program)>,
) -> Result<u64, BundleError> {
    out.write_all(MAGIC)?;
    let mut offset = MAGIC.len() as u64;
    let mut entries = Vec::new();
    for (key, program) in programs {
        let blob = program.save()?;
        out.write_all(&blob)?;
        let bytes = blob.len() as u64;
        entries.push(Entry {
            key: hex(&key),
            sha256: hex(&hash(&blob)),
            offset,
            bytes,
        });
        offset += bytes;
    }
    let index = Index {
        part: part.clone(),
        rows,
        programs: entries,
    };
    let index = serde_json::to_vec(&index).map_err(io::Error::from)?;
    out.write_all(&index)?;
    out.write_all(&hash(&index))?;
    out.write_all(&(index.len() as u64).to_le_bytes())?;
    Ok(offset + index.len() as u64 + TAIL)
}

/// An open bundle.
#[derive(Debug)]
pub(super) struct Bundle {
    path: PathBuf,
    file: File,
    index: Index,
}

impl Bundle {
    /// Opens a bundle that was compiled for the delegate's part.
    ///
    /// # Errors
    /// Those of [`Stage::LoadProgram`]: [`Code::Corrupt`] for a file that is no whole
    /// bundle, [`Code::Incompatible`] for one of another part.
    pub fn open(path: &Path, delegate: &Delegate) -> Result<Bundle, DelegateError> {
        let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
        let index = read_index(&mut file).map_err(|e| unreadable(path, &e))?;
        let bundle = Bundle {
            path: path.to_path_buf(),
            file,
            index,
        };
        let (of, here) = (&bundle.index.part, Part::of(delegate));
        match *of == here {
            true => Ok(bundle),
            false => Err(bundle.other(&format!("it was compiled for {of}; this is {here}"))),
        }
    }

    /// The bytes of the program with this key, of so many rows.
    ///
    /// # Errors
    /// Those of [`Stage::LoadProgram`]: [`Code::Incompatible`] if there is none,
    /// [`Code::Corrupt`] if it is damaged.
    pub fn read(&self, key: &Hash, rows: usize) -> Result<Vec<u8>, DelegateError> {
        let key = hex(key);
        let entry = self.index.programs.iter().find(|entry| entry.key == key);
        let entry = entry.ok_or_else(|| self.missing(rows))?;
        self.bytes(entry).map_err(|e| unreadable(&self.path, &e))
    }

    fn bytes(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut file = &self.file;
        let bytes = read_at(&mut file, entry.offset, entry.bytes)?;
        match hex(&hash(&bytes)) == entry.sha256 {
            true => Ok(bytes),
            false => Err(damaged()),
        }
    }

    fn missing(&self, rows: usize) -> DelegateError {
        let has = &self.index.rows;
        self.other(&match has.contains(&rows) {
            true => "it was compiled from other weights".to_string(),
            false => format!("it has programs of {has:?} rows, and none of {rows}"),
        })
    }

    fn other(&self, why: &str) -> DelegateError {
        let message = format!(
            "{}: {why}; compile the model again for this part",
            self.path.display()
        );
        DelegateError::found(Stage::LoadProgram, Code::Incompatible, message)
    }
}

fn read_index(file: &mut File) -> io::Result<Index> {
    let len = file.metadata()?.len();
    let tail_at = len.checked_sub(TAIL).ok_or_else(damaged)?;
    if read_at(file, 0, MAGIC.len() as u64)? != MAGIC {
        return Err(damaged());
    }
    let tail = read_at(file, tail_at, TAIL)?;
    let (index_hash, length) = tail.split_at(32);
    let length = length.try_into().map_or(0, u64::from_le_bytes);
    let start = tail_at.checked_sub(length).ok_or_else(damaged)?;
    let index = read_at(file, start, length)?;
    if hash(&index) != index_hash {
        return Err(damaged());
    }
    serde_json::from_slice(&index).map_err(|_| damaged())
}

/// Reads so many bytes of a file, which may be shorter.
fn read_at(file: &mut (impl Read + Seek), offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let end = offset.checked_add(bytes).ok_or_else(damaged)?;
    if end > file.seek(SeekFrom::End(0))? {
        return Err(damaged());
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut read = vec![];
    let room = usize::try_from(bytes).map_err(|_| damaged())?;
    read.try_reserve_exact(room)?;
    read.resize(room, 0);
    file.read_exact(&mut read)?;
    Ok(read)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no whole bundle")
}

fn unreadable(path: &Path, error: &io::Error) -> DelegateError {
    let code = match error.kind() {
        io::ErrorKind::InvalidData => Code::Corrupt,
        io::ErrorKind::OutOfMemory => Code::NoMemory,
        io::ErrorKind::PermissionDenied => Code::Permission,
        _ => Code::Invalid,
    };
    let message = format!("{}: {error}", path.display());
    DelegateError::found(Stage::LoadProgram, code, message)
}
