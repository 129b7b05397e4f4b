//! The library's log.

use crate::ListenerError;
use ondol_app::log::{self, Level};
use std::sync::Arc;

/// How important a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is wrong, and the library continues.
    Warn,
    /// Reports what was chosen and loaded.
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

/// Receives the log. Any thread may call it, several threads at the same time too. An error
/// that it throws is ignored.
#[uniffi::export(foreign)]
pub trait LogListener: Send + Sync {
    /// Takes a line, which is English.
    fn line(&self, level: LogLevel, text: String) -> Result<(), ListenerError>;
}

/// Passes lines of this level and of more important ones to the listener, which replaces
/// the previous listener; `None` ends the log.
#[uniffi::export]
pub fn set_log(level: LogLevel, listener: Option<Arc<dyn LogListener>>) {
    match listener {
        None => log::clear(),
        Some(listener) => log::set(level.into(), move |level, line| {
            let _ = listener.line(level.into(), line.to_owned());
        }),
    }
}
