//! The screened output head: its options, its counts, and its audits.

mod head;
mod select;

pub(crate) use head::head;

use crate::{Error, Result};

/// How the screen of a packed copy is used; see `docs/screened-head.md`.
///
/// A row's score on the 4-bit copy of the output head deviates from its exact score by
/// about a known standard deviation. All rows that a deviation of `margin` standard
/// deviations could bring among the likeliest are scored exactly. Larger deviations are
/// unlikely but possible, so the whole output head also runs from time to time, as an
/// audit.
///
/// ```
/// use ondol::{ScreenOptions, SessionOptions};
///
/// // Every token reads the whole output head.
/// let exact = SessionOptions {
///     screen: None,
///     ..SessionOptions::default()
/// };
/// // More tokens are scored exactly, and the screen is audited twice as often.
/// let careful = SessionOptions {
///     screen: Some(ScreenOptions {
///         margin: 7.0,
///         audit_every: 128,
///     }),
///     ..SessionOptions::default()
/// };
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScreenOptions {
    /// Standard deviations; finite, 0 or more. With the default of 6, no miss was seen
    /// in any measurement.
    pub margin: f32,
    /// Tokens from one audit to the next: the first screened token of a session is
    /// audited, and then every `audit_every`-th. 0 audits none. One miss switches the
    /// screen off for the session.
    pub audit_every: usize,
}

impl Default for ScreenOptions {
    /// A margin of 6, and an audit every 256 tokens.
    fn default() -> ScreenOptions {
        ScreenOptions {
            margin: 6.0,
            audit_every: 256,
        }
    }
}

impl ScreenOptions {
    pub(crate) fn check(&self) -> Result<()> {
        match (0.0..=f32::MAX).contains(&self.margin) {
            true => Ok(()),
            false => Err(Error::BadMargin(self.margin)),
        }
    }
}

/// Counts of a session's screen since the session was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ScreenStats {
    /// Tokens whose next likeliest tokens were found with the screen.
    pub screened: usize,
    /// Rows of the output head that were scored exactly for these tokens, in total.
    pub rows: u64,
    /// The largest number of such rows for one token.
    pub most_rows: usize,
    /// Tokens for which the whole output head ran although the screen was on, because
    /// too many rows could be among the likeliest, or too many likeliest tokens were
    /// needed.
    pub whole: usize,
    /// Screened tokens that were audited with the whole output head.
    pub audits: usize,
    /// Likeliest tokens that the screen missed and an audit found. The first miss
    /// switches the screen off.
    pub missed: usize,
}

/// The screen of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screening {
    pub options: ScreenOptions,
    pub stats: ScreenStats,
}

impl Screening {
    pub fn new(options: ScreenOptions) -> Screening {
        let stats = ScreenStats::default();
        Screening { options, stats }
    }

    /// Whether it is in use: no audit has found a miss.
    pub fn is_on(&self) -> bool {
        self.stats.missed == 0
    }

    /// Counts a screened token with `rows` exact rows; true if it is to be audited.
    pub fn count(&mut self, rows: usize) -> bool {
        let due = self.stats.screened.checked_rem(self.options.audit_every) == Some(0);
        self.stats.screened += 1;
        self.stats.rows += rows as u64;
        self.stats.most_rows = self.stats.most_rows.max(rows);
        due
    }
}
