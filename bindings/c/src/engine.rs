//! An engine: what the sessions of a model share.

use crate::arguments::{output, reference};
use crate::call::{call, quietly};
use crate::model::{ondol_memory, ondol_model};
use crate::options::{self, ondol_session_options};
use crate::session::{new_session, ondol_session};
use crate::sized::{self, Sized32};
use crate::status::{ondol_error, ondol_status};
use core::ffi::{CStr, c_char};
use runtime::{Engine, Isa};

/// The threads and the memory in which passes run, for any number of sessions of one
/// model. Any number of threads may use an engine and its sessions: passes run one
/// after another, in the order in which they were requested. Not in firmware builds.
pub struct ondol_engine {
    pub(crate) engine: Engine,
}

/// Properties of an engine.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_engine_info {
    /// `sizeof(ondol_engine_info)`.
    pub struct_size: u32,
    /// Threads that run the steps, the calling thread included.
    pub threads: u32,
    /// Threads that are pinned to big cores.
    pub pinned_threads: u32,
    /// The context: the largest number of tokens in a session.
    pub context: u32,
    /// Name of the kernels; valid as long as the program runs.
    pub kernels: *const c_char,
    /// Bytes of the engine with one session, without the mapped weights: `total` of
    /// `ondol_model_memory`.
    pub memory_bytes: u64,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_engine_info {}

/// A handle for an engine.
pub fn new_engine(engine: Engine) -> *mut ondol_engine {
    Box::into_raw(Box::new(ondol_engine { engine }))
}

/// Makes an engine; NULL for `options` means the defaults. If it exceeds the memory
/// limit, or the system does not provide the memory, the status is
/// `ONDOL_STATUS_DOES_NOT_FIT`. The handles of the model, the governor and the offload may
/// be freed afterwards. Not in firmware builds.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_engine_new(
    model: *const ondol_model,
    options: *const ondol_session_options,
    engine: *mut *mut ondol_engine,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (model, options, out) = unsafe {
            let model = reference(model, "model is NULL")?;
            let options = options::options(options)?;
            (model, options, output(engine, "engine is NULL")?)
        };
        *out = new_engine(model.model.engine(&options)?);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Frees the handle, or does nothing for NULL. Sessions and batches of the engine stay valid.
///
/// # Safety
/// The engine was made by this library and no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_engine_free(engine: *mut ondol_engine) {
    if !engine.is_null() {
        // SAFETY: `new_engine` made it; by contract the caller has no other use of it.
        quietly(|| drop(unsafe { Box::from_raw(engine) }));
    }
}

/// Makes a session of the engine. If it exceeds the memory limit, or the system does
/// not provide the memory, the status is `ONDOL_STATUS_DOES_NOT_FIT`; while the
/// governor reports critical memory pressure, `ONDOL_STATUS_MEMORY_PRESSURE`.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_engine_session(
    engine: *const ondol_engine,
    session: *mut *mut ondol_session,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (engine, out) = unsafe {
            let engine = reference(engine, "engine is NULL")?;
            (engine, output(session, "session is NULL")?)
        };
        *out = new_session(engine.engine.session()?);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Properties of the engine.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_engine_get_info(
    engine: *const ondol_engine,
    info: *mut ondol_engine_info,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let engine = &reference(engine, "engine is NULL")?.engine;
            output(info, "info is NULL")?;
            let known = ondol_engine_info {
                struct_size: 0,
                threads: engine.threads() as u32,
                pinned_threads: engine.pinned_threads() as u32,
                context: engine.context() as u32,
                kernels: name(engine.isa()).as_ptr(),
                memory_bytes: engine.memory().total,
            };
            sized::write(&known, info);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The parts of the engine's memory with one session.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_engine_memory(
    engine: *const ondol_engine,
    memory: *mut ondol_memory,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let engine = reference(engine, "engine is NULL")?;
            output(memory, "memory is NULL")?;
            sized::write(&engine.engine.memory().into(), memory);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Releases the memory that only passes use to the system; the next pass takes it again.
/// Waits for a running pass.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_engine_release_unused(
    engine: *const ondol_engine,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let engine = unsafe { reference(engine, "engine is NULL") }?;
        engine.engine.release_unused();
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// [`Isa::name`], for C.
fn name(level: Isa) -> &'static CStr {
    match level {
        Isa::Exact => c"exact",
        Isa::Scalar => c"scalar",
        Isa::Avx2 => c"avx2",
        Isa::AvxVnni => c"avx-vnni",
        Isa::Avx512 => c"avx512",
        Isa::Neon => c"neon",
        Isa::DotProd => c"dotprod",
        Isa::I8mm => c"i8mm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rust() {
        for level in Isa::ALL {
            assert_eq!(name(level).to_str(), Ok(level.name()));
        }
    }
}
