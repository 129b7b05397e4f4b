//! What a generation reports: text, tokens, why it ended, and what it took.

use super::Candidate;
use crate::ScreenStats;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// A part of the generated text: complete characters only.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextChunk {
    /// The text; never empty.
    pub text: String,
    /// The token that completed this text.
    pub token: u32,
}

/// The result of one step of a generation.
///
/// ```
/// use ondol::{CancelToken, Event, GenerateOptions, Message, Model, SessionOptions};
///
/// let model = Model::hello()?;
/// let session = model.session(&SessionOptions::default())?;
/// let prompt = model.encode_chat(&[Message::user("Hello!")])?;
/// let mut generation = session
///     .into_generation(&prompt, &GenerateOptions::default(), &CancelToken::new())
///     .map_err(|refused| refused.error)?;
/// while let Some(event) = generation.step()? {
///     match event {
///         Event::Prompt { done, total } => eprintln!("{done} of {total} tokens of the prompt"),
///         Event::Token(token) => print!("{}", token.text),
///         Event::Rest(text) => print!("{text}"),
///         _ => {}
///     }
/// }
/// let session = generation.into_session();
/// # Ok::<(), ondol::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Tokens of the prompt were run.
    Prompt {
        /// Tokens of the prompt that have been run so far, including those that the
        /// session already had.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// A token was chosen.
    Token(Token),
    /// Text that was held back because it could have been the beginning of a stop string
    /// or of a longer emoji.
    Rest(String),
}

/// A token that was sampled.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// The text that it completes: complete characters; often empty.
    pub text: String,
    /// With [`GenerateOptions::top_logprobs`](crate::GenerateOptions::top_logprobs): its log-probability.
    pub logprob: Option<f32>,
    /// With [`GenerateOptions::top_logprobs`](crate::GenerateOptions::top_logprobs): the likeliest tokens.
    pub top: Vec<Candidate>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model generated an end token.
    EndOfGeneration,
    /// The text reached a stop string.
    Stop,
    /// [`GenerateOptions::max_tokens`](crate::GenerateOptions::max_tokens) tokens were generated.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The [`CancelToken`](crate::CancelToken) was cancelled.
    Cancelled,
    /// A step returned an error.
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

/// Counts and speeds of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that were already in the session's cache.
    pub cached_tokens: usize,
    /// Tokens generated, the end token included.
    pub generated_tokens: usize,
    /// Drafts that were run.
    pub drafted_tokens: usize,
    /// Of these, drafts that were accepted; each saved a pass.
    pub accepted_tokens: usize,
    /// Time from the call that made the generation to the first sampled token.
    pub ttft: Duration,
    /// Prompt tokens that were run, per second of prefill.
    pub prefill_tokens_per_s: f64,
    /// Generated tokens per second, after the first.
    pub decode_tokens_per_s: f64,
    /// The peak memory of the process in bytes, if the system reports it.
    pub peak_memory_bytes: Option<u64>,
    /// Counts of the screen since the session was made, if it is used.
    pub screen: Option<ScreenStats>,
}
