//! Progress on standard error: a bar on a terminal; elsewhere, for long work, a line
//! for every tenth.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shorter work prints nothing in a log.
const QUIET: Duration = Duration::from_secs(2);

/// The progress of a long operation. Threads may share one.
pub enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// In a log.
    Lines {
        /// The operation.
        label: String,
        /// Units of the whole work.
        total: u64,
        /// Units done.
        done: AtomicU64,
        /// When the work began.
        start: Instant,
    },
}

impl Progress {
    /// Work counted in bytes.
    pub fn bytes(label: &str, total: u64) -> Progress {
        Progress::new(
            label,
            total,
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
        )
    }

    /// Work counted in pieces.
    pub fn pieces(label: &str, total: u64) -> Progress {
        Progress::new(label, total, "{msg} {wide_bar} {pos}/{len}, {eta} left")
    }

    fn new(label: &str, total: u64, template: &str) -> Progress {
        if !stderr().is_terminal() {
            return Progress::Lines {
                label: label.to_owned(),
                total,
                done: AtomicU64::new(0),
                start: Instant::now(),
            };
        }
        let bar = ProgressBar::new(total).with_message(label.to_owned());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    /// Counts what is already done when the work begins, and shows nothing for it.
    pub fn start_at(&self, done_before: u64) {
        match self {
            Progress::Bar(bar) => {
                bar.set_position(done_before);
                bar.reset_eta();
            }
            Progress::Lines { done, .. } => done.store(done_before, Ordering::Relaxed),
        }
    }

    /// Counts more units.
    pub fn add(&self, units: u64) {
        match self {
            Progress::Bar(bar) => bar.inc(units),
            Progress::Lines {
                label,
                total,
                done,
                start,
            } => {
                let before = done.fetch_add(units, Ordering::Relaxed);
                let tenth = |n: u64| u128::from(n) * 10 / u128::from((*total).max(1));
                if tenth(before + units) > tenth(before) && start.elapsed() > QUIET {
                    note!("{label}: {}%", tenth(before + units) * 10);
                }
            }
        }
    }

    /// Removes the bar from the terminal.
    pub fn finish(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
