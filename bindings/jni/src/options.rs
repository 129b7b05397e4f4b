//! Options of a model, and the source of its bytes.

use crate::bytes;
use crate::call::Result;
use crate::governor::GOVERNOR;
use crate::handle::Handle;
use jni::Env;
use jni::objects::{JByteArray, JClass};
use jni::sys::{jboolean, jint, jlong};
use ondol_app::{Affinity, AppError, DelegateOptions, KvType, LoadOptions, Source};
use std::fs::File;

/// Makes one value of all options, since two methods need all of them.
#[allow(clippy::too_many_arguments)] // One for each option.
pub fn options_new(
    env: &mut Env,
    _: JClass,
    threads: jint,
    context: jint,
    kv_type: jint,
    prefill_chunk: jint,
    drafts: jint,
    memory_limit: jlong,
    kernels: JByteArray,
    big_cores: jboolean,
    packed_folder: JByteArray,
    packed_limit: jlong,
    delegate: JByteArray,
    delegate_rows: jint,
    delegate_decode: jint,
    delegate_strict: jboolean,
    delegate_deadline_ms: jlong,
    delegate_cache: JByteArray,
) -> Result<Handle<LoadOptions>> {
    let delegate = match bytes::optional_path(env, &delegate)? {
        None => None,
        Some(path) => Some(DelegateOptions {
            path,
            rows: bytes::count("delegate.rows", delegate_rows)?,
            decode: bytes::optional_flag("delegate.decode", delegate_decode)?,
            strict: delegate_strict,
            deadline_ms: bytes::amount("delegate.deadlineMs", delegate_deadline_ms)?,
            cache: bytes::optional_path(env, &delegate_cache)?,
        }),
    };
    let kv_type = KvType::ALL.get(bytes::count("kvType", kv_type)?);
    Ok(Handle::new(LoadOptions {
        threads: bytes::optional_count("threads", threads)?,
        context: bytes::optional_count("context", context)?,
        kv_type: *kv_type.ok_or_else(|| AppError::argument("kvType is unknown"))?,
        prefill_chunk: bytes::count("prefillChunk", prefill_chunk)?,
        drafts: bytes::count("drafts", drafts)?,
        memory_limit: bytes::optional_amount("memoryLimit", memory_limit)?,
        kernels: bytes::optional_text(env, &kernels)?,
        affinity: match big_cores {
            true => Affinity::BigCores,
            false => Affinity::Free,
        },
        governor: GOVERNOR.clone(),
        packed_folder: bytes::optional_path(env, &packed_folder)?,
        packed_limit: bytes::optional_amount("packedLimit", packed_limit)?,
        delegate,
    }))
}

pub fn options_free(_: &mut Env, _: JClass, options: Handle<LoadOptions>) -> Result<()> {
    options.free();
    Ok(())
}

/// The source of a model: the file at `path`, else the range of the file `descriptor`, else
/// the built-in model.
pub fn source(
    env: &Env,
    path: &JByteArray,
    descriptor: jint,
    offset: jlong,
    length: jlong,
) -> Result<Source> {
    if let Some(path) = bytes::optional_path(env, path)? {
        return Ok(Source::Path(path));
    }
    if descriptor == bytes::NO_INT {
        return Ok(Source::Hello);
    }
    Ok(Source::File {
        file: duplicate(descriptor)?,
        offset: bytes::amount("offset", offset)?,
        length: bytes::optional_amount("length", length)?,
    })
}

/// A duplicate of a file descriptor, which the caller still owns and closes.
#[cfg(unix)]
fn duplicate(descriptor: jint) -> Result<File> {
    use ondol_app::ErrorCode;
    use std::os::fd::BorrowedFd;
    if descriptor < 0 {
        return Err(AppError::argument(format!(
            "the file descriptor is {descriptor}; it must not be negative"
        ))
        .into());
    }
    // SAFETY: the number is not -1. That it is an open file during the call is a
    // documented condition of `ModelSource.descriptor`; another number is an error of
    // the system.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let file = descriptor.try_clone_to_owned();
    let file = file.map_err(|e| AppError::new(ErrorCode::Io, format!("file descriptor: {e}")))?;
    Ok(file.into())
}

#[cfg(not(unix))]
fn duplicate(_: jint) -> Result<File> {
    Err(AppError::argument("file descriptors are not supported on this system").into())
}
