//! The table of `ondol_npu.h` over the objects of a plug-in.
//!
//! Each function of the table reads its arguments, calls one function of [`Objects`],
//! and turns its result into a status. No panic leaves it.
//!
//! The SAFETY comments here rely on the contract of `ondol_npu.h`: arguments are null
//! or what the header says, and live during the call; handles come from this table and
//! are freed once.

use crate::failure::{Result, entry, invalid, no_panic, write_text};
use crate::handle::{free, give, given, list, of, put, too_small};
use crate::strings::c_string;
use core::ffi::{CStr, c_char, c_void};
use core::time::Duration;
use ondol::delegate::Metrics;
use ondol::delegate::ffi::{self, Opaque};
use std::sync::{Mutex, PoisonError};

/// The objects behind the handles, and what the functions of the table do with them. [`Plugin`]
/// is simpler; this is for a plug-in that must see the host's calls as they are.
///
/// [`Plugin`]: crate::Plugin
pub trait Objects: 'static {
    /// An open device.
    type Device;
    /// A compiled graph; a clone is the same program.
    type Program: Clone;
    /// Programs that run one after another.
    type Session;
    /// Memory of the host.
    type Buffer;
    /// A started program.
    type Job;

    /// Loads what the plug-in needs.
    ///
    /// # Errors
    /// If the plug-in can't be used on this machine.
    fn init(host: &ffi::Host) -> Result<()>;

    /// The number of devices.
    fn device_count() -> u32;

    /// Opens a device.
    ///
    /// # Errors
    /// If there is no device of this index, or it can't be used.
    fn open(index: u32) -> Result<Self::Device>;

    /// Describes a device. Lists in it live as long as the device.
    ///
    /// # Errors
    /// If the device can't be asked.
    fn info(device: &Self::Device) -> Result<ffi::DeviceInfo>;

    /// Arms a fault ([`crate::Inject`]): `after` submits still succeed before one fails.
    ///
    /// # Errors
    /// UNSUPPORTED for a fault that the plug-in does not have.
    fn inject(device: &Self::Device, fault: &str, after: u32) -> Result<()>;

    /// Resets a device that is lost.
    ///
    /// # Errors
    /// If it can't be reset.
    fn reset(device: &Self::Device) -> Result<()>;

    /// For each node the reason why the device does not take it, or `None`.
    ///
    /// # Safety
    /// `graph` is null or keeps the contract.
    ///
    /// # Errors
    /// INVALID if the graph is null or broken.
    unsafe fn claim(device: &Self::Device, graph: *const ffi::Graph)
    -> Result<Vec<Option<String>>>;

    /// Compiles a graph.
    ///
    /// # Safety
    /// As for [`Objects::claim`].
    ///
    /// # Errors
    /// INVALID for a broken graph, UNSUPPORTED for one that the device does not take; if the
    /// device fails.
    unsafe fn compile(device: &Self::Device, graph: *const ffi::Graph) -> Result<Self::Program>;

    /// A program as bytes for [`Objects::load`].
    ///
    /// # Errors
    /// If the program can't be saved.
    fn save(program: &Self::Program) -> Result<Vec<u8>>;

    /// Loads a saved program.
    ///
    /// # Errors
    /// CORRUPT or INCOMPATIBLE for any other bytes.
    fn load(device: &Self::Device, blob: &[u8]) -> Result<Self::Program>;

    /// Makes a session.
    ///
    /// # Errors
    /// INVALID without programs; if the device refuses.
    fn session(programs: Vec<Self::Program>) -> Result<Self::Session>;

    /// Ends all jobs of a session that is about to be dropped.
    fn end(_session: &Self::Session) {}

    /// Imports memory of the host.
    ///
    /// # Errors
    /// UNSUPPORTED for other kinds of memory than the host's; INVALID if the memory is wrong.
    fn import(device: &Self::Device, memory: &ffi::Mem) -> Result<Self::Buffer>;

    /// Starts a program. A `deadline` of zero is none.
    ///
    /// # Safety
    /// The buffers live, and nothing else uses them, until the job has ended.
    ///
    /// # Errors
    /// INVALID if bindings are missing or wrong; if the device refuses.
    unsafe fn submit(
        session: &Self::Session,
        program: u32,
        bindings: &[Binding<Self::Buffer>],
        deadline: Duration,
    ) -> Result<Self::Job>;

    /// Waits for a job to end, for at most `timeout`. Returns whether it has ended, and
    /// its outcome or a failure of the wait itself.
    fn wait(job: &Self::Job, timeout: Duration) -> (bool, Result<Metrics>);

    /// Asks a job to end soon.
    ///
    /// # Errors
    /// If the device can't be asked.
    fn cancel(job: &Self::Job) -> Result<()>;
}

/// The memory of an input or output, as the host states it.
pub struct Binding<'b, B> {
    /// Id of the tensor.
    pub tensor: u32,
    /// The buffer in which it lies.
    pub buffer: &'b B,
    /// Offset in the buffer in bytes.
    pub offset: u64,
}

/// Which of the functions that may be missing a plug-in has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Optional {
    /// [`Objects::inject`].
    pub inject: bool,
    /// [`Objects::reset`].
    pub reset: bool,
}

/// The table, for a plug-in of this name, version and licence.
pub const fn api<O: Objects>(names: [*const c_char; 3], has: Optional) -> ffi::Api {
    let [name, version, licence] = names;
    ffi::Api {
        hdr: ffi::Hdr::of::<ffi::Api>(),
        name,
        version,
        licence,
        init: Some(init::<O>),
        device_count: Some(device_count::<O>),
        device_open: Some(device_open::<O>),
        device_close: Some(device_close::<O>),
        device_info: Some(device_info::<O>),
        claim: Some(claim::<O>),
        compile: Some(compile::<O>),
        program_save: Some(program_save::<O>),
        program_load: Some(program_load::<O>),
        program_free: Some(program_free::<O>),
        session_new: Some(session_new::<O>),
        session_free: Some(session_free::<O>),
        buffer_import: Some(buffer_import::<O>),
        buffer_release: Some(buffer_release::<O>),
        submit: Some(submit::<O>),
        job_wait: Some(job_wait::<O>),
        job_cancel: Some(job_cancel::<O>),
        job_free: Some(job_free::<O>),
        inject: if has.inject { Some(inject::<O>) } else { None },
        reset: if has.reset { Some(reset::<O>) } else { None },
    }
}

// ---- the device ---------------------------------------------------------------------

/// The host's log.
pub struct Log<'h>(pub(crate) &'h ffi::Host);

impl Log<'_> {
    /// Logs a warning.
    pub fn warn(&self, message: &str) {
        let message = c_string(message);
        // SAFETY: the host's function with the host's context, by the contract.
        unsafe { (self.0.log)(self.0.context, 1, message.as_ptr()) };
    }
}

unsafe extern "C" fn init<O: Objects>(
    host: *const ffi::Host,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: by the contract.
    unsafe { entry(error, || O::init(given(host)?)) }
}

unsafe extern "C" fn device_count<O: Objects>() -> u32 {
    // A panic can't be reported here.
    no_panic(|| Ok(O::device_count())).unwrap_or(0)
}

unsafe extern "C" fn device_open<O: Objects>(
    index: u32,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, || O::open(index))) }
}

unsafe extern "C" fn device_close<O: Objects>(device: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<O::Device>(device) }
}

unsafe extern "C" fn device_info<O: Objects>(
    device: *mut Opaque,
    info: *mut ffi::DeviceInfo,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let (device, hdr) = unsafe { (of::<O::Device>(device)?, info.cast::<ffi::Hdr>().as_ref()) };
        // A host of version 1.0 has a smaller struct.
        let hdr = hdr.filter(|hdr| hdr.struct_size as usize >= ffi::DeviceInfo::SIZE_1_0);
        let hdr = *hdr.ok_or_else(too_small)?;
        let made = ffi::DeviceInfo {
            hdr,
            ..O::info(device)?
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

unsafe extern "C" fn inject<O: Objects>(
    device: *mut Opaque,
    fault: *const c_char,
    after: u32,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        if fault.is_null() {
            return Err(invalid("a fault is missing"));
        }
        // SAFETY: a handle, and a string that ends in zero, by the contract.
        let (device, fault) = unsafe { (of::<O::Device>(device)?, CStr::from_ptr(fault)) };
        O::inject(device, &fault.to_string_lossy(), after)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

unsafe extern "C" fn reset<O: Objects>(device: *mut Opaque, error: *mut ffi::Error) -> ffi::Status {
    // SAFETY: by the contract.
    let call = || O::reset(unsafe { of::<O::Device>(device)? });
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

// ---- programs -----------------------------------------------------------------------

/// The object of a program's handle.
struct Kept<P> {
    program: P,
    /// The saved bytes, from the call that asks for their length to the call that
    /// fetches them.
    saved: Mutex<Option<Vec<u8>>>,
}

impl<P> Kept<P> {
    fn new(program: P) -> Kept<P> {
        Kept {
            program,
            saved: Mutex::new(None),
        }
    }
}

unsafe extern "C" fn claim<O: Objects>(
    device: *mut Opaque,
    graph: *const ffi::Graph,
    claims: *const *mut ffi::Claim,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let reasons = unsafe { O::claim(of::<O::Device>(device)?, graph) }?;
        // SAFETY: there is a claim for each node, by the contract.
        let claims = unsafe { list(claims, reasons.len() as u32) }?;
        for (&claim, reason) in claims.iter().zip(reasons) {
            // SAFETY: by the contract.
            let claim = unsafe {
                given(claim.cast_const())?;
                &mut *claim
            };
            claim.claimed = u32::from(reason.is_none());
            write_text(&mut claim.reason, &reason.unwrap_or_default());
        }
        Ok(())
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

unsafe extern "C" fn compile<O: Objects>(
    device: *mut Opaque,
    graph: *const ffi::Graph,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: by the contract.
    let make = || unsafe { O::compile(of::<O::Device>(device)?, graph).map(Kept::new) };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn program_save<O: Objects>(
    program: *mut Opaque,
    blob: *mut c_void,
    size: *mut usize,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let (kept, size) = unsafe { (of::<Kept<O::Program>>(program)?, size.as_mut()) };
        let size = size.ok_or_else(|| invalid("nowhere to put the length"))?;
        let mut saved = kept.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match saved.take() {
            Some(bytes) => bytes,
            None => O::save(&kept.program)?,
        };
        let capacity = core::mem::replace(size, bytes.len());
        if blob.is_null() {
            *saved = Some(bytes);
            return Ok(());
        }
        if capacity < bytes.len() {
            let message = format!("the program takes {} bytes", bytes.len());
            *saved = Some(bytes);
            return Err(invalid(message));
        }
        // SAFETY: the host has room for this many bytes.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), blob.cast(), bytes.len()) };
        Ok(())
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

unsafe extern "C" fn program_load<O: Objects>(
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
        O::load(unsafe { of::<O::Device>(device) }?, blob).map(Kept::new)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn program_free<O: Objects>(program: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<Kept<O::Program>>(program) }
}

// ---- sessions and jobs --------------------------------------------------------------

unsafe extern "C" fn session_new<O: Objects>(
    programs: *const *mut Opaque,
    n: u32,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    let make = || {
        // SAFETY: by the contract.
        let programs = unsafe { list(programs, n) }?.iter();
        // SAFETY: by the contract.
        let kept = programs.map(|&program| unsafe { of::<Kept<O::Program>>(program) });
        let programs = kept.map(|kept| Ok(kept?.program.clone()));
        O::session(programs.collect::<Result<_>>()?)
    };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn session_free<O: Objects>(session: *mut Opaque) {
    // SAFETY: by the contract.
    if let Ok(session) = unsafe { of::<O::Session>(session) } {
        // A panic can't be reported here.
        let _ = no_panic(|| {
            O::end(session);
            Ok(())
        });
    }
    // SAFETY: by the contract.
    unsafe { free::<O::Session>(session) }
}

unsafe extern "C" fn buffer_import<O: Objects>(
    device: *mut Opaque,
    memory: *const ffi::Mem,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: by the contract.
    let make = || unsafe { O::import(of::<O::Device>(device)?, given(memory)?) };
    // SAFETY: by the contract.
    unsafe { entry(error, || give(out, make)) }
}

unsafe extern "C" fn buffer_release<O: Objects>(buffer: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<O::Buffer>(buffer) }
}

unsafe extern "C" fn submit<O: Objects>(
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
        let (session, bindings) = unsafe { (of::<O::Session>(session)?, list(bindings, n)?) };
        // SAFETY: by the contract.
        let bindings = bindings.iter().map(|&raw| unsafe { binding(raw) });
        let bindings = bindings.collect::<Result<Vec<_>>>()?;
        // SAFETY: the host's buffers live until the job has ended, by the contract.
        unsafe {
            O::submit(
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

unsafe fn binding<'b, B>(raw: *const ffi::Binding) -> Result<Binding<'b, B>> {
    // SAFETY: by the contract.
    let raw = unsafe { given(raw) }?;
    Ok(Binding {
        tensor: raw.tensor,
        // SAFETY: by the contract.
        buffer: unsafe { of(raw.buffer) }?,
        offset: raw.offset,
    })
}

unsafe extern "C" fn job_wait<O: Objects>(
    job: *mut Opaque,
    timeout_ns: u64,
    ended: *mut u32,
    metrics: *mut ffi::Metrics,
    error: *mut ffi::Error,
) -> ffi::Status {
    let call = || {
        // SAFETY: by the contract.
        let job = unsafe { of::<O::Job>(job) }?;
        if !metrics.is_null() {
            // SAFETY: by the contract.
            unsafe { given(metrics.cast_const()) }?;
        }
        // Written before the wait, whose result would be lost if `ended` were null.
        // SAFETY: by the contract.
        unsafe { put(ended, 0) }?;
        let (has_ended, outcome) = O::wait(job, Duration::from_nanos(timeout_ns));
        // SAFETY: by the contract.
        unsafe { put(ended, u32::from(has_ended)) }?;
        let measured = outcome?;
        // SAFETY: by the contract.
        if let Some(metrics) = unsafe { metrics.as_mut() } {
            fill(metrics, &measured);
        }
        Ok(())
    };
    // SAFETY: by the contract.
    unsafe { entry(error, call) }
}

/// Writes what the device measured into the host's struct.
fn fill(metrics: &mut ffi::Metrics, measured: &Metrics) {
    let flag = |is: bool, flag| if is { flag } else { 0 };
    metrics.measured = flag(measured.time.is_some(), ffi::MEASURED_TIME)
        | flag(measured.energy_uj.is_some(), ffi::MEASURED_ENERGY)
        | flag(measured.temperature_mc.is_some(), ffi::MEASURED_TEMPERATURE)
        | flag(measured.throttled.is_some(), ffi::MEASURED_THROTTLING);
    metrics.throttled = u32::from(measured.throttled.unwrap_or_default());
    let nanoseconds = measured.time.unwrap_or_default().as_nanos();
    metrics.exec_ns = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
    metrics.energy_uj = measured.energy_uj.unwrap_or_default();
    metrics.temperature_mc = measured.temperature_mc.unwrap_or_default();
}

unsafe extern "C" fn job_cancel<O: Objects>(
    job: *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: by the contract.
    unsafe { entry(error, || O::cancel(of::<O::Job>(job)?)) }
}

unsafe extern "C" fn job_free<O: Objects>(job: *mut Opaque) {
    // SAFETY: by the contract.
    unsafe { free::<O::Job>(job) }
}
