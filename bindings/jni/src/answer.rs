//! Answers, from which the JVM takes one event at a time.

use crate::bytes;
use crate::call::Result;
use crate::handle::Handle;
use jni::Env;
use jni::objects::{JByteArray, JByteBuffer, JClass, JDoubleArray};
use jni::sys::{jboolean, jfloat, jint, jlong};
use ondol_app::{
    Answer, AnswerEvent, AnswerOptions, AppError, CancelToken, Conversation, ErrorCode,
    FinishReason,
};
use std::sync::{Mutex, TryLockError};

/// The finish reasons in the order of the Kotlin enum `FinishReason`.
pub const REASONS: [FinishReason; 6] = [
    FinishReason::EndOfGeneration,
    FinishReason::Stop,
    FinishReason::MaxTokens,
    FinishReason::ContextFull,
    FinishReason::Cancelled,
    FinishReason::Failed,
];

/// An answer that is being generated.
pub struct Running {
    state: Mutex<State>,
    cancel: CancelToken,
}

struct State {
    answer: Answer,
    /// Text that did not fit in the buffer.
    rest: Option<Text>,
}

struct Text {
    text: String,
    /// Bytes of it that were delivered.
    from: usize,
    token: Option<u32>,
}

/// What [`answer_next`] returns, as one number: a kind in the highest four bits, then a
/// number of 28 bits, then a number of 32 bits. `Answer.kt` reads it.
#[derive(Clone, Copy)]
enum Next {
    /// The answer has ended.
    End,
    /// Tokens of the prompt that were computed, and all tokens of the prompt.
    Prompt { done: usize, total: usize },
    /// Bytes of text in the buffer, and the token that completed it.
    Token { bytes: usize, token: u32 },
    /// Bytes of text in the buffer that was held back until the end.
    Rest { bytes: usize },
    /// Bytes of text in the buffer; the next call has more of the same event.
    Part { bytes: usize },
}

impl Next {
    fn to_java(self) -> jlong {
        let (kind, small, large) = match self {
            Next::End => (0, 0, 0),
            Next::Prompt { done, total } => (1, done, total as u32),
            Next::Token { bytes, token } => (2, bytes, token),
            Next::Rest { bytes } => (3, bytes, 0),
            Next::Part { bytes } => (4, bytes, 0),
        };
        kind << 60 | (small as jlong & 0xFFF_FFFF) << 32 | jlong::from(large)
    }
}

/// Begins an answer to the message `text`.
#[allow(clippy::too_many_arguments)] // One for each option.
pub fn send(
    env: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
    text: JByteArray,
    temperature: jfloat,
    top_k: jint,
    top_p: jfloat,
    min_p: jfloat,
    repetition_penalty: jfloat,
    frequency_penalty: jfloat,
    presence_penalty: jfloat,
    penalty_window: jint,
    has_seed: jboolean,
    seed: jlong,
    max_tokens: jint,
    stop: JByteArray,
) -> Result<Handle<Running>> {
    let options = AnswerOptions {
        temperature,
        top_k: bytes::count("topK", top_k)?,
        top_p,
        min_p,
        repetition_penalty,
        frequency_penalty,
        presence_penalty,
        penalty_window: bytes::count("penaltyWindow", penalty_window)?,
        seed: has_seed.then_some(seed.cast_unsigned()),
        max_tokens: bytes::optional_count("maxTokens", max_tokens)?,
        stop: bytes::texts(env, &stop)?,
    };
    let text = bytes::text(env, &text)?;
    let answer = conversation.get().send(&text, &options)?;
    Ok(Handle::new(Running {
        cancel: answer.cancel_token(),
        state: Mutex::new(State { answer, rest: None }),
    }))
}

/// Runs until there is an event to report, and writes its text into the buffer.
pub fn answer_next(
    env: &mut Env,
    _: JClass,
    running: Handle<Running>,
    buffer: JByteBuffer,
) -> Result<jlong> {
    let address = env.get_direct_buffer_address(&buffer)?;
    let capacity = env.get_direct_buffer_capacity(&buffer)?;
    let mut state = match running.get().state.try_lock() {
        Ok(state) => state,
        Err(TryLockError::Poisoned(_)) => return Err(AppError::panicked().into()),
        Err(TryLockError::WouldBlock) => {
            let message = "another thread is already taking the next token of this answer";
            return Err(AppError::new(ErrorCode::Busy, message).into());
        }
    };
    // SAFETY: the buffer's memory lives as long as the buffer, to which the caller has a
    // reference during the call, and nothing else uses it: it is private to `Answer.kt`.
    let buffer = unsafe { std::slice::from_raw_parts_mut(address, capacity) };
    Ok(state.next(buffer)?.to_java())
}

impl State {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Next, AppError> {
        let text = match self.rest.take() {
            Some(text) => text,
            None => match self.answer.next()? {
                None => return Ok(Next::End),
                Some(AnswerEvent::Prompt { done, total }) => {
                    return Ok(Next::Prompt { done, total });
                }
                Some(AnswerEvent::Text { text, token }) => Text {
                    text,
                    from: 0,
                    token,
                },
            },
        };
        self.deliver(text, buffer)
    }

    /// Writes as much text as the buffer holds, cut between characters.
    fn deliver(&mut self, mut text: Text, buffer: &mut [u8]) -> Result<Next, AppError> {
        let rest = &text.text[text.from..];
        let bytes = rest.floor_char_boundary(buffer.len());
        if bytes == 0 {
            return Err(AppError::argument(
                "the buffer is too short for one character",
            ));
        }
        buffer[..bytes].copy_from_slice(&rest.as_bytes()[..bytes]);
        if bytes < rest.len() {
            text.from += bytes;
            self.rest = Some(text);
            return Ok(Next::Part { bytes });
        }
        Ok(match text.token {
            Some(token) => Next::Token { bytes, token },
            None => Next::Rest { bytes },
        })
    }
}

/// Ends the answer soon; any thread may call it during [`answer_next`].
pub fn answer_cancel(_: &mut Env, _: JClass, running: Handle<Running>) -> Result<()> {
    running.get().cancel.cancel();
    Ok(())
}

/// Why the answer ended, as an index into [`REASONS`]; stores its counts and speeds in
/// `stats`, in the order in which `AnswerStats.of` in `AnswerEvent.kt` reads them.
pub fn answer_end(
    env: &mut Env,
    _: JClass,
    running: Handle<Running>,
    stats: JDoubleArray,
) -> Result<jint> {
    let state = running.get().state.lock();
    let state = state.map_err(|_| AppError::panicked())?;
    let counted = state.answer.stats();
    let fields = [
        counted.prompt_tokens as f64,
        counted.cached_tokens as f64,
        counted.generated_tokens as f64,
        counted.first_token_seconds,
        counted.prefill_tokens_per_second,
        counted.decode_tokens_per_second,
        counted.peak_memory_bytes as f64,
    ];
    stats.set_region(env, 0, &fields)?;
    let reason = state.answer.finish_reason();
    let place = REASONS.iter().position(|&known| Some(known) == reason);
    let place = place.ok_or_else(|| AppError::argument("the answer has not ended"))?;
    Ok(bytes::java_int(place))
}

pub fn answer_free(_: &mut Env, _: JClass, running: Handle<Running>) -> Result<()> {
    running.free();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ondol_app::{ConversationOptions, LoadOptions, Model, Source};

    /// The text of an answer that is delivered through a buffer of `bytes` bytes.
    fn through(bytes: usize) -> Result<String, AppError> {
        let model = Model::load(Source::Hello, &LoadOptions::default())?;
        let conversation = model.conversation(&ConversationOptions::default())?;
        let options = AnswerOptions {
            temperature: 0.0,
            max_tokens: Some(30),
            ..AnswerOptions::default()
        };
        let answer = conversation.send("안녕하세요", &options)?;
        let mut state = State { answer, rest: None };
        let (mut buffer, mut text) = (vec![0; bytes], String::new());
        loop {
            match state.next(&mut buffer)? {
                Next::End => return Ok(text),
                Next::Prompt { .. } => (),
                Next::Token { bytes, .. } | Next::Rest { bytes } | Next::Part { bytes } => {
                    text += std::str::from_utf8(&buffer[..bytes]).expect("whole characters");
                }
            }
        }
    }

    #[test]
    fn text_is_cut_between_characters_where_the_buffer_is_short() {
        let whole = through(1000).unwrap();
        assert!(whole.chars().any(|c| c.len_utf8() == 3), "{whole}");
        assert_eq!(through(4).unwrap(), whole);
        assert_eq!(through(3).unwrap(), whole);
        assert_eq!(through(2).unwrap_err().code, ErrorCode::InvalidArgument);
    }

    #[test]
    fn numbers_do_not_touch() {
        let next = Next::Prompt { done: 5, total: 7 };
        assert_eq!(next.to_java(), 1 << 60 | 5 << 32 | 7);
        let next = Next::Token {
            bytes: 3,
            token: u32::MAX,
        };
        assert_eq!(next.to_java(), 2 << 60 | 3 << 32 | 0xFFFF_FFFF);
    }
}
