//! The library's log.

use crate::ListenerError;
use ondol_app::log::{self, Level};
use std::sync::Arc;

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be, and goes on.
    Warn,
    /// What was chosen and loaded.
    Info,
    /// Details for the developers of Ondol.
    Debug,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Level {
        match level {
            LogLevel::Error => Level::Error,
            LogLevel::Warn => Level::Warn,
            LogLevel::Info => Level::Info,
            LogLevel::Debug => Level::Debug,
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> LogLevel {
        match level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
        }
    }
}

/// Receives the log, on any thread, several lines at the same time too. What it throws is
/// ignored.
#[uniffi::export(foreign)]
pub trait LogListener: Send + Sync {
    /// A line in English.
    fn line(&self, level: LogLevel, text: String) -> Result<(), ListenerError>;
}

/// Passes lines of this level and of more important ones to the listener, in place of the
/// one before; `None` ends the log.
#[uniffi::export]
pub fn set_log(level: LogLevel, listener: Option<Arc<dyn LogListener>>) {
    match listener {
        None => log::clear(),
        Some(listener) => log::set(level.into(), move |level, line| {
            let _ = listener.line(level.into(), line.to_owned());
        }),
    }
}
