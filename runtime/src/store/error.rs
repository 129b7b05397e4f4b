use crate::ErrorCode;
use ondol_models::pack::PackError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a store has no packed copy of a model, or could not be listed or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused an operation on a file or folder. This does not
    /// mean that a copy is damaged.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// "read", "write", "create", "lock" or "remove".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The model itself can't be used.
    #[error(transparent)]
    Model(#[from] crate::Error),
    /// The model can't be packed, or the copy can't be written.
    #[error("{} can't be packed: {source}", path.display())]
    Pack {
        /// The model's first file.
        path: PathBuf,
        /// The reason.
        source: PackError,
    },
    /// The disk would have less than [`super::StoreOptions::reserve`] free bytes with
    /// the copy.
    #[error("{} has {free} bytes free, a packed copy needs {needed}", folder.display())]
    DiskShort {
        /// The store's folder.
        folder: PathBuf,
        /// Bytes of the copy plus the reserve.
        needed: u64,
        /// Free bytes of the disk.
        free: u64,
    },
    /// The copy alone exceeds the limit for all copies.
    #[error("a packed copy takes {needed} bytes; all copies together may take {limit}")]
    OverLimit {
        /// Bytes of the copy.
        needed: u64,
        /// [`super::StoreOptions::limit`].
        limit: u64,
    },
    /// The model's file changed while it was packed.
    #[error("{} changed while it was packed", path.display())]
    Changed {
        /// The model's first file.
        path: PathBuf,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// A result whose error is [`StoreError`].
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    /// The kind of the error.
    pub fn code(&self) -> ErrorCode {
        match self {
            StoreError::File { .. } => ErrorCode::Io,
            StoreError::Model(error) => error.code(),
            StoreError::Cancelled => ErrorCode::Cancelled,
            StoreError::DiskShort { .. } | StoreError::OverLimit { .. } => ErrorCode::DoesNotFit,
            StoreError::Pack { .. } | StoreError::Changed { .. } => ErrorCode::Store,
        }
    }

    /// As [`crate::Error::amounts`]: bytes of the disk, or of all copies.
    pub fn amounts(&self) -> Option<(u64, u64)> {
        match self {
            StoreError::Model(error) => error.amounts(),
            StoreError::DiskShort { needed, free, .. } => Some((*needed, *free)),
            StoreError::OverLimit { needed, limit } => Some((*needed, *limit)),
            _ => None,
        }
    }

    /// A closure for `map_err` on file operations.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}
