//! Threads that run jobs. ONNX Runtime returns only at the end of a run, so another thread must
//! watch it. There are as many as jobs ever ran at the same time; each is used again.

use crate::onnxruntime::{Bound, RunOptions, Session};
use core::time::Duration;
use ondol_plugin::ondol::delegate::Code;
use ondol_plugin::{Failure, Result};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The time between two checks of a running job whether it must end early.
const LOOK: Duration = Duration::from_millis(2);

/// Threads without a job.
static IDLE: Mutex<Vec<Runner>> = Mutex::new(Vec::new());

/// A run of a session.
pub struct Job {
    /// The compiled model.
    pub session: Arc<Session>,
    /// By which it is ended early.
    pub options: Arc<RunOptions>,
    /// The memory of its values.
    pub bound: Bound,
}

/// A thread that runs one job after another.
struct Runner {
    jobs: Sender<Job>,
    outcomes: Receiver<Result<()>>,
}

impl Runner {
    /// An idle thread, or a new one.
    fn get() -> Result<Runner> {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(Runner::new, Ok)
    }

    fn new() -> Result<Runner> {
        let (jobs, received) = channel();
        let (done, outcomes) = channel();
        let work = move || {
            for job in received {
                // The job's objects are freed before its end is told.
                if done.send(run(job)).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("ondol-onnx-run".to_owned());
        thread
            .spawn(work)
            .map_err(|error| Failure::new(Code::NoMemory, format!("a thread: {error}")))?;
        Ok(Runner { jobs, outcomes })
    }

    fn put_back(self) {
        IDLE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self);
    }
}

fn run(job: Job) -> Result<()> {
    job.session.run(&job.options, &job.bound)
}

fn gone() -> Failure {
    Failure::new(Code::Internal, "the job's thread is gone")
}

/// A job that a thread runs. It has ended when this is dropped.
pub struct Running {
    /// `None` when the job has ended.
    runner: Option<Runner>,
    options: Arc<RunOptions>,
}

impl Running {
    /// Starts a job.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn start(job: Job) -> Result<Running> {
        let (runner, options) = (Runner::get()?, job.options.clone());
        runner.jobs.send(job).map_err(|_| gone())?;
        Ok(Running {
            runner: Some(runner),
            options,
        })
    }

    /// Waits for the end of the job. Ends it early if `go_on` fails, with its failure.
    ///
    /// # Errors
    /// The failure of `go_on` or of the run.
    pub fn wait(mut self, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        loop {
            if let Some(outcome) = self.look() {
                return outcome;
            }
            go_on()?;
        }
    }

    /// The outcome of the job, if it ends within [`LOOK`].
    fn look(&mut self) -> Option<Result<()>> {
        let runner = self.runner.take()?;
        match runner.outcomes.recv_timeout(LOOK) {
            Ok(outcome) => {
                runner.put_back();
                Some(outcome)
            }
            Err(RecvTimeoutError::Disconnected) => Some(Err(gone())),
            Err(RecvTimeoutError::Timeout) => {
                self.runner = Some(runner);
                None
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.runner.is_some() {
            // If this fails, the job is computed to its end.
            let _ = self.options.terminate();
        }
        while self.runner.is_some() {
            let _ = self.look();
        }
    }
}
