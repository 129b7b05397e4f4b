//! The tokens of a session and the logits after them, for callers with their own
//! generation loop.

use crate::arguments::{copy, output, reference, slice, string};
use crate::call::{Failure, call};
use crate::cancel::{self, ondol_cancel};
use crate::engine::{new_engine, ondol_engine};
use crate::session::{new_session, ondol_session};
use crate::status::{ondol_error, ondol_status};
use core::ffi::c_char;
use runtime::files::{AtomicFile, folder_of};
use runtime::generate::candidates;
use runtime::{Candidate, Error, Session, SnapshotError};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

/// A token and its probability. The size of this struct is fixed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_candidate {
    /// The token's id.
    pub id: u32,
    /// The natural logarithm of its probability among all tokens, before the sampler.
    pub logprob: f32,
}

impl From<&Candidate> for ondol_candidate {
    fn from(candidate: &Candidate) -> ondol_candidate {
        ondol_candidate {
            id: candidate.token,
            logprob: candidate.logprob,
        }
    }
}

/// Runs `body` with the session.
///
/// # Safety
/// `session` is NULL or was made by this library; `error` as for [`call`].
unsafe fn with(
    session: *const ondol_session,
    error: *mut ondol_error,
    body: impl FnOnce(&mut Session) -> Result<(), Failure>,
) -> ondol_status {
    let body = || {
        // SAFETY: passed on to the caller.
        let session = unsafe { reference(session, "session is NULL") }?;
        body(&mut session.slot.claim()?.session)
    };
    // SAFETY: passed on to the caller.
    unsafe { call(error, body) }
}

/// Appends tokens and runs them; `ondol_session_logits` then returns the logits after
/// the last. `ondol_session_rewind` can go back to their end. After a cancel the
/// session has the tokens of the passes that were completed. Not in firmware builds.
///
/// # Safety
/// `ids` has `count` ids; the other pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_prefill(
    session: *const ondol_session,
    ids: *const u32,
    count: usize,
    cancel: *const ondol_cancel,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        // SAFETY: the header asks it of the caller.
        let (ids, cancel) = unsafe { (slice(ids, count, "ids is NULL")?, cancel::token(cancel)) };
        session.prefill(ids, &cancel)?;
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

/// As `ondol_session_prefill`, with vectors in the place of tokens: embeddings of an
/// image or of sound. `vectors` has `count` numbers: rows of `embedding_width` numbers
/// (`ondol_model_info`) each. Not in firmware builds.
///
/// # Safety
/// `vectors` has `count` numbers; the other pointers are NULL or point to what their
/// types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_prefill_vectors(
    session: *const ondol_session,
    vectors: *const f32,
    count: usize,
    cancel: *const ondol_cancel,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        // SAFETY: the header asks it of the caller.
        let (vectors, cancel) = unsafe {
            let vectors = slice(vectors, count, "vectors is NULL")?;
            (vectors, cancel::token(cancel))
        };
        session.prefill_vectors(vectors, &cancel)?;
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

/// Appends one token and runs it; `ondol_session_logits` then returns the logits after
/// it. Not in firmware builds.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_decode(
    session: *const ondol_session,
    id: u32,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        session.decode(id)?;
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

/// The logits after the last token, one for each token of the vocabulary. After a
/// generation, those that were not computed are negative infinity. `count` gets their
/// number, even if they do not fit in `logits`. Not in firmware builds.
///
/// # Safety
/// `logits` has room for `capacity` numbers; the other pointers are NULL or point to
/// what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_logits(
    session: *const ondol_session,
    logits: *mut f32,
    capacity: usize,
    count: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        // SAFETY: the header asks it of the caller.
        unsafe { copy(session.last_logits(), logits, capacity, count) }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

/// Stores in `logprob` the log-probability of the token `id`, and in `top` the `count`
/// likeliest tokens with theirs, in descending order, from the logits of the last
/// prefill or decode. Either may be NULL, `top` only with a `count` of 0. Not in
/// firmware builds.
///
/// # Safety
/// `top` has room for `count` candidates; the other pointers are NULL or point to what
/// their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_logprobs(
    session: *const ondol_session,
    id: u32,
    logprob: *mut f32,
    top: *mut ondol_candidate,
    count: usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        let logits = session.last_logits();
        if id as usize >= logits.len() {
            let vocabulary = logits.len();
            return Err(Error::BadToken {
                token: id,
                vocabulary,
            }
            .into());
        }
        let (of_id, likeliest) = candidates(logits, id, count.min(logits.len()));
        let likeliest: Vec<ondol_candidate> = likeliest.iter().map(Into::into).collect();
        // SAFETY: the header asks it of the caller.
        unsafe {
            if let Some(logprob) = logprob.as_mut() {
                *logprob = of_id;
            }
            copy(&likeliest, top, count, core::ptr::null_mut())
        }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

/// The ids of the session's tokens, in order; `ONDOL_NO_TOKEN` for each vector. `count`
/// gets their number, even if they do not fit in `ids`. Not in firmware builds.
///
/// # Safety
/// `ids` has room for `capacity` ids; the other pointers are NULL or point to what
/// their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_tokens(
    session: *const ondol_session,
    ids: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    // SAFETY: the header asks it of the caller.
    unsafe {
        with(session, error, |session| {
            copy(session.tokens(), ids, capacity, count)
        })
    }
}

/// Drops tokens until `length` are left, or fewer where the states do not allow exactly
/// `length`. `left`, which may be NULL, gets how many are left. A sliding window, a
/// convolution or a recurrence allows only the current length and the end of the last
/// prompt (a window also a few tokens before these). Not in firmware builds.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_rewind(
    session: *const ondol_session,
    length: usize,
    left: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        let kept = session.rewind(length);
        // SAFETY: the header asks it of the caller.
        if let Some(left) = unsafe { left.as_mut() } {
            *left = kept;
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

/// Makes a second session of the engine with the same tokens, states and last logits. The
/// statuses are those of `ondol_engine_session`. Not in firmware builds.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_fork(
    session: *const ondol_session,
    fork: *mut *mut ondol_session,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        // SAFETY: the header asks it of the caller.
        let out = unsafe { output(fork, "fork is NULL") }?;
        *out = new_session(session.fork()?);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

/// A new handle of the session's engine, which the caller must free. Not in firmware builds.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_engine(
    session: *const ondol_session,
    engine: *mut *mut ondol_engine,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        // SAFETY: the header asks it of the caller.
        let out = unsafe { output(engine, "engine is NULL") }?;
        *out = new_engine(session.engine().clone());
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

/// Releases to the system all memory that the session and its engine do not need until
/// the next pass. Not in firmware builds.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_release_unused(
    session: *const ondol_session,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        session.release_unused();
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

/// Writes the session's tokens, their states and the last logits to a file. An existing
/// file is replaced when the new one is complete; if the status is
/// `ONDOL_STATUS_SNAPSHOT`, nothing was written under this name. Not in firmware
/// builds.
///
/// # Safety
/// `path` is a string; the other pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_save(
    session: *const ondol_session,
    path: *const c_char,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        // SAFETY: the header asks it of the caller.
        let path = unsafe { string(path, "path is NULL or not UTF-8") }?;
        Ok(save(session, Path::new(path))?)
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}

fn save(session: &Session, path: &Path) -> runtime::Result<()> {
    let io = |e: io::Error| Error::from(SnapshotError::Io(e));
    let mut out = BufWriter::new(AtomicFile::create_in(folder_of(path)).map_err(io)?);
    session.save(&mut out)?;
    out.flush().map_err(io)?;
    let file = out.into_inner().map_err(|e| io(e.into_error()))?;
    file.commit(path).map(drop).map_err(io)
}

/// Replaces the session's tokens and states by those that `ondol_session_save` wrote.
/// The engine may have another context than the one that saved them, as long as the tokens
/// fit. If the status is `ONDOL_STATUS_SNAPSHOT`, the session is unchanged if the file could
/// not be opened, and empty otherwise. Not in firmware builds.
///
/// # Safety
/// `path` is a string; the other pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_session_restore(
    session: *const ondol_session,
    path: *const c_char,
    error: *mut ondol_error,
) -> ondol_status {
    let body = |session: &mut Session| {
        // SAFETY: the header asks it of the caller.
        let path = unsafe { string(path, "path is NULL or not UTF-8") }?;
        let file = File::open(path).map_err(|e| Error::from(SnapshotError::Io(e)))?;
        session.restore(BufReader::new(file))?;
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { with(session, error, body) }
}
