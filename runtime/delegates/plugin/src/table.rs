//! The table of `ondol_npu.h` for any [`Plugin`].
//!
//! Handles are boxes; objects that several handles use are in an `Arc`. Each function
//! of the table reads its arguments, calls one function of this crate or the plug-in,
//! and turns its result into a status. No panic leaves it.
//!
//! The SAFETY comments here rely on the contract of `ondol_npu.h`: arguments are null
//! or what the header says, and live during the call; handles come from this table and
//! are freed once.

use crate::device::Opened;
use crate::failure::{Failure, Result, complete, entry, invalid, no_panic, write_text};
use crate::graph::Graph;
use crate::program::{self, Compiled};
use crate::session::{Binding, Buffer, Job, Session};
use crate::{Device, Plugin};
use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;
use core::time::Duration;
use ondol::delegate::Code;
use ondol::delegate::ffi::{self, Opaque};
use std::ffi::CString;
use std::sync::Arc;
use std::time::Instant;

/// The table of a plug-in.
struct Table<P>(PhantomData<P>);

impl<P: Plugin> Table<P> {
    const API: &'static ffi::Api = &ffi::Api {
        hdr: ffi::Hdr::of::<ffi::Api>(),
        name: P::NAME.as_ptr(),
        version: P::VERSION.as_ptr(),
        licence: P::LICENCE.as_ptr(),
        init: Some(init::<P>),
        device_count: Some(device_count::<P>),
        device_open: Some(device_open::<P>),
        device_close: Some(device_close::<P::Device>),
        device_info: Some(device_info::<P::Device>),
        claim: Some(claim::<P::Device>),
        compile: Some(compile::<P::Device>),
        program_save: Some(program_save::<P::Device>),
        program_load: Some(program_load::<P::Device>),
        program_free: Some(program_free::<P::Device>),
        session_new: Some(session_new::<P::Device>),
        session_free: Some(session_free::<P::Device>),
        buffer_import: Some(buffer_import::<P::Device>),
        buffer_release: Some(buffer_release::<P::Device>),
        submit: Some(submit::<P::Device>),
        job_wait: Some(job_wait),
        job_cancel: Some(job_cancel),
        job_free: Some(job_free),
        inject: match P::Device::INJECT {
            Some(_) => Some(inject::<P::Device>),
            None => None,
        },
    };
}

/// The `ondol_npu_get_api` of a plug-in that is linked into the program.
/// [`crate::export!`] makes it the symbol of a shared library.
///
/// # Safety
/// `out` is null, or a valid place for a pointer.
pub unsafe extern "C" fn get_api<P: Plugin>(
    host_major: u32,
    _host_minor: u32,
    out: *mut *const ffi::Api,
) -> ffi::Status {
    let call = || {
        if host_major != u32::from(ffi::ABI_MAJOR) {
            let message = format!("a host of version {host_major}");
            return Err(Failure::new(Code::Incompatible, message));
        }
        // SAFETY: passed on to the caller.
        unsafe { put(out, core::ptr::from_ref(Table::<P>::API)) }
    };
    // SAFETY: there is no error to fill in.
    unsafe { entry(core::ptr::null_mut(), call) }
}

// ---- handles ------------------------------------------------------------------------

/// Makes an object and gives its handle to the host.
///
/// # Safety
/// `out` is null, or a valid place for a pointer.
///
/// # Errors
/// INVALID if `out` is null; errors of `make`.
pub unsafe fn give<T>(out: *mut *mut Opaque, make: impl FnOnce() -> Result<T>) -> Result<()> {
    if out.is_null() {
        return Err(invalid("nowhere to put what is asked for"));
    }
    let handle = Box::into_raw(Box::new(make()?));
    // SAFETY: `out` is a valid place for a pointer, by the contract.
    unsafe { put(out, handle.cast()) }
}

/// Writes a value to a place of the host; fails if the place is null.
///
/// # Safety
/// `out` is null, or a valid place for a value.
///
/// # Errors
/// INVALID.
pub unsafe fn put<T>(out: *mut T, value: T) -> Result<()> {
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
///
/// # Safety
/// `handle` is null, or was made by [`give`] for a `T` and not freed in `'h`.
///
/// # Errors
/// INVALID.
pub unsafe fn of<'h, T>(handle: *mut Opaque) -> Result<&'h T> {
    // SAFETY: null or a handle of this kind, by the contract.
    let object = unsafe { handle.cast::<T>().as_ref() };
    object.ok_or_else(|| invalid("a handle is missing"))
}

/// A struct of the host; fails if it is null or too small.
///
/// # Safety
/// `T` begins with a [`ffi::Hdr`]; `raw` is null, or points to such a struct that lives
/// for `'h`.
///
/// # Errors
/// INVALID.
pub unsafe fn given<'h, T>(raw: *const T) -> Result<&'h T> {
    // SAFETY: null or such a struct, by the contract.
    match unsafe { complete(raw) } {
        // SAFETY: as above.
        true => Ok(unsafe { &*raw }),
        false => Err(too_small()),
    }
}

fn too_small() -> Failure {
    invalid("a struct is missing or too small")
}

/// A list of the host; fails if it is null and not empty.
///
/// # Safety
/// `raw` is null, or points to `len` elements that live for `'h`.
///
/// # Errors
/// INVALID.
pub unsafe fn list<'h, T>(raw: *const T, len: u32) -> Result<&'h [T]> {
    match len {
        0 => Ok(&[]),
        _ if raw.is_null() => Err(invalid("a list is missing")),
        // SAFETY: it has `len` elements, by the contract.
        len => Ok(unsafe { core::slice::from_raw_parts(raw, len as usize) }),
    }
}

/// Drops the object of a handle; null does nothing.
///
/// # Safety
/// `handle` is null, or was made by [`give`] for a `T` and is not used afterwards.
pub unsafe fn free<T>(handle: *mut Opaque) {
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

/// The host's log.
pub struct Log<'h>(&'h ffi::Host);

impl Log<'_> {
    /// Logs a warning.
    pub fn warn(&self, message: &str) {
        let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
        // SAFETY: the host's function with the host's context, by the contract.
        unsafe { (self.0.log)(self.0.context, 1, message.as_ptr()) };
    }
}

unsafe extern "C" fn init<P: Plugin>(
    host: *const ffi::Host,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: by the contract.
    unsafe { entry(error, || P::init(&Log(given(host)?))) }
}

unsafe extern "C" fn device_count<P: Plugin>() -> u32 {
    // A panic can't be reported here.
    no_panic(|| Ok(P::device_count())).unwrap_or(0)
}

unsafe extern "C" fn device_open<P: Plugin>(
    index: u32,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        if index >= P::device_count() {
            return Err(invalid(format!("there is no device {index}")));
        }
        Ok(Arc::new(Opened::new(P::open(index)?, P::NAME, P::VERSION)))
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn device_close<D: Device>(device: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Arc<Opened<D>>>(device) }
}

unsafe extern "C" fn device_info<D: Device>(
    device: *mut Opaque,
    info: *mut ffi::DeviceInfo,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let (opened, hdr) = unsafe {
            (
                of::<Arc<Opened<D>>>(device)?,
                info.cast::<ffi::Hdr>().as_ref(),
            )
        };
        // A host of version 1.0 has a smaller struct.
        let hdr = hdr.filter(|hdr| hdr.struct_size as usize >= ffi::DeviceInfo::SIZE_1_0);
        let hdr = *hdr.ok_or_else(too_small)?;
        let made = ffi::DeviceInfo {
            hdr,
            ..opened.info()
        };
        let bytes = size_of::<ffi::DeviceInfo>().min(hdr.struct_size as usize);
        let made = core::ptr::from_ref(&made).cast::<u8>();
        // SAFETY: the host's struct has so many bytes, by its header.
        unsafe { core::ptr::copy_nonoverlapping(made, info.cast(), bytes) };
        Ok(())
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

unsafe extern "C" fn inject<D: Device>(
    device: *mut Opaque,
    fault: *const c_char,
    after: u32,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let opened = unsafe { of::<Arc<Opened<D>>>(device) }?;
        let inject = D::INJECT.ok_or_else(|| invalid("this plug-in has no faults"))?;
        if fault.is_null() {
            return Err(invalid("a fault is missing"));
        }
        // SAFETY: a string that ends in zero, by the contract.
        let fault = unsafe { CStr::from_ptr(fault) }.to_string_lossy();
        inject(&opened.device, &fault, after)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

// ---- programs -----------------------------------------------------------------------

unsafe extern "C" fn claim<D: Device>(
    device: *mut Opaque,
    graph: *const ffi::Graph,
    claims: *const *mut ffi::Claim,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let (device, graph) = unsafe { (of::<Arc<Opened<D>>>(device)?, Graph::read(graph)?) };
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

unsafe extern "C" fn compile<D: Device>(
    device: *mut Opaque,
    graph: *const ffi::Graph,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        // SAFETY: by the contract.
        let (device, graph) = unsafe { (of::<Arc<Opened<D>>>(device)?, Graph::read(graph)?) };
        Ok(Arc::new(Compiled::compile(device, &graph)?))
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn program_save<D: Device>(
    program: *mut Opaque,
    blob: *mut c_void,
    size: *mut usize,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let (program, size) = unsafe { (of::<Arc<Compiled<D>>>(program)?, size.as_mut()) };
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

unsafe extern "C" fn program_load<D: Device>(
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
        let device = unsafe { of::<Arc<Opened<D>>>(device) }?;
        Ok(Arc::new(Compiled::load(device, blob)?))
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn program_free<D: Device>(program: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Arc<Compiled<D>>>(program) }
}

// ---- sessions and jobs --------------------------------------------------------------

unsafe extern "C" fn session_new<D: Device>(
    programs: *const *mut Opaque,
    n: u32,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        // SAFETY: by the contract.
        let programs = unsafe { list(programs, n) }?.iter();
        // SAFETY: by the contract.
        let programs =
            programs.map(|&program| Ok(unsafe { of::<Arc<Compiled<D>>>(program) }?.clone()));
        Session::new(programs.collect::<Result<_>>()?)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn session_free<D: Device>(session: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Session<D>>(session) }
}

unsafe extern "C" fn buffer_import<D: Device>(
    device: *mut Opaque,
    memory: *const ffi::Mem,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        // SAFETY: by the contract.
        let (device, memory) = unsafe { (of::<Arc<Opened<D>>>(device)?, given(memory)?) };
        Buffer::import(device, memory)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn buffer_release<D: Device>(buffer: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Buffer<D>>(buffer) }
}

unsafe extern "C" fn submit<D: Device>(
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
        let (session, bindings) = unsafe { (of::<Session<D>>(session)?, list(bindings, n)?) };
        // SAFETY: by the contract.
        let bindings = bindings.iter().map(|&raw| unsafe { binding(raw) });
        session.submit(program, &bindings.collect::<Result<Vec<_>>>()?, deadline)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe fn binding<'b, D: Device>(raw: *const ffi::Binding) -> Result<Binding<'b, D>> {
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

/// Reports the time; the crate's devices measure no energy and no heat.
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
