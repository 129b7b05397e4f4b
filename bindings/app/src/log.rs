//! The library's log: passes lines that Ondol's own crates log through the crate `log` to
//! a function of the app.

use log::{LevelFilter, Log, Metadata, Record};
use std::sync::{Arc, Once, PoisonError, RwLock};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is wrong, and the library continues.
    Warn,
    /// Reports what was chosen and loaded.
    Info,
    /// Details for the developers of Ondol.
    Debug,
}

impl Level {
    /// Every level, the most important first.
    pub const ALL: [Level; 4] = [Level::Error, Level::Warn, Level::Info, Level::Debug];

    /// The level for a level of the crate `log`; `None` for `Trace`, its finest.
    fn of(level: log::Level) -> Option<Level> {
        match level {
            log::Level::Error => Some(Level::Error),
            log::Level::Warn => Some(Level::Warn),
            log::Level::Info => Some(Level::Info),
            log::Level::Debug => Some(Level::Debug),
            log::Level::Trace => None,
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Level::Error => LevelFilter::Error,
            Level::Warn => LevelFilter::Warn,
            Level::Info => LevelFilter::Info,
            Level::Debug => LevelFilter::Debug,
        }
    }
}

type Sink = dyn Fn(Level, &str) + Send + Sync;

static SINK: RwLock<Option<Arc<Sink>>> = RwLock::new(None);

/// Passes the lines of this level and of more important ones to `sink`, which replaces the
/// previous function. Any thread may call `sink`, several threads at the same time too. It
/// must not panic.
///
/// Has no effect in a program that has already set a logger of the crate `log`.
pub fn set(level: Level, sink: impl Fn(Level, &str) + Send + Sync + 'static) {
    static FORWARD: Once = Once::new();
    FORWARD.call_once(|| {
        let _ = log::set_logger(&Forward);
    });
    replace(Some(Arc::new(sink)));
    log::set_max_level(level.filter());
}

/// Ends the log. A line that is being passed at this moment may still arrive.
pub fn clear() {
    log::set_max_level(LevelFilter::Off);
    replace(None);
}

fn replace(sink: Option<Arc<Sink>>) {
    let before = std::mem::replace(
        &mut *SINK.write().unwrap_or_else(PoisonError::into_inner),
        sink,
    );
    // Dropped outside of the lock, because the drop may run code of the app.
    drop(before);
}

struct Forward;

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("ondol")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let sink = SINK.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(sink), Some(level)) = (sink, Level::of(record.level())) {
            sink(level, &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn lines_of_ondol_and_of_the_level_arrive() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = lines.clone();
        set(Level::Warn, move |level, line| {
            written.lock().unwrap().push((level, line.to_owned()));
        });
        log::warn!(target: "ondol::store", "one");
        log::info!(target: "ondol::store", "too fine");
        log::warn!(target: "another", "not ours");
        log::error!(target: "ondol_app", "two");
        clear();
        log::error!(target: "ondol", "after the end");
        let expected = [
            (Level::Warn, "one".to_owned()),
            (Level::Error, "two".to_owned()),
        ];
        assert_eq!(*lines.lock().unwrap(), expected);
    }
}
