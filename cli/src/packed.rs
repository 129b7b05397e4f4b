//! Packed copies: [`ondol::store`] keeps them in the home folder, and this module
//! prints its events and errors.

use crate::error::{Error, Result};
use crate::home::Home;
use crate::memory;
use crate::model::Files;
use crate::numbers;
use crate::outfile::Outfile;
use crate::output::megabytes;
use crate::progress::Progress;
use ondol::store::{self, Check, Event, PackedCopy, Store, StoreError, StoreOptions};
use ondol::{CancelToken, Model};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Whether commands use packed copies.
#[derive(clap::Args, Clone, Debug)]
pub struct PackArgs {
    /// Run the model's own file; make and use no packed copy
    #[arg(long, env = "ONDOL_NO_PACK", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_pack: bool,
    #[command(flatten)]
    pub limit: LimitArgs,
}

/// The limit for packed copies.
#[derive(clap::Args, Clone, Debug)]
pub struct LimitArgs {
    /// Limit all packed copies together to SIZE, such as 500MB or 4GiB: the ones that
    /// were unused for the longest time are removed, and a copy larger than SIZE is not
    /// made. Even with `none`, a copy is only made if 256 MiB of the disk stay free
    #[arg(
        long,
        env = "ONDOL_PACK_LIMIT",
        value_name = "SIZE|none",
        default_value = "none"
    )]
    pack_limit: Limit,
}

/// Bytes, or no limit.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<u64>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        match text {
            // An empty variable counts as one that is not set.
            "" | "none" => Ok(Limit(None)),
            size => numbers::bytes(size).map(|bytes| Limit(Some(bytes))),
        }
    }
}

impl LimitArgs {
    /// The store in the home folder.
    pub fn store(&self, home: &Home, check: Check) -> Store {
        let options = StoreOptions {
            limit: self.pack_limit.0,
            check,
            ..StoreOptions::default()
        };
        Store::new(home.packed(), options)
    }
}

/// The store in the home folder, to list it and to remove from it.
pub fn store(home: &Home) -> Store {
    Store::new(home.packed(), StoreOptions::default())
}

/// Opens a model from its packed copy, or else from its own file, with a note that
/// gives the reason.
pub fn open(path: &Path, limit: &LimitArgs) -> ondol::Result<Model> {
    let store = match Home::find() {
        Ok(home) => limit.store(&home, Check::Seals),
        Err(reason) => {
            let model = Model::open(path)?;
            tell_no_copy(path, &reason);
            return Ok(model);
        }
    };
    let mut teller = Teller::default();
    let opened = store.open(path, &CancelToken::new(), &mut |event| teller.tell(event))?;
    drop(teller);
    if let Some(reason) = opened.reason {
        tell_no_copy(path, &error(path, reason));
    }
    Ok(opened.model)
}

fn tell_no_copy(path: &Path, reason: &Error) {
    note!("{} runs without a packed copy: {reason}", path.display());
}

/// Hashes all bytes of a model's file and of its packed copy, and makes the copy if needed.
pub fn verify(path: &Path, limit: &LimitArgs) -> Result<()> {
    let store = limit.store(&Home::find()?, Check::Whole);
    let mut teller = Teller::default();
    let copy = store.prepare(path, &CancelToken::new(), &mut |event| teller.tell(event));
    copy.map(drop).map_err(|reason| error(path, reason))
}

/// Writes the packed copy of a model and checks that it can be loaded; returns its bytes.
pub fn write(files: &Files, mut out: Outfile, cancel: &CancelToken) -> Result<u64> {
    let failed = |reason| error(files.path(), reason);
    let label = format!("packing {}", files.path().display());
    let progress = Progress::bytes(&label, store::pack_work(files).map_err(failed)?);
    let packed = store::pack(files, &mut out, cancel, &mut |event| {
        if let Event::Advanced { bytes } = event {
            progress.add(bytes);
        }
    });
    progress.finish();
    packed.map_err(failed)?;
    // A copy that can't be loaded is not kept.
    let loaded = out.part().map(Model::open).transpose();
    loaded.map_err(|reason| error(files.path(), reason.into()))?;
    out.commit()
}

/// All copies.
pub fn list(store: &Store) -> Result<Vec<PackedCopy>> {
    let copies = store.list();
    copies.map_err(|reason| error(store.folder(), reason))
}

/// Removes the copy of this file and returns its bytes; `None` if there was none.
pub fn remove(store: &Store, path: &Path) -> Result<Option<u64>> {
    let mut teller = Teller::default();
    let removed = store.remove(path, &CancelToken::new(), &mut |event| teller.tell(event));
    removed.map_err(|reason| error(path, reason))
}

/// Removes copies without a use and returns them; prints why others could not be checked.
pub fn prune(home: &Home, limit: &LimitArgs) -> Result<Vec<(PathBuf, u64)>> {
    let store = limit.store(home, Check::Seals);
    let mut teller = Teller::default();
    let pruned = store.prune(&CancelToken::new(), &mut |event| match event {
        // The removed copy is returned, and the caller prints it.
        Event::Evicted { .. } => {}
        event => teller.tell(event),
    });
    let pruned = pruned.map_err(|reason| error(store.folder(), reason))?;
    for (path, reason) in pruned.kept {
        note!("{} stays: {}", path.display(), error(&path, reason));
    }
    Ok(pruned.removed)
}

/// Converts an error of the store to an error of the command.
pub fn error(path: &Path, reason: StoreError) -> Error {
    match reason {
        StoreError::Cancelled => Error::Cancelled,
        StoreError::File {
            action,
            path,
            source,
        } => Error::File {
            action,
            path,
            source,
        },
        StoreError::Model(source) => {
            crate::model::runtime_error(&path.display().to_string())(source)
        }
        StoreError::Pack { path, source } => Error::Pack { path, source },
        StoreError::DiskShort {
            folder,
            needed,
            free,
        } => Error::DiskShort {
            folder,
            needed: megabytes(needed),
            free: megabytes(free),
        },
        StoreError::OverLimit { needed, limit } => Error::OverPackLimit {
            needed: megabytes(needed),
            limit: megabytes(limit),
        },
        reason => Error::Store(reason),
    }
}

/// Prints the events of a store, and its progress.
#[derive(Default)]
pub struct Teller {
    progress: Option<Progress>,
    unlink: Option<memory::UnlinkOnExit>,
}

impl Teller {
    /// Prints the event.
    pub fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Waiting => {
                note!("another `ondol` makes or removes packed copies; waiting for it");
            }
            Event::Verifying { path, bytes } => self.start("verifying", path, bytes),
            Event::Damaged { copy } => note!(
                "the packed copy {} is damaged; it is made again",
                copy.display()
            ),
            Event::Packing {
                source,
                copy,
                part,
                bytes,
                work,
            } => {
                note!(
                    "a packed copy of {} is made once, for faster decoding: {} in {} (`ondol list` \
                     shows it, `ondol rm` removes it, --no-pack does without)",
                    source.display(),
                    megabytes(bytes),
                    copy.display()
                );
                self.unlink = Some(memory::UnlinkOnExit::new(part));
                self.start("packing", source, work);
            }
            Event::Advanced { bytes } => self.progress.iter().for_each(|p| p.add(bytes)),
            Event::Evicted { copy, bytes } => note!(
                "removed the packed copy {}, {}, to keep the limit (--pack-limit)",
                copy.display(),
                megabytes(bytes)
            ),
            _ => {}
        }
    }

    fn start(&mut self, what: &str, path: &Path, bytes: u64) {
        self.finish();
        let label = format!("{what} {}", path.display());
        self.progress = Some(Progress::bytes(&label, bytes));
    }

    fn finish(&mut self) {
        self.progress.take().iter().for_each(Progress::finish);
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.finish();
    }
}
