//! The loop from logits to text.

use super::clock::Clock;
use super::filter::{Candidate, LogitFilter, candidates};
use super::speculation::Speculation;
use super::{Sampler, SamplerOptions, StopMatcher};
use crate::kernels::vector::simd::SMALL;
use crate::machine::process_memory;
use crate::{CancelToken, Error, Result, ScreenStats, Session};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::BorrowMut;
use core::mem;
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
    /// Tell the log-probabilities of each token and of so many of the likeliest: in
    /// [`Token::logprob`] and [`Token::top`]. All logits are computed then.
    pub top_logprobs: Option<usize>,
}

/// A run of generated text: complete characters only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text; never empty.
    pub text: String,
    /// The token that completed it.
    pub token: u32,
}

/// What one step of a generation brought.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Tokens of the prompt were run.
    Prompt {
        /// How many there are by now, those that the session had included.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// A token was chosen.
    Token(Token),
    /// Text that was held back until the end.
    Rest(String),
}

/// A token that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// The text that it completes: whole characters, and often none.
    pub text: String,
    /// With [`GenerateOptions::top_logprobs`]: its log-probability by the model.
    pub logprob: Option<f32>,
    /// Likewise: the likeliest tokens.
    pub top: Vec<Candidate>,
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

impl Session {
    /// Generates text after `prompt`. What the session has of the prompt already is not
    /// computed again, so a conversation costs only its new tokens. Nothing is run, and
    /// nothing forgotten, before the first step.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::BadToken`], [`Error::ContextFull`], and
    /// [`Error::Sampler`] for options out of range.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &CancelToken,
    ) -> Result<Generation<&mut Session>> {
        Generation::new(self, prompt, options, cancel).map_err(|(_, error)| error)
    }

    /// As [`Session::generate`], with a generation that holds the session and gives it
    /// back by [`Generation::into_session`].
    ///
    /// # Errors
    /// As there, with the session.
    #[cfg(feature = "std")]
    pub fn into_generation(
        self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &CancelToken,
    ) -> Result<Generation, Refused> {
        let made = Generation::new(self, prompt, options, cancel);
        made.map_err(|(session, error)| Refused {
            session: Box::new(session),
            error,
        })
    }
}

/// A generation that could not be begun.
#[cfg(feature = "std")]
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// The session, which is as it was.
    pub session: Box<Session>,
    /// Why.
    #[source]
    pub error: Error,
}

/// Generates text after a prompt, step by step.
///
/// It is an iterator over pieces of text; [`Generation::step`] tells more. It holds
/// its session, or borrows it. Each step runs one pass at most, from any thread.
/// Dropping it ends the generation; what was generated stays in the session, so the
/// next turn of a conversation does not compute it again.
///
/// A cancel has one outcome, wherever it comes: the generation ends with
/// [`FinishReason::Cancelled`] and the text so far. The session has the tokens whose
/// passes were finished, and goes on from them.
pub struct Generation<S: BorrowMut<Session> = Session> {
    session: S,
    sampler: Sampler,
    filters: Vec<Box<dyn LogitFilter>>,
    /// The logits that the filters changed.
    filtered: Vec<f32>,
    top_logprobs: Option<usize>,
    decoder: StreamDecoder,
    stop: StopMatcher,
    cancel: CancelToken,
    max_tokens: usize,
    prompt: Vec<u32>,
    /// Tokens of the prompt that are run; `None` before the first step.
    done: Option<usize>,
    /// Chosen, but not yet run.
    pending: Option<u32>,
    /// What the next step tells: a batch ran it.
    #[cfg(feature = "std")]
    queued: Option<Result<Event>>,
    pub(super) speculation: Speculation,
    accepted: usize,
    tokens: Vec<u32>,
    finish: Option<FinishReason>,
    /// Whether the text that was held back has been told.
    flushed: bool,
    cached_tokens: usize,
    clock: Clock,
}

impl<S: BorrowMut<Session>> Generation<S> {
    /// Checks prompt and options; nothing is run yet.
    ///
    /// # Errors
    /// As for [`Session::generate`], with the session, which is as it was.
    pub(crate) fn new(
        session: S,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &CancelToken,
    ) -> Result<Generation<S>, (S, Error)> {
        let vocabulary = session.borrow().model().graph().vocabulary;
        let checked = session.borrow().check_prompt(prompt);
        let sampler = Sampler::new(&options.sampler, vocabulary).map_err(Error::from);
        let mut sampler = match checked.and(sampler) {
            Ok(sampler) => sampler,
            Err(error) => return Err((session, error)),
        };
        prompt.iter().for_each(|&token| sampler.accept(token));
        Ok(Generation {
            decoder: StreamDecoder::after(session.borrow().model().tokenizer(), prompt),
            stop: StopMatcher::new(&options.stop),
            cancel: cancel.clone(),
            max_tokens: options.max_tokens.unwrap_or(usize::MAX),
            prompt: prompt.into(),
            done: None,
            pending: None,
            #[cfg(feature = "std")]
            queued: None,
            speculation: Speculation::new(session.borrow().max_drafts()),
            accepted: 0,
            tokens: Vec::new(),
            finish: None,
            flushed: false,
            cached_tokens: 0,
            clock: Clock::start(),
            filters: Vec::new(),
            filtered: Vec::new(),
            top_logprobs: options.top_logprobs,
            session,
            sampler,
        })
    }

    /// Adds a filter of the logits, after those that were added before.
    pub fn add_filter(&mut self, filter: Box<dyn LogitFilter>) {
        self.filters.push(filter);
    }

    /// The session.
    pub fn session(&self) -> &Session {
        self.session.borrow()
    }

    /// The session, which goes on from what was generated.
    pub fn into_session(self) -> S {
        self.session
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
        let done = self.done.unwrap_or_default();
        let computed = done.saturating_sub(self.cached_tokens) as f64;
        let decoded = self.tokens.len().saturating_sub(1) as f64;
        let rate = |tokens: f64, time: Duration| {
            if time.is_zero() {
                0.0
            } else {
                tokens / time.as_secs_f64()
            }
        };
        Stats {
            prompt_tokens: self.prompt.len(),
            cached_tokens: self.cached_tokens,
            generated_tokens: self.tokens.len(),
            drafted_tokens: self.speculation.drafted,
            accepted_tokens: self.accepted,
            ttft,
            prefill_tokens_per_s: rate(computed, self.clock.prefill),
            decode_tokens_per_s: rate(decoded, decode),
            peak_memory_bytes: process_memory(None).peak,
            screen: self.session().screen_stats(),
        }
    }

    /// Goes one step on, which runs at most one pass: a chunk of the prompt, or a token.
    /// `None` at the end: [`Generation::finish_reason`] says why it came.
    ///
    /// # Errors
    /// Those of [`Session::prefill`] and [`Session::decode`] but for a cancel, which is
    /// an end. The generation has ended then.
    pub fn step(&mut self) -> Result<Option<Event>> {
        #[cfg(feature = "std")]
        if let Some(queued) = self.queued.take() {
            return queued.map(Some);
        }
        if self.finish.is_none() {
            match self.run_step() {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => {}
                Err(Error::Cancelled) => self.finish = Some(FinishReason::Cancelled),
                Err(error) => {
                    self.finish = Some(FinishReason::Failed);
                    return Err(error);
                }
            }
        }
        Ok(self.flush().map(Event::Rest))
    }

    /// A step of one that has not ended; `None` where it ends before a token.
    fn run_step(&mut self) -> Result<Option<Event>> {
        self.session.borrow_mut().wait_while_paused(&self.cancel)?;
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let total = self.prompt.len();
        if self.done != Some(total) {
            let done = self.run_prompt()?;
            return Ok(Some(Event::Prompt { done, total }));
        }
        if self.tokens.len() >= self.max_tokens {
            self.finish = Some(FinishReason::MaxTokens);
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
        self.choose(None).map(Some)
    }

    /// Runs the next chunk of the prompt. What the session has of it already is not
    /// computed again.
    fn run_prompt(&mut self) -> Result<usize> {
        let session = self.session.borrow_mut();
        let done = match self.done {
            Some(done) => done,
            None => {
                let same = session.tokens().iter().zip(&self.prompt);
                let shared = same.take_while(|(a, b)| a == b).count();
                self.cached_tokens = session.rewind(shared.min(self.prompt.len() - 1));
                self.cached_tokens
            }
        };
        self.done = Some(done);
        let done = done + session.prefill_chunk(&self.prompt[done..], &self.cancel)?;
        self.done = Some(done);
        self.clock.prefilled();
        Ok(done)
    }

    /// Chooses a token by these logits, or by the session's last ones.
    fn choose(&mut self, logits: Option<&[f32]>) -> Result<Event> {
        let session = self.session.borrow();
        let logits = logits.unwrap_or_else(|| session.last_logits());
        let id = if SMALL || self.filters.is_empty() {
            self.sampler.sample(logits)?
        } else {
            self.filtered.clear();
            self.filtered.extend_from_slice(logits);
            for filter in &mut self.filters {
                filter.filter(&mut self.filtered);
            }
            self.sampler.sample(&self.filtered)?
        };
        let (mut logprob, mut top) = (None, Vec::new());
        if let Some(count) = self.top_logprobs.filter(|_| !SMALL) {
            let (of_token, likeliest) = candidates(logits, id, count);
            (logprob, top) = (Some(of_token), likeliest);
        }
        self.sampler.accept(id);
        self.filters.iter_mut().for_each(|filter| filter.accept(id));
        self.tokens.push(id);
        self.clock.token();
        let mut text = String::new();
        let tokenizer = session.model().tokenizer();
        if tokenizer.is_end_of_generation(id) {
            self.finish = Some(FinishReason::EndOfGeneration);
        } else {
            let mut decoded = String::new();
            self.decoder.push(tokenizer, id, &mut decoded);
            if self.stop.push(&decoded, &mut text) {
                self.finish = Some(FinishReason::Stop);
            }
            self.pending = Some(id);
        }
        Ok(Event::Token(Token {
            id,
            text,
            logprob,
            top,
        }))
    }

    /// Whether only the likeliest tokens' logits are asked for: how many.
    fn deciding(&self) -> Option<usize> {
        let all = !self.filters.is_empty() || self.top_logprobs.is_some();
        self.sampler.deciding().filter(|_| !all)
    }

    /// Brings the logits after `token` that the sampler asks for: it was run
    /// already if it was guessed.
    fn run(&mut self, token: u32) -> Result<()> {
        let deciding = self.deciding();
        let session = self.session.borrow_mut();
        if SMALL {
            // No clock tells what guesses cost.
            return session.decode(token).map(drop);
        }
        self.speculation.came(token);
        if session.accept(token).is_some() {
            self.accepted += 1;
            return Ok(());
        }
        let history = session.tokens();
        // Guesses beyond the end would be in vain.
        let space = session.context() - history.len();
        let left = self.max_tokens - self.tokens.len();
        let most = space.min(left).saturating_sub(1);
        let tokens = self.speculation.draft(history, token, most);
        let begun = self.clock.elapsed();
        match (tokens, deciding) {
            (&[token], Some(k)) => session.decode_top(token, k)?,
            _ => session.decode_with_drafts(tokens)?,
        };
        self.speculation.took(self.clock.elapsed() - begun);
        Ok(())
    }

    /// The complete characters that are held back, at the end; once.
    fn flush(&mut self) -> Option<String> {
        if mem::replace(&mut self.flushed, true) || self.finish == Some(FinishReason::Stop) {
            return None;
        }
        let (mut rest, mut text) = (String::new(), String::new());
        self.decoder.finish(&mut rest);
        self.stop.push(&rest, &mut text);
        self.stop.finish(&mut text);
        (!text.is_empty()).then_some(text)
    }

    /// The session and the token that a batch may run for the next step; `None` where
    /// the step has to do with something else.
    #[cfg(feature = "std")]
    pub(crate) fn waiting(&mut self) -> Option<(&mut Session, u32)> {
        let token = self.pending?;
        let session = self.session.borrow_mut();
        let goes_on = self.finish.is_none()
            && self.queued.is_none()
            && self.tokens.len() < self.max_tokens
            && session.tokens().len() < session.context()
            && !self.cancel.is_cancelled()
            && !session.engine().governor().is_paused();
        goes_on.then_some((session, token))
    }

    /// Chooses a token by the logits of a batch that ran the one that was waiting.
    #[cfg(feature = "std")]
    pub(crate) fn advance(&mut self, logits: &[f32]) {
        self.pending = None;
        let event = self.choose(Some(logits));
        if event.is_err() {
            self.finish = Some(FinishReason::Failed);
        }
        self.queued = Some(event);
    }
}

impl<S: BorrowMut<Session>> Iterator for Generation<S> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Result<Piece>> {
        loop {
            let text = match self.step() {
                Ok(Some(Event::Prompt { .. })) => continue,
                Ok(Some(Event::Token(token))) => token.text,
                Ok(Some(Event::Rest(text))) => text,
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            };
            if !text.is_empty() {
                let token = self.tokens.last().copied().unwrap_or_default();
                return Some(Ok(Piece { text, token }));
            }
        }
    }
}
