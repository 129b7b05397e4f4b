//! Conversations, by the model's chat template.

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
    /// Who speaks: "system", "user", "assistant".
    pub role: *const c_char,
    /// What is said.
    pub content: *const c_char,
    /// The tokens of an assistant's message, as `ondol_session_answer_ids` gives
    /// them; may be NULL. The session then finds in its cache what it said.
    pub ids: *const u32,
    /// Number of these tokens.
    pub id_count: usize,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_message {}

/// The token ids of a conversation, ready for the model's answer, by the file's
/// template. Control tokens are those of the template: what a user wrote is text,
/// whatever it spells. `count` gets their number, even where they do not fit in
/// `ids`. Not in firmware builds: a template needs an engine that is larger than
/// the rest of the library.
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

/// A conversation as text, to show it. It is no prompt: control tokens that a
/// user spelled can't be told from the template's any more, so give what
/// `ondol_model_encode_chat` makes to `ondol_session_generate_ids`. `length` gets
/// the bytes of the text without the zero that ends it, even where they do not
/// fit in `text`; a `capacity` of `length + 1` is enough. Not in firmware builds.
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
