//! Decode passes over several sessions.

use crate::arguments::{copy, output, reference, slice};
use crate::call::{Failure, call, quietly};
use crate::engine::ondol_engine;
use crate::generation::ondol_generation;
use crate::session::ondol_session;
use crate::slot::Slot;
use crate::status::{ondol_error, ondol_status};
use runtime::Batch;

/// Decodes one token of each of several sessions of one engine in one pass, which reads
/// the weights once for all of them. Each pass may run different sessions. Only one call
/// at a time may use a batch; a second call returns `ONDOL_STATUS_BUSY`. Not in firmware
/// builds.
pub struct ondol_batch {
    slot: Slot<Batch>,
}

/// Makes a batch for passes of up to `rows` sessions, at most `batch` of the engine's
/// options.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_engine_batch(
    engine: *const ondol_engine,
    rows: usize,
    batch: *mut *mut ondol_batch,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (engine, out) = unsafe {
            let engine = reference(engine, "engine is NULL")?;
            (engine, output(batch, "batch is NULL")?)
        };
        let slot = Slot::new(engine.engine.batch(rows)?);
        *out = Box::into_raw(Box::new(ondol_batch { slot }));
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Frees a batch, or does nothing for NULL. Its sessions stay valid.
///
/// # Safety
/// The batch was made by this library and no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_batch_free(batch: *mut ondol_batch) {
    if !batch.is_null() {
        // SAFETY: `ondol_engine_batch` made it; by contract the caller has no other use
        // of it.
        quietly(|| drop(unsafe { Box::from_raw(batch) }));
    }
}

/// Runs the token `ids[i]` in `sessions[i]`, for `count` different sessions.
/// `ondol_batch_logits` then returns the logits after each, bit for bit those of
/// `ondol_session_decode`. Errors before anything is run: `ONDOL_STATUS_BATCH_FULL`,
/// `ONDOL_STATUS_OTHER_OWNER`, and `ONDOL_STATUS_BUSY` for a session that is in use or
/// listed twice.
///
/// # Safety
/// `sessions` and `ids` have `count` elements; the other pointers are NULL or point to
/// what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_batch_decode(
    batch: *const ondol_batch,
    sessions: *const *const ondol_session,
    ids: *const u32,
    count: usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (batch, sessions, ids) = unsafe {
            let batch = reference(batch, "batch is NULL")?;
            let sessions = slice(sessions, count, "sessions is NULL")?;
            (batch, sessions, slice(ids, count, "ids is NULL")?)
        };
        let claim = |&session| {
            // SAFETY: as above.
            let session = unsafe { reference::<ondol_session>(session, "a session is NULL") }?;
            session.slot.claim()
        };
        let claims: Result<Vec<_>, Failure> = sessions.iter().map(claim).collect();
        let (mut batch, mut claims) = (batch.slot.claim()?, claims?);
        let sessions = claims.iter_mut().map(|claim| &mut claim.session);
        let mut rows: Vec<_> = sessions.zip(ids.iter().copied()).collect();
        Ok(batch.decode(&mut rows)?)
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Decodes, in one pass, the next token of every generation whose next step is to decode
/// one; the next `ondol_generation_step` of each returns the result. Other generations,
/// for example those in their prompt, are skipped, and so are those beyond the batch's
/// rows.
///
/// # Safety
/// `generations` has `count` handles; the other pointers are NULL or point to what their
/// types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_batch_advance(
    batch: *const ondol_batch,
    generations: *const *const ondol_generation,
    count: usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (batch, generations) = unsafe {
            let batch = reference(batch, "batch is NULL")?;
            (batch, slice(generations, count, "generations is NULL")?)
        };
        let claim = |&one| {
            // SAFETY: as above.
            let one = unsafe { reference::<ondol_generation>(one, "a generation is NULL") }?;
            one.slot.claim()
        };
        let claims: Result<Vec<_>, Failure> = generations.iter().map(claim).collect();
        let (mut batch, mut claims) = (batch.slot.claim()?, claims?);
        let mut all: Vec<_> = claims.iter_mut().map(|c| &mut c.generation).collect();
        Ok(batch.advance(&mut all)?)
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The logits after the token of session `row` of the last pass, one number for each
/// token of the vocabulary. `count` gets their number, even if they do not fit in
/// `logits`.
///
/// # Safety
/// `logits` has room for `capacity` numbers; the other pointers are NULL or point to what
/// their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_batch_logits(
    batch: *const ondol_batch,
    row: usize,
    logits: *mut f32,
    capacity: usize,
    count: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let batch = unsafe { reference(batch, "batch is NULL") }?.slot.claim()?;
        if row >= batch.rows() {
            return Err(Failure::Argument("the batch has no such row"));
        }
        // SAFETY: as above.
        unsafe { copy(batch.logits(row), logits, capacity, count) }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}
