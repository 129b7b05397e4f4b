//! An answer that is being generated.

use crate::conversation::{ChatMessage, Shared};
use crate::error::{AppError, Result};
use ondol::{CancelToken, Event, FinishReason, Generation, Stats};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// An answer that is generated step by step, on the thread that calls
/// [`Answer::next`]. Dropping the answer ends it, as a cancel does.
pub struct Answer {
    shared: Arc<Shared>,
    /// `None` after the end, when the conversation has its session again.
    generation: Option<Box<Generation>>,
    cancel: CancelToken,
    text: String,
    finish: Option<FinishReason>,
    stats: AnswerStats,
    /// Bytes of text after which [`Answer::next`] panics, for the tests.
    #[cfg(test)]
    pub(crate) panics_at: usize,
}

/// What [`Answer::next`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerEvent {
    /// Tokens of the prompt were computed.
    Prompt {
        /// Tokens so far, those in the cache included.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// More text: complete characters, never empty.
    Text {
        /// The text.
        text: String,
        /// The token that completed the text; `None` for text that was held back until
        /// the end because it could have been the start of a stop string.
        token: Option<u32>,
    },
}

/// Counts and speeds of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AnswerStats {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of these, tokens that were in the cache and were not computed again.
    pub cached_tokens: u64,
    /// Tokens of the answer.
    pub generated_tokens: u64,
    /// Seconds from the first step to the first token.
    pub first_token_seconds: f64,
    /// Prompt tokens computed per second.
    pub prefill_tokens_per_second: f64,
    /// Tokens of the answer per second, after the first.
    pub decode_tokens_per_second: f64,
    /// The peak memory of the process in bytes; 0 if the system does not report it.
    pub peak_memory_bytes: u64,
}

impl From<Stats> for AnswerStats {
    fn from(stats: Stats) -> AnswerStats {
        AnswerStats {
            prompt_tokens: stats.prompt_tokens as u64,
            cached_tokens: stats.cached_tokens as u64,
            generated_tokens: stats.generated_tokens as u64,
            first_token_seconds: stats.ttft.as_secs_f64(),
            prefill_tokens_per_second: stats.prefill_tokens_per_s,
            decode_tokens_per_second: stats.decode_tokens_per_s,
            peak_memory_bytes: stats.peak_memory_bytes.unwrap_or(0),
        }
    }
}

impl Answer {
    pub(crate) fn new(shared: Arc<Shared>, generation: Generation, cancel: CancelToken) -> Answer {
        Answer {
            shared,
            generation: Some(Box::new(generation)),
            cancel,
            text: String::new(),
            finish: None,
            stats: AnswerStats::default(),
            #[cfg(test)]
            panics_at: usize::MAX,
        }
    }

    /// Runs until there is an event to report; returns `None` at the end, after which
    /// [`Answer::finish_reason`] gives the reason.
    ///
    /// # Errors
    /// If the answer failed and has ended; the conversation is then as it was before
    /// [`crate::Conversation::send`]. [`ondol::ErrorCode::Panicked`] after a panic: then
    /// the conversation can only be closed.
    #[allow(clippy::should_implement_trait)] // An iterator can't return an error and end.
    pub fn next(&mut self) -> Result<Option<AnswerEvent>> {
        loop {
            let Some(generation) = &mut self.generation else {
                return Ok(None);
            };
            let step = catch_unwind(AssertUnwindSafe(|| {
                #[cfg(test)]
                assert!(self.text.len() < self.panics_at, "on purpose");
                generation.step()
            }));
            let (text, token) = match step {
                Err(_) => return Err(self.broke()),
                Ok(Err(ondol::Error::Panicked)) => return Err(self.broke()),
                Ok(Err(error)) => {
                    self.end(Some(FinishReason::Failed));
                    return Err(error.into());
                }
                Ok(Ok(None)) => {
                    self.end(None);
                    return Ok(None);
                }
                Ok(Ok(Some(Event::Prompt { done, total }))) => {
                    return Ok(Some(AnswerEvent::Prompt { done, total }));
                }
                Ok(Ok(Some(Event::Token(token)))) => (token.text, Some(token.id)),
                Ok(Ok(Some(Event::Rest(text)))) => (text, None),
                Ok(Ok(Some(_))) => continue,
            };
            if !text.is_empty() {
                self.text.push_str(&text);
                return Ok(Some(AnswerEvent::Text { text, token }));
            }
        }
    }

    /// A token that ends the answer soon, from any thread that has a clone of it.
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Why the answer ended; `None` before its end.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Counts and speeds so far; after the end, those of the whole answer.
    pub fn stats(&self) -> AnswerStats {
        match &self.generation {
            Some(generation) => generation.stats().into(),
            None => self.stats,
        }
    }

    /// Gives the session back to the conversation, and adds the answer to its messages,
    /// or removes the user's message if the answer leaves no trace.
    fn end(&mut self, reason: Option<FinishReason>) {
        let Some(generation) = self.generation.take() else {
            return;
        };
        let reason = reason.or(generation.finish_reason());
        let reason = reason.unwrap_or(FinishReason::Cancelled);
        self.stats = generation.stats().into();
        self.finish = Some(reason);
        let ids = generation.tokens().to_vec();
        let session = Box::new(generation.into_session());
        let stays = match reason {
            FinishReason::Failed => false,
            FinishReason::Cancelled => !self.text.is_empty(),
            _ => true,
        };
        let mut answer = ChatMessage::new("assistant", self.text.as_str());
        answer.ids = ids;
        self.shared.put_back(session, |messages| match stays {
            true => messages.push(answer),
            // The user's message.
            false => drop(messages.pop()),
        });
    }

    fn broke(&mut self) -> AppError {
        self.generation = None;
        self.finish = Some(FinishReason::Failed);
        self.shared.broke();
        AppError::panicked()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.end(None);
    }
}
