//! The screened head: when it is used, what it did, and whether it can be trusted.

mod head;
mod select;

pub(crate) use head::head;

use crate::{Error, Result};

/// How the screen of a packed file is used; see `docs/screened-head.md`.
///
/// A row's score on the 4-bit copy of the head deviates from its true score
/// with about a known standard deviation. A screened head scores exactly the rows
/// that a deviation of `margin` times that could bring among the likeliest. That
/// is no proof: larger deviations are not impossible, and so the whole head runs
/// now and then to see.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScreenOptions {
    /// Standard deviations, 0 or more. At 6 a true likeliest token is missed
    /// once in very many tokens, if ever.
    pub margin: f32,
    /// The first token is checked against the whole head, and then each one that
    /// comes so many later; 0 checks none. One miss switches the screen off for
    /// the session.
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

/// What the screen of a session did since the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScreenStats {
    /// Tokens whose likeliest successors were found through the screen.
    pub screened: usize,
    /// Rows of the head that were scored exactly for these, in all.
    pub rows: u64,
    /// The most of them for one token.
    pub most_rows: usize,
    /// Tokens for which the whole head ran although the screen was on: too many
    /// rows could be among the likeliest, or too many were asked for.
    pub whole: usize,
    /// Screened tokens for which the whole head ran as well, as a check.
    pub audits: usize,
    /// Likeliest tokens that an audit found and the screen had not. With the
    /// first one the screen goes off.
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

    /// Whether it is used: nothing was missed so far.
    pub fn is_on(&self) -> bool {
        self.stats.missed == 0
    }

    /// Counts a screened token with so many rows; true if it is to be audited.
    pub fn count(&mut self, rows: usize) -> bool {
        let due = self.stats.screened.checked_rem(self.options.audit_every) == Some(0);
        self.stats.screened += 1;
        self.stats.rows += rows as u64;
        self.stats.most_rows = self.stats.most_rows.max(rows);
        due
    }
}
