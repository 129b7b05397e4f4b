//! The MODEL argument: a file, a name of the catalog, or `hello`.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::fetch;
use crate::home::Home;
use crate::packed::{self, PackArgs};
use crate::regular;
use memmap2::Mmap;
use ondol::Model;
use ondol_models::Warning;
use ondol_models::gguf::{self, Gguf};
use std::io::ErrorKind;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// The name of the built-in model.
pub const HELLO: &str = "hello";

/// Loads a model as its file is.
pub fn open(name: &str) -> Result<Model> {
    let model = match locate(name)? {
        Location::BuiltIn => Model::hello(),
        Location::File(path) => Model::open(path),
    };
    let model = model.map_err(runtime_error(name))?;
    tell_warnings(name, model.warnings());
    Ok(model)
}

/// Loads a model to run it: by its packed copy, unless that is not wanted.
pub fn open_packed(name: &str, args: &PackArgs) -> Result<Model> {
    match locate(name)? {
        Location::File(path) if !args.no_pack => {
            let model = packed::open(&path).map_err(runtime_error(name))?;
            tell_warnings(name, model.warnings());
            Ok(model)
        }
        _ => open(name),
    }
}

/// Tells on standard error what is wrong with a model's file and was repaired.
pub fn tell_warnings<'w>(name: &str, warnings: impl IntoIterator<Item = &'w Warning>) {
    for warning in warnings {
        note!("warning: {name}: {warning}");
    }
}

/// A closure for `map_err` on the runtime's results; `model` is what the user named.
pub fn runtime_error(model: &str) -> impl Fn(ondol::Error) -> Error {
    move |source| match source {
        ondol::Error::Cancelled => Error::Cancelled,
        // Its path is the model's, or that of a part of it: once is enough.
        ondol::Error::Io { path, source } => Error::file("open", &path)(source),
        ondol::Error::Part { path, source } => Error::Model { path, source },
        source => Error::Runtime {
            model: model.to_owned(),
            source,
        },
    }
}

/// The files of a model; none for the built-in one.
pub fn paths(name: &str) -> Result<Vec<PathBuf>> {
    Ok(match locate(name)? {
        Location::BuiltIn => Vec::new(),
        Location::File(path) => parts(&path),
    })
}

/// The path, or all parts of the split file that it is one of.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    match gguf::shard_names(name) {
        Some(names) => names.iter().map(|n| path.with_file_name(n)).collect(),
        None => vec![path.to_path_buf()],
    }
}

/// Where a model lies.
enum Location {
    /// In the program itself.
    BuiltIn,
    /// In a file, the first one of a split model.
    File(PathBuf),
}

/// Finds a model, and pulls it first if it is in the catalog but not here.
fn locate(name: &str) -> Result<Location> {
    if name == HELLO {
        return Ok(Location::BuiltIn);
    }
    let catalog = Catalog::load()?;
    if let Some(entry) = catalog.find(name) {
        let home = Home::find()?;
        let path = match fetch::verified(&home, entry)? {
            Some(path) => path,
            None => fetch::pull(&home, &catalog, entry)?,
        };
        return Ok(Location::File(path));
    }
    let path = PathBuf::from(name);
    match std::fs::metadata(&path) {
        Ok(kind) if kind.is_file() => Ok(Location::File(path)),
        // A pipe would have to be read to its end: a model is mapped.
        Ok(kind) => Err(Error::NotAFile {
            path,
            kind: if kind.is_dir() {
                "folder"
            } else {
                "pipe or a device"
            },
        }),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(Error::NoSuchModel {
            name: name.to_owned(),
        }),
        Err(e) => Err(Error::file("read", &path)(e)),
    }
}

/// The bytes of a model's files, for commands that read a model and do not run it.
pub struct Files {
    path: PathBuf,
    parts: Vec<Bytes>,
}

enum Bytes {
    BuiltIn(&'static [u8]),
    Mapped(Mmap),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::BuiltIn(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }
}

impl Files {
    /// Maps a model's file and, if it is the first of a split model, the others beside it.
    pub fn open(name: &str) -> Result<Files> {
        match locate(name)? {
            Location::BuiltIn => Ok(Files {
                path: name.into(),
                parts: vec![Bytes::BuiltIn(Model::hello_bytes())],
            }),
            Location::File(path) => Files::of_file(&path),
        }
    }

    /// The same for a file's path.
    pub fn of_file(path: &Path) -> Result<Files> {
        Ok(Files {
            path: path.to_path_buf(),
            parts: parts(path)
                .iter()
                .map(|part| map(part))
                .collect::<Result<_>>()?,
        })
    }

    /// Parses the headers.
    pub fn gguf(&self) -> Result<Gguf<'_>> {
        let views: Vec<&[u8]> = self.parts.iter().map(|part| &**part).collect();
        Gguf::parse_shards(&views).map_err(|source| self.error(source))
    }

    /// An error of this model, with its path or that of its damaged part.
    pub fn error(&self, source: ondol_models::Error) -> Error {
        match source {
            ondol_models::Error::Shard { index, source } => Error::Model {
                path: parts(&self.path).swap_remove(index),
                source: *source,
            },
            source => Error::Model {
                path: self.path.clone(),
                source,
            },
        }
    }

    /// The first file, or `hello`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of each file.
    pub fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| &**part)
    }

    /// The paths of the files; none for the built-in model.
    pub fn paths(&self) -> Vec<PathBuf> {
        match self.parts.first() {
            Some(Bytes::Mapped(_)) => parts(&self.path),
            _ => Vec::new(),
        }
    }

    /// Bytes of all files.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }
}

#[allow(unsafe_code)] // A memory map.
fn map(path: &Path) -> Result<Bytes> {
    let file = regular::open(path).map_err(Error::file("open", path))?;
    // SAFETY: the map is only read. A file that another program truncates
    // meanwhile ends this process, as it ends any program that maps its input.
    let map = unsafe { Mmap::map(&file) }.map_err(Error::file("read", path))?;
    Ok(Bytes::Mapped(map))
}
