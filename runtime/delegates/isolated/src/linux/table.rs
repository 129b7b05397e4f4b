//! The table of functions that the host calls: each sends its call to the helper.
//!
//! The SAFETY comments here rely on the contract of `ondol_npu.h`: arguments are null or
//! what the header says, and live during the call; handles come from this table and are
//! freed once.

use super::device::{self, Device, Pending, Program};
use super::message::Opened;
use super::session::{Binding, Buffer, Job, Session};
use core::ffi::{CStr, c_char, c_void};
use ondol::delegate::ffi::{self, Opaque};
use ondol_plugin::handle::{entry, free, give, given, list, of, put};
use ondol_plugin::{Result, invalid};
use std::cell::RefCell;
use std::ffi::CString;
use std::ptr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

thread_local! {
    /// The device that this thread opens: `get_api` and `device_open` take no argument
    /// that could name it.
    pub static PENDING: RefCell<Option<Pending>> = const { RefCell::new(None) };
}

/// Gives the table of the plug-in whose device is pending.
pub unsafe extern "C" fn get_api(
    _major: u32,
    _minor: u32,
    out: *mut *const ffi::Api,
) -> ffi::Status {
    let table = || {
        PENDING.with_borrow(|pending| {
            let pending = pending.as_ref().ok_or_else(no_device)?;
            // SAFETY: by the contract.
            unsafe { put(out, ptr::from_ref(api_of(&pending.opened))) }
        })
    };
    // SAFETY: there is no error to fill in.
    unsafe { entry(ptr::null_mut(), table) }
}

fn no_device() -> ondol_plugin::Failure {
    invalid("no device is pending on this thread")
}

/// The table for a plug-in of these names. Tables live as long as the process, so each is
/// made once.
fn api_of(opened: &Opened) -> &'static ffi::Api {
    static TABLES: Mutex<Vec<&'static Table>> = Mutex::new(Vec::new());
    let names = opened
        .plugin
        .clone()
        .map(|name| CString::new(name).unwrap_or_default());
    let mut tables = super::helper::lock(&TABLES);
    let is_it = |table: &&&Table| {
        table.names == names && table.api.inject.is_some() == opened.injects_faults
    };
    if let Some(table) = tables.iter().find(is_it) {
        return &table.api;
    }
    let table: &Table = Box::leak(Box::new(Table::new(names, opened.injects_faults)));
    tables.push(table);
    &table.api
}

struct Table {
    names: [CString; 3],
    api: ffi::Api,
}

// SAFETY: it is never written, and its pointers lead to its own names.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

impl Table {
    fn new(names: [CString; 3], injects_faults: bool) -> Table {
        Table {
            api: ffi::Api {
                hdr: ffi::Hdr::of::<ffi::Api>(),
                name: names[0].as_ptr(),
                version: names[1].as_ptr(),
                licence: names[2].as_ptr(),
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
                inject: match injects_faults {
                    true => Some(inject),
                    false => None,
                },
            },
            names,
        }
    }
}

// ---- the device ---------------------------------------------------------------------

/// The helper's host has given its log to the plug-in.
unsafe extern "C" fn init(_host: *const ffi::Host, _error: *mut ffi::Error) -> ffi::Status {
    ffi::OK
}

unsafe extern "C" fn device_count() -> u32 {
    1
}

unsafe extern "C" fn device_open(
    _index: u32,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        PENDING
            .take()
            .ok_or_else(no_device)
            .and_then(Device::new)
            .map(Arc::new)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
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
            let hdr = given(info.cast_const())?.hdr;
            let found = of::<Arc<Device>>(device)?.info()?;
            put(info, ffi::DeviceInfo { hdr, ..found })
        }
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

unsafe extern "C" fn inject(
    device: *mut Opaque,
    fault: *const c_char,
    after: u32,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        if fault.is_null() {
            return Err(invalid("a fault is missing"));
        }
        // SAFETY: by the contract.
        let (device, fault) = unsafe { (of::<Arc<Device>>(device)?, CStr::from_ptr(fault)) };
        device.inject(&fault.to_string_lossy(), after)
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
        unsafe {
            let (device, graph) = (of::<Arc<Device>>(device)?, given(graph)?);
            let claims = list(claims, graph.n_nodes)?;
            for (&claim, reason) in claims.iter().zip(device.claim(graph)?) {
                given(claim.cast_const())?;
                device::fill_claim(&mut *claim, reason.as_deref());
            }
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
        unsafe { Program::compile(of::<Arc<Device>>(device)?, given(graph)?).map(Arc::new) }
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
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), blob.cast(), bytes.len()) };
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
        if blob.is_null() {
            return Err(invalid("no bytes of a program"));
        }
        // SAFETY: by the contract.
        let (device, blob) = unsafe {
            let blob = core::slice::from_raw_parts(blob.cast::<u8>(), size);
            (of::<Arc<Device>>(device)?, blob)
        };
        Program::load(device, blob).map(Arc::new)
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
        let programs: Vec<Arc<Program>> = programs.collect::<Result<_>>()?;
        Session::new(&programs).map(Arc::new)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn session_free(session: *mut Opaque) {
    // SAFETY: by the contract.
    if let Ok(session) = unsafe { of::<Arc<Session>>(session) } {
        session.end();
    }
    // SAFETY: by the contract.
    unsafe { free::<Arc<Session>>(session) }
}

/// The plug-in imports the shared memory in place of the host's.
unsafe extern "C" fn buffer_import(
    _device: *mut Opaque,
    memory: *const ffi::Mem,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: by the contract.
    let make = || Buffer::import(unsafe { given(memory) }?);
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
    let make = || {
        // SAFETY: by the contract.
        let (session, bindings) = unsafe { (of::<Arc<Session>>(session)?, list(bindings, n)?) };
        // SAFETY: by the contract.
        let bindings = bindings.iter().map(|&raw| unsafe { binding(raw) });
        let bindings = bindings.collect::<Result<Vec<_>>>()?;
        // SAFETY: the host's buffers live until the job has ended, by the contract.
        unsafe {
            Job::start(
                session,
                program,
                &bindings,
                Duration::from_nanos(deadline_ns),
            )
        }
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
        let job = unsafe { of::<Job>(job) }?;
        if !metrics.is_null() {
            // SAFETY: by the contract.
            unsafe { given(metrics.cast_const()) }?;
        }
        let outcome = job.wait(Duration::from_nanos(timeout_ns));
        // SAFETY: by the contract.
        unsafe { put(ended, u32::from(job.has_ended())) }?;
        let measured = outcome?;
        // SAFETY: by the contract.
        if let Some(metrics) = unsafe { metrics.as_mut() } {
            measured.fill(metrics);
        }
        Ok(())
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

unsafe extern "C" fn job_cancel(job: *mut Opaque, error: *mut ffi::Error) -> ffi::Status {
    // SAFETY: by the contract.
    unsafe { entry(error, || of::<Job>(job)?.cancel()) }
}

unsafe extern "C" fn job_free(job: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Job>(job) }
}
