//! The loop from logits to text.

use super::clock::Clock;
use super::event::{Event, FinishReason, Stats, TextChunk, Token};
use super::filter::{LogitFilter, candidates};
use super::speculation::Speculation;
use super::{GenerateOptions, Sampler, StopMatcher};
use crate::machine::process_memory;
use crate::{CancelToken, Error, Result, Session};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::BorrowMut;
use core::mem;
use core::time::Duration;
use ondol_kernels::SMALL;
use ondol_models::tokenizer::StreamDecoder;

impl Session {
    /// Generates text after `prompt`, which replaces the session's tokens. Their common
    /// beginning is not computed again, as far as [`Session::rewind`] can go back to
    /// it, so a conversation computes only its new tokens. Nothing is run or dropped
    /// before the first step.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::BadToken`], [`Error::ContextFull`];
    /// [`Error::Sampler`] for options out of range.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &CancelToken,
    ) -> Result<Generation<&mut Session>> {
        Generation::new(self, prompt, options, cancel).map_err(|(_, error)| error)
    }

    /// As [`Session::generate`], with a generation that owns the session;
    /// [`Generation::into_session`] returns it.
    ///
    /// # Errors
    /// Those of [`Session::generate`], together with the session.
    #[cfg(feature = "std")]
    pub fn into_generation(
        self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &CancelToken,
    ) -> Result<Generation, GenerationRefused> {
        let made = Generation::new(self, prompt, options, cancel);
        made.map_err(|(session, error)| GenerationRefused {
            session: Box::new(session),
            error,
        })
    }
}

/// The error of a generation that could not be started.
#[cfg(feature = "std")]
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct GenerationRefused {
    /// The session, unchanged.
    pub session: Box<Session>,
    /// Why.
    #[source]
    pub error: Error,
}

/// Generates text after a prompt, step by step.
///
/// It is an iterator over pieces of text; [`Generation::step`] returns more detail. It
/// owns its session or borrows it. Each step runs at most one pass and may be called
/// from any thread. Dropping it ends the generation. The generated tokens stay in the
/// session, so the next turn of a conversation does not compute them again.
///
/// A cancel in prefill and one in decode end in the same way: with
/// [`FinishReason::Cancelled`] and the text so far. The session has the tokens of the
/// passes that were completed and can be used further.
pub struct Generation<S: BorrowMut<Session> = Session> {
    session: S,
    sampler: Sampler,
    filters: Vec<Box<dyn LogitFilter>>,
    top_logprobs: Option<usize>,
    decoder: StreamDecoder,
    stop: StopMatcher,
    cancel: CancelToken,
    max_tokens: usize,
    prompt: Vec<u32>,
    /// Tokens of the prompt that have been run; `None` before the first step.
    done: Option<usize>,
    /// The sampled token that has not been run yet.
    pending: Option<u32>,
    /// The result of the next step, if a batch ran it.
    #[cfg(feature = "std")]
    queued: Option<Result<Event>>,
    pub(super) speculation: Speculation,
    accepted: usize,
    tokens: Vec<u32>,
    finish: Option<FinishReason>,
    /// Whether the text that was held back has been returned.
    flushed: bool,
    cached_tokens: usize,
    clock: Clock,
}

impl<S: BorrowMut<Session>> Generation<S> {
    /// Checks prompt and options; runs nothing.
    ///
    /// # Errors
    /// Those of [`Session::generate`], together with the unchanged session.
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
            top_logprobs: options.top_logprobs,
            session,
            sampler,
        })
    }

    /// Adds a filter of the logits. Filters run in the order in which they were added.
    pub fn add_filter(&mut self, filter: Box<dyn LogitFilter>) {
        self.filters.push(filter);
    }

    /// The session.
    pub fn session(&self) -> &Session {
        self.session.borrow()
    }

    /// The session, with the prompt and the generated tokens.
    pub fn into_session(self) -> S {
        self.session
    }

    /// Why the generation ended; `None` before its end.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// The tokens that were generated, in order, the end token included.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Counts and speeds so far.
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

    /// Runs the next step, with at most one pass: a chunk of the prompt, or a decode
    /// pass. `None` at the end; then [`Generation::finish_reason`] gives the reason.
    ///
    /// # Errors
    /// Those of [`Session::prefill`] and [`Session::decode`], except
    /// [`Error::Cancelled`]: a cancel is an end without an error. After an error the
    /// generation has ended.
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

    /// A step of a generation that has not ended; `None` if it ends without a further
    /// token.
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

    /// Runs the next chunk of the prompt. Tokens that the session already has are not
    /// run again.
    fn run_prompt(&mut self) -> Result<usize> {
        let session = self.session.borrow_mut();
        let done = match self.done {
            Some(done) => done,
            None => {
                // Time between the call of `generate` and its first step is the caller's.
                self.clock = Clock::start();
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

    /// Samples a token from these logits, or from the session's last ones.
    fn choose(&mut self, logits: Option<&[f32]>) -> Result<Event> {
        let session = self.session.borrow();
        let logits = logits.unwrap_or_else(|| session.last_logits());
        let id = self.sampler.sample(logits, &mut self.filters)?;
        let (mut logprob, mut top) = (None, Vec::new());
        if let Some(count) = self.top_logprobs.filter(|_| !SMALL) {
            let (of_token, likeliest) = candidates(logits, id, count);
            (logprob, top) = (Some(of_token), likeliest);
        }
        self.sampler.accept(id);
        if !SMALL {
            self.filters.iter_mut().for_each(|filter| filter.accept(id));
        }
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

    /// How many of the likeliest tokens the sampler needs; `None` if it needs all
    /// logits.
    fn deciding(&self) -> Option<usize> {
        let deciding = self
            .sampler
            .deciding()
            .filter(|_| self.top_logprobs.is_none());
        let filters = self.filters.iter().rev();
        filters.fold(deciding, |kept, filter| filter.reads(kept))
    }

    /// Computes the logits after `token` that the sampler needs. An accepted draft has
    /// been run already.
    fn run(&mut self, token: u32) -> Result<()> {
        if SMALL {
            // Without a clock the cost of drafts is unknown.
            return self.session.borrow_mut().decode(token).map(drop);
        }
        let deciding = self.deciding();
        let session = self.session.borrow_mut();
        self.speculation.observe(token);
        if session.accept(token).is_some() {
            self.accepted += 1;
            return Ok(());
        }
        let history = session.tokens();
        // Drafts beyond the end would not be used.
        let space = session.context() - history.len();
        let left = self.max_tokens - self.tokens.len();
        let most = space.min(left).saturating_sub(1);
        let tokens = self.speculation.draft(history, token, most);
        let begun = self.clock.elapsed();
        match (tokens, deciding) {
            (&[token], Some(k)) => session.decode_top(token, k)?,
            _ => session.decode_with_drafts(tokens)?,
        };
        self.speculation.record_time(self.clock.elapsed() - begun);
        Ok(())
    }

    /// The complete characters that were held back, once, at the end.
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

    /// The session and the token that a batch may run for the next step; `None` if the
    /// next step is not a decode pass.
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

    /// Samples a token from the logits of a batch that ran the waiting token.
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
    type Item = Result<TextChunk>;

    fn next(&mut self) -> Option<Result<TextChunk>> {
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
                return Some(Ok(TextChunk { text, token }));
            }
        }
    }
}
