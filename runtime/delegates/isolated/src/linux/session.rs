//! The host's objects of a session, its memory and its jobs.

use super::channel::Channel;
use super::device::{Device, Program, no_memory};
use super::helper::{GRACE, LONG, SHORT, lock};
use super::message::{Measured, Request, SessionProgram, Waited};
use super::zone::{Memory, Slot, Value, layout};
use ondol::delegate::{Code, ffi};
use ondol_plugin::raw::Binding;
use ondol_plugin::{Failure, Result, invalid};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Memory of the host. The plug-in does not see it: values are copied.
pub struct Buffer {
    start: *mut u8,
    bytes: u64,
}

impl Buffer {
    /// Remembers the address and size of the memory.
    ///
    /// # Errors
    /// UNSUPPORTED for other kinds of memory; INVALID without memory.
    pub fn import(memory: &ffi::Mem) -> Result<Buffer> {
        if memory.kind != ffi::MEM_HOST {
            let message = format!("memory of kind {} in another process", memory.kind);
            return Err(Failure::new(Code::Unsupported, message));
        }
        match memory.ptr.is_null() {
            true => Err(invalid("the memory is missing")),
            false => Ok(Buffer {
                start: memory.ptr.cast::<u8>().wrapping_add(memory.offset as usize),
                bytes: memory.size,
            }),
        }
    }
}

/// Programs that run one after another, over a connection of their own.
pub struct Session {
    device: Arc<Device>,
    channel: Mutex<Channel>,
    memory: Memory,
    programs: Vec<(Arc<Program>, Vec<Slot>)>,
    /// Whether a job uses the memory.
    is_busy: AtomicBool,
}

impl Session {
    /// Makes a session of programs of one device.
    ///
    /// # Errors
    /// INVALID without programs; NO_MEMORY; those of the plug-in; DEVICE_LOST.
    pub fn new(programs: &[Arc<Program>]) -> Result<Session> {
        let first = programs
            .first()
            .ok_or_else(|| invalid("a session without programs"))?;
        let values: Vec<&[Value]> = programs.iter().map(|program| &program.values[..]).collect();
        let too_large = || Failure::new(Code::NoMemory, "values larger than the address space");
        let (zones, slots) = layout(&values).ok_or_else(too_large)?;
        let memory = Memory::new(zones.clone()).map_err(no_memory)?;
        let request = Request::Session {
            programs: programs
                .iter()
                .zip(&slots)
                .map(|(program, slots)| SessionProgram {
                    id: program.id,
                    slots: slots.clone(),
                })
                .collect(),
            zones,
        };
        let helper = &first.device.helper;
        let mut channel = helper.connect()?;
        helper.call_over::<()>(&mut channel, &request, Some(&memory.file), SHORT)?;
        Ok(Session {
            device: first.device.clone(),
            channel: Mutex::new(channel),
            memory,
            programs: programs.iter().cloned().zip(slots).collect(),
            is_busy: AtomicBool::new(false),
        })
    }

    /// Ends all jobs and frees the session in the helper.
    pub fn end(&self) {
        // If the helper is gone, there is no session to free.
        let _ = self.call::<()>(&Request::FreeSession, SHORT);
    }

    fn call<T: DeserializeOwned>(&self, request: &Request, limit: Duration) -> Result<T> {
        let mut channel = lock(&self.channel);
        let none = None::<&File>;
        let (answer, _) = self
            .device
            .helper
            .call_over(&mut channel, request, none, limit)?;
        Ok(answer)
    }
}

/// A started program.
pub struct Job {
    session: Arc<Session>,
    outputs: Vec<Bound>,
    has_ended: AtomicBool,
}

/// The host's memory of a value.
struct Bound {
    zone: usize,
    start: *mut u8,
}

// SAFETY: the contract lets the job use the host's memory until it has ended.
unsafe impl Send for Job {}
// SAFETY: what changes is atomic or behind the lock of the session.
unsafe impl Sync for Job {}

impl Job {
    /// Copies the inputs and starts a program.
    ///
    /// # Safety
    /// The buffers live, and nothing else uses them, until the job has ended.
    ///
    /// # Errors
    /// INVALID if bindings are missing or wrong; BUSY while another job of the session
    /// runs; those of the plug-in; DEVICE_LOST.
    pub unsafe fn start(
        session: &Arc<Session>,
        program: u32,
        bindings: &[Binding<Buffer>],
        deadline: Duration,
    ) -> Result<Job> {
        let found = session.programs.get(program as usize);
        let (of, slots) = found.ok_or_else(|| invalid(format!("there is no program {program}")))?;
        if session.is_busy.swap(true, Relaxed) {
            return Err(Failure::new(Code::Busy, "another job of the session runs"));
        }
        let job = Job {
            session: session.clone(),
            outputs: Vec::with_capacity(slots.len()),
            has_ended: AtomicBool::new(false),
        };
        job.started(&of.values, slots, bindings, program, deadline)
    }

    fn started(
        mut self,
        values: &[Value],
        slots: &[Slot],
        bindings: &[Binding<Buffer>],
        program: u32,
        deadline: Duration,
    ) -> Result<Job> {
        for (value, slot) in values.iter().zip(slots) {
            let (zone, start) = (slot.zone, bind(value, bindings)?);
            match value.is_output {
                true => self.outputs.push(Bound { zone, start }),
                // SAFETY: the value lies there, by the promise of `start`.
                false => unsafe { self.session.memory.write(zone, start) },
            }
        }
        let limit = match deadline {
            Duration::ZERO => LONG,
            deadline => deadline.saturating_add(GRACE),
        };
        self.session
            .call::<()>(&Request::Submit { program, deadline }, limit)?;
        Ok(self)
    }

    /// Waits for the job to end, and copies the outputs if it has gone well.
    ///
    /// # Errors
    /// The outcome of the job; CORRUPT if it wrote beyond an output; DEVICE_LOST.
    pub fn wait(&self, timeout: Duration) -> Result<Measured> {
        let limit = timeout.saturating_add(GRACE);
        let waited = self
            .session
            .call::<Waited>(&Request::Wait { timeout }, limit);
        // If the helper is gone, no job runs.
        let has_ended = waited.as_ref().map_or(true, |waited| waited.ended);
        if !has_ended {
            return Ok(waited?.outcome?);
        }
        self.ended();
        let measured = waited?.outcome?;
        for (i, output) in self.outputs.iter().enumerate() {
            self.session.memory.check(output.zone).map_err(|side| {
                let message = format!("the plug-in wrote {side} of output {i}");
                Failure::new(Code::Corrupt, message)
            })?;
        }
        for output in &self.outputs {
            // SAFETY: the host's memory has room for the value, as `bind` has checked.
            unsafe { self.session.memory.read(output.zone, output.start) };
        }
        Ok(measured)
    }

    fn ended(&self) {
        if !self.has_ended.swap(true, Relaxed) {
            self.session.is_busy.store(false, Relaxed);
        }
    }

    /// Whether the job has ended.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Relaxed)
    }

    /// Asks the job to end soon.
    ///
    /// # Errors
    /// Those of the plug-in; DEVICE_LOST.
    pub fn cancel(&self) -> Result<()> {
        self.session.call(&Request::Cancel, GRACE)
    }
}

impl Drop for Job {
    /// Called after the job has ended, or after a submit that failed.
    fn drop(&mut self) {
        self.ended();
    }
}

/// The host's memory of a value, if it is bound exactly once and large enough.
fn bind(value: &Value, bindings: &[Binding<Buffer>]) -> Result<*mut u8> {
    let wrong = |what: &str| invalid(format!("tensor {}: {what}", value.tensor));
    let mut bound = bindings
        .iter()
        .filter(|binding| binding.tensor == value.tensor);
    let (Some(binding), None) = (bound.next(), bound.next()) else {
        return Err(wrong("it is not bound, or bound twice"));
    };
    let Buffer { start, bytes } = *binding.buffer;
    if binding.offset > bytes || value.bytes > bytes - binding.offset {
        return Err(wrong("it goes beyond its buffer"));
    }
    Ok(start.wrapping_add(binding.offset as usize))
}
