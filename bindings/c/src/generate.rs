//! Generation: options, the callback that takes the text, cancellation.

use crate::arguments::{slice, string};
use crate::call::{Failure, quietly};
use crate::session::Conversation;
use crate::sized::{self, Sized32};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::{c_char, c_int, c_void};
use runtime::{
    CancelToken, Error, FinishReason, GenerateOptions, Generation, SamplerOptions, Session,
};

/// Cancels generations from any thread.
pub struct ondol_cancel {
    token: CancelToken,
}

/// How to generate. Zero in a field, and NULL for the whole, are neutral: always
/// the likeliest token, until the model ends or the context is full.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_generate_options {
    /// `sizeof(ondol_generate_options)`.
    pub struct_size: u32,
    /// Tokens to generate at most; 0 sets no limit.
    pub max_tokens: u32,
    /// Logits are divided by it; 0 always takes the likeliest token.
    pub temperature: f32,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the fewest likeliest tokens whose probabilities add up to this; 0 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this times as likely as the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Divides the positive and multiplies the negative logits of recent tokens; 0 does nothing.
    pub repetition_penalty: f32,
    /// Taken from a recent token's logit for each time it occurs.
    pub frequency_penalty: f32,
    /// Taken once from the logit of each recent token.
    pub presence_penalty: f32,
    /// How many of the last tokens are recent; 0 takes 64.
    pub penalty_window: u32,
    /// Seed of the draws: the same seed gives the same text.
    pub seed: u64,
    /// The text ends before the first of these strings, each ended by a zero.
    pub stop: *const *const c_char,
    /// Number of stop strings.
    pub stop_count: usize,
    /// Cancels the generation; may be NULL.
    pub cancel: *const ondol_cancel,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_generate_options {}

/// Takes a piece of text: complete UTF-8, `length` bytes and a zero after them,
/// valid during the call. Returns 0 to go on, anything else to stop. It must
/// return normally: no longjmp and no exception through the library.
pub type ondol_text_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, text: *const c_char, length: usize) -> c_int>;

/// Why a generation ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_finish {
    /// It did not: an error came.
    Failed = 0,
    /// The model said so.
    End = 1,
    /// A stop string came.
    Stop = 2,
    /// `max_tokens` were generated.
    MaxTokens = 3,
    /// The context is full.
    ContextFull = 4,
    /// It was cancelled.
    Cancelled = 5,
    /// The callback said so.
    Callback = 6,
}

/// What a generation took.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_generated {
    /// `sizeof(ondol_generated)`.
    pub struct_size: u32,
    /// Why it ended.
    pub finish: ondol_finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that the cache already held.
    pub cached_tokens: usize,
    /// Tokens generated, the end token included.
    pub generated_tokens: usize,
    /// Seconds to the first token's choice; all times are 0 in firmware builds, which have no clock.
    pub first_token_s: f64,
    /// Computed prompt tokens per second.
    pub prefill_tokens_per_s: f64,
    /// Tokens per second after the first.
    pub decode_tokens_per_s: f64,
}

// SAFETY: repr(C), starts with a u32, finish zero is `Failed`.
unsafe impl Sized32 for ondol_generated {}

/// A handle to cancel with, or NULL after a panic.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_cancel_new() -> *mut ondol_cancel {
    let mut made = core::ptr::null_mut();
    quietly(|| {
        let token = CancelToken::new();
        made = Box::into_raw(Box::new(ondol_cancel { token }));
    });
    made
}

/// Asks the generations that have this handle to stop. From any thread, at any
/// time, even from a signal handler; they return `ONDOL_STATUS_CANCELLED` before
/// the next token, or the next layer of the prompt.
///
/// # Safety
/// `cancel` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_cancel_request(cancel: *const ondol_cancel) {
    // SAFETY: the header asks it of the caller.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        cancel.token.cancel();
    }
}

/// Makes the handle usable again after a request.
///
/// # Safety
/// `cancel` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_cancel_reset(cancel: *const ondol_cancel) {
    // SAFETY: the header asks it of the caller.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        cancel.token.reset();
    }
}

/// Frees the handle, or does nothing for NULL.
///
/// # Safety
/// The handle was made by this library and no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_cancel_free(cancel: *mut ondol_cancel) {
    if !cancel.is_null() {
        // SAFETY: `ondol_cancel_new` made it; nobody else uses it, by the caller.
        quietly(|| drop(unsafe { Box::from_raw(cancel) }));
    }
}

/// What a call of `ondol_session_generate` asks for.
pub struct Request {
    options: GenerateOptions,
    cancel: CancelToken,
    on_text: unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> c_int,
    user: *mut c_void,
    generated: *mut ondol_generated,
}

impl Request {
    /// Checks the caller's arguments.
    ///
    /// # Safety
    /// The pointers are NULL or point to what their types say, while the request is used.
    pub unsafe fn new(
        options: *const ondol_generate_options,
        on_text: ondol_text_fn,
        user: *mut c_void,
        generated: *mut ondol_generated,
    ) -> Result<Request, Failure> {
        // SAFETY: passed on to the caller.
        let (options, cancel, stop) = unsafe {
            let options = sized::read(options)?;
            (options, options.cancel.as_ref(), stop_strings(&options)?)
        };
        Ok(Request {
            options: GenerateOptions {
                sampler: sampler(&options),
                max_tokens: (options.max_tokens != 0).then_some(options.max_tokens as usize),
                stop,
                ..GenerateOptions::default()
            },
            cancel: cancel.map(|c| c.token.clone()).unwrap_or_default(),
            on_text: on_text.ok_or(Failure::Argument("on_text is NULL"))?,
            user,
            generated,
        })
    }
}

/// # Safety
/// `stop` has `stop_count` strings.
unsafe fn stop_strings(options: &ondol_generate_options) -> Result<Vec<String>, Failure> {
    // SAFETY: passed on to the caller.
    unsafe {
        let stops = slice(options.stop, options.stop_count, "stop is NULL")?;
        let text = |&stop| Ok(string(stop, "a stop string is NULL or not UTF-8")?.into());
        stops.iter().map(text).collect()
    }
}

fn sampler(options: &ondol_generate_options) -> SamplerOptions {
    let one_unless = |value: f32| if value == 0.0 { 1.0 } else { value };
    let defaults = SamplerOptions::default();
    SamplerOptions {
        temperature: options.temperature,
        top_k: options.top_k as usize,
        top_p: one_unless(options.top_p),
        min_p: options.min_p,
        repetition_penalty: one_unless(options.repetition_penalty),
        frequency_penalty: options.frequency_penalty,
        presence_penalty: options.presence_penalty,
        penalty_window: match options.penalty_window {
            0 => defaults.penalty_window,
            window => window as usize,
        },
        seed: options.seed,
    }
}

/// Generates, and hands each piece to the callback.
pub fn run(
    conversation: &mut Conversation,
    prompt: &[u32],
    request: Request,
) -> Result<(), Failure> {
    #[cfg(feature = "std")]
    conversation.answer.clear();
    let session = &mut conversation.session;
    let mut generation = session.generate(prompt, &request.options, &request.cancel)?;
    let outcome = hand_out(&mut generation, &request);
    let finish = match &outcome {
        Ok(finish) => *finish,
        Err(_) => ondol_finish::Failed,
    };
    #[cfg(feature = "std")]
    conversation.answer.extend(generation.tokens());
    // SAFETY: `Request::new` asked it of the caller.
    unsafe { sized::write(&generated(&generation, finish), request.generated) };
    match outcome? {
        ondol_finish::Cancelled => Err(Error::Cancelled.into()),
        _ => Ok(()),
    }
}

fn hand_out(
    generation: &mut Generation<&mut Session>,
    request: &Request,
) -> Result<ondol_finish, Failure> {
    for piece in generation.by_ref() {
        let mut text = piece?.text;
        let length = text.len();
        text.push('\0');
        // SAFETY: the callback gets what its type says; its behavior is the caller's.
        let go_on = unsafe { (request.on_text)(request.user, text.as_ptr().cast(), length) };
        if go_on != 0 {
            return Ok(ondol_finish::Callback);
        }
    }
    Ok(match generation.finish_reason() {
        Some(FinishReason::EndOfGeneration) => ondol_finish::End,
        Some(FinishReason::Stop) => ondol_finish::Stop,
        Some(FinishReason::MaxTokens) => ondol_finish::MaxTokens,
        Some(FinishReason::ContextFull) => ondol_finish::ContextFull,
        Some(FinishReason::Cancelled) => ondol_finish::Cancelled,
        Some(FinishReason::Failed) | None => ondol_finish::Failed,
    })
}

fn generated(generation: &Generation<&mut Session>, finish: ondol_finish) -> ondol_generated {
    let stats = generation.stats();
    ondol_generated {
        struct_size: size_of::<ondol_generated>() as u32,
        finish,
        prompt_tokens: stats.prompt_tokens,
        cached_tokens: stats.cached_tokens,
        generated_tokens: stats.generated_tokens,
        first_token_s: stats.ttft.as_secs_f64(),
        prefill_tokens_per_s: stats.prefill_tokens_per_s,
        decode_tokens_per_s: stats.decode_tokens_per_s,
    }
}
