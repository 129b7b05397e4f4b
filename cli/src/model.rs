//! The MODEL argument: a file, a name from the catalog, or `hello`.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::fetch;
use crate::home::Home;
use crate::packed::{self, LimitArgs};
use ondol::Model;
use ondol::files::{ModelFiles, parts};
use ondol_models::Warning;
use ondol_models::gguf::Gguf;
use std::io::ErrorKind;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// The name of the built-in model.
pub const HELLO: &str = "hello";

/// Loads a model from its own file.
pub fn open(name: &str) -> Result<Model> {
    let model = match locate(name)? {
        Location::BuiltIn => Model::hello(),
        Location::File(path) => Model::open(path),
    };
    let model = model.map_err(runtime_error(name))?;
    tell_warnings(name, model.warnings());
    Ok(model)
}

/// Loads a model from its packed copy.
pub fn open_packed(name: &str, limit: &LimitArgs) -> Result<Model> {
    let Location::File(path) = locate(name)? else {
        return open(name);
    };
    let model = packed::open(&path, limit).map_err(runtime_error(name))?;
    tell_warnings(name, model.warnings());
    Ok(model)
}

/// Reports on standard error the faults of a model's file that were repaired.
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

/// Where a model is.
enum Location {
    /// In the program itself.
    BuiltIn,
    /// In a file, the first one of a split model.
    File(PathBuf),
}

/// Finds a model, and pulls it first if it is in the catalog but not downloaded.
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
    files: ModelFiles,
    /// As errors name them.
    name: String,
}

impl Deref for Files {
    type Target = ModelFiles;

    fn deref(&self) -> &ModelFiles {
        &self.files
    }
}

impl Files {
    /// Maps a model's file and, if it is the first of a split model, the other parts in
    /// the same folder.
    pub fn open(name: &str) -> Result<Files> {
        match locate(name)? {
            Location::File(path) => Files::at(&path, &path.display().to_string()),
            Location::BuiltIn => Ok(Files {
                files: ModelFiles::built_in(name, Model::hello_bytes()),
                name: name.to_owned(),
            }),
        }
    }

    /// The same for a path, with another name for errors.
    pub fn at(path: &Path, name: &str) -> Result<Files> {
        let files = ModelFiles::open(path).map_err(runtime_error(name))?;
        let name = name.to_owned();
        Ok(Files { files, name })
    }

    /// Parses the headers.
    pub fn gguf(&self) -> Result<Gguf<'_>> {
        self.files.gguf().map_err(runtime_error(&self.name))
    }

    /// An error of this model, with its path or that of its damaged part.
    pub fn error(&self, source: ondol_models::Error) -> Error {
        runtime_error(&self.name)(self.files.error(source))
    }

    /// What the user named, or found.
    pub fn name(&self) -> &str {
        &self.name
    }
}
