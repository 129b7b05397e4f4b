//! A conversation as the text of a prompt, by the model's chat template.

use crate::arguments::{copy, reference, slice, string};
use crate::call::{Failure, call};
use crate::model::ondol_model;
use crate::status::{ondol_error, ondol_status};
use core::ffi::c_char;
use runtime::Message;

/// One message of a conversation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_message {
    /// Who speaks: "system", "user", "assistant".
    pub role: *const c_char,
    /// What is said.
    pub content: *const c_char,
}

/// A conversation as the text of a prompt, ready for the model's answer, by the
/// file's template. `length` gets the bytes of the text without the zero that
/// ends it, even where they do not fit in `text`; a `capacity` of `length + 1`
/// is enough. Not in firmware builds: a template needs an engine that is larger
/// than the rest of the library.
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
            let messages = slice(messages, count, "messages is NULL")?;
            let messages: Result<Vec<Message>, Failure> =
                messages.iter().map(|m| message(m)).collect();
            let mut rendered = model.model.render_chat(&messages?)?.into_bytes();
            rendered.push(0);
            let copied = copy(&rendered, text.cast::<u8>(), capacity, length);
            if let Some(length) = length.as_mut() {
                *length -= 1;
            }
            copied
        }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// # Safety
/// Role and content are NULL or strings that end with a zero.
unsafe fn message(from: &ondol_message) -> Result<Message, Failure> {
    // SAFETY: passed on to the caller.
    let (role, content) = unsafe {
        (
            string(from.role, "a message's role is NULL or not UTF-8")?,
            string(from.content, "a message's content is NULL or not UTF-8")?,
        )
    };
    Ok(Message::new(role, content))
}
