//! Sessions. Each has a thread, which runs the session's jobs one after another.
//!
//! Only this thread uses OpenVINO's requests. It checks at short intervals whether its
//! job must end early, so cancelling and deadlines only set and read flags.

use crate::device::Device;
use crate::failure::{Failure, Result, invalid, no_panic};
use crate::openvino::{Request, Tensor};
use crate::program::{Program, Value};
use core::time::Duration;
use ondol::delegate::{Code, ffi};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// How often a running job checks whether it must end early.
const LOOK: Duration = Duration::from_millis(2);

/// Memory of the host that is imported for jobs.
pub struct Buffer {
    device: Arc<Device>,
    start: *mut u8,
    size: u64,
    access: u32,
}

impl Buffer {
    /// Imports memory of the host.
    ///
    /// # Errors
    /// UNSUPPORTED for other kinds of memory; INVALID if the memory is empty, not
    /// aligned or beyond the address space.
    pub fn import(device: &Arc<Device>, memory: &ffi::Mem) -> Result<Buffer> {
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
            device: device.clone(),
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
pub struct Session {
    programs: Vec<Arc<Program>>,
    queue: Option<Sender<Arc<Job>>>,
    closing: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

/// A started program.
pub struct Job {
    program: usize,
    /// The host's memory of inputs and outputs, in the order of the program's.
    inputs: Vec<*mut f32>,
    outputs: Vec<*mut f32>,
    deadline: Option<Instant>,
    cancelled: AtomicBool,
    end: Mutex<Option<End>>,
    ended: Condvar,
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

/// The memory of an input or output, as the host states it.
pub struct Binding<'b> {
    /// Id of the tensor.
    pub tensor: u32,
    /// The buffer in which it lies.
    pub buffer: &'b Buffer,
    /// Offset in the buffer in bytes.
    pub offset: u64,
}

impl Session {
    /// Makes a session of programs of one device.
    ///
    /// # Errors
    /// INVALID if there are no programs, or if they are of several devices; failures to
    /// start a thread or to make OpenVINO's requests.
    pub fn new(programs: Vec<Arc<Program>>) -> Result<Session> {
        let device = programs.first().map(|program| &program.device);
        let same = |device| programs.iter().all(|p| Arc::ptr_eq(&p.device, device));
        if !device.is_some_and(same) {
            return Err(invalid("no programs, or of several devices"));
        }
        let requests = programs.iter().map(|program| program.compiled.request());
        let mut worker = Worker {
            requests: requests.collect::<Result<_>>()?,
            programs: programs.clone(),
            closing: Arc::default(),
        };
        let closing = worker.closing.clone();
        let (queue, jobs) = channel();
        let thread = thread::Builder::new().name("ondol-openvino".to_owned());
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
        bindings: &[Binding],
        deadline: Option<Instant>,
    ) -> Result<Arc<Job>> {
        let index = program as usize;
        let program = self.programs.get(index);
        let program = program.ok_or_else(|| invalid(format!("there is no program {index}")))?;
        for (i, binding) in bindings.iter().enumerate() {
            let values = program.inputs.iter().chain(&program.outputs);
            if !values.into_iter().any(|value| value.id == binding.tensor) {
                return Err(invalid(format!(
                    "binding {i}: it is no input and no output"
                )));
            }
        }
        let bound = |values: &[Value], access| {
            let values = values.iter();
            let bound = values.map(|value| bind(program, value, access, bindings));
            bound.collect::<Result<Vec<_>>>()
        };
        let job = Arc::new(Job {
            program: index,
            inputs: bound(&program.inputs, ffi::DEVICE_READ)?,
            outputs: bound(&program.outputs, ffi::DEVICE_WRITE)?,
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

/// The address of a value, if it is bound exactly once and correctly.
fn bind(program: &Program, value: &Value, access: u32, bindings: &[Binding]) -> Result<*mut f32> {
    let wrong = |what: &str| invalid(format!("tensor {}: {what}", value.id));
    let mut bound = bindings.iter().filter(|binding| binding.tensor == value.id);
    let binding = match (bound.next(), bound.next()) {
        (Some(binding), None) => binding,
        (None, _) => return Err(wrong("it is not bound")),
        _ => return Err(wrong("it is bound twice")),
    };
    if !Arc::ptr_eq(&binding.buffer.device, &program.device) {
        return Err(wrong("its buffer is another device's"));
    }
    if binding.buffer.access & access == 0 {
        return Err(wrong("its buffer was not imported for that access"));
    }
    let size = (program.rows * value.cols * size_of::<f32>()) as u64;
    let floats = binding.buffer.floats(binding.offset, size);
    floats.map_err(wrong)
}

impl Drop for Session {
    /// Ends a running job and waits for the thread.
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        self.queue = None;
        if let Some(worker) = self.worker.take() {
            // The thread does not panic; if it did, it has ended.
            let _ = worker.join();
        }
    }
}

/// The state of a session's thread.
struct Worker {
    requests: Vec<Request>,
    programs: Vec<Arc<Program>>,
    closing: Arc<AtomicBool>,
}

impl Worker {
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
        self.may_run(job)?;
        self.bind(job)?;
        self.requests[job.program].start()?;
        while !self.requests[job.program].wait(LOOK)? {
            if let Err(why) = self.may_run(job) {
                self.stop(job.program);
                return Err(why);
            }
        }
        Ok(())
    }

    /// Returns an error, the reason, if the job must end now.
    fn may_run(&self, job: &Job) -> Result<()> {
        if job.cancelled.load(Ordering::Relaxed) || self.closing.load(Ordering::Relaxed) {
            return Err(Failure::new(Code::Cancelled, "the job was cancelled"));
        }
        match job.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                let message = "the job was ended at its deadline";
                Err(Failure::new(Code::Timeout, message))
            }
            _ => Ok(()),
        }
    }

    fn bind(&mut self, job: &Job) -> Result<()> {
        let program = &self.programs[job.program];
        let request = &mut self.requests[job.program];
        let tensor = |floats: *mut f32, value: &Value| {
            // SAFETY: the host's memory lives until the job has ended.
            unsafe { Tensor::of_host(floats, program.rows, value.cols) }
        };
        for (i, (&floats, value)) in job.inputs.iter().zip(&program.inputs).enumerate() {
            request.bind_input(i, &tensor(floats, value)?)?;
        }
        for (i, (&floats, value)) in job.outputs.iter().zip(&program.outputs).enumerate() {
            request.bind_output(i, &tensor(floats, value)?)?;
        }
        Ok(())
    }

    /// Cancels the request and waits until it has ended. A device that can't cancel
    /// computes it to the end.
    fn stop(&mut self, program: usize) {
        let request = &mut self.requests[program];
        let _ = request.cancel();
        while let Ok(false) = request.wait(LOOK) {}
    }
}

impl Job {
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
