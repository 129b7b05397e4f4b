//! A model's files, mapped for reading their contents, not for running the model.

use super::{parts, regular};
use crate::weights::FileBytes;
use crate::{Error, Result};
use memmap2::Mmap;
use ondol_models::gguf::Gguf;
use std::path::{Path, PathBuf};
use std::vec::Vec;

/// The bytes of a model: of its file, of all parts of a split one, or built into the
/// program.
pub struct ModelFiles {
    path: PathBuf,
    parts: Vec<FileBytes>,
}

impl ModelFiles {
    /// Maps a model's file and, if it is the first of a split model, the other parts in
    /// the same folder. No other program may truncate them while the value exists:
    /// after a truncation the system ends the process on the next read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<ModelFiles> {
        let path = path.as_ref();
        let mapped: Result<Vec<FileBytes>> = parts(path).iter().map(|part| map(part)).collect();
        mapped.map(|parts| ModelFiles {
            path: path.to_path_buf(),
            parts,
        })
    }

    /// A model that is built into the program, with a name in place of a path.
    pub fn built_in(name: &str, bytes: &'static [u8]) -> ModelFiles {
        ModelFiles {
            path: name.into(),
            parts: std::vec![FileBytes::Static(bytes)],
        }
    }

    /// Parses the headers.
    ///
    /// # Errors
    /// [`Error::Model`], and [`Error::Part`] for a part of a split model.
    pub fn gguf(&self) -> Result<Gguf<'_>> {
        let views: Vec<&[u8]> = self.bytes().collect();
        Gguf::parse_shards(&views).map_err(|source| self.error(source))
    }

    /// Converts an error of the model. An error in a part of a split model gets the
    /// part's path.
    pub fn error(&self, source: ondol_models::Error) -> Error {
        match source {
            ondol_models::Error::Shard { index, source } => match self.paths().get(index) {
                Some(path) => Error::Part {
                    path: path.clone(),
                    source: *source,
                },
                None => Error::Model(*source),
            },
            source => Error::Model(source),
        }
    }

    /// The first file, or the name of a built-in model.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The paths of the files; none for a built-in model.
    pub fn paths(&self) -> Vec<PathBuf> {
        match self.parts.first() {
            Some(FileBytes::Mapped(_)) => parts(&self.path),
            _ => Vec::new(),
        }
    }

    /// The bytes of each file.
    pub fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| &**part)
    }

    /// The number of bytes of all files together.
    pub fn byte_len(&self) -> u64 {
        self.bytes().map(|bytes| bytes.len() as u64).sum()
    }
}

fn map(path: &Path) -> Result<FileBytes> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let file = regular::open(path).map_err(io)?;
    // SAFETY: the map is only read; that no other program truncates the file meanwhile
    // is a documented condition of `ModelFiles::open`.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok(FileBytes::Mapped(map))
}
