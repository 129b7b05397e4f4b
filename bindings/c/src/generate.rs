//! Generation: its options, and the callback for the text.

use crate::arguments::{output, slice, string};
use crate::call::{Failure, call};
use crate::cancel::{self, ondol_cancel};
use crate::session::Conversation;
use crate::sized::{self, Sized32};
use crate::status::{ondol_error, ondol_status};
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::{c_char, c_int, c_void};
use runtime::{CancelToken, FinishReason, GenerateOptions, Generation, SamplerOptions, Session};

/// Options of a generation. Fill them in with `ondol_generate_defaults`, then change
/// what you want: a zero does not stand for a default. NULL in place of the struct means
/// the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_generate_options {
    /// `sizeof(ondol_generate_options)`.
    pub struct_size: u32,
    /// The most tokens to generate; 0, the default, sets no limit.
    pub max_tokens: u32,
    /// Divides the logits; 0 always takes the likeliest token. By default 0.7.
    pub temperature: f32,
    /// Keeps the `top_k` likeliest tokens; 0 keeps all. By default 40.
    pub top_k: u32,
    /// Keeps the smallest set of likeliest tokens whose probabilities add up to at
    /// least this; 1 keeps all. By default 0.95.
    pub top_p: f32,
    /// Keeps tokens whose probability is at least this share of the largest; 0 keeps
    /// all. By default 0.05.
    pub min_p: f32,
    /// Divides the positive and multiplies the negative logits of recent tokens; 1, the
    /// default, does nothing.
    pub repetition_penalty: f32,
    /// Subtracted from a recent token's logit for each time it occurs; 0, the default,
    /// does nothing.
    pub frequency_penalty: f32,
    /// Subtracted once from the logit of each recent token; 0, the default, does nothing.
    pub presence_penalty: f32,
    /// How many of the last tokens count as recent, at most 4096. By default 64.
    pub penalty_window: u32,
    /// Seed of the random draws: the same seed gives the same text. By default 0.
    pub seed: u64,
    /// The text ends before the first of these zero-terminated strings.
    pub stop: *const *const c_char,
    /// Number of stop strings.
    pub stop_count: usize,
    /// Cancels the generation; may be NULL.
    pub cancel: *const ondol_cancel,
    /// How many of the likeliest tokens `ondol_event` reports with each sampled token. If
    /// this is 0 or more, their log-probabilities and that of the sampled token are
    /// computed. A negative number, the default, reports none. Not in firmware builds.
    pub top_logprobs: i32,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_generate_options {}

/// Takes a piece of text: complete UTF-8, `length` bytes and a terminating zero, valid
/// during the call. Return 0 to continue, any other number to stop. It must return
/// normally, without longjmp or an exception through the library.
pub type ondol_text_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, text: *const c_char, length: usize) -> c_int>;

/// Why a generation ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_finish {
    /// It has not ended, or it ended with an error.
    Failed = 0,
    /// The model generated an end token.
    End = 1,
    /// The text reached a stop string.
    Stop = 2,
    /// `max_tokens` tokens were generated.
    MaxTokens = 3,
    /// The context is full.
    ContextFull = 4,
    /// It was cancelled.
    Cancelled = 5,
    /// The callback returned a number other than 0.
    Callback = 6,
}

/// Counts and speeds of a generation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_generated {
    /// `sizeof(ondol_generated)`.
    pub struct_size: u32,
    /// Why it ended.
    pub finish: ondol_finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that were already in the session's cache.
    pub cached_tokens: usize,
    /// Tokens generated, the end token included.
    pub generated_tokens: usize,
    /// Seconds to the first sampled token. All times are 0 in firmware builds, which
    /// have no clock.
    pub first_token_s: f64,
    /// Prompt tokens that were run, per second of prefill.
    pub prefill_tokens_per_s: f64,
    /// Generated tokens per second, after the first.
    pub decode_tokens_per_s: f64,
    /// Drafts that were run.
    pub drafted_tokens: usize,
    /// Of these, drafts that were accepted; each saved a pass.
    pub accepted_tokens: usize,
    /// The peak memory of the process in bytes; 0 if the system does not report it.
    pub peak_memory_bytes: u64,
    /// Tokens of the session whose next likeliest tokens were found with the screen.
    pub screened_tokens: u64,
    /// Of these, tokens that were audited with the whole output head.
    pub screen_audits: u64,
    /// Likeliest tokens that the screen missed; the first miss switches it off.
    pub screen_missed: u64,
}

// SAFETY: repr(C), starts with a u32, finish zero is `Failed`.
unsafe impl Sized32 for ondol_generated {}

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
        let (options, cancel) = unsafe { read(options) }?;
        Ok(Request {
            options,
            cancel,
            on_text: on_text.ok_or(Failure::Argument("on_text is NULL"))?,
            user,
            generated,
        })
    }
}

impl ondol_generate_options {
    /// What [`GenerateOptions::default`] says.
    fn defaults() -> ondol_generate_options {
        let sampler = SamplerOptions::default();
        ondol_generate_options {
            struct_size: size_of::<ondol_generate_options>() as u32,
            max_tokens: 0,
            temperature: sampler.temperature,
            top_k: sampler.top_k as u32,
            top_p: sampler.top_p,
            min_p: sampler.min_p,
            repetition_penalty: sampler.repetition_penalty,
            frequency_penalty: sampler.frequency_penalty,
            presence_penalty: sampler.presence_penalty,
            penalty_window: sampler.penalty_window as u32,
            seed: sampler.seed,
            stop: core::ptr::null(),
            stop_count: 0,
            cancel: core::ptr::null(),
            top_logprobs: -1,
        }
    }
}

/// Fills in the defaults, up to the end of the caller's struct. Before the call set
/// `struct_size`, and all other bytes to zero.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_generate_defaults(
    options: *mut ondol_generate_options,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            output(options, "options is NULL")?;
            sized::write(&ondol_generate_options::defaults(), options);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The runtime's options for the caller's options, and the token that cancels.
///
/// # Errors
/// [`Failure::Argument`] for a struct or a stop string that can't be read.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
pub unsafe fn read(
    options: *const ondol_generate_options,
) -> Result<(GenerateOptions, CancelToken), Failure> {
    // SAFETY: passed on to the caller.
    let (from, cancel, stop) = unsafe {
        let from = sized::read_or(options, ondol_generate_options::defaults())?;
        (from, cancel::token(from.cancel), stop_strings(&from)?)
    };
    let options = GenerateOptions {
        sampler: SamplerOptions {
            temperature: from.temperature,
            top_k: from.top_k as usize,
            top_p: from.top_p,
            min_p: from.min_p,
            repetition_penalty: from.repetition_penalty,
            frequency_penalty: from.frequency_penalty,
            presence_penalty: from.presence_penalty,
            penalty_window: from.penalty_window as usize,
            seed: from.seed,
        },
        max_tokens: (from.max_tokens != 0).then_some(from.max_tokens as usize),
        stop,
        top_logprobs: usize::try_from(from.top_logprobs).ok(),
    };
    Ok((options, cancel))
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

/// Generates, and passes each piece of text to the callback.
///
/// # Errors
/// The runtime's; the request's `generated` is filled in nevertheless, once the generation
/// has begun.
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
    let finish = *outcome.as_ref().unwrap_or(&ondol_finish::Failed);
    #[cfg(feature = "std")]
    conversation.answer.extend(generation.tokens());
    // SAFETY: `Request::new` asked it of the caller.
    unsafe { sized::write(&generated(&generation, finish), request.generated) };
    outcome.map(drop)
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
    Ok(finish_of(generation.finish_reason()))
}

/// The number for a reason.
pub fn finish_of(reason: Option<FinishReason>) -> ondol_finish {
    match reason {
        Some(FinishReason::EndOfGeneration) => ondol_finish::End,
        Some(FinishReason::Stop) => ondol_finish::Stop,
        Some(FinishReason::MaxTokens) => ondol_finish::MaxTokens,
        Some(FinishReason::ContextFull) => ondol_finish::ContextFull,
        Some(FinishReason::Cancelled) => ondol_finish::Cancelled,
        // A reason that this binding does not know is a defect of the binding.
        Some(_) | None => ondol_finish::Failed,
    }
}

/// Counts and speeds of a generation so far.
pub fn generated(generation: &Generation<&mut Session>, finish: ondol_finish) -> ondol_generated {
    let stats = generation.stats();
    let screen = stats.screen.unwrap_or_default();
    ondol_generated {
        struct_size: size_of::<ondol_generated>() as u32,
        finish,
        prompt_tokens: stats.prompt_tokens,
        cached_tokens: stats.cached_tokens,
        generated_tokens: stats.generated_tokens,
        first_token_s: stats.ttft.as_secs_f64(),
        prefill_tokens_per_s: stats.prefill_tokens_per_s,
        decode_tokens_per_s: stats.decode_tokens_per_s,
        drafted_tokens: stats.drafted_tokens,
        accepted_tokens: stats.accepted_tokens,
        peak_memory_bytes: stats.peak_memory_bytes.unwrap_or(0),
        screened_tokens: screen.screened as u64,
        screen_audits: screen.audits as u64,
        screen_missed: screen.missed as u64,
    }
}
