//! Prompt lookup (Saxena, "Prompt Lookup Decoding", 2023): the tokens that followed the
//! last earlier occurrence of the same recent tokens are the drafts. This predicts
//! answers well that quote, edit or repeat their prompt.
//!
//! Drafts are decoded in one pass with the known token, which costs less than a pass
//! for each, since weights are read once. Each position is then sampled from its own
//! logits, which do not depend on the other rows of the pass, and a draft is accepted
//! only if it is the sampled token. So the answer is the same with and without drafts,
//! token for token, and a wrong draft only costs time.
//!
//! The number of drafts is the one that gives the most tokens per second: [`AcceptRate`]
//! measures how often guesses are right, and [`CostModel`] how much time a draft adds to a
//! pass. The next token is always guessed, and the guess compared with the sampled
//! token, even if no draft is decoded. So drafts stop when they do not pay, and start
//! again when they would.

use core::time::Duration;
use ondol_kernels::FINE_TOKENS;

/// How many tokens back the search goes: a bound on its time.
const REACH: usize = 8192;

/// Longer matches are counted with this length.
const LONGEST: usize = 8;

/// A pass with drafts must promise more than this many times the tokens per second of a
/// pass without.
const MARGIN: f32 = 1.05;

/// The drafts of one generation.
pub struct Speculation {
    /// The largest number of drafts in a pass.
    room: usize,
    /// The known token, and guesses at those after it.
    tokens: [u32; FINE_TOKENS + 1],
    /// The number of guesses.
    len: usize,
    /// How many tokens were decoded together: all, or all but the last guess.
    decoded: usize,
    /// The place of the guess at the next token.
    next: usize,
    /// Length of the match that gave the guesses.
    matched: usize,
    accept_rate: AcceptRate,
    cost: CostModel,
    /// Drafts that were decoded.
    pub drafted: usize,
}

impl Speculation {
    /// With at most `room` drafts in a pass, fewer than [`FINE_TOKENS`].
    pub fn new(room: usize) -> Speculation {
        Speculation {
            room,
            tokens: [0; FINE_TOKENS + 1],
            len: 0,
            decoded: 0,
            next: 0,
            matched: 0,
            accept_rate: AcceptRate::default(),
            cost: CostModel::default(),
            drafted: 0,
        }
    }

    /// Compares the guess with `token`, which was sampled next.
    pub fn observe(&mut self, token: u32) {
        if self.next < self.len {
            let hit = self.tokens[self.next] == token;
            self.accept_rate.seen(self.matched + self.next - 1, hit);
            self.next = if hit { self.next + 1 } else { self.len };
        }
    }

    /// `token`, which was sampled after `history`, followed by the drafts that are
    /// worth decoding with it: at most `most`.
    pub fn draft(&mut self, history: &[u32], token: u32, most: usize) -> &[u32] {
        self.tokens[0] = token;
        (self.len, self.decoded, self.next) = (1, 1, 1);
        let found = if self.room > 0 {
            look_up(history, token)
        } else {
            None
        };
        if let Some((at, matched)) = found {
            self.matched = matched;
            let guesses = self.worth(most.min(self.room));
            self.drafted += guesses;
            self.decoded = 1 + guesses;
            self.len = 2 + guesses;
            for i in 1..self.len {
                // The match may reach into the guesses themselves, which are then
                // repeated.
                self.tokens[i] = match (at + i).checked_sub(history.len()) {
                    None => history[at + i],
                    Some(guess) => self.tokens[guess],
                };
            }
        }
        &self.tokens[..self.decoded]
    }

    /// Records the time of the pass with the last drafts.
    pub fn record_time(&mut self, time: Duration) {
        self.cost.paid(self.decoded - 1, time.as_secs_f32());
    }

    /// The number of drafts that gives the most tokens per second.
    fn worth(&self, most: usize) -> usize {
        if self.cost.pass.is_none() {
            return 0;
        }
        let (mut best, mut count) = (MARGIN, 0);
        let (mut reached, mut expected) = (1.0, 1.0);
        for guesses in 1..=most {
            reached *= self.accept_rate.of(self.matched + guesses - 1);
            expected += reached;
            let gain = expected / (1.0 + self.cost.guess * guesses as f32);
            if gain > best {
                (best, count) = (gain, guesses);
            }
        }
        count
    }
}

/// Finds where the end of `history` followed by `token` occurred before: of the longest
/// matches the last one, as the place of its last token and its length.
fn look_up(history: &[u32], token: u32) -> Option<(usize, usize)> {
    let first = history.len().saturating_sub(REACH);
    let mut best = None;
    let mut longest = 0;
    for at in (first..history.len())
        .rev()
        .filter(|&at| history[at] == token)
    {
        let before = history[first..at].iter().rev().zip(history.iter().rev());
        let same = before.take(LONGEST - 1).take_while(|(a, b)| a == b).count();
        if same + 1 > longest {
            longest = same + 1;
            best = Some((at, longest));
        }
        if longest == LONGEST {
            break;
        }
    }
    best
}

/// The measured probability that a guess is right, by the length of the match.
struct AcceptRate([f32; LONGEST]);

impl Default for AcceptRate {
    fn default() -> AcceptRate {
        AcceptRate([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    }
}

impl AcceptRate {
    fn of(&self, matched: usize) -> f32 {
        self.0[matched.clamp(1, LONGEST) - 1]
    }

    /// A running average over about the last eight guesses.
    fn seen(&mut self, matched: usize, hit: bool) {
        let accept_rate = &mut self.0[matched.clamp(1, LONGEST) - 1];
        *accept_rate += (f32::from(u8::from(hit)) - *accept_rate) / 8.0;
    }
}

/// The measured time of passes.
struct CostModel {
    /// Seconds of a pass without drafts, which is measured first; 0 without a clock.
    pass: Option<f32>,
    /// The time that each draft adds, as a share of `pass`.
    guess: f32,
}

impl CostModel {
    /// The assumed cost of a draft before any was measured.
    const DRAFT: f32 = 0.35;
}

impl Default for CostModel {
    fn default() -> CostModel {
        CostModel {
            pass: None,
            guess: CostModel::DRAFT,
        }
    }
}

impl CostModel {
    /// Records a pass. To limit the influence of other programs, a time counts as at
    /// most twice the expected one.
    fn paid(&mut self, guesses: usize, seconds: f32) {
        let pass = self.pass.unwrap_or(seconds);
        if guesses == 0 {
            self.pass = Some(pass + (seconds.min(2.0 * pass) - pass) / 8.0);
            // The cost slowly returns to the assumed one, so that drafts are tried
            // again.
            self.guess += (CostModel::DRAFT - self.guess) / 512.0;
        } else if pass > 0.0 {
            let guesses = guesses as f32;
            let expected = pass * (1.0 + self.guess * guesses);
            let share = (seconds.min(2.0 * expected) / pass - 1.0) / guesses;
            self.guess += (share.max(0.0) - self.guess) / 4.0;
        }
    }
}

#[cfg(test)]
mod tests;
