//! Properties of a model, and conversion of ids to text.

use crate::arguments::{copy_text, output, reference, slice};
use crate::call::call;
use crate::model::ondol_model;
use crate::sized::{self, Sized32};
use crate::status::{ondol_error, ondol_status};
use core::ffi::{CStr, c_char};
use runtime::Model;
use std::ffi::CString;

/// Stands for a token id where there is no such token.
pub const ONDOL_NO_TOKEN: u32 = u32::MAX;

/// Properties of a model.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_model_info {
    /// `sizeof(ondol_model_info)`.
    pub struct_size: u32,
    /// 1 if the rows of its matrices are interleaved (a packed copy), else 0.
    pub is_packed: u32,
    /// 1 if its file has a screen of the output head, else 0.
    pub has_screen: u32,
    /// The token that begins a text (BOS), or `ONDOL_NO_TOKEN`.
    pub bos: u32,
    /// The token that ends a text (EOS), or `ONDOL_NO_TOKEN`.
    pub eos: u32,
    /// The model's name in its file, or "unnamed"; valid until the model is freed.
    pub name: *const c_char,
    /// The architecture's name; valid until the model is freed.
    pub architecture: *const c_char,
    /// The context that it was trained for, in tokens.
    pub trained_context: u64,
    /// Tokens of the vocabulary, which is also the number of logits.
    pub vocabulary: u64,
    /// The width of an embedding.
    pub embedding_width: u64,
    /// Bytes of its files.
    pub file_bytes: u64,
    /// The number of lines of `ondol_model_warnings`.
    pub warnings: u64,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_model_info {}

/// The strings to which [`ondol_model_info`] points.
pub struct Names {
    name: CString,
    architecture: CString,
}

impl Names {
    pub fn of(model: &Model) -> Names {
        Names {
            name: c_string(model.name()),
            architecture: c_string(&model.graph().architecture),
        }
    }
}

/// The text as a C string, without its zero bytes, which would end it.
pub fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// Properties of a model. Not in firmware builds.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_get_info(
    model: *const ondol_model,
    info: *mut ondol_model_info,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let model = reference(model, "model is NULL")?;
            output(info, "info is NULL")?;
            sized::write(&info_of(model), info);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

fn info_of(handle: &ondol_model) -> ondol_model_info {
    let (model, names) = (&handle.model, &handle.names);
    let (graph, tokenizer) = (model.graph(), model.tokenizer());
    let text = |name: &CStr| name.as_ptr();
    ondol_model_info {
        struct_size: size_of::<ondol_model_info>() as u32,
        is_packed: model.is_packed().into(),
        has_screen: model.has_screen().into(),
        bos: tokenizer.bos().unwrap_or(ONDOL_NO_TOKEN),
        eos: tokenizer.eos().unwrap_or(ONDOL_NO_TOKEN),
        name: text(&names.name),
        architecture: text(&names.architecture),
        trained_context: graph.trained_context as u64,
        vocabulary: graph.vocabulary as u64,
        embedding_width: graph.embedding_width() as u64,
        file_bytes: model.file_bytes(),
        warnings: model.warnings().count() as u64,
    }
}

/// Faults of the model's file that were repaired, and how: one line for each, to show
/// to the user once. `length` gets the bytes without the terminating zero, even if they
/// do not fit in `text`. Not in firmware builds.
///
/// # Safety
/// `text` has room for `capacity` bytes; the other pointers are NULL or point to what
/// their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_warnings(
    model: *const ondol_model,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let model = unsafe { reference(model, "model is NULL") }?;
        let lines: String = model.model.warnings().map(|w| format!("{w}\n")).collect();
        // SAFETY: as above.
        unsafe { copy_text(&lines, text, capacity, length) }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The text of token ids. Bytes that are not UTF-8 become U+FFFD. `length` gets the
/// bytes without the terminating zero, even if they do not fit in `text`. Not in
/// firmware builds.
///
/// # Safety
/// `ids` has `count` ids, `text` has room for `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_decode(
    model: *const ondol_model,
    ids: *const u32,
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
            let ids = slice(ids, count, "ids is NULL")?;
            let decoded = model.model.tokenizer().decode(ids);
            copy_text(&decoded, text, capacity, length)
        }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// 1 if the token ends an answer, else 0; 0 for NULL. Not in firmware builds.
///
/// # Safety
/// `model` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_is_end(model: *const ondol_model, id: u32) -> u32 {
    // SAFETY: the header asks it of the caller.
    let model = unsafe { model.as_ref() };
    model
        .is_some_and(|m| m.model.tokenizer().is_end_of_generation(id))
        .into()
}
