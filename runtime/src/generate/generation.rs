//! The loop from logits to text.

use super::speculation::Speculation;
use super::{Sampler, SamplerOptions, StopMatcher};
use crate::kernels::vector::simd::SMALL;
use crate::{CancelToken, Error, Result, ScreenStats, Session};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use ondol_models::tokenizer::StreamDecoder;

/// How to generate.
#[derive(Debug, Clone, Default)]
pub struct GenerateOptions {
    /// How a token is chosen.
    pub sampler: SamplerOptions,
    /// Tokens to generate at most; `None` goes on until the model ends or the context is full.
    /// A character that the last token leaves incomplete is left out of the text.
    pub max_tokens: Option<usize>,
    /// The text ends before the first of these strings.
    pub stop: Vec<String>,
}

/// A run of generated text: complete characters only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text; never empty.
    pub text: String,
    /// The token that completed it.
    pub token: u32,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said so.
    EndOfGeneration,
    /// A stop string came.
    Stop,
    /// [`GenerateOptions::max_tokens`] were generated.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The token was cancelled.
    Cancelled,
    /// An error came, as the last item.
    Failed,
}

impl FinishReason {
    /// The name in JSON output.
    pub fn name(self) -> &'static str {
        match self {
            FinishReason::EndOfGeneration => "end",
            FinishReason::Stop => "stop",
            FinishReason::MaxTokens => "max_tokens",
            FinishReason::ContextFull => "context_full",
            FinishReason::Cancelled => "cancelled",
            FinishReason::Failed => "failed",
        }
    }
}

/// What a generation took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that the cache already held.
    pub cached_tokens: usize,
    /// Tokens generated, the end token included.
    pub generated_tokens: usize,
    /// Tokens guessed ahead and run beside one that was certain.
    pub drafted_tokens: usize,
    /// Of these, tokens that came, each without a pass of its own.
    pub accepted_tokens: usize,
    /// From the call to the first token's choice.
    pub ttft: Duration,
    /// Computed prompt tokens per second.
    pub prefill_tokens_per_s: f64,
    /// Tokens per second after the first.
    pub decode_tokens_per_s: f64,
    /// The most memory the process held at once, in bytes, where the system tells.
    pub peak_memory_bytes: Option<u64>,
    /// What the screen of the head did since the session began, if it is used.
    pub screen: Option<ScreenStats>,
}

/// Yields pieces of text until the model ends, a stop string comes, or a limit is reached.
///
/// Dropping it ends the generation; what was generated stays in the session's
/// cache, so the next turn of a conversation does not compute it again.
pub struct Generation<'s> {
    session: &'s mut Session,
    sampler: Sampler,
    decoder: StreamDecoder,
    stop: StopMatcher,
    cancel: CancelToken,
    max_tokens: usize,
    /// Chosen, but not yet run.
    pending: Option<u32>,
    pub(super) speculation: Speculation,
    accepted: usize,
    tokens: Vec<u32>,
    finish: Option<FinishReason>,
    prompt_tokens: usize,
    cached_tokens: usize,
    clock: Clock,
}

impl<'s> Generation<'s> {
    pub(crate) fn start(
        session: &'s mut Session,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &CancelToken,
    ) -> Result<Generation<'s>> {
        let vocabulary = session.model().graph().vocabulary;
        let mut sampler = Sampler::new(&options.sampler, vocabulary)?;
        let mut clock = Clock::start();
        let shared = session
            .tokens()
            .iter()
            .zip(prompt)
            .take_while(|(a, b)| a == b)
            .count();
        let cached_tokens = shared.min(prompt.len().saturating_sub(1));
        let cached_tokens = session.rewind(cached_tokens);
        session.prefill(&prompt[cached_tokens..], cancel)?;
        clock.prefilled();
        prompt.iter().for_each(|&token| sampler.accept(token));
        Ok(Generation {
            decoder: StreamDecoder::after(session.model().tokenizer(), prompt),
            stop: StopMatcher::new(&options.stop),
            cancel: cancel.clone(),
            max_tokens: options.max_tokens.unwrap_or(usize::MAX),
            pending: None,
            speculation: Speculation::new(session.max_drafts()),
            accepted: 0,
            tokens: Vec::new(),
            finish: None,
            prompt_tokens: prompt.len(),
            cached_tokens,
            clock,
            session,
            sampler,
        })
    }

    /// Why the generation ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// The tokens generated so far, the end token included.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// What the generation took so far.
    pub fn stats(&self) -> Stats {
        let (ttft, decode) = (self.clock.first, self.clock.decode());
        let computed = (self.prompt_tokens - self.cached_tokens) as f64;
        let decoded = self.tokens.len().saturating_sub(1) as f64;
        let rate = |tokens: f64, time: Duration| {
            if time.is_zero() {
                0.0
            } else {
                tokens / time.as_secs_f64()
            }
        };
        Stats {
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            generated_tokens: self.tokens.len(),
            drafted_tokens: self.speculation.drafted,
            accepted_tokens: self.accepted,
            ttft,
            prefill_tokens_per_s: rate(computed, self.clock.prefill),
            decode_tokens_per_s: rate(decoded, decode),
            peak_memory_bytes: peak_memory(),
            screen: self.session.screen_stats(),
        }
    }

    /// The next token, or `None` where the generation ends before one.
    fn next_token(&mut self) -> Result<Option<u32>> {
        let waited = self.session.wait_while_paused(&self.cancel);
        if waited.is_err() || self.cancel.is_cancelled() {
            self.finish = Some(FinishReason::Cancelled);
        } else if self.tokens.len() >= self.max_tokens {
            self.finish = Some(FinishReason::MaxTokens);
        }
        if self.finish.is_some() {
            return Ok(None);
        }
        if let Some(token) = self.pending.take() {
            match self.run(token) {
                Err(Error::ContextFull { .. }) => {
                    self.finish = Some(FinishReason::ContextFull);
                    return Ok(None);
                }
                other => other?,
            }
        }
        let token = self.sampler.sample(self.session.last_logits())?;
        self.sampler.accept(token);
        self.tokens.push(token);
        self.clock.token();
        if self.session.model().tokenizer().is_end_of_generation(token) {
            self.finish = Some(FinishReason::EndOfGeneration);
            return Ok(None);
        }
        self.pending = Some(token);
        Ok(Some(token))
    }

    /// Brings the logits after `token` that the sampler asks for: it was run
    /// already if it was guessed.
    fn run(&mut self, token: u32) -> Result<()> {
        if SMALL {
            // No clock tells what guesses cost.
            return self.session.decode(token).map(drop);
        }
        self.speculation.came(token);
        if self.session.accept(token).is_some() {
            self.accepted += 1;
            return Ok(());
        }
        let history = self.session.tokens();
        // Guesses beyond the end would be in vain.
        let space = self.session.context() - history.len();
        let left = self.max_tokens - self.tokens.len();
        let most = space.min(left).saturating_sub(1);
        let tokens = self.speculation.draft(history, token, most);
        let begun = self.clock.elapsed();
        match (tokens, self.sampler.deciding()) {
            (&[token], Some(k)) => self.session.decode_top(token, k)?,
            _ => self.session.decode_with_drafts(tokens)?,
        };
        self.speculation.took(self.clock.elapsed() - begun);
        Ok(())
    }

    /// The complete characters that are held back, at the end.
    fn flush(&mut self) -> Option<Piece> {
        let mut text = String::new();
        if self.finish != Some(FinishReason::Stop) {
            let mut rest = String::new();
            self.decoder.finish(&mut rest);
            self.stop.push(&rest, &mut text);
            self.stop.finish(&mut text);
        }
        let token = self.tokens.last().copied().unwrap_or_default();
        (!text.is_empty()).then_some(Piece { text, token })
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Result<Piece>> {
        if self.finish.is_some() {
            return None;
        }
        loop {
            let token = match self.next_token() {
                Ok(Some(token)) => token,
                Ok(None) => return self.flush().map(Ok),
                Err(error) => {
                    self.finish = Some(FinishReason::Failed);
                    return Some(Err(error));
                }
            };
            let mut decoded = String::new();
            self.decoder
                .push(self.session.model().tokenizer(), token, &mut decoded);
            let mut text = String::new();
            if self.stop.push(&decoded, &mut text) {
                self.finish = Some(FinishReason::Stop);
            }
            if !text.is_empty() {
                return Some(Ok(Piece { text, token }));
            }
            if self.finish.is_some() {
                return None;
            }
        }
    }
}

/// Times of a generation; all zero where there is no clock.
struct Clock {
    #[cfg(feature = "std")]
    start: std::time::Instant,
    prefill: Duration,
    first: Duration,
    last: Duration,
}

impl Clock {
    fn start() -> Clock {
        Clock {
            #[cfg(feature = "std")]
            start: std::time::Instant::now(),
            prefill: Duration::ZERO,
            first: Duration::ZERO,
            last: Duration::ZERO,
        }
    }

    fn elapsed(&self) -> Duration {
        #[cfg(feature = "std")]
        return self.start.elapsed();
        #[cfg(not(feature = "std"))]
        Duration::ZERO
    }

    fn prefilled(&mut self) {
        self.prefill = self.elapsed();
    }

    fn token(&mut self) {
        self.last = self.elapsed();
        if self.first.is_zero() {
            self.first = self.last;
        }
    }

    fn decode(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }
}

/// The process's peak resident memory in bytes, from the Linux and Android kernels.
fn peak_memory() -> Option<u64> {
    #[cfg(all(feature = "std", any(target_os = "linux", target_os = "android")))]
    {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kilobytes * 1024)
    }
    #[cfg(not(all(feature = "std", any(target_os = "linux", target_os = "android"))))]
    None
}
