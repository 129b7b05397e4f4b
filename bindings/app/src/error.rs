//! Errors as plain data, for languages that can't hold Rust's error types.

use ondol::ErrorCode;
use ondol::store::StoreError;
use std::fmt::Display;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AppError {
    /// The kind of error, the same number in every language.
    pub code: ErrorCode,
    /// What was wrong, where, and what to do; English.
    pub message: String,
    /// Bytes or tokens that were needed, for the kinds that have amounts
    /// ([`ondol::Error::amounts`]); otherwise 0.
    pub needed: u64,
    /// Bytes or tokens that are allowed, for the same kinds; otherwise 0.
    pub allowed: u64,
}

/// A result with [`AppError`].
pub type Result<T, E = AppError> = std::result::Result<T, E>;

impl AppError {
    /// An error without amounts.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> AppError {
        AppError {
            code,
            message: message.into(),
            needed: 0,
            allowed: 0,
        }
    }

    fn of(code: ErrorCode, error: &dyn Display, amounts: Option<(u64, u64)>) -> AppError {
        let (needed, allowed) = amounts.unwrap_or_default();
        AppError {
            needed,
            allowed,
            ..AppError::new(code, error.to_string())
        }
    }

    /// An argument that can't be used.
    pub fn argument(message: impl Into<String>) -> AppError {
        AppError::new(ErrorCode::InvalidArgument, message)
    }

    pub(crate) fn busy() -> AppError {
        let message = "the conversation is answering; wait for the answer, or cancel it";
        AppError::new(ErrorCode::Busy, message)
    }

    pub(crate) fn closed(what: &str) -> AppError {
        AppError::new(ErrorCode::Closed, format!("the {what} is closed"))
    }

    /// A panic that was caught.
    pub fn panicked() -> AppError {
        let message = "Ondol panicked, which is a bug in Ondol. Close the conversation and load the model again";
        AppError::new(ErrorCode::Panicked, message)
    }
}

impl From<ondol::Error> for AppError {
    fn from(error: ondol::Error) -> AppError {
        AppError::of(error.code(), &error, error.amounts())
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> AppError {
        AppError::of(error.code(), &error, error.amounts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_numbers() {
        let error = AppError::from(ondol::Error::DoesNotFit {
            needed: 9,
            allowed: 4,
        });
        assert_eq!(error.code, ErrorCode::DoesNotFit);
        assert_eq!((error.needed, error.allowed), (9, 4));
        assert!(error.to_string().contains("9 bytes"), "{error}");
    }
}
