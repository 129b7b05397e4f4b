//! A generation that is run step by step.

use crate::arguments::{copy, output, reference, slice};
use crate::call::{Failure, call, quietly};
use crate::generate::{
    finish_of, generated, ondol_finish, ondol_generate_options, ondol_generated, read,
};
use crate::session::{Conversation, ondol_session};
use crate::sized::{self, Sized32};
use crate::slot::{Claim, Slot};
use crate::state::ondol_candidate;
use crate::status::{ondol_error, ondol_status};
use core::ffi::c_char;
use core::ptr::null;
use runtime::{Candidate, Event, Generation, Session};
use std::sync::Arc;

/// A generation that `ondol_generation_step` runs. It uses its session until it is freed.
/// Only one call at a time may use it; a second call returns `ONDOL_STATUS_BUSY`. Not in
/// firmware builds.
pub struct ondol_generation {
    pub(crate) slot: Slot<Running>,
}

/// A generation, and the session that it uses: they are dropped in this order.
pub struct Running {
    pub(crate) generation: Generation<&'static mut Session>,
    claim: Claim<'static, Conversation>,
    /// Keeps the session alive for the two fields above.
    _session: Arc<ondol_session>,
    /// What the last event points to.
    text: String,
    top: Vec<ondol_candidate>,
}

/// The kind of a step's result.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_event_kind {
    /// The end of the generation; `finish` gives the reason.
    End = 0,
    /// Tokens of the prompt were run: `prompt_done` of `prompt_total`.
    Prompt = 1,
    /// A token was sampled: `token`, `text`, `logprob` and `top`.
    Token = 2,
    /// Text that was held back until the end: `text`.
    Rest = 3,
}

/// The result of a step. Set `struct_size` before the call. Text and candidates belong
/// to the generation and are valid until the next call that uses it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_event {
    /// `sizeof(ondol_event)`.
    pub struct_size: u32,
    /// Its kind.
    pub kind: ondol_event_kind,
    /// At the end: why the generation ended.
    pub finish: ondol_finish,
    /// The id of the token that was sampled.
    pub token: u32,
    /// With `top_logprobs`: its log-probability; else 0.
    pub logprob: f32,
    /// Tokens of the prompt that have been run so far, including those that the session
    /// already had.
    pub prompt_done: usize,
    /// Tokens of the prompt.
    pub prompt_total: usize,
    /// Complete UTF-8, often empty, with a terminating zero.
    pub text: *const c_char,
    /// Bytes of the text.
    pub text_length: usize,
    /// With `top_logprobs`: the likeliest tokens, in descending order.
    pub top: *const ondol_candidate,
    /// Number of these.
    pub top_count: usize,
}

// SAFETY: repr(C), starts with a u32, and zeros are an end that failed.
unsafe impl Sized32 for ondol_event {}

/// Makes a generation after a prompt of token ids, as for `ondol_session_generate_ids`.
/// Nothing is run before the first step. Other calls on the session return
/// `ONDOL_STATUS_BUSY` until the generation is freed.
///
/// # Safety
/// `ids` has `count` ids; the other pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_generation_new(
    session: *const ondol_session,
    ids: *const u32,
    count: usize,
    options: *const ondol_generate_options,
    generation: *mut *mut ondol_generation,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            reference(session, "session is NULL")?;
            let ids = slice(ids, count, "ids is NULL")?;
            let out = output(generation, "generation is NULL")?;
            let running = begin(session, ids, options)?;
            let slot = Slot::new(running);
            *out = Box::into_raw(Box::new(ondol_generation { slot }));
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// # Safety
/// This library made the session; `options` as for [`read`].
unsafe fn begin(
    session: *const ondol_session,
    ids: &[u32],
    options: *const ondol_generate_options,
) -> Result<Running, Failure> {
    // SAFETY: passed on to the caller.
    let (options, cancel) = unsafe { read(options) }?;
    // SAFETY: sessions are made as `Arc`s; the caller's handle keeps its own count.
    let (kept, session) = unsafe {
        Arc::increment_strong_count(session);
        (Arc::from_raw(session), &*session)
    };
    let claim = session.slot.claim()?;
    // SAFETY: `kept` keeps the place alive, and the claim is not used while the
    // generation has it.
    let conversation: &'static mut Conversation = unsafe { &mut *claim.place() };
    conversation.answer.clear();
    Ok(Running {
        generation: conversation.session.generate(ids, &options, &cancel)?,
        claim,
        _session: kept,
        text: String::new(),
        top: Vec::new(),
    })
}

/// Ends the generation and releases its session, which keeps the generated tokens; does
/// nothing for NULL.
///
/// # Safety
/// The generation was made by this library and no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_generation_free(generation: *mut ondol_generation) {
    if generation.is_null() {
        return;
    }
    quietly(|| {
        // SAFETY: `ondol_generation_new` made it; by contract the caller has no other
        // use of it.
        let generation = unsafe { Box::from_raw(generation) };
        // After a panic the session stays claimed, since it may be half changed.
        if let Some(running) = generation.slot.into_whole() {
            give_back(running);
        }
    });
}

fn give_back(running: Running) {
    let Running {
        generation,
        mut claim,
        _session,
        ..
    } = running;
    let answer = generation.tokens().to_vec();
    drop(generation);
    claim.answer = answer;
    drop(claim);
}

/// Runs the next step, with at most one pass, and stores its result in `event`: first
/// the prompt's progress, then one token per step, then the end. A cancelled generation
/// ends without an error. After an error the next step is the end.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_generation_step(
    generation: *const ondol_generation,
    event: *mut ondol_event,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let generation = reference(generation, "generation is NULL")?;
            output(event, "event is NULL")?;
            let stepped = generation.slot.claim()?.step()?;
            sized::write(&stepped, event);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

impl Running {
    fn step(&mut self) -> Result<ondol_event, Failure> {
        let mut event = ondol_event {
            struct_size: 0,
            kind: ondol_event_kind::End,
            finish: ondol_finish::Failed,
            token: 0,
            logprob: 0.0,
            prompt_done: 0,
            prompt_total: 0,
            text: null(),
            text_length: 0,
            top: null(),
            top_count: 0,
        };
        let (mut text, mut top) = (String::new(), Vec::new());
        match self.generation.step()? {
            Some(Event::Prompt { done, total }) => {
                event.kind = ondol_event_kind::Prompt;
                (event.prompt_done, event.prompt_total) = (done, total);
            }
            Some(Event::Token(token)) => {
                event.kind = ondol_event_kind::Token;
                event.token = token.id;
                event.logprob = token.logprob.unwrap_or(0.0);
                (text, top) = (token.text, token.top);
            }
            Some(Event::Rest(rest)) => {
                event.kind = ondol_event_kind::Rest;
                text = rest;
            }
            Some(_) | None => event.finish = finish_of(self.generation.finish_reason()),
        }
        self.keep(text, &top, &mut event);
        Ok(event)
    }

    /// Keeps the text and the candidates, and makes the event point to them.
    fn keep(&mut self, mut text: String, top: &[Candidate], event: &mut ondol_event) {
        event.text_length = text.len();
        text.push('\0');
        self.text = text;
        self.top = top.iter().map(Into::into).collect();
        event.text = self.text.as_ptr().cast();
        (event.top, event.top_count) = (self.top.as_ptr(), self.top.len());
    }
}

/// Counts and speeds of the generation so far.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_generation_stats(
    generation: *const ondol_generation,
    stats: *mut ondol_generated,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let running = reference(generation, "generation is NULL")?.slot.claim()?;
            output(stats, "stats is NULL")?;
            let finish = finish_of(running.generation.finish_reason());
            sized::write(&generated(&running.generation, finish), stats);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The ids of the tokens generated so far, the end token included. `count` gets their
/// number, even if they do not fit in `ids`.
///
/// # Safety
/// `ids` has room for `capacity` ids; the other pointers are NULL or point to what
/// their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_generation_tokens(
    generation: *const ondol_generation,
    ids: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let running = reference(generation, "generation is NULL")?.slot.claim()?;
            copy(running.generation.tokens(), ids, capacity, count)
        }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}
