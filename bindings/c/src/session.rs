//! Sessions: one conversation each, used by one call at a time.

#[cfg(feature = "std")]
use crate::arguments::copy;
use crate::arguments::{output, reference, slice, text};
use crate::call::{call, quietly};
use crate::generate::{Request, ondol_generate_options, ondol_generated, ondol_text_fn, run};
use crate::model::ondol_model;
use crate::options::{self, ondol_session_options};
use crate::slot::Slot;
use crate::status::{ondol_error, ondol_status};
use alloc::sync::Arc;
use core::ffi::{c_char, c_void};
use runtime::Session;

/// One conversation: its tokens, their states and the last logits. Only one call or one
/// generation at a time may use it; a second call returns `ONDOL_STATUS_BUSY`.
pub struct ondol_session {
    pub(crate) slot: Slot<Conversation>,
}

/// The state behind a session's handle.
pub struct Conversation {
    pub(crate) session: Session,
    /// The tokens of the last answer.
    #[cfg(feature = "std")]
    pub(crate) answer: Vec<u32>,
}

/// A handle for a session.
pub fn new_session(session: Session) -> *mut ondol_session {
    let conversation = Conversation {
        session,
        #[cfg(feature = "std")]
        answer: Vec::new(),
    };
    let slot = Slot::new(conversation);
    Arc::into_raw(Arc::new(ondol_session { slot })).cast_mut()
}

/// Makes an engine with one session. Prefill and decode allocate nothing after this. If
/// it exceeds the memory limit, or the system does not provide the memory, the status
/// is `ONDOL_STATUS_DOES_NOT_FIT`. For sessions that share an engine use
/// `ondol_engine_session`.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_new(
    model: *const ondol_model,
    options: *const ondol_session_options,
    session: *mut *mut ondol_session,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (model, options, out) = unsafe {
            let model = reference(model, "model is NULL")?;
            let options = options::options(options)?;
            (model, options, output(session, "session is NULL")?)
        };
        *out = new_session(model.model.session(&options)?);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Frees a session, or does nothing for NULL. No call may use it at the same time: a
/// callback must not free its own session. A generation that has the session stays
/// valid.
///
/// # Safety
/// The session was made by this library and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_free(session: *mut ondol_session) {
    if !session.is_null() {
        // SAFETY: `new_session` made it; by contract the caller has no other use of it.
        quietly(|| drop(unsafe { Arc::from_raw(session) }));
    }
}

/// Drops all tokens of the session.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_clear(
    session: *const ondol_session,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let session = unsafe { reference(session, "session is NULL") }?;
        session.slot.claim()?.session.clear();
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Generates text after a raw prompt, and passes it to `on_text` piece by piece.
/// Control tokens that the prompt spells are parsed: for text of users use
/// `ondol_model_encode_chat` and `ondol_session_generate_ids`.
///
/// `generated` may be NULL; it is filled in whenever the generation has begun, even if the
/// call failed later. A cancel is not a failure: the finish reason is then
/// `ONDOL_FINISH_CANCELLED`. The calling thread and the engine's threads do the work;
/// `on_text` is called on the calling thread.
///
/// # Safety
/// `prompt` has `length` bytes; the other pointers are NULL or point to what
/// their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_generate(
    session: *const ondol_session,
    prompt: *const c_char,
    length: usize,
    options: *const ondol_generate_options,
    on_text: ondol_text_fn,
    user: *mut c_void,
    generated: *mut ondol_generated,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (session, prompt, request) = unsafe {
            let session = reference(session, "session is NULL")?;
            let prompt = text(prompt, length, "prompt is NULL or not UTF-8")?;
            let request = Request::new(options, on_text, user, generated)?;
            (session, prompt, request)
        };
        let mut conversation = session.slot.claim()?;
        let ids = conversation.session.model().encode_prompt(prompt);
        run(&mut conversation, &ids, request)
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// As `ondol_session_generate`, after token ids from `ondol_model_encode_chat` or
/// `ondol_model_encode`. Tokens that are already in the session's cache are not
/// computed again, so pass the whole conversation each time.
///
/// # Safety
/// `ids` has `count` ids; the other pointers are NULL or point to what their
/// types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_generate_ids(
    session: *const ondol_session,
    ids: *const u32,
    count: usize,
    options: *const ondol_generate_options,
    on_text: ondol_text_fn,
    user: *mut c_void,
    generated: *mut ondol_generated,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (session, ids, request) = unsafe {
            let session = reference(session, "session is NULL")?;
            let ids = slice(ids, count, "ids is NULL")?;
            let request = Request::new(options, on_text, user, generated)?;
            (session, ids, request)
        };
        run(&mut *session.slot.claim()?, ids, request)
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The token ids of the last answer that the session generated, its end token included:
/// use them as `ids` of this answer's message in the next prompt. `count` gets their
/// number, even if they do not fit in `ids`. Not in firmware builds.
///
/// # Safety
/// `ids` has room for `capacity` ids; the other pointers are NULL or point to what
/// their types say.
#[cfg(feature = "std")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_answer_ids(
    session: *const ondol_session,
    ids: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let session = unsafe { reference(session, "session is NULL") }?;
        let conversation = session.slot.claim()?;
        // SAFETY: as above.
        unsafe { copy(&conversation.answer, ids, capacity, count) }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}
