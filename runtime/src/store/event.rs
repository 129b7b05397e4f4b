use super::error::{Result, StoreError};
use crate::CancelToken;
use std::ops::ControlFlow;
use std::path::Path;

/// What a store reports while it works: operations that take time or disk space.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another process or thread is changing the store's folder; the store waits for
    /// it.
    Waiting,
    /// Files are hashed, because they do not match their seal or
    /// [`super::Check::Whole`] is set. [`Event::Advanced`] counts the bytes that are
    /// read.
    Verifying {
        /// The first file.
        path: &'a Path,
        /// Bytes of all files.
        bytes: u64,
    },
    /// A copy is damaged and will be made again.
    Damaged {
        /// The copy.
        copy: &'a Path,
    },
    /// A copy will be written now; nothing of it is on the disk yet.
    Packing {
        /// The model's first file.
        source: &'a Path,
        /// The copy.
        copy: &'a Path,
        /// The private name under which the copy is written. The store removes this
        /// file if writing fails; if the process is killed, the next process that makes
        /// a copy removes it.
        part: &'a Path,
        /// Bytes of the copy.
        bytes: u64,
        /// Bytes of work, which [`Event::Advanced`] counts: all bytes that are read and
        /// written.
        work: u64,
    },
    /// More bytes are done of the work that was reported last.
    Advanced {
        /// Bytes.
        bytes: u64,
    },
    /// A copy was removed to keep [`super::StoreOptions::limit`]: the one that was
    /// unused for the longest time.
    Evicted {
        /// The copy.
        copy: &'a Path,
        /// Its bytes.
        bytes: u64,
    },
}

impl Event<'_> {
    /// Logs what changes the folder.
    fn log(&self) {
        match self {
            Event::Damaged { copy } => log::warn!("the packed copy {copy:?} is damaged"),
            Event::Packing { copy, bytes, .. } => {
                log::info!("the packed copy {copy:?} of {bytes} bytes is being made");
            }
            Event::Evicted { copy, bytes } => {
                log::info!("the packed copy {copy:?} of {bytes} bytes was removed for the limit");
            }
            Event::Waiting | Event::Verifying { .. } | Event::Advanced { .. } => {}
        }
    }
}

/// The caller's cancel token and event callback.
pub(super) struct Watch<'a> {
    pub cancel: &'a CancelToken,
    pub events: &'a mut dyn FnMut(Event<'_>),
}

impl Watch<'_> {
    pub fn tell(&mut self, event: Event<'_>) {
        event.log();
        (self.events)(event);
    }

    /// Checks whether the caller cancelled.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`].
    pub fn check(&self) -> Result<()> {
        match self.cancel.is_cancelled() {
            true => Err(StoreError::Cancelled),
            false => Ok(()),
        }
    }

    /// Reports bytes of work as done.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`].
    pub fn advance(&mut self, bytes: u64) -> Result<()> {
        self.tell(Event::Advanced { bytes });
        self.check()
    }

    /// As [`Watch::advance`], in the form that [`ondol_models::pack`] calls.
    pub fn step(&mut self, bytes: u64) -> ControlFlow<()> {
        match self.advance(bytes) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
