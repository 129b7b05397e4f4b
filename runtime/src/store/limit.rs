//! The limit of bytes for all copies: those that were unused for the longest time are
//! removed first.

use super::Store;
use super::error::{Result, StoreError};
use super::event::{Event, Watch};
use super::folder::{last_use, remove, size};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use std::vec::Vec;

/// A copy and the time of its last use.
pub(super) struct Used {
    pub path: PathBuf,
    pub bytes: u64,
    at: SystemTime,
}

impl Store {
    /// Checks that a copy of `needed` bytes fits if all others are removed.
    ///
    /// # Errors
    /// [`StoreError::OverLimit`].
    pub(super) fn allow(&self, needed: u64) -> Result<()> {
        match self.options.limit {
            Some(limit) if needed > limit => Err(StoreError::OverLimit { needed, limit }),
            _ => Ok(()),
        }
    }

    /// The copies that must be removed so that another one of `needed` bytes fits.
    pub(super) fn removable(&self, needed: u64) -> Result<Vec<Used>> {
        let Some(limit) = self.options.limit else {
            return Ok(Vec::new());
        };
        let paths = self.copy_paths()?.into_iter();
        let mut copies: Vec<Used> = paths.map(Used::at).collect();
        copies.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
        let mut total = copies.iter().fold(needed, |n, c| n.saturating_add(c.bytes));
        copies.retain(|copy| {
            let goes = total > limit;
            total -= if goes { copy.bytes } else { 0 };
            goes
        });
        Ok(copies)
    }

    /// Removes copies, while the folder is locked.
    pub(super) fn evict(&self, copies: &[Used], watch: &mut Watch<'_>) -> Result<()> {
        for Used { path, bytes, .. } in copies {
            remove(&[path.with_extension("json"), path.clone()])?;
            let (copy, bytes) = (path.as_path(), *bytes);
            watch.tell(Event::Evicted { copy, bytes });
        }
        Ok(())
    }

    /// Removes copies if the limit is now lower than when they were made.
    pub(super) fn hold_limit(&self, watch: &mut Watch<'_>) -> Result<()> {
        if self.removable(0)?.is_empty() {
            return Ok(());
        }
        let _lock = self.lock(watch)?;
        self.evict(&self.removable(0)?, watch)
    }
}

impl Used {
    /// A copy without a record counts as never used.
    fn at(path: PathBuf) -> Used {
        Used {
            bytes: size(&path),
            at: last_use(&path.with_extension("json")).unwrap_or(UNIX_EPOCH),
            path,
        }
    }
}
