//! The MODEL argument: a file, a name of the catalog, or `hello`.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::fetch;
use crate::home::Home;
use memmap2::Mmap;
use ondol::Model;
use ondol_models::gguf::{self, Gguf};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The name of the built-in model.
const HELLO: &str = "hello";

/// Where a model lies.
pub enum Location {
    /// In the program itself.
    BuiltIn,
    /// In a file, the first one of a split model.
    File(PathBuf),
}

/// Finds a model, and pulls it first if it is in the catalog but not here.
pub fn locate(name: &str) -> Result<Location> {
    if name == HELLO {
        return Ok(Location::BuiltIn);
    }
    let catalog = Catalog::load()?;
    if let Some(entry) = catalog.find(name) {
        let home = Home::find()?;
        let path = match fetch::cached(&home, entry) {
            Some(path) => path,
            None => fetch::pull(&home, &catalog, entry)?,
        };
        return Ok(Location::File(path));
    }
    let path = PathBuf::from(name);
    if !path.exists() {
        return Err(Error::NoSuchModel { name: name.to_owned() });
    }
    Ok(Location::File(path))
}

/// Loads a model to run it.
pub fn open(name: &str) -> Result<Model> {
    let model = match locate(name)? {
        Location::BuiltIn => Model::hello(),
        Location::File(path) => Model::open(&path),
    };
    model.map_err(runtime_error(name))
}

/// A closure for `map_err` on the runtime's results.
pub fn runtime_error(model: &str) -> impl Fn(ondol::Error) -> Error {
    move |source| match source {
        ondol::Error::Cancelled => Error::Cancelled,
        source => Error::Runtime { model: model.to_owned(), source },
    }
}

/// All of standard input, which must be UTF-8.
pub fn read_stdin() -> Result<String> {
    let text = std::io::read_to_string(std::io::stdin());
    text.map_err(|source| Error::Standard { stream: "input", source })
}

/// The bytes of a model's files, mapped, for commands that read and do not run.
pub struct Files {
    path: PathBuf,
    maps: Vec<Mmap>,
}

impl Files {
    /// Maps a file and, if it is the first of a split model, the others beside it.
    pub fn open(path: &Path) -> Result<Files> {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let paths: Vec<PathBuf> = match gguf::shard_names(name) {
            Some(names) => names.into_iter().map(|n| path.with_file_name(n)).collect(),
            None => vec![path.to_path_buf()],
        };
        let maps = paths.iter().map(|path| map(path)).collect::<Result<_>>()?;
        Ok(Files { path: path.to_path_buf(), maps })
    }

    /// Parses the headers.
    pub fn gguf(&self) -> Result<Gguf<'_>> {
        let views: Vec<&[u8]> = self.maps.iter().map(|map| &**map).collect();
        Gguf::parse_shards(&views).map_err(|source| Error::Model { path: self.path.clone(), source })
    }

    /// Bytes of all files.
    pub fn len(&self) -> u64 {
        self.maps.iter().map(|map| map.len() as u64).sum()
    }
}

#[allow(unsafe_code)]
fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(Error::file("open", path))?;
    // SAFETY: the map is only read. A file that another program truncates
    // meanwhile ends this process, as it ends any program that maps its input.
    unsafe { Mmap::map(&file) }.map_err(Error::file("read", path))
}
