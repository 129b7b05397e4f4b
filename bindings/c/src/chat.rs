//! Conversations with the model's chat template.

use crate::arguments::{copy, copy_text, reference, slice, string};
use crate::call::{Failure, call};
use crate::model::ondol_model;
use crate::sized::{self, Sized32};
use crate::status::{ondol_error, ondol_status};
use core::ffi::c_char;
use runtime::Message;

/// One message of a conversation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_message {
    /// `sizeof(ondol_message)`, in each message of an array.
    pub struct_size: u32,
    /// The role: "system", "user", "assistant".
    pub role: *const c_char,
    /// The content.
    pub content: *const c_char,
    /// The token ids of an assistant's message, from `ondol_session_answer_ids`; may be
    /// NULL. With them the session finds its answer in its cache.
    pub ids: *const u32,
    /// Number of these ids.
    pub id_count: usize,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_message {}

/// The token ids of a conversation as a prompt for the model's next answer, by the
/// chat template of the model's file. Only the template produces control tokens: a user's
/// text is encoded as text, even if it spells a control token. `count` gets the number of
/// ids, even if they do not fit in `ids`. Not in firmware builds, because templates need
/// more code than the rest of the library.
///
/// # Safety
/// `messages` has `message_count` messages, `ids` has room for `capacity` ids.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_encode_chat(
    model: *const ondol_model,
    messages: *const ondol_message,
    message_count: usize,
    ids: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let model = reference(model, "model is NULL")?;
            let messages = conversation(messages, message_count)?;
            copy(&model.model.encode_chat(&messages)?, ids, capacity, count)
        }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// A conversation as text, for display. Do not use it as a prompt, because it no longer
/// shows which control tokens are the template's: pass the ids of
/// `ondol_model_encode_chat` to `ondol_session_generate_ids` instead. `length` gets the
/// bytes of the text without the terminating zero, even if they do not fit in `text`; a
/// `capacity` of `length + 1` is enough. Not in firmware builds.
///
/// # Safety
/// `messages` has `count` messages, `text` has room for `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_render_chat(
    model: *const ondol_model,
    messages: *const ondol_message,
    count: usize,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let model = reference(model, "model is NULL")?;
            let messages = conversation(messages, count)?;
            copy_text(&model.model.render_chat(&messages)?, text, capacity, length)
        }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// # Safety
/// `messages` is NULL or has `count` messages, whose pointers are NULL or point
/// to what their types say.
unsafe fn conversation(
    messages: *const ondol_message,
    count: usize,
) -> Result<Vec<Message>, Failure> {
    // SAFETY: passed on to the caller.
    unsafe {
        let messages = sized::read_array(messages, count, "messages is NULL")?;
        messages.iter().map(|m| message(m)).collect()
    }
}

/// # Safety
/// Role and content are NULL or strings that end with a zero, `ids` is NULL or has
/// `id_count` ids.
unsafe fn message(from: &ondol_message) -> Result<Message, Failure> {
    // SAFETY: passed on to the caller.
    let (role, content, ids) = unsafe {
        (
            string(from.role, "a message's role is NULL or not UTF-8")?,
            string(from.content, "a message's content is NULL or not UTF-8")?,
            slice(from.ids, from.id_count, "a message's ids are NULL")?,
        )
    };
    Ok(Message::new(role, content).with_ids(ids))
}
