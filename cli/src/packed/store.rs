//! The folder of packed copies: `NAME-HASH.gguf`, and beside each a record,
//! `NAME-HASH.json`, of what it was made of. HASH is of the source's path, so that a
//! file has one copy however many symlinks lead to it, and a new one when it changes.
//!
//! One lock is held by whoever changes the folder. A record goes before its copy is
//! replaced and comes after: a copy without a record is no copy, and is made again.

use super::Check;
use crate::error::{Error, Result};
use crate::home::{Home, sync_folder};
use crate::model::parts;
use crate::outfile::Outfile;
use crate::regular;
use crate::seal::{Seal, hex};
use ondol_models::quant::packed::VERSION;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Counts up when other things go into a copy, so that older ones are made again.
const CONTENTS: u32 = 2;

const LOCK: &str = ".lock";

/// The folder of packed copies.
pub struct Store {
    pub folder: PathBuf,
}

/// Where the packed copy of a file is kept, whether it is there or not.
pub struct Place {
    /// The files of the source, by their canonical paths where they have one.
    pub files: Vec<PathBuf>,
    pub copy: PathBuf,
    record: PathBuf,
}

/// What a copy is and what it was made of.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of the layout, and of what goes into a copy.
    version: (u32, u32),
    files: Vec<OsString>,
    source: Seal,
    copy: Seal,
}

/// What hashing says of a copy.
pub enum Verdict {
    Good,
    /// The source has other bytes now, or this build packs in another way.
    OtherSource,
    Damaged,
}

/// A copy in the folder, as it is shown.
pub struct Copy {
    pub path: PathBuf,
    pub bytes: u64,
    /// The first file of the source; none where the copy has no record.
    pub source: Option<PathBuf>,
    pub state: State,
}

/// Whether a copy is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its source is there, as far as can be seen at a glance.
    Current,
    /// Its source has other bytes, or it was made by another version.
    Stale,
    /// Its source is gone.
    Orphaned,
}

impl Store {
    pub fn of(home: &Home) -> Store {
        Store {
            folder: home.packed(),
        }
    }

    /// The place for the copy of the model that `path` is the first file of.
    pub fn place(&self, path: &Path) -> Place {
        let first = canonical(path);
        let files = parts(path).iter().map(|part| canonical(part)).collect();
        let stem = first.file_stem().unwrap_or_default().to_string_lossy();
        let hash = Sha256::digest(first.as_os_str().as_encoded_bytes());
        let name = format!("{stem}-{}", hex(&hash[..6]));
        Place {
            files,
            copy: self.folder.join(format!("{name}.gguf")),
            record: self.folder.join(format!("{name}.json")),
        }
    }

    /// Waits until no other process changes the folder, which is made; the lock ends
    /// with the value.
    pub fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.folder).map_err(Error::file("create", &self.folder))?;
        let path = self.folder.join(LOCK);
        let file = regular::append(&path).map_err(Error::file("create", &path))?;
        if file.try_lock().is_err() {
            note!("another `ondol` makes or removes packed copies; waiting for it");
            file.lock().map_err(Error::file("lock", &path))?;
        }
        Ok(file)
    }

    /// The copy of a model's file, if one is there.
    pub fn find(&self, path: &Path) -> Option<PathBuf> {
        let place = self.place(path);
        let is_there = place.copy.exists() && place.record.exists();
        is_there.then_some(place.copy)
    }

    /// All copies, by name.
    pub fn copies(&self) -> Result<Vec<Copy>> {
        let mut copies = Vec::new();
        for path in self.entries()? {
            if path.extension().is_some_and(|e| e == "gguf") {
                copies.push(Copy::at(path));
            }
        }
        copies.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(copies)
    }

    /// Removes the copy of this file, which may be gone. The path of a copy itself
    /// will do too. Returns the bytes that it took, `None` if there was none.
    pub fn remove(&self, path: &Path) -> Result<Option<u64>> {
        if !self.folder.exists() {
            return Ok(None);
        }
        let _lock = self.lock()?;
        let is_here = |path: &Path| path.parent() == Some(canonical(&self.folder).as_path());
        let full = canonical(path);
        if is_here(&full) && full.extension().is_some_and(|e| e == "gguf") {
            return remove(&[full.clone(), full.with_extension("json")]);
        }
        self.place(path).remove()
    }

    /// Removes what is of no use: copies whose source is gone or has other bytes, and
    /// what older versions and killed processes left. Returns the paths with their bytes.
    /// What can't be read or removed is told, and stays.
    pub fn prune(&self) -> Result<Vec<(PathBuf, u64)>> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let mut removed = Vec::new();
        for path in self.entries()? {
            match self.prune_one(&path) {
                Ok(Some(bytes)) => removed.push((path, bytes)),
                Ok(None) => {}
                Err(reason) => note!("{} stays: {reason}", path.display()),
            }
        }
        Ok(removed)
    }

    /// Removes a file of the folder if it is of no use; returns its bytes then.
    fn prune_one(&self, path: &Path) -> Result<Option<u64>> {
        let useless = match path.extension().and_then(|e| e.to_str()) {
            Some("gguf") if !self.is_of_use(path)? => {
                vec![path.with_extension("json"), path.to_path_buf()]
            }
            Some("json") if !path.with_extension("gguf").exists() => vec![path.to_path_buf()],
            // Parts of the killed, for the living hold the lock; and locks of older
            // versions, which had one for each copy.
            Some("lock" | "part") => vec![path.to_path_buf()],
            _ => return Ok(None),
        };
        remove(&useless)
    }

    /// Whether a copy's source is there with the bytes that it was made of.
    fn is_of_use(&self, copy: &Path) -> Result<bool> {
        let Some(mut record) = read(&copy.with_extension("json"))? else {
            return Ok(false);
        };
        let files = record.files();
        let is_there = files.iter().all(|file| file.exists());
        Ok(is_there && record.is_of_this_version() && record.source.renew(&files, false)?)
    }

    fn entries(&self) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::file("read", &self.folder))?,
        };
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    }
}

impl Place {
    /// What is known of the copy; `None` if there is none, or its record is damaged.
    pub fn record(&self) -> Result<Option<Record>> {
        match self.copy.exists() {
            true => read(&self.record),
            false => Ok(None),
        }
    }

    /// Keeps what is known of the copy.
    pub fn keep(&self, record: &Record) -> Result<()> {
        let mut out = Outfile::create(&self.record, true, &[])?;
        let text = serde_json::to_vec(record).map_err(|e| e.into());
        text.and_then(|text| out.write_all(&text))
            .map_err(Error::file("write", &self.record))?;
        out.commit().map(drop)
    }

    /// Removes the copy, and those that older versions made of this source.
    pub fn remove(&self) -> Result<Option<u64>> {
        let name = self.copy.file_stem().unwrap_or_default();
        let older = format!("{}-", name.to_string_lossy());
        let folder = self.copy.parent().unwrap_or(Path::new("."));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let is_older = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&older)
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(is_older);
        // The record goes first.
        paths.splice(..0, [self.record.clone(), self.copy.clone()]);
        let removed = remove(&paths)?;
        if removed.is_some() {
            sync_folder(folder)?;
        }
        Ok(removed)
    }
}

impl Record {
    pub fn new(place: &Place, source: Seal, copy: Seal) -> Record {
        let files = place.files.iter().map(OsString::from).collect();
        Record {
            version: (VERSION, CONTENTS),
            files,
            source,
            copy,
        }
    }

    /// Whether both seals hold: the copy is to be trusted.
    pub fn holds(&self, place: &Place) -> Result<bool> {
        let copy = std::slice::from_ref(&place.copy);
        Ok(self.is_of_this_version()
            && self.files() == place.files
            && self.source.holds(&place.files)?
            && self.copy.holds(copy)?)
    }

    /// Hashes what must be, and makes the seals new.
    pub fn renew(&mut self, place: &Place, check: Check) -> Result<Verdict> {
        let whole = check == Check::Whole;
        if !self.is_of_this_version()
            || self.files() != place.files
            || !self.source.renew(&place.files, whole)?
        {
            return Ok(Verdict::OtherSource);
        }
        let copy = std::slice::from_ref(&place.copy);
        Ok(match self.copy.renew(copy, whole)? {
            true => Verdict::Good,
            false => Verdict::Damaged,
        })
    }

    fn is_of_this_version(&self) -> bool {
        self.version == (VERSION, CONTENTS)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.iter().map(PathBuf::from).collect()
    }
}

impl Copy {
    /// One whose record can't be read is shown as one without.
    fn at(path: PathBuf) -> Copy {
        let bytes = fs::metadata(&path).map_or(0, |about| about.len());
        let record = read(&path.with_extension("json")).ok().flatten();
        let files = record.as_ref().map_or(Vec::new(), Record::files);
        let state = match &record {
            Some(_) if !files.iter().all(|file| file.exists()) => State::Orphaned,
            Some(record) if record.is_of_this_version() && record.source.seems_to_hold(&files) => {
                State::Current
            }
            _ => State::Stale,
        };
        Copy {
            path,
            bytes,
            source: files.into_iter().next(),
            state,
        }
    }
}

/// A record; `None` if there is none, or none that can be understood.
fn read(path: &Path) -> Result<Option<Record>> {
    match regular::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file("read", path)(e)),
    }
}

/// Removes files; returns their bytes, `None` if none of them was there.
fn remove(paths: &[PathBuf]) -> Result<Option<u64>> {
    let mut bytes = None;
    for path in paths {
        let size = fs::symlink_metadata(path).map_or(0, |about| about.len());
        match fs::remove_file(path) {
            Ok(()) => bytes = Some(bytes.unwrap_or(0) + size),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::file("remove", path)(e)),
        }
    }
    Ok(bytes)
}

/// The one path of a file, whatever symlinks lead to it; of one that is gone, its
/// folder's and its name.
fn canonical(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let full = std::path::absolute(path).unwrap_or(path.to_path_buf());
    let folder = full.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, full.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => full,
    }
}
