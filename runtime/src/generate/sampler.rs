//! From logits to a token.

use super::filter::LogitFilter;
use super::logits::{Logits, likeliest};
use super::rng::Rng;
use super::steps::{MinP, Penalties, TopK, TopP};
use alloc::boxed::Box;
use ondol_kernels::SMALL;
use ondol_models::Float;

/// A limit, because penalties compare each recent token with every other one.
const MAX_PENALTY_WINDOW: f32 = 4096.0;

/// How the next token is sampled from the logits.
///
/// The stages are applied in this order: penalties, top-k, top-p, min-p, temperature,
/// random draw. A stage whose option has its neutral value does nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// Divides the logits; at least 0. With 0 the likeliest token is always taken
    /// (greedy).
    pub temperature: f32,
    /// Keeps the `top_k` likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the smallest set of likeliest tokens whose probabilities add up to at
    /// least this; 1 keeps all. In (0, 1].
    pub top_p: f32,
    /// Keeps tokens whose probability is at least this share of the largest; 0 keeps
    /// all. In `[0, 1]`.
    pub min_p: f32,
    /// Divides the positive and multiplies the negative logits of recent tokens
    /// (arXiv:1909.05858); above 0. 1 does nothing.
    pub repetition_penalty: f32,
    /// Subtracted from a recent token's logit for each time it occurs; 0 does nothing.
    pub frequency_penalty: f32,
    /// Subtracted once from the logit of each recent token; 0 does nothing.
    pub presence_penalty: f32,
    /// How many of the last tokens count as recent, those of the prompt included; at
    /// most 4096.
    pub penalty_window: usize,
    /// Seed of the random draws: with equal logits the same seed gives the same tokens
    /// on every platform.
    pub seed: u64,
}

impl Default for SamplerOptions {
    /// Temperature 0.7, top-k 40, top-p 0.95, min-p 0.05, no penalties, seed 0.
    fn default() -> Self {
        SamplerOptions {
            temperature: 0.7,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_window: 64,
            seed: 0,
        }
    }
}

impl SamplerOptions {
    /// Always takes the likeliest token.
    pub fn greedy() -> SamplerOptions {
        SamplerOptions {
            temperature: 0.0,
            ..SamplerOptions::default()
        }
    }

    fn check(&self) -> Result<(), SamplerError> {
        let window = self.penalty_window as f32;
        let ranges = [
            ("temperature", self.temperature, 0.0..=f32::MAX),
            ("top_p", self.top_p, f32::MIN_POSITIVE..=1.0),
            ("min_p", self.min_p, 0.0..=1.0),
            (
                "repetition_penalty",
                self.repetition_penalty,
                f32::MIN_POSITIVE..=f32::MAX,
            ),
            ("penalty_window", window, 0.0..=MAX_PENALTY_WINDOW),
            (
                "frequency_penalty",
                self.frequency_penalty,
                f32::MIN..=f32::MAX,
            ),
            (
                "presence_penalty",
                self.presence_penalty,
                f32::MIN..=f32::MAX,
            ),
        ];
        match ranges
            .into_iter()
            .find(|(_, value, range)| !range.contains(value))
        {
            Some((option, value, _)) => Err(SamplerError::OutOfRange { option, value }),
            None => Ok(()),
        }
    }
}

/// Why no token can be sampled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplerError {
    /// An option is out of range.
    #[error("the sampler's {option} can't be {}", Float(*value))]
    OutOfRange {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: f32,
    },
    /// Every logit is NaN or negative infinity: the model's weights may be damaged, or
    /// the filters forbid every token.
    #[error(
        "no token can be sampled: every logit is NaN or negative infinity, or the filters forbid \
         every token"
    )]
    NothingToSample,
}

/// Samples tokens. Its buffers are allocated in full when it is made.
#[derive(Debug, Clone)]
pub struct Sampler {
    temperature: f32,
    penalties: Penalties,
    top_k: TopK,
    top_p: TopP,
    min_p: MinP,
    rng: Rng,
    logits: Logits,
}

impl Sampler {
    /// A sampler for `vocabulary` logits.
    ///
    /// # Errors
    /// [`SamplerError::OutOfRange`].
    pub fn new(options: &SamplerOptions, vocabulary: usize) -> Result<Sampler, SamplerError> {
        options.check()?;
        Ok(Sampler {
            temperature: options.temperature,
            penalties: Penalties::new(options),
            top_k: TopK(options.top_k),
            top_p: TopP(options.top_p),
            min_p: MinP(options.min_p),
            rng: Rng::new(options.seed),
            logits: Logits::with_room(vocabulary),
        })
    }

    /// Adds a token of the prompt, or one that was sampled, to the recent tokens.
    pub fn accept(&mut self, token: u32) {
        self.penalties.accept(token);
    }

    /// How many of the likeliest tokens decide the next sample: it is the same if all
    /// other logits are negative infinity. `None` if it depends on every logit.
    pub fn deciding(&self) -> Option<usize> {
        let kept = match self.temperature == 0.0 {
            true => Some(1),
            false => self.top_k.reads(None),
        };
        self.penalties.reads(kept)
    }

    /// Samples a token from `logits`, one number for each token of the vocabulary, after
    /// these filters. NaN counts as negative infinity.
    ///
    /// # Errors
    /// [`SamplerError::NothingToSample`].
    pub fn sample(
        &mut self,
        logits: &[f32],
        filters: &mut [Box<dyn LogitFilter>],
    ) -> Result<u32, SamplerError> {
        let is_filtered = !SMALL && !filters.is_empty();
        if self.temperature == 0.0 && self.penalties.is_idle() && !is_filtered {
            return likeliest(logits).ok_or(SamplerError::NothingToSample);
        }
        self.logits.fill(logits);
        if is_filtered {
            let logits = &mut self.logits;
            filters.iter_mut().for_each(|filter| filter.filter(logits));
            self.logits.keep_possible();
        }
        if self.logits.is_empty() {
            return Err(SamplerError::NothingToSample);
        }
        self.penalties.filter(&mut self.logits);
        // Infinity has no probability: its token is taken.
        if self.temperature == 0.0 || self.logits.best() == f32::INFINITY {
            let likeliest = self.logits.likeliest();
            return likeliest.ok_or(SamplerError::NothingToSample);
        }
        self.top_k.filter(&mut self.logits);
        self.top_p.filter(&mut self.logits);
        self.min_p.filter(&mut self.logits);
        self.draw().ok_or(SamplerError::NothingToSample)
    }

    fn draw(&mut self) -> Option<u32> {
        let best = self.logits.best();
        let temperature = self.temperature;
        let weight = |logit: f32| f64::from(libm::expf((logit - best) / temperature));
        let sum: f64 = self.logits.iter().map(|(_, logit)| weight(logit)).sum();
        let mut rest = sum * self.rng.unit();
        let mut last = None;
        for (token, logit) in self.logits.iter() {
            last = Some(token);
            rest -= weight(logit);
            if rest < 0.0 {
                break;
            }
        }
        // By rounding the sum can stay below the draw: then it is the last token.
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// The tokens that may be drawn and their probabilities, by sorting all.
    fn naive(logits: &[f32], o: &SamplerOptions) -> Vec<(u32, f64)> {
        let mut all: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|&l| f64::from(l))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if o.top_k > 0 {
            all.truncate(o.top_k);
        }
        let best = all[0].1;
        let total: f64 = all.iter().map(|c| (c.1 - best).exp()).sum();
        let mut reached = 0.0;
        let before = |c: &(u32, f64), reached: &mut f64| {
            let keep = *reached < total * f64::from(o.top_p) || o.top_p >= 1.0;
            *reached += (c.1 - best).exp();
            keep
        };
        all.retain(|c| before(c, &mut reached));
        all.retain(|c| o.min_p == 0.0 || c.1 - best >= f64::from(o.min_p).ln());
        let total: f64 = all
            .iter()
            .map(|c| ((c.1 - best) / f64::from(o.temperature)).exp())
            .sum();
        all.iter()
            .map(|c| (c.0, ((c.1 - best) / f64::from(o.temperature)).exp() / total))
            .collect()
    }

    #[test]
    fn greedy_takes_the_likeliest_and_the_lowest_of_equals() {
        let mut sampler = Sampler::new(&SamplerOptions::greedy(), 5).unwrap();
        assert_eq!(
            sampler.sample(&[0.0, 3.0, f32::NAN, 3.0, f32::NEG_INFINITY], &mut []),
            Ok(1)
        );
        let mut warm = Sampler::new(&SamplerOptions::default(), 3).unwrap();
        assert_eq!(
            warm.sample(&[9.0, f32::INFINITY, f32::INFINITY], &mut []),
            Ok(1)
        );
        let nothing = [f32::NAN, f32::NEG_INFINITY];
        assert_eq!(
            sampler.sample(&nothing, &mut []),
            Err(SamplerError::NothingToSample)
        );
    }

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        let refused = |o: SamplerOptions| match Sampler::new(&o, 8) {
            Err(SamplerError::OutOfRange { option, .. }) => option,
            other => panic!("{other:?}"),
        };
        let base = SamplerOptions::default();
        assert_eq!(
            refused(SamplerOptions {
                temperature: f32::NAN,
                ..base.clone()
            }),
            "temperature"
        );
        assert_eq!(
            refused(SamplerOptions {
                top_p: 0.0,
                ..base.clone()
            }),
            "top_p"
        );
        assert_eq!(
            refused(SamplerOptions {
                min_p: 1.5,
                ..base.clone()
            }),
            "min_p"
        );
        assert_eq!(
            refused(SamplerOptions {
                repetition_penalty: 0.0,
                ..base
            }),
            "repetition_penalty"
        );
    }

    #[test]
    fn penalties_follow_their_formulas_within_the_window() {
        let options = SamplerOptions {
            temperature: 0.0,
            repetition_penalty: 2.0,
            frequency_penalty: 0.5,
            presence_penalty: 0.25,
            penalty_window: 3,
            ..SamplerOptions::default()
        };
        let mut sampler = Sampler::new(&options, 4).unwrap();
        [3, 1, 1, 2].into_iter().for_each(|t| sampler.accept(t));
        // 1: 6/2 - 2*0.5 - 0.25 = 1.75; 2: -1*2 - 0.5 - 0.25; 3 has left the window.
        assert_eq!(sampler.sample(&[1.7, 6.0, -1.0, 1.6], &mut []), Ok(1));
        assert_eq!(sampler.sample(&[1.8, 6.0, -1.0, 1.6], &mut []), Ok(0));
        assert_eq!(sampler.sample(&[-2.7, -9.0, -1.0, -2.72], &mut []), Ok(0));
    }

    #[test]
    fn draws_have_the_distribution_of_the_options() {
        let logits = [1.0, 0.5, 0.0, -0.5, -4.0, 2.0];
        let options = SamplerOptions {
            temperature: 1.3,
            top_k: 5,
            top_p: 0.97,
            min_p: 0.01,
            seed: 9,
            ..Default::default()
        };
        let mut sampler = Sampler::new(&options, logits.len()).unwrap();
        let draws = 40_000;
        let mut counts = vec![0usize; logits.len()];
        (0..draws).for_each(|_| counts[sampler.sample(&logits, &mut []).unwrap() as usize] += 1);
        let expected = naive(&logits, &options);
        for (token, &count) in counts.iter().enumerate() {
            let p = expected
                .iter()
                .find(|(t, _)| *t as usize == token)
                .map_or(0.0, |(_, p)| *p);
            let error = (count as f64 / f64::from(draws) - p).abs();
            assert!(
                error < 0.012,
                "token {token}: {count} draws, probability {p}"
            );
        }
    }

    #[test]
    fn the_likeliest_decide_unless_a_token_may_rise() {
        let deciding = |options: SamplerOptions, seen: u32| {
            let mut sampler = Sampler::new(&options, 100).unwrap();
            (0..seen).for_each(|token| sampler.accept(token));
            sampler.deciding()
        };
        let base = SamplerOptions::default();
        let greedy = SamplerOptions::greedy();
        assert_eq!(deciding(greedy.clone(), 9), Some(1));
        assert_eq!(deciding(base.clone(), 9), Some(40));
        let top_k = 0;
        assert_eq!(
            deciding(
                SamplerOptions {
                    top_k,
                    ..base.clone()
                },
                9
            ),
            None
        );
        // Greedy needs no top-k.
        assert_eq!(deciding(SamplerOptions { top_k, ..greedy }, 9), Some(1));
        for (penalty, deciders) in [(1.5, Some(49)), (0.5, None)] {
            let repetition_penalty = penalty;
            let options = SamplerOptions {
                repetition_penalty,
                ..base.clone()
            };
            assert_eq!(deciding(options, 9), deciders);
        }
        for (penalty, deciders) in [(0.1, Some(40 + 64)), (-0.1, None)] {
            let (presence_penalty, frequency_penalty) = (penalty, penalty);
            let options = SamplerOptions {
                presence_penalty,
                ..base.clone()
            };
            assert_eq!(deciding(options, 99), deciders);
            let options = SamplerOptions {
                frequency_penalty,
                ..base.clone()
            };
            assert_eq!(deciding(options, 99), deciders);
        }
    }

    proptest! {
        /// With the logits of all others at negative infinity the draws are the same.
        #[test]
        fn draws_among_the_deciding_are_draws_among_all(
            logits in prop::collection::vec(-8i16..8, 40..300), scale in 0.05f32..1.0,
            temperature in prop::sample::select(&[0.0f32, 0.7, 2.0][..]),
            top_k in 0usize..30, top_p in 0.05f32..1.3, min_p in prop::sample::select(&[0.0f32, 0.05][..]),
            penalty in prop::sample::select(&[0.0f32, 0.4, 3.0][..]),
            repetition in prop::sample::select(&[1.0f32, 1.4][..]),
            recent in prop::collection::vec(0u32..40, 0..9), seed in any::<u64>(),
        ) {
            // Whole numbers, so that many are equal.
            let logits: Vec<f32> = logits.iter().map(|&x| f32::from(x) * scale).collect();
            let options = SamplerOptions {
                temperature, top_k, top_p: top_p.min(1.0), min_p, seed,
                repetition_penalty: repetition, presence_penalty: penalty, frequency_penalty: penalty,
                ..Default::default()
            };
            let mut all = Sampler::new(&options, logits.len()).unwrap();
            recent.iter().for_each(|&token| all.accept(token));
            let Some(deciding) = all.deciding() else { return Ok(()) };
            let mut few = all.clone();
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            let mut left = vec![f32::NEG_INFINITY; logits.len()];
            order.iter().take(deciding).for_each(|&token| left[token] = logits[token]);
            for _ in 0..8 {
                prop_assert_eq!(all.sample(&logits, &mut []), few.sample(&left, &mut []));
            }
        }

        #[test]
        fn only_kept_tokens_are_drawn(
            logits in prop::collection::vec(-8.0f32..8.0, 1..300),
            top_k in 0usize..60, top_p in 0.05f32..=1.0, min_p in 0.0f32..0.5, seed in any::<u64>(),
        ) {
            let options = SamplerOptions { temperature: 2.0, top_k, top_p, min_p, seed, ..Default::default() };
            let kept = naive(&logits, &options);
            let mut sampler = Sampler::new(&options, logits.len()).unwrap();
            for _ in 0..20 {
                let token = sampler.sample(&logits, &mut []).unwrap();
                // A token on the edge may fall either way by rounding.
                let edge = kept.last().map_or(0.0, |last| f64::from(logits[last.0 as usize]));
                let near = (f64::from(logits[token as usize]) - edge).abs() < 0.2;
                prop_assert!(near || kept.iter().any(|(t, _)| *t == token));
            }
        }
    }
}
