//! A delegate of Ondol for Intel NPUs, which uses OpenVINO. This file has the table of
//! `ondol_npu.h`.
//!
//! Handles are boxes; objects that several handles use are in an `Arc`. Each function
//! of the table reads its arguments, calls one function of the plug-in, and turns its
//! result into a status. No panic leaves it.
//!
//! The SAFETY comments here rely on the contract of `ondol_npu.h`: arguments are null
//! or what the header says, and live during the call; handles come from this plug-in
//! and are freed once.

mod container;
mod device;
#[cfg(test)]
mod device_tests;
mod failure;
mod graph;
mod ir;
mod openvino;
mod program;
mod session;

use core::ffi::{CStr, c_void};
use core::time::Duration;
use device::Device;
use failure::{Result, complete, entry, invalid, no_panic, write_text};
use graph::Graph;
use ondol::delegate::ffi::{self, Opaque};
use program::Program;
use session::{Binding, Buffer, Job, Session};
use std::ffi::CString;
use std::sync::Arc;
use std::time::Instant;

const NAME: &CStr = c"openvino";
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
const LICENCE: &CStr = c"Apache-2.0 OR MIT";

struct Table(ffi::Api);

// SAFETY: it is never written.
unsafe impl Sync for Table {}

static API: Table = Table(ffi::Api {
    hdr: ffi::Hdr::of::<ffi::Api>(),
    name: NAME.as_ptr(),
    version: VERSION.as_ptr().cast(),
    licence: LICENCE.as_ptr(),
    init: Some(init),
    device_count: Some(device_count),
    device_open: Some(device_open),
    device_close: Some(device_close),
    device_info: Some(device_info),
    claim: Some(claim),
    compile: Some(compile),
    program_save: Some(program_save),
    program_load: Some(program_load),
    program_free: Some(program_free),
    session_new: Some(session_new),
    session_free: Some(session_free),
    buffer_import: Some(buffer_import),
    buffer_release: Some(buffer_release),
    submit: Some(submit),
    job_wait: Some(job_wait),
    job_cancel: Some(job_cancel),
    job_free: Some(job_free),
    inject: None,
});

/// The exported symbol.
///
/// # Safety
/// `out` is null, or a valid place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_npu_get_api(
    host_major: u32,
    _host_minor: u32,
    out: *mut *const ffi::Api,
) -> ffi::Status {
    let call = || {
        if host_major != u32::from(ffi::ABI_MAJOR) {
            let message = format!("a host of version {host_major}");
            return Err(failure::Failure::new(
                ondol::delegate::Code::Incompatible,
                message,
            ));
        }
        // SAFETY: passed on to the caller.
        unsafe { put(out, &raw const API.0) }
    };
    // SAFETY: there is no error to fill in.
    unsafe { entry(core::ptr::null_mut(), call) }
}

// ---- handles ------------------------------------------------------------------------

/// Makes an object and gives its handle to the host.
unsafe fn give<T>(out: *mut *mut Opaque, make: impl FnOnce() -> Result<T>) -> Result<()> {
    if out.is_null() {
        return Err(invalid("nowhere to put what is asked for"));
    }
    let handle = Box::into_raw(Box::new(make()?));
    // SAFETY: `out` is a valid place for a pointer, by the contract.
    unsafe { put(out, handle.cast()) }
}

/// Writes a value to a place of the host; fails if the place is null.
unsafe fn put<T>(out: *mut T, value: T) -> Result<()> {
    // SAFETY: null, or a valid place for a value, by the contract.
    match unsafe { out.as_mut() } {
        Some(out) => {
            *out = value;
            Ok(())
        }
        None => Err(invalid("nowhere to put what is asked for")),
    }
}

/// The object of a handle; fails if the handle is null.
unsafe fn of<'h, T>(handle: *mut Opaque) -> Result<&'h T> {
    // SAFETY: null or a handle of this kind, by the contract.
    let object = unsafe { handle.cast::<T>().as_ref() };
    object.ok_or_else(|| invalid("a handle is missing"))
}

/// A struct of the host; fails if it is null or too small.
unsafe fn given<'h, T>(raw: *const T) -> Result<&'h T> {
    // SAFETY: null or such a struct, by the contract.
    match unsafe { complete(raw) } {
        // SAFETY: as above.
        true => Ok(unsafe { &*raw }),
        false => Err(invalid("a struct is missing or too small")),
    }
}

/// A list of the host; fails if it is null and not empty.
unsafe fn list<'h, T>(raw: *const T, len: u32) -> Result<&'h [T]> {
    match len {
        0 => Ok(&[]),
        _ if raw.is_null() => Err(invalid("a list is missing")),
        // SAFETY: it has `len` elements, by the contract.
        len => Ok(unsafe { core::slice::from_raw_parts(raw, len as usize) }),
    }
}

/// Drops the object of a handle; null does nothing.
unsafe fn free<T>(handle: *mut Opaque) {
    if !handle.is_null() {
        // SAFETY: the handle was made by `give`, and is freed once.
        let object = unsafe { Box::from_raw(handle.cast::<T>()) };
        // A panic can't be reported here.
        let _ = no_panic(|| {
            drop(object);
            Ok(())
        });
    }
}

// ---- the device ---------------------------------------------------------------------

unsafe extern "C" fn init(host: *const ffi::Host, error: *mut ffi::Error) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let host = unsafe { given(host) }?;
        let runtime = device::init()?;
        if runtime.device.is_none() {
            log_no_device(host, &runtime.version);
        }
        Ok(())
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

/// Logs why there is no device, because `device_count` can't return a reason.
fn log_no_device(host: &ffi::Host, version: &str) {
    let words = format!(
        "OpenVINO {version} sees no NPU; ONDOL_OPENVINO_DEVICE=CPU tries the CPU in its place"
    );
    let words = CString::new(words).unwrap_or_default();
    // SAFETY: by the contract.
    unsafe { (host.log)(host.context, 1, words.as_ptr()) };
}

unsafe extern "C" fn device_count() -> u32 {
    let runtime = device::runtime();
    u32::from(runtime.is_some_and(|runtime| runtime.device.is_some()))
}

unsafe extern "C" fn device_open(
    index: u32,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, || Ok(Arc::new(Device::open(index)?)))) }
}

unsafe extern "C" fn device_close(device: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Arc<Device>>(device) }
}

unsafe extern "C" fn device_info(
    device: *mut Opaque,
    info: *mut ffi::DeviceInfo,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        unsafe {
            given(info.cast_const())?;
            of::<Arc<Device>>(device)?.describe(&mut *info);
        }
        Ok(())
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

// ---- programs -----------------------------------------------------------------------

unsafe extern "C" fn claim(
    device: *mut Opaque,
    graph: *const ffi::Graph,
    claims: *const *mut ffi::Claim,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let (device, graph) = unsafe { (of::<Arc<Device>>(device)?, Graph::read(graph)?) };
        // SAFETY: there is a claim for each node, by the contract.
        let claims = unsafe { list(claims, graph.nodes.len() as u32) }?;
        for (&claim, node) in claims.iter().zip(program::claim(device, &graph)?) {
            // SAFETY: by the contract.
            let claim = unsafe {
                given(claim.cast_const())?;
                &mut *claim
            };
            claim.claimed = u32::from(node.is_ok());
            write_text(&mut claim.reason, &node.err().unwrap_or_default());
        }
        Ok(())
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

unsafe extern "C" fn compile(
    device: *mut Opaque,
    graph: *const ffi::Graph,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        // SAFETY: by the contract.
        let (device, graph) = unsafe { (of::<Arc<Device>>(device)?, Graph::read(graph)?) };
        Ok(Arc::new(Program::compile(device, &graph)?))
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn program_save(
    program: *mut Opaque,
    blob: *mut c_void,
    size: *mut usize,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let (program, size) = unsafe { (of::<Arc<Program>>(program)?, size.as_mut()) };
        let size = size.ok_or_else(|| invalid("nowhere to put the length"))?;
        program.save(|bytes| {
            let capacity = core::mem::replace(size, bytes.len());
            if blob.is_null() {
                return Ok(false);
            }
            if capacity < bytes.len() {
                return Err(invalid(format!("the program takes {} bytes", bytes.len())));
            }
            // SAFETY: the host has room for this many bytes.
            unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), blob.cast(), bytes.len()) };
            Ok(true)
        })
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

unsafe extern "C" fn program_load(
    device: *mut Opaque,
    blob: *const c_void,
    size: usize,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        let blob = match blob.is_null() {
            true => &[],
            // SAFETY: by the contract.
            false => unsafe { core::slice::from_raw_parts(blob.cast::<u8>(), size) },
        };
        // SAFETY: by the contract.
        let device = unsafe { of::<Arc<Device>>(device) }?;
        Ok(Arc::new(Program::load(device, blob)?))
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn program_free(program: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Arc<Program>>(program) }
}

// ---- sessions and jobs --------------------------------------------------------------

unsafe extern "C" fn session_new(
    programs: *const *mut Opaque,
    n: u32,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        // SAFETY: by the contract.
        let programs = unsafe { list(programs, n) }?.iter();
        // SAFETY: by the contract.
        let programs = programs.map(|&program| Ok(unsafe { of::<Arc<Program>>(program) }?.clone()));
        Session::new(programs.collect::<Result<_>>()?)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn session_free(session: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Session>(session) }
}

unsafe extern "C" fn buffer_import(
    device: *mut Opaque,
    memory: *const ffi::Mem,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        // SAFETY: by the contract.
        let (device, memory) = unsafe { (of::<Arc<Device>>(device)?, given(memory)?) };
        Buffer::import(device, memory)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn buffer_release(buffer: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Buffer>(buffer) }
}

unsafe extern "C" fn submit(
    session: *mut Opaque,
    program: u32,
    bindings: *const *const ffi::Binding,
    n: u32,
    deadline_ns: u64,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let deadline = (deadline_ns != 0).then(|| Duration::from_nanos(deadline_ns));
    let deadline = deadline.and_then(|time| Instant::now().checked_add(time));
    let make = || {
        // SAFETY: by the contract.
        let (session, bindings) = unsafe { (of::<Session>(session)?, list(bindings, n)?) };
        // SAFETY: by the contract.
        let bindings = bindings.iter().map(|&raw| unsafe { binding(raw) });
        session.submit(program, &bindings.collect::<Result<Vec<_>>>()?, deadline)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe fn binding<'b>(raw: *const ffi::Binding) -> Result<Binding<'b>> {
    // SAFETY: by the contract.
    let raw = unsafe { given(raw) }?;
    Ok(Binding {
        tensor: raw.tensor,
        // SAFETY: by the contract.
        buffer: unsafe { of(raw.buffer) }?,
        offset: raw.offset,
    })
}

unsafe extern "C" fn job_wait(
    job: *mut Opaque,
    timeout_ns: u64,
    ended: *mut u32,
    metrics: *mut ffi::Metrics,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let job = unsafe { of::<Arc<Job>>(job) }?;
        if !metrics.is_null() {
            // SAFETY: by the contract.
            unsafe { given(metrics.cast_const()) }?;
        }
        // SAFETY: by the contract.
        unsafe { put(ended, 0) }?;
        let Some(end) = job.wait(Duration::from_nanos(timeout_ns)) else {
            return Ok(());
        };
        // SAFETY: by the contract.
        unsafe {
            put(ended, 1)?;
            if let Some(metrics) = metrics.as_mut() {
                measure(metrics, end.time);
            }
        }
        end.outcome
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

/// Reports the time. OpenVINO's C API does not report energy or heat.
fn measure(metrics: &mut ffi::Metrics, time: Duration) {
    metrics.measured = ffi::MEASURED_TIME;
    metrics.throttled = 0;
    metrics.exec_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    metrics.energy_uj = 0;
    metrics.temperature_mc = 0;
}

unsafe extern "C" fn job_cancel(job: *mut Opaque, error: *mut ffi::Error) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        unsafe { of::<Arc<Job>>(job) }?.cancel();
        Ok(())
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

unsafe extern "C" fn job_free(job: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Arc<Job>>(job) }
}
