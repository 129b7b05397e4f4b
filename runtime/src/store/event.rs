use super::error::{Result, StoreError};
use crate::CancelToken;
use std::ops::ControlFlow;
use std::path::Path;

/// What a store does that takes time, or bytes of the disk.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another process or thread makes or removes copies; the store waits for it.
    Waiting,
    /// Files are hashed, since they do not look as they did, or all bytes are to be
    /// checked. So many bytes are read, which [`Event::Advanced`] counts.
    Verifying {
        /// The first file.
        path: &'a Path,
        /// Bytes of all files.
        bytes: u64,
    },
    /// A copy does not hold the bytes that were written to it. It is made again.
    Damaged {
        /// The copy.
        copy: &'a Path,
    },
    /// A copy is about to be written; nothing of it is on the disk yet.
    Packing {
        /// The model's first file.
        source: &'a Path,
        /// The copy.
        copy: &'a Path,
        /// The name that the copy has until it is whole. The store removes it, too, where
        /// it fails; a program that is killed leaves it to the next one that makes a copy.
        part: &'a Path,
        /// Bytes of the copy.
        bytes: u64,
        /// Bytes of the work, which [`Event::Advanced`] counts: all that are read and written.
        work: u64,
    },
    /// So many more bytes of the work that was told last are done.
    Advanced {
        /// Bytes.
        bytes: u64,
    },
    /// A copy was removed, unused for longest, to keep [`super::StoreOptions::limit`].
    Evicted {
        /// The copy.
        copy: &'a Path,
        /// Bytes that it took.
        bytes: u64,
    },
}

/// Whom a store tells what it does, and who can stop it.
pub(super) struct Watch<'a> {
    pub cancel: &'a CancelToken,
    pub events: &'a mut dyn FnMut(Event<'_>),
}

impl Watch<'_> {
    pub fn tell(&mut self, event: Event<'_>) {
        (self.events)(event);
    }

    /// # Errors
    /// [`StoreError::Cancelled`].
    pub fn check(&self) -> Result<()> {
        match self.cancel.is_cancelled() {
            true => Err(StoreError::Cancelled),
            false => Ok(()),
        }
    }

    /// Counts bytes of the work.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`].
    pub fn advance(&mut self, bytes: u64) -> Result<()> {
        self.tell(Event::Advanced { bytes });
        self.check()
    }

    /// The same for [`ondol_models::pack`].
    pub fn step(&mut self, bytes: u64) -> ControlFlow<()> {
        match self.advance(bytes) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
