//! Models: from a path, or from bytes in memory.

use crate::arguments::{copy, output, reference, slice, text};
use crate::call::{call, quietly};
use crate::options::{self, ondol_session_options};
use crate::sized::{self, Sized32};
use crate::status::{ondol_error, ondol_status};
use alloc::boxed::Box;
use core::ffi::{c_char, c_void};
use runtime::{Memory, Model};

/// A loaded model. Any number of threads may use it at the same time. It may be freed
/// before its engines and sessions.
pub struct ondol_model {
    pub(crate) model: Model,
    #[cfg(feature = "std")]
    pub(crate) names: crate::info::Names,
}

/// The exact memory in bytes of an engine with one session, and of its model.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_memory {
    /// `sizeof(ondol_memory)`.
    pub struct_size: u32,
    /// Bytes of the model's file that are read in place.
    pub weights_mapped: u64,
    /// The cache of one session: keys and values, and other states.
    pub kv_cache: u64,
    /// Activations.
    pub activations: u64,
    /// Rows of logits.
    pub logits: u64,
    /// Scratch of the threads.
    pub scratch: u64,
    /// Norm weights and biases.
    pub vectors: u64,
    /// Everything except `weights_mapped`.
    pub total: u64,
    /// Bounds and lists for the screen of the output head.
    pub screen: u64,
    /// The list of steps, and the token ids of a session.
    pub steps: u64,
    /// The model itself, mostly its vocabulary. All engines of a model share it.
    pub model: u64,
    /// Buffers between an engine and its delegate.
    pub delegate: u64,
    /// Each further session of the engine.
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

/// Opens a GGUF file and maps it; nothing is copied. For a split model give the first
/// part. Not in firmware builds.
///
/// No other program may truncate or rewrite the file until the model and all its
/// engines and sessions are freed.
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

/// Makes a model from the bytes of a GGUF file in memory, for example in flash. They
/// are read in place and never copied, so they must stay there, unchanged, until the
/// model and all its sessions are freed.
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
        // SAFETY: the header asks it of the caller; the bytes outlive the model and all
        // objects made from it, as if they were static.
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

/// Frees a model, or does nothing for NULL. Engines and sessions made from it stay valid.
///
/// # Safety
/// The model was made by this library and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_model_free(model: *mut ondol_model) {
    if !model.is_null() {
        // SAFETY: `new_model` made it; by contract the caller has no other use of it.
        quietly(|| drop(unsafe { Box::from_raw(model) }));
    }
}

/// The exact memory of an engine with these options and one session, of the model
/// itself, and of each further session. Nothing is allocated.
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

/// The token ids of raw text. Control tokens that the text spells are parsed, and BOS
/// is added if the file asks for it. For text of users use `ondol_model_encode_chat`.
/// `count` gets the number of ids, even if they do not fit in `ids`.
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
