//! Answers: a thread that generates each answer, and the handle that cancels it.

use crate::error::OndolError;
use ondol_app as app;
use ondol_app::{AnswerEvent, AppError, CancelToken, ErrorCode, FinishReason};
use std::sync::Arc;

/// An error that the app's listener threw.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum ListenerError {
    /// The listener threw an error.
    #[error("{detail}")]
    Threw {
        /// The error's text.
        detail: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ListenerError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> ListenerError {
        ListenerError::Threw {
            detail: error.reason,
        }
    }
}

/// Receives the events of an answer, on the thread that generates it. An error that a
/// function throws ends the answer.
#[uniffi::export(foreign)]
pub trait AnswerListener: Send + Sync {
    /// `done` of `total` tokens of the prompt were computed, those in the cache included.
    fn prompt(&self, done: u32, total: u32) -> Result<(), ListenerError>;

    /// More text: complete characters, never empty; and the id of the token that completed
    /// it, `None` for text that was held back until the end.
    fn text(&self, text: String, token: Option<u32>) -> Result<(), ListenerError>;

    /// The answer has ended; nothing is called after this. Another answer can be asked
    /// for at once.
    fn end(&self, end: AnswerEnd) -> Result<(), ListenerError>;
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct AnswerEnd {
    /// "end", "stop", "max_tokens", "context_full", "cancelled" or "failed".
    pub reason: String,
    /// The error, if the answer failed.
    pub error: Option<OndolError>,
    /// Counts and speeds.
    pub stats: Stats,
}

/// Counts and speeds of an answer.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct Stats {
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

impl From<app::AnswerStats> for Stats {
    fn from(stats: app::AnswerStats) -> Stats {
        Stats {
            prompt_tokens: stats.prompt_tokens,
            cached_tokens: stats.cached_tokens,
            generated_tokens: stats.generated_tokens,
            first_token_seconds: stats.first_token_seconds,
            prefill_tokens_per_second: stats.prefill_tokens_per_second,
            decode_tokens_per_second: stats.decode_tokens_per_second,
            peak_memory_bytes: stats.peak_memory_bytes,
        }
    }
}

/// An answer that is being generated. Dropping this object ends the answer: the
/// cancellation of a foreign task does not have to reach this library.
#[derive(Debug, uniffi::Object)]
pub struct AnswerTask(CancelToken);

#[uniffi::export]
impl AnswerTask {
    /// Ends the answer soon; the listener's `end` is then called.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Drop for AnswerTask {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl AnswerTask {
    pub(crate) fn start(
        answer: app::Answer,
        listener: Arc<dyn AnswerListener>,
    ) -> Result<AnswerTask, OndolError> {
        let task = AnswerTask(answer.cancel_token());
        let thread = std::thread::Builder::new().name("ondol-answer".into());
        let run = move || generate(answer, &*listener);
        match thread.spawn(run) {
            Ok(_) => Ok(task),
            Err(error) => {
                let message = format!("the thread for the answer can't be started: {error}");
                Err(AppError::new(ErrorCode::Other, message).into())
            }
        }
    }
}

fn generate(mut answer: app::Answer, listener: &dyn AnswerListener) {
    let outcome = pass_on(&mut answer, listener);
    let error = outcome.err();
    let reason = match (&error, answer.finish_reason()) {
        (Some(_), _) | (_, None) => FinishReason::Failed,
        (None, Some(reason)) => reason,
    };
    let end = AnswerEnd {
        reason: reason.name().to_owned(),
        error: error.map(Into::into),
        stats: answer.stats().into(),
    };
    // The conversation gets its session back before the listener is told of the end.
    drop(answer);
    let _ = listener.end(end);
}

fn pass_on(answer: &mut app::Answer, listener: &dyn AnswerListener) -> Result<(), AppError> {
    while let Some(event) = answer.next()? {
        let told = match event {
            AnswerEvent::Prompt { done, total } => listener.prompt(done as u32, total as u32),
            AnswerEvent::Text { text, token } => listener.text(text, token),
        };
        if let Err(error) = told {
            let message = format!("the app's listener threw: {error}");
            return Err(AppError::new(ErrorCode::Other, message));
        }
    }
    Ok(())
}
