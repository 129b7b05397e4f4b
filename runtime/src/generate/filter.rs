//! Filters of the logits before sampling, and the log-probabilities of tokens.

use super::logits::Logits;
use alloc::vec::Vec;

/// Changes the logits of the next token or forbids tokens: for a constraint, a bias or a
/// ban. The steps of the sampler (penalties, top-k, top-p, min-p) are such filters too;
/// they run after those that a generation is given.
///
/// ```
/// use ondol::{CancelToken, GenerateOptions, LogitFilter, Logits, Message, Model};
/// use ondol::SessionOptions;
///
/// /// Forbids a token.
/// struct Without(u32);
///
/// impl LogitFilter for Without {
///     fn filter(&mut self, logits: &mut Logits) {
///         logits.retain(|token, _| token != self.0);
///     }
///
///     /// At most one of the likeliest tokens is removed.
///     fn reads(&self, kept: Option<usize>) -> Option<usize> {
///         Some(kept? + 1)
///     }
/// }
///
/// let model = Model::hello()?;
/// let mut session = model.session(&SessionOptions::default())?;
/// let prompt = model.encode_chat(&[Message::user("Hello!")])?;
/// let options = GenerateOptions::default();
/// let mut generation = session.generate(&prompt, &options, &CancelToken::new())?;
/// generation.add_filter(Box::new(Without(7)));
/// # Ok::<(), ondol::Error>(())
/// ```
pub trait LogitFilter: Send {
    /// Changes the logits of the tokens that can come next, or forbids some.
    fn filter(&mut self, logits: &mut Logits);

    /// Is called with each token that was sampled.
    fn accept(&mut self, _token: u32) {}

    /// How many of the likeliest tokens the filter must see, so that the `kept` likeliest
    /// that it leaves are the same as if it saw all tokens; `None` stands for all tokens.
    /// The screen is used only if neither a filter nor the sampler needs all logits.
    fn reads(&self, _kept: Option<usize>) -> Option<usize> {
        None
    }
}

/// A token and its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token's id.
    pub token: u32,
    /// The natural logarithm of its probability among all tokens, before filters and
    /// the sampler.
    pub logprob: f32,
}

/// The log-probability of `chosen`, and the `count` likeliest tokens with theirs, in
/// descending order; tokens of equal probability by ascending id. `logits` has one
/// number for each token of the vocabulary.
///
/// The formula is `logit - max - ln(sum of exp(logit - max))`, with the sum in f64.
///
/// # Panics
/// If `chosen` is not below the length of `logits`.
pub fn candidates(logits: &[f32], chosen: u32, count: usize) -> (f32, Vec<Candidate>) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights = logits.iter().filter(|logit| !logit.is_nan());
    let sum: f64 = weights
        .map(|&logit| libm::exp(f64::from(logit - max)))
        .sum();
    let norm = f64::from(max) + libm::log(sum);
    let logprob = |token: u32| (f64::from(logits[token as usize]) - norm) as f32;
    let mut top: Vec<Candidate> = Vec::with_capacity(count + 1);
    for (token, &logit) in (0..).zip(logits) {
        let place = top.partition_point(|other| logits[other.token as usize] >= logit);
        if place < count && !logit.is_nan() {
            let logprob = logprob(token);
            top.insert(place, Candidate { token, logprob });
            top.truncate(count);
        }
    }
    (logprob(chosen), top)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with a sort of all logits.
    #[test]
    fn the_likeliest_come_first() {
        let logits: Vec<f32> = (0..300).map(|i| (i * 37 % 100) as f32 / 9.0).collect();
        let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        let mut all: Vec<(u32, f64)> = (0..)
            .zip(logits.iter().map(|&x| f64::from(x) - sum.ln()))
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let (of_chosen, top) = candidates(&logits, 7, 12);
        assert!((f64::from(of_chosen) - (f64::from(logits[7]) - sum.ln())).abs() < 1e-5);
        assert_eq!(top.len(), 12);
        for (found, expected) in top.iter().zip(&all) {
            assert_eq!(found.token, expected.0);
            assert!((f64::from(found.logprob) - expected.1).abs() < 1e-5);
        }
    }

    #[test]
    fn what_is_no_number_has_no_probability() {
        let (of_chosen, top) = candidates(&[f32::NAN, 1.0, f32::NEG_INFINITY], 1, 5);
        assert_eq!(of_chosen, 0.0);
        assert_eq!(top[0].token, 1);
        assert_eq!(top[1].logprob, f32::NEG_INFINITY);
        assert_eq!(top.len(), 2);
    }
}
