//! Runs programs: memory that host and device share, sessions on a device, and jobs.

use super::device::Delegate;
use super::error::{Code, DelegateError, Stage};
use super::ffi::{self, Opaque};
use super::plugin::{Result, call, check, not_null};
use super::program::Program;
use core::ptr;
use core::time::Duration;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::format;
use std::vec::Vec;

/// The alignment of memory that is given to a device: a page.
const ALIGN: usize = 4096;

/// Memory that is imported into a device.
pub struct Buffer {
    device: Delegate,
    raw: *mut Opaque,
    start: *mut u8,
    bytes: usize,
    /// For memory that the buffer owns.
    owned: Option<Layout>,
}

// SAFETY: it owns its memory, or has it alone by the promise of [`Buffer::import`]; the
// contract lets any thread use the handle.
unsafe impl Send for Buffer {}
// SAFETY: a shared reference gives read access only.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Allocates `floats` floats, all zero, that the device can read and write.
    ///
    /// # Errors
    /// Those of [`Stage::Session`].
    pub fn new(device: &Delegate, floats: usize) -> Result<Buffer> {
        let bytes = floats.max(1).checked_mul(4);
        let layout = bytes.and_then(|bytes| Layout::from_size_align(bytes, ALIGN).ok());
        let refused = || {
            let message = format!("can't allocate {floats} floats for host and device");
            DelegateError::found(Stage::Session, Code::NoMemory, message)
        };
        let layout = layout.ok_or_else(refused)?;
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(refused());
        }
        let buffer = Buffer {
            device: device.clone(),
            raw: ptr::null_mut(),
            start,
            bytes: layout.size(),
            owned: Some(layout),
        };
        buffer.imported()
    }

    /// Imports `bytes` bytes of the caller's memory from `start` on. `start` is aligned to
    /// 4096 bytes.
    ///
    /// # Safety
    /// The memory is readable, writable and initialized, it lives longer than the buffer,
    /// and until then nothing uses it but through the buffer. Another process may use the
    /// memory while no reference to the floats exists.
    ///
    /// # Errors
    /// Those of [`Stage::Session`].
    pub unsafe fn import(device: &Delegate, start: *mut u8, bytes: usize) -> Result<Buffer> {
        let buffer = Buffer {
            device: device.clone(),
            raw: ptr::null_mut(),
            start,
            bytes,
            owned: None,
        };
        buffer.imported()
    }

    fn imported(mut self) -> Result<Buffer> {
        let memory = ffi::Mem {
            hdr: ffi::Hdr::of::<ffi::Mem>(),
            kind: ffi::MEM_HOST,
            access: ffi::HOST_READ | ffi::HOST_WRITE | ffi::DEVICE_READ | ffi::DEVICE_WRITE,
            ptr: self.start.cast(),
            fd: -1,
            offset: 0,
            size: self.bytes as u64,
            align: ALIGN as u64,
        };
        let device = self.device.clone();
        // SAFETY: the memory lives until the buffer is released.
        check(Stage::Session, |error| unsafe {
            call!(
                device.0.api,
                buffer_import(device.0.raw, &memory, &mut self.raw, error)
            )
        })?;
        not_null(Stage::Session, self.raw)?;
        Ok(self)
    }

    /// The floats. A running job may change them: read them after it has ended.
    pub fn floats(&self) -> &[f32] {
        // SAFETY: the block has this length. Callers read outputs only after the job
        // has ended.
        unsafe { core::slice::from_raw_parts(self.start.cast(), self.bytes / 4) }
    }

    /// The floats, to write while no job uses them.
    pub fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: the block has this length. Callers write inputs only while no job uses
        // them.
        unsafe { core::slice::from_raw_parts_mut(self.start.cast(), self.bytes / 4) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the handle is null or was imported once. After its release no one
        // else uses the memory.
        unsafe {
            call!(self.device.0.api, buffer_release(self.raw));
            if let Some(layout) = self.owned {
                dealloc(self.start, layout);
            }
        }
    }
}

/// The memory of a program's tensor: from float `offset` of a buffer on.
pub struct Place<'b> {
    /// Index of the input or output in the segment.
    pub tensor: usize,
    /// The buffer.
    pub buffer: &'b Buffer,
    /// Offset in floats.
    pub offset: usize,
}

/// What a device measured for one job; `None` for what it does not measure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Metrics {
    /// Execution time on the device.
    pub time: Option<Duration>,
    /// Energy in microjoules.
    pub energy_uj: Option<u64>,
    /// Temperature in thousandths of a degree Celsius.
    pub temperature_mc: Option<i32>,
    /// Whether the device ran slower because of heat.
    pub throttled: Option<bool>,
}

/// A session on a device: programs that run one after another.
pub struct DeviceSession {
    programs: Vec<Program>,
    raw: *mut Opaque,
    /// The bindings of the current call, kept so that a submit allocates nothing.
    bindings: Vec<ffi::Binding>,
    binding_list: Vec<*const ffi::Binding>,
}

/// Number of bindings for which a session has room without allocating.
const VALUES: usize = 16;

// SAFETY: the contract lets any thread use a session, one thread at a time.
unsafe impl Send for DeviceSession {}
// SAFETY: a shared reference has no methods that use the handle.
unsafe impl Sync for DeviceSession {}

impl DeviceSession {
    /// Makes a session of at least one program, all of the same device.
    ///
    /// # Errors
    /// Those of [`Stage::Session`].
    pub fn new(programs: Vec<Program>) -> Result<DeviceSession> {
        let Some(first) = programs.first() else {
            let message = "a session needs a program";
            return Err(DelegateError::found(Stage::Session, Code::Invalid, message));
        };
        let list: Vec<*mut Opaque> = programs.iter().map(|program| program.0.raw).collect();
        let mut raw = ptr::null_mut();
        // SAFETY: the list lives during the call; the session keeps the programs.
        check(Stage::Session, |error| unsafe {
            let api = &first.0.device.0.api;
            call!(
                api,
                session_new(list.as_ptr(), list.len() as u32, &mut raw, error)
            )
        })?;
        Ok(DeviceSession {
            raw: not_null(Stage::Session, raw)?,
            programs,
            bindings: Vec::with_capacity(VALUES),
            binding_list: Vec::with_capacity(VALUES),
        })
    }

    fn api(&self) -> &ffi::Api {
        &self.programs[0].0.device.0.api
    }

    /// Starts a program. The device should give up after `deadline`.
    ///
    /// # Safety
    /// The buffers live, and nothing else uses them, until [`Job::wait`] returns an
    /// outcome or the session is dropped.
    ///
    /// # Errors
    /// Those of [`Stage::Submit`].
    pub unsafe fn submit<'b>(
        &mut self,
        program: usize,
        places: impl Iterator<Item = Place<'b>>,
        deadline: Duration,
    ) -> Result<Job> {
        self.bind(places);
        let (list, len) = (self.binding_list.as_ptr(), self.binding_list.len() as u32);
        let (program, deadline) = (program as u32, nanoseconds(deadline));
        let mut raw = ptr::null_mut();
        // SAFETY: the bindings live during the call; the caller keeps the buffers
        // alive.
        check(Stage::Submit, |error| unsafe {
            call!(
                self.api(),
                submit(self.raw, program, list, len, deadline, &mut raw, error)
            )
        })?;
        let raw = not_null(Stage::Submit, raw)?;
        let device = self.programs[0].0.device.clone();
        Ok(Job { device, raw })
    }

    fn bind<'b>(&mut self, places: impl Iterator<Item = Place<'b>>) {
        self.bindings.clear();
        self.bindings.extend(places.map(|place| ffi::Binding {
            hdr: ffi::Hdr::of::<ffi::Binding>(),
            tensor: place.tensor as u32,
            buffer: place.buffer.raw,
            offset: place.offset as u64 * 4,
        }));
        self.binding_list.clear();
        self.binding_list
            .extend(self.bindings.iter().map(ptr::from_ref));
    }
}

impl Drop for DeviceSession {
    fn drop(&mut self) {
        // SAFETY: the session was made once.
        unsafe { call!(self.api(), session_free(self.raw)) }
    }
}

/// A started program. Drop it only after it has ended, or after its session is dropped.
pub struct Job {
    device: Delegate,
    raw: *mut Opaque,
}

// SAFETY: the contract lets any thread wait for a job.
unsafe impl Send for Job {}
// SAFETY: a shared reference has no methods that use the handle.
unsafe impl Sync for Job {}

/// The state of a job.
pub enum Outcome {
    /// It has ended and all outputs are written.
    Done(Metrics),
    /// It has ended with an error.
    Failed(DelegateError),
    /// It still runs.
    Running,
    /// Unknown, because the wait itself failed.
    Stuck(DelegateError),
}

impl Job {
    /// Waits for the job to end, for at most `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Outcome {
        let mut metrics = ffi::Metrics {
            hdr: ffi::Hdr::of::<ffi::Metrics>(),
            measured: 0,
            throttled: 0,
            exec_ns: 0,
            energy_uj: 0,
            temperature_mc: 0,
        };
        let (timeout, mut over) = (nanoseconds(timeout), 0);
        // SAFETY: number and struct live during the call.
        let status = check(Stage::Wait, |error| unsafe {
            let api = &self.device.0.api;
            call!(
                api,
                job_wait(self.raw, timeout, &mut over, &mut metrics, error)
            )
        });
        match status {
            Ok(()) if over == 0 => Outcome::Running,
            Ok(()) => Outcome::Done(Metrics::from_raw(&metrics)),
            Err(error) if over == 0 => Outcome::Stuck(error),
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Asks the job to end soon. [`Job::wait`] reports when it has ended.
    ///
    /// # Errors
    /// Those of [`Stage::Wait`].
    pub fn cancel(&mut self) -> Result<()> {
        // SAFETY: the job is not freed.
        check(Stage::Wait, |error| unsafe {
            call!(self.device.0.api, job_cancel(self.raw, error))
        })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: the job was started once.
        unsafe { call!(self.device.0.api, job_free(self.raw)) }
    }
}

impl Metrics {
    fn from_raw(raw: &ffi::Metrics) -> Metrics {
        let has = |what: u32| raw.measured & what != 0;
        Metrics {
            time: has(ffi::MEASURED_TIME).then(|| Duration::from_nanos(raw.exec_ns)),
            energy_uj: has(ffi::MEASURED_ENERGY).then_some(raw.energy_uj),
            temperature_mc: has(ffi::MEASURED_TEMPERATURE).then_some(raw.temperature_mc),
            throttled: has(ffi::MEASURED_THROTTLING).then_some(raw.throttled != 0),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
