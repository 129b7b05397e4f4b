//! A model: from a path, or from bytes that are there already.

use crate::arguments::{copy, output, reference, slice, string, text};
use crate::call::{Failure, call, quietly};
use crate::sized::{self, Sized32};
use crate::status::{ondol_error, ondol_status};
use alloc::boxed::Box;
use core::ffi::{c_char, c_void};
use core::str::FromStr;
use runtime::{Memory, Model, Options};

/// A loaded model. Any number of threads may use one at the same time; sessions
/// keep what they need of it.
pub struct ondol_model {
    pub(crate) model: Model,
}

/// How a session runs. Zero in a field, and NULL for the whole, take the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_session_options {
    /// `sizeof(ondol_session_options)`.
    pub struct_size: u32,
    /// Threads; by default the cores of the machine. Firmware runs on the caller's alone.
    pub threads: u32,
    /// Tokens of context; by default what the model was trained for, at most 4096.
    pub context: u32,
    /// Tokens of one pass over the prompt, by default 256. Fewer need less memory.
    pub prefill_chunk: u32,
    /// Refuse a session that takes more bytes than this, its model's own included;
    /// by default there is no limit.
    pub memory_limit: u64,
    /// Name of the kernels ("exact", "scalar", ...); by default the best that the CPU runs.
    pub kernels: *const c_char,
    /// What keys and values are kept as: "f16", the default, or "q8_0" in little
    /// more than half the bytes.
    pub kv_type: *const c_char,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_session_options {}

/// The exact memory of a session and its model in bytes.
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
        }
    }
}

/// The runtime's options for the caller's.
///
/// # Safety
/// As for [`sized::read`], and names are strings.
pub(crate) unsafe fn options(from: *const ondol_session_options) -> Result<Options, Failure> {
    // SAFETY: passed on to the caller.
    let from = unsafe { sized::read(from) }?;
    let set = |value: u32| (value != 0).then_some(value as usize);
    let defaults = Options::default();
    // SAFETY: passed on to the caller.
    let (kernels, kv_type) = unsafe {
        (
            name(from.kernels, "kernels is not UTF-8")?,
            name(from.kv_type, "kv_type is not UTF-8")?,
        )
    };
    Ok(Options {
        threads: set(from.threads),
        kernels,
        context: set(from.context),
        kv_type: kv_type.unwrap_or(defaults.kv_type),
        prefill_chunk: set(from.prefill_chunk).unwrap_or(defaults.prefill_chunk),
        memory_limit: (from.memory_limit != 0).then_some(from.memory_limit),
        ..defaults
    })
}

/// What a name stands for, if there is one.
///
/// # Safety
/// It is NULL or a string.
unsafe fn name<T: FromStr<Err = runtime::Error>>(
    name: *const c_char,
    wrong: &'static str,
) -> Result<Option<T>, Failure> {
    if name.is_null() {
        return Ok(None);
    }
    // SAFETY: passed on to the caller.
    let name = unsafe { string(name, wrong) }?;
    Ok(Some(name.parse()?))
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
            let path = string(path, "path is NULL or not UTF-8")?;
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

fn new_model(model: Model) -> *mut ondol_model {
    Box::into_raw(Box::new(ondol_model { model }))
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

/// The exact memory that a session with these options takes, before any of it
/// is allocated, and what the model itself holds.
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
            let needed = model.model.memory(&self::options(options)?)?;
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
