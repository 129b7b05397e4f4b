//! The steps of the sampler, as filters of logits.

use super::filter::LogitFilter;
use super::logits::Logits;
use super::sampler::SamplerOptions;
use alloc::collections::VecDeque;

/// Changes the logits of recent tokens by the three penalties of [`SamplerOptions`].
#[derive(Debug, Clone)]
pub(super) struct Penalties {
    repetition: f32,
    frequency: f32,
    presence: f32,
    window: usize,
    recent: VecDeque<u32>,
}

impl Penalties {
    pub fn new(options: &SamplerOptions) -> Penalties {
        Penalties {
            repetition: options.repetition_penalty,
            frequency: options.frequency_penalty,
            presence: options.presence_penalty,
            window: options.penalty_window,
            recent: VecDeque::with_capacity(options.penalty_window),
        }
    }

    /// Whether no logit changes.
    pub fn is_idle(&self) -> bool {
        self.recent.is_empty()
    }

    fn penalizes(&self) -> bool {
        self.repetition != 1.0 || self.frequency != 0.0 || self.presence != 0.0
    }

    /// Whether the penalties can only lower a logit.
    fn lowers(&self) -> bool {
        self.repetition >= 1.0 && self.frequency >= 0.0 && self.presence >= 0.0
    }
}

impl LogitFilter for Penalties {
    fn filter(&mut self, logits: &mut Logits) {
        for (index, &token) in self.recent.iter().enumerate() {
            // Each token is handled once, at its first occurrence.
            if self.recent.iter().take(index).any(|&t| t == token) {
                continue;
            }
            let Some(logit) = logits.get_mut(token) else {
                continue;
            };
            let times = self.recent.iter().filter(|&&t| t == token).count() as f32;
            *logit = match *logit > 0.0 {
                true => *logit / self.repetition,
                false => *logit * self.repetition,
            };
            *logit -= times * self.frequency + self.presence;
        }
    }

    fn accept(&mut self, token: u32) {
        if !self.penalizes() || self.window == 0 {
            return;
        }
        if self.recent.len() >= self.window {
            self.recent.pop_front();
        }
        self.recent.push_back(token);
    }

    /// Penalties lower the logits of recent tokens only. So at most as many tokens as are
    /// recent can leave the likeliest, and none of the recent ones can enter them.
    fn reads(&self, kept: Option<usize>) -> Option<usize> {
        let kept = kept.filter(|_| self.lowers())?;
        Some(kept.saturating_add(self.recent.len()))
    }
}

/// Keeps this many of the likeliest tokens; 0 keeps all.
#[derive(Debug, Clone)]
pub(super) struct TopK(pub usize);

impl LogitFilter for TopK {
    fn filter(&mut self, logits: &mut Logits) {
        if self.0 > 0 {
            logits.keep_likeliest(self.0);
        }
    }

    fn reads(&self, _kept: Option<usize>) -> Option<usize> {
        (self.0 > 0).then_some(self.0)
    }
}

/// Keeps the smallest set of likeliest tokens whose probabilities add up to at least
/// this; 1 keeps all.
#[derive(Debug, Clone)]
pub(super) struct TopP(pub f32);

impl LogitFilter for TopP {
    fn filter(&mut self, logits: &mut Logits) {
        if self.0 < 1.0 {
            let best = logits.best();
            let weight = |logit: f32| f64::from(libm::expf(logit - best));
            let sum: f64 = logits.iter().map(|(_, logit)| weight(logit)).sum();
            logits.keep_until(sum * f64::from(self.0), weight);
        }
    }
}

/// Keeps tokens whose probability is at least this share of the largest; 0 keeps all.
#[derive(Debug, Clone)]
pub(super) struct MinP(pub f32);

impl LogitFilter for MinP {
    fn filter(&mut self, logits: &mut Logits) {
        if self.0 > 0.0 {
            let least = logits.best() + libm::logf(self.0);
            logits.retain(|_, logit| logit >= least);
        }
    }
}
