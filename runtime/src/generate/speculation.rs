//! Prompt lookup (Saxena, "Prompt Lookup Decoding", 2023): what follows the
//! last place where the same tokens stood is a guess at what comes next.
//! Answers that quote, edit or repeat their prompt are guessed well.
//!
//! Guesses are decoded in one pass with the token that is certain, which costs
//! less than a pass each, since weights are read once. Each position is then
//! sampled from its own logits, which do not depend on the tokens beside it, and
//! a guess counts only if it is what was sampled: so the answer is the same with
//! and without, token for token, and time is all that a wrong guess costs.
//!
//! How many are decoded is decided by what pays: [`Odds`] knows how often
//! guesses came true, and [`Price`] what one adds to a pass. The next token is
//! guessed, and the guess held against what comes, even where it is not worth
//! decoding: so what does not pay is left out, and comes back when it would.

use crate::kernels::FINE_TOKENS;
use core::time::Duration;

/// Tokens back that are looked through: a bound on the time of one look.
const REACH: usize = 8192;

/// Longer matches count as this long.
const LONGEST: usize = 8;

/// How much faster a pass with guesses must seem than one without.
const MARGIN: f32 = 1.05;

/// Guesses at the tokens of one generation.
pub struct Speculation {
    /// Guesses that a pass has room for.
    room: usize,
    /// The token that is certain, and guesses at those after it.
    tokens: [u32; FINE_TOKENS + 1],
    /// How many of them there are.
    len: usize,
    /// How many of them were decoded together: all, or all but the last.
    decoded: usize,
    /// The guess at the next token.
    next: usize,
    /// Length of the match that the guesses are from.
    matched: usize,
    odds: Odds,
    price: Price,
    /// Guesses that were decoded.
    pub drafted: usize,
}

impl Speculation {
    /// At most `room` guesses a pass, which is below [`FINE_TOKENS`].
    pub fn new(room: usize) -> Speculation {
        Speculation {
            room,
            tokens: [0; FINE_TOKENS + 1],
            len: 0,
            decoded: 0,
            next: 0,
            matched: 0,
            odds: Odds::default(),
            price: Price::default(),
            drafted: 0,
        }
    }

    /// Holds the guess against `token`, which came next.
    pub fn came(&mut self, token: u32) {
        if self.next < self.len {
            let hit = self.tokens[self.next] == token;
            self.odds.seen(self.matched + self.next - 1, hit);
            self.next = if hit { self.next + 1 } else { self.len };
        }
    }

    /// `token`, which came after `history`, and guesses at those after it that
    /// are worth decoding with it: at most `most`.
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
                // What followed the match may be guesses, which it then repeats.
                self.tokens[i] = match (at + i).checked_sub(history.len()) {
                    None => history[at + i],
                    Some(guess) => self.tokens[guess],
                };
            }
        }
        &self.tokens[..self.decoded]
    }

    /// Takes note of how long the pass with the last draft took.
    pub fn took(&mut self, time: Duration) {
        self.price.paid(self.decoded - 1, time.as_secs_f32());
    }

    /// How many guesses make a pass yield the most tokens in its time.
    fn worth(&self, most: usize) -> usize {
        if self.price.pass.is_none() {
            return 0;
        }
        let (mut best, mut count) = (MARGIN, 0);
        let (mut reached, mut expected) = (1.0, 1.0);
        for guesses in 1..=most {
            reached *= self.odds.of(self.matched + guesses - 1);
            expected += reached;
            let gain = expected / (1.0 + self.price.guess * guesses as f32);
            if gain > best {
                (best, count) = (gain, guesses);
            }
        }
        count
    }
}

/// The last of the longest matches of `history` and `token` with what came
/// before: the place of its last token, and its length.
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

/// How likely the token after a match is the one that followed it the last time,
/// by the length of the match.
struct Odds([f32; LONGEST]);

impl Default for Odds {
    fn default() -> Odds {
        Odds([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    }
}

impl Odds {
    fn of(&self, matched: usize) -> f32 {
        self.0[matched.clamp(1, LONGEST) - 1]
    }

    /// The average of about the last eight, in effect.
    fn seen(&mut self, matched: usize, hit: bool) {
        let odds = &mut self.0[matched.clamp(1, LONGEST) - 1];
        *odds += (f32::from(u8::from(hit)) - *odds) / 8.0;
    }
}

/// What passes cost.
struct Price {
    /// Seconds of a pass without guesses, which comes first; 0 without a clock.
    pass: Option<f32>,
    /// What each guess adds, as a share of that.
    guess: f32,
}

impl Price {
    /// What a guess costs where nothing is known of it.
    const GUESS: f32 = 0.35;
}

impl Default for Price {
    fn default() -> Price {
        Price {
            pass: None,
            guess: Price::GUESS,
        }
    }
}

impl Price {
    /// Takes note of a pass. What other programs add to a time is mostly kept
    /// out: it counts for twice what was expected at most.
    fn paid(&mut self, guesses: usize, seconds: f32) {
        let pass = self.pass.unwrap_or(seconds);
        if guesses == 0 {
            self.pass = Some(pass + (seconds.min(2.0 * pass) - pass) / 8.0);
            // What was too dear once is tried again some time.
            self.guess += (Price::GUESS - self.guess) / 512.0;
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
