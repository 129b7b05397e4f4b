//! A model: from a path, or from bytes that are there already.

use crate::arguments::{copy, output, reference, slice, text};
use crate::call::{call, quietly};
use crate::options::{self, ondol_session_options};
use crate::sized::{self, Sized32};
use crate::status::{ondol_error, ondol_status};
use alloc::boxed::Box;
use core::ffi::{c_char, c_void};
use runtime::{Memory, Model};

/// A loaded model. Any number of threads may use one at the same time; sessions
/// keep what they need of it.
pub struct ondol_model {
    pub(crate) model: Model,
    #[cfg(feature = "std")]
    pub(crate) names: crate::info::Names,
}

/// The exact memory of an engine with one session, and of its model, in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_memory {
    /// `sizeof(ondol_memory)`.
    pub struct_size: u32,
    /// The bytes of the model that are read where they lie.
    pub weights_mapped: u64,
    /// The key/value cache.
    pub kv_cache: u64,
    /// Values between steps.
    pub activations: u64,
    /// Rows of logits.
    pub logits: u64,
    /// Scratch of the threads.
    pub scratch: u64,
    /// Norm weights and biases.
    pub vectors: u64,
    /// All but `weights_mapped`.
    pub total: u64,
    /// Bounds and lists of a screened head.
    pub screen: u64,
    /// The list of steps, and the ids of the tokens in the context.
    pub steps: u64,
    /// What the model itself holds, its vocabulary above all. All sessions of a
    /// model share it.
    pub model: u64,
    /// Bytes between an engine and its delegate.
    pub delegate: u64,
    /// What each further session of the engine takes.
    pub further_session: u64,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_memory {}

impl From<Memory> for ondol_memory {
    fn from(memory: Memory) -> ondol_memory {
        ondol_memory {
            struct_size: size_of::<ondol_memory>() as u32,
            weights_mapped: memory.weights_mapped,
            kv_cache: memory.kv_cache,
            activations: memory.activations,
            logits: memory.logits,
            scratch: memory.scratch,
            vectors: memory.vectors,
            total: memory.total,
            screen: memory.screen,
            steps: memory.steps,
            model: memory.model,
            delegate: memory.delegate,
            further_session: memory.further_session,
        }
    }
}

/// Opens a GGUF file and maps it; nothing is copied. A split file is opened by
/// the name of its first part. Not in firmware builds.
///
/// No other program may truncate or rewrite the file while the model lives.
///
/// # Safety
/// `path` is a string that ends with a zero.
#[cfg(feature = "std")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_open(
    path: *const c_char,
    model: *mut *mut ondol_model,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (path, out) = unsafe {
            let path = crate::arguments::string(path, "path is NULL or not UTF-8")?;
            (path, output(model, "model is NULL")?)
        };
        *out = new_model(Model::open(path)?);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// A model from the bytes of a GGUF file that are in memory already, in flash
/// for example. They are read in place, never copied, so they must stay there,
/// unchanged, until the model and all its sessions are freed.
///
/// # Safety
/// `bytes` points to `length` bytes that outlive the model and its sessions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_from_memory(
    bytes: *const c_void,
    length: usize,
    model: *mut *mut ondol_model,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller; the bytes outlive all that
        // is made of them, as if they were static.
        let (bytes, out) = unsafe {
            let bytes: &'static [u8] = slice(bytes.cast(), length, "bytes is NULL")?;
            (bytes, output(model, "model is NULL")?)
        };
        *out = new_model(Model::from_static(bytes)?);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// A handle for a model.
pub fn new_model(model: Model) -> *mut ondol_model {
    Box::into_raw(Box::new(ondol_model {
        #[cfg(feature = "std")]
        names: crate::info::Names::of(&model),
        model,
    }))
}

/// Frees a model, or does nothing for NULL. Sessions made from it go on.
///
/// # Safety
/// The model was made by this library and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_free(model: *mut ondol_model) {
    if !model.is_null() {
        // SAFETY: `new_model` made it; nobody else uses it, by the caller.
        quietly(|| drop(unsafe { Box::from_raw(model) }));
    }
}

/// The exact memory that an engine with these options takes with its first session,
/// before any of it is allocated; what the model itself holds, and what each further
/// session takes.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_memory(
    model: *const ondol_model,
    options: *const ondol_session_options,
    memory: *mut ondol_memory,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let model = reference(model, "model is NULL")?;
            let needed = model.model.memory(&options::options(options)?)?;
            output(memory, "memory is NULL")?;
            sized::write(&needed.into(), memory);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The token ids of raw text: control tokens that it spells are parsed, and the
/// file's first token is added as the file says. For what users wrote there is
/// `ondol_model_encode_chat`. `count` gets their number, even where they
/// do not fit in `ids`.
///
/// # Safety
/// `text` has `length` bytes, `ids` has room for `capacity` ids.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_encode(
    model: *const ondol_model,
    text: *const c_char,
    length: usize,
    ids: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let model = reference(model, "model is NULL")?;
            let text = self::text(text, length, "text is NULL or not UTF-8")?;
            copy(&model.model.encode_prompt(text), ids, capacity, count)
        }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}
