//! Options of a generation.

use super::SamplerOptions;
use alloc::string::String;
use alloc::vec::Vec;

/// Options of a generation.
///
/// ```
/// use ondol::{CancelToken, FinishReason, GenerateOptions, Message, Model, SessionOptions};
///
/// let model = Model::hello()?;
/// let mut session = model.session(&SessionOptions::default())?;
/// let prompt = model.encode_chat(&[Message::user("Hello!")])?;
/// let options = GenerateOptions {
///     max_tokens: Some(3),
///     ..GenerateOptions::default()
/// };
/// let mut generation = session.generate(&prompt, &options, &CancelToken::new())?;
/// generation.by_ref().try_for_each(|chunk| chunk.map(drop))?;
/// assert_eq!(generation.finish_reason(), Some(FinishReason::MaxTokens));
/// # Ok::<(), ondol::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct GenerateOptions {
    /// How the next token is sampled.
    pub sampler: SamplerOptions,
    /// The most tokens to generate; `None` generates until the model ends its answer or
    /// the context is full. A character that the last token leaves incomplete is not
    /// part of the text.
    pub max_tokens: Option<usize>,
    /// The text ends before the first of these strings.
    pub stop: Vec<String>,
    /// `Some(n)` reports the log-probability of each token in [`Token::logprob`](crate::Token::logprob), and
    /// the `n` likeliest tokens in [`Token::top`](crate::Token::top). All logits are then computed,
    /// without the screen.
    pub top_logprobs: Option<usize>,
}
