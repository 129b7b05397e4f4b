//! Parts of a model on a device, through a plug-in.

use crate::arguments::{copy_text, output, reference, string};
use crate::call::{Failure, call, quietly};
use crate::cancel::{self, ondol_cancel};
use crate::engine::ondol_engine;
use crate::model::ondol_model;
use crate::options::ondol_offload;
use crate::sized::{self, Sized32};
use crate::status::{Message, ONDOL_MESSAGE_BYTES, ondol_error, ondol_status};
use core::ffi::c_char;
use core::fmt::Write;
use core::ptr::null;
use core::time::Duration;
use runtime::delegate::{Delegate, Offload, OffloadOptions, OffloadReport, OffloadStats};
use std::path::Path;

/// Options of an offload. Fill them in with `ondol_offload_defaults`; NULL in place of
/// the struct means the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_offload_options {
    /// `sizeof(ondol_offload_options)`.
    pub struct_size: u32,
    /// The largest number of tokens in one call of prefill; by default 256.
    pub rows: u32,
    /// 1 runs decode on the device too; by default 0.
    pub decode: u32,
    /// 1 makes a failure of the device an error; with 0, the default, the CPU computes
    /// what the device did not.
    pub strict: u32,
    /// The deadline of a call of the device in milliseconds; by default 5,000.
    pub deadline_ms: u32,
    /// A folder in which compiled programs are stored for later runs, or a bundle: the
    /// file that `ondol compile` wrote, from which all programs come. NULL, the default,
    /// stores none.
    pub cache: *const c_char,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_offload_options {}

/// Counts of the work of an engine's device so far, summed over all sessions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_offload_stats {
    /// `sizeof(ondol_offload_stats)`.
    pub struct_size: u32,
    /// 1 if the device is not used any more, else 0.
    pub given_up: u32,
    /// Calls of spans that ran on the device.
    pub on_device: u64,
    /// Calls of spans that ran on the CPU because the device failed or is not used any more.
    pub on_cpu: u64,
    /// Failures of the device.
    pub failures: u64,
    /// Rows that the CPU also computed, as an audit.
    pub audits: u64,
    /// The largest difference in an audit: squared distance divided by squared length.
    pub worst_audit: f64,
    /// Seconds on the device, including copies.
    pub time_s: f64,
    /// Why the device failed last; empty if it has not failed.
    pub last_failure: [c_char; ONDOL_MESSAGE_BYTES],
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_offload_stats {}

impl ondol_offload_options {
    /// What [`OffloadOptions::default`] says.
    fn defaults() -> ondol_offload_options {
        let rust = OffloadOptions::default();
        ondol_offload_options {
            struct_size: size_of::<ondol_offload_options>() as u32,
            rows: rust.rows as u32,
            decode: rust.decode.into(),
            strict: rust.strict.into(),
            deadline_ms: rust.deadline.as_millis() as u32,
            cache: null(),
        }
    }
}

/// Fills in the defaults, up to the end of the caller's struct. Before the call set
/// `struct_size`, and all other bytes to zero.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_offload_defaults(
    options: *mut ondol_offload_options,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            output(options, "options is NULL")?;
            sized::write(&ondol_offload_options::defaults(), options);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Loads the plug-in at `path`, opens its first device, and compiles the parts of the
/// model that it can run. This may take long: `cancel`, which may be NULL, ends it
/// between two programs. The status is `ONDOL_STATUS_DELEGATE` if the plug-in can't be
/// used, or can run no part of the model. Put the result in `ondol_session_options`.
/// Not in firmware builds.
///
/// # Safety
/// The plug-in is code that is trusted to keep the contract of `ondol_npu.h`; the
/// pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_offload_new(
    model: *const ondol_model,
    path: *const c_char,
    options: *const ondol_offload_options,
    cancel: *const ondol_cancel,
    offload: *mut *mut ondol_offload,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (model, path, options, cancel, out) = unsafe {
            let model = reference(model, "model is NULL")?;
            let path = string(path, "path is NULL or not UTF-8")?;
            let out = output(offload, "offload is NULL")?;
            (model, path, read(options)?, cancel::token(cancel), out)
        };
        // SAFETY: the caller trusts the plug-in.
        let delegate = unsafe { Delegate::load(Path::new(path)) };
        let delegate = delegate.map_err(runtime::Error::from)?;
        let made = Offload::new(&model.model, &delegate, &options, &cancel, |_, _| ())?;
        *out = Box::into_raw(Box::new(ondol_offload { offload: made }));
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// # Safety
/// As for [`sized::read_or`], and the cache is NULL or a string.
unsafe fn read(from: *const ondol_offload_options) -> Result<OffloadOptions, Failure> {
    // SAFETY: passed on to the caller.
    let from = unsafe { sized::read_or(from, ondol_offload_options::defaults()) }?;
    let cache = match from.cache.is_null() {
        true => None,
        // SAFETY: passed on to the caller.
        false => Some(unsafe { string(from.cache, "cache is not UTF-8") }?.into()),
    };
    if from.deadline_ms == 0 {
        return Err(Failure::Argument("deadline_ms is 0; it must be at least 1"));
    }
    Ok(OffloadOptions {
        rows: from.rows as usize,
        prefill: true,
        decode: from.decode != 0,
        strict: from.strict != 0,
        deadline: Duration::from_millis(from.deadline_ms.into()),
        cache,
    })
}

/// Frees the handle, or does nothing for NULL. Engines that use the offload stay valid.
///
/// # Safety
/// The offload was made by this library and no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_offload_free(offload: *mut ondol_offload) {
    if !offload.is_null() {
        // SAFETY: `ondol_offload_new` made it; by contract the caller has no other use of it.
        quietly(|| drop(unsafe { Box::from_raw(offload) }));
    }
}

/// The parts that run on the device, and those that it refused, as lines of English.
/// `length` gets the bytes without the terminating zero, even if they do not fit in
/// `text`.
///
/// # Safety
/// `text` has room for `capacity` bytes; the other pointers are NULL or point to what
/// their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_offload_report(
    offload: *const ondol_offload,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let offload = unsafe { reference(offload, "offload is NULL") }?;
        let lines = report(offload.offload.report());
        // SAFETY: as above.
        unsafe { copy_text(&lines, text, capacity, length) }
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

fn report(report: &OffloadReport) -> String {
    let (percent, rows) = (report.work.prefill * 100.0, report.rows);
    let mut lines = format!(
        "{percent:.1}% of the multiply-adds of prefill, {rows} tokens a call\n{} programs, {} \
         compiled before, in {:.1} s\n",
        report.programs,
        report.from_cache,
        report.time.as_secs_f64()
    );
    // Writing to a string can't fail.
    for span in &report.spans {
        let _ = writeln!(
            lines,
            "on the device: {}, {} operations",
            span.name, span.nodes
        );
    }
    for refused in &report.refused {
        let _ = writeln!(
            lines,
            "on the CPU: {} operations, {}",
            refused.nodes, refused.reason
        );
    }
    lines
}

/// Counts of the work of the engine's device so far; `ONDOL_STATUS_INVALID_ARGUMENT`
/// for an engine without a device. Waits for a running pass.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_engine_offload_stats(
    engine: *const ondol_engine,
    stats: *mut ondol_offload_stats,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            let engine = reference(engine, "engine is NULL")?;
            output(stats, "stats is NULL")?;
            let known = engine.engine.offload_stats();
            let known = known.ok_or(Failure::Argument("the engine has no offload"))?;
            sized::write(&(&known).into(), stats);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

impl From<&OffloadStats> for ondol_offload_stats {
    fn from(stats: &OffloadStats) -> ondol_offload_stats {
        let failure = stats.last_failure.as_ref();
        ondol_offload_stats {
            struct_size: size_of::<ondol_offload_stats>() as u32,
            given_up: stats.given_up.into(),
            on_device: stats.on_device(),
            on_cpu: stats.on_cpu(),
            failures: stats.failures,
            audits: stats.audits,
            worst_audit: stats.worst_audit,
            time_s: stats.time.as_secs_f64(),
            last_failure: failure.map_or([0; ONDOL_MESSAGE_BYTES], Message::of),
        }
    }
}
