//! Sessions. Each has a thread, which runs the session's jobs one after another.
//!
//! Programs ask at short intervals whether their job must end early, so cancelling and
//! deadlines only set and read flags.

use crate::device::Opened;
use crate::failure::{Failure, Result, invalid, no_panic};
use crate::graph::Value;
use crate::program::Compiled;
use crate::table::Binding;
use crate::{Device, Program};
use core::ops::Range;
use core::time::Duration;
use ondol::delegate::{Code, ffi};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Memory of the host that was imported for jobs.
pub struct Buffer<D> {
    opened: Arc<Opened<D>>,
    start: *mut u8,
    size: u64,
    access: u32,
}

impl<D> Buffer<D> {
    /// Imports memory of the host.
    ///
    /// # Errors
    /// UNSUPPORTED for other kinds of memory; INVALID if the memory is empty, not
    /// aligned or beyond the address space.
    pub fn import(opened: &Arc<Opened<D>>, memory: &ffi::Mem) -> Result<Buffer<D>> {
        if memory.kind != ffi::MEM_HOST {
            let message = format!("memory of kind {}", memory.kind);
            return Err(Failure::new(Code::Unsupported, message));
        }
        let start = memory.ptr as u64;
        if memory.ptr.is_null() || memory.size == 0 {
            return Err(invalid("the memory is empty"));
        }
        if !memory.align.is_power_of_two() || !start.is_multiple_of(memory.align) {
            return Err(invalid("the memory is not aligned as it says"));
        }
        let end = start.checked_add(memory.offset);
        let end = end.and_then(|start| start.checked_add(memory.size));
        if end.is_none_or(|end| usize::try_from(end).is_err()) {
            return Err(invalid("the memory goes beyond the last address"));
        }
        Ok(Buffer {
            opened: opened.clone(),
            start: memory.ptr.cast::<u8>().wrapping_add(memory.offset as usize),
            size: memory.size,
            access: memory.access,
        })
    }

    /// The address of the floats at `offset` (bytes), if `size` bytes lie there.
    fn floats(&self, offset: u64, size: u64) -> core::result::Result<*mut f32, &'static str> {
        if offset > self.size || size > self.size - offset {
            return Err("it goes beyond its buffer");
        }
        let floats = self.start.wrapping_add(offset as usize).cast::<f32>();
        match floats.is_aligned() {
            true => Ok(floats),
            false => Err("its floats are not aligned"),
        }
    }
}

/// Programs that run one after another.
pub struct Session<D: Device> {
    programs: Vec<Arc<Compiled<D>>>,
    queue: Option<Sender<Arc<Job>>>,
    closing: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

/// A started program.
pub struct Job {
    program: usize,
    /// The host's memory of inputs and outputs, in the order of the program's.
    inputs: Vec<Bound>,
    outputs: Vec<Bound>,
    deadline: Option<Instant>,
    cancelled: AtomicBool,
    end: Mutex<Option<End>>,
    ended: Condvar,
}

/// The host's memory of one value.
struct Bound {
    floats: *mut f32,
    len: usize,
}

/// The values of one job, `rows x cols` floats each.
pub struct Values<'v> {
    /// Rows of each value.
    pub rows: usize,
    /// Inputs, in ascending order of their ids in the graph.
    pub inputs: Vec<&'v [f32]>,
    /// Outputs, in ascending order of their ids in the graph.
    pub outputs: Vec<&'v mut [f32]>,
}

// SAFETY: the contract lets the device use the memory until the job has ended.
unsafe impl Send for Job {}
// SAFETY: fields that change are atomic or behind a lock.
unsafe impl Sync for Job {}

/// The end of a job.
#[derive(Clone)]
pub struct End {
    /// Its result.
    pub outcome: Result<()>,
    /// Time since its start on the device.
    pub time: Duration,
}

impl<D: Device> Session<D> {
    /// Makes a session of programs of one device.
    ///
    /// # Errors
    /// INVALID if there are no programs, or if they are of several devices; failures to
    /// start a thread or to make the programs' requests.
    pub fn new(programs: Vec<Arc<Compiled<D>>>) -> Result<Session<D>> {
        let none = || invalid("no programs, or programs of several devices");
        let opened = programs.first().map(|program| program.opened.clone());
        let opened = opened.ok_or_else(none)?;
        if !programs.iter().all(|p| Arc::ptr_eq(&p.opened, &opened)) {
            return Err(none());
        }
        let requests = programs.iter().map(|compiled| compiled.program.request());
        let mut worker = Worker {
            requests: requests.collect::<Result<_>>()?,
            programs: programs.clone(),
            closing: Arc::default(),
        };
        let closing = worker.closing.clone();
        let (queue, jobs) = channel();
        let thread = thread::Builder::new().name(format!("ondol-{}", opened.plugin));
        let thread = thread.spawn(move || worker.work(&jobs));
        let thread = thread.map_err(|e| Failure::new(Code::NoMemory, format!("a thread: {e}")))?;
        Ok(Session {
            programs,
            queue: Some(queue),
            closing,
            worker: Some(thread),
        })
    }

    /// Starts a program. Its job ends with an error at `deadline`.
    ///
    /// # Errors
    /// INVALID if bindings are missing or wrong.
    pub fn submit(
        &self,
        program: u32,
        bindings: &[Binding<Buffer<D>>],
        deadline: Option<Instant>,
    ) -> Result<Arc<Job>> {
        let index = program as usize;
        let program = self.programs.get(index);
        let program = program.ok_or_else(|| invalid(format!("there is no program {index}")))?;
        let interface = &program.interface;
        for (i, binding) in bindings.iter().enumerate() {
            let mut values = interface.inputs.iter().chain(&interface.outputs);
            if !values.any(|value| value.id == binding.tensor) {
                return Err(invalid(format!(
                    "binding {i}: it is neither an input nor an output"
                )));
            }
        }
        let bound = |values: &[Value], access| {
            let values = values.iter();
            let bound = values.map(|value| bind(program, value, access, bindings));
            bound.collect::<Result<Vec<_>>>()
        };
        let inputs = bound(&interface.inputs, ffi::DEVICE_READ)?;
        let outputs = bound(&interface.outputs, ffi::DEVICE_WRITE)?;
        check_disjoint(&inputs, &outputs)?;
        let job = Arc::new(Job {
            program: index,
            inputs,
            outputs,
            deadline,
            cancelled: AtomicBool::new(false),
            end: Mutex::new(None),
            ended: Condvar::new(),
        });
        let sent = self.queue.as_ref().map(|queue| queue.send(job.clone()));
        match sent {
            Some(Ok(())) => Ok(job),
            _ => Err(Failure::new(Code::Internal, "the session's thread is gone")),
        }
    }
}

/// The memory of a value, if it is bound exactly once and correctly.
fn bind<D: Device>(
    program: &Compiled<D>,
    value: &Value,
    access: u32,
    bindings: &[Binding<Buffer<D>>],
) -> Result<Bound> {
    let wrong = |what: &str| invalid(format!("tensor {}: {what}", value.id));
    let mut bound = bindings.iter().filter(|binding| binding.tensor == value.id);
    let binding = match (bound.next(), bound.next()) {
        (Some(binding), None) => binding,
        (None, _) => return Err(wrong("it is not bound")),
        _ => return Err(wrong("it is bound twice")),
    };
    if !Arc::ptr_eq(&binding.buffer.opened, &program.opened) {
        return Err(wrong("its buffer is another device's"));
    }
    if binding.buffer.access & access == 0 {
        return Err(wrong("its buffer was not imported for that access"));
    }
    // A loaded program may say anything; no buffer has so many bytes.
    let len = program.interface.rows.saturating_mul(value.cols);
    let size = len.saturating_mul(size_of::<f32>()) as u64;
    let floats = binding.buffer.floats(binding.offset, size);
    let floats = floats.map_err(wrong)?;
    Ok(Bound { floats, len })
}

/// Checks that no output shares memory with another value.
fn check_disjoint(inputs: &[Bound], outputs: &[Bound]) -> Result<()> {
    for (i, output) in outputs.iter().enumerate() {
        let mut others = inputs.iter().chain(&outputs[i + 1..]);
        if others.any(|other| output.overlaps(other)) {
            return Err(invalid("an output shares memory with another value"));
        }
    }
    Ok(())
}

impl Bound {
    fn overlaps(&self, other: &Bound) -> bool {
        let (own, others) = (self.range(), other.range());
        own.start < others.end && others.start < own.end
    }

    fn range(&self) -> Range<*mut f32> {
        self.floats..self.floats.wrapping_add(self.len)
    }
}

impl<D: Device> Drop for Session<D> {
    /// Ends a running job and waits for the thread.
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        self.queue = None;
        if let Some(worker) = self.worker.take() {
            // The thread does not panic. If it does, it has ended too.
            let _ = worker.join();
        }
    }
}

/// The state of a session's thread.
struct Worker<D: Device> {
    requests: Vec<<D::Program as Program>::Request>,
    programs: Vec<Arc<Compiled<D>>>,
    closing: Arc<AtomicBool>,
}

impl<D: Device> Worker<D> {
    fn work(&mut self, jobs: &Receiver<Arc<Job>>) {
        for job in jobs {
            let began = Instant::now();
            let outcome = no_panic(|| self.run(&job));
            job.finish(End {
                outcome,
                time: began.elapsed(),
            });
        }
    }

    fn run(&mut self, job: &Job) -> Result<()> {
        let closing = &self.closing;
        let go_on = || job.may_go_on(closing);
        go_on()?;
        let compiled = &self.programs[job.program];
        let request = &mut self.requests[job.program];
        // SAFETY: this thread is the only one that runs the job, and it has not ended.
        let values = unsafe { job.values(compiled.interface.rows) };
        compiled.program.run(request, values, &go_on)
    }
}

impl Job {
    /// Fails, with the reason, if the job must end now.
    fn may_go_on(&self, closing: &AtomicBool) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) || closing.load(Ordering::Relaxed) {
            return Err(Failure::new(Code::Cancelled, "the job was cancelled"));
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                let message = "the job was ended at its deadline";
                Err(Failure::new(Code::Timeout, message))
            }
            _ => Ok(()),
        }
    }

    /// The values, in the host's memory.
    ///
    /// # Safety
    /// The job has not ended, and nothing else has its values.
    unsafe fn values(&self, rows: usize) -> Values<'_> {
        let inputs = self.inputs.iter();
        let outputs = self.outputs.iter();
        // SAFETY: the memory is the device's until the job has ended, by the contract.
        // Outputs share none of it.
        unsafe {
            Values {
                rows,
                inputs: inputs
                    .map(|b| core::slice::from_raw_parts(b.floats, b.len))
                    .collect(),
                outputs: outputs
                    .map(|b| core::slice::from_raw_parts_mut(b.floats, b.len))
                    .collect(),
            }
        }
    }

    fn finish(&self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        self.ended.notify_all();
    }

    /// Waits for the job to end, for at most `timeout`; `None` if it has not ended.
    pub fn wait(&self, timeout: Duration) -> Option<End> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .ended
            .wait_timeout_while(end, timeout, |end| end.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Asks the job to end soon.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
