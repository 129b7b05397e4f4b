//! Programs: ONNX models that ONNX Runtime has compiled for its execution provider.

use crate::device::Device;
use crate::onnxruntime::{RunOptions, Session};
use core::time::Duration;
use ondol_plugin::ondol::delegate::Code;
use ondol_plugin::{Failure, Graph, Result, Values, unsupported};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

/// The time between two checks of a running job whether it must end early.
const LOOK: Duration = Duration::from_millis(2);

/// A compiled graph.
pub struct Program {
    session: Session,
    /// The ONNX file, to be saved: ONNX Runtime has no export that all providers support.
    model: Vec<u8>,
}

impl Program {
    /// Compiles a graph.
    ///
    /// # Errors
    /// UNSUPPORTED if the graph is too large, or if the provider does not take all of it.
    pub fn compile(device: &Device, graph: &Graph) -> Result<Program> {
        let model = ondol_onnx::write(graph).map_err(|error| unsupported(error.to_string()))?;
        Program::new(device, model, Code::Unsupported)
    }

    /// Compiles a saved model again.
    ///
    /// # Errors
    /// INCOMPATIBLE.
    pub fn load(device: &Device, model: &[u8]) -> Result<Program> {
        Program::new(device, model.to_vec(), Code::Incompatible)
    }

    /// Makes a session of a model; `refused` is the code if ONNX Runtime does not take it.
    fn new(device: &Device, model: Vec<u8>, refused: Code) -> Result<Program> {
        let session = device.library.session(&model, device.options);
        let session = session.map_err(|failure| Failure {
            code: refused,
            ..failure
        })?;
        Ok(Program { session, model })
    }
}

impl ondol_plugin::Program for Program {
    type Request = RunOptions;

    fn request(&self) -> Result<RunOptions> {
        self.session.run_options()
    }

    /// Runs the session on a thread of its own, because ONNX Runtime returns only at the end,
    /// and watches it from this one.
    fn run(
        &self,
        request: &mut RunOptions,
        values: Values,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        request.reset()?;
        let (request, session) = (&*request, &self.session);
        let (done, ended) = channel();
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("ondol-onnxruntime-run".to_owned());
            let job = move || done.send(session.run(request, values));
            let job = thread.spawn_scoped(scope, job);
            job.map_err(|error| Failure::new(Code::NoMemory, format!("a thread: {error}")))?;
            let mut early = Ok(());
            loop {
                match ended.recv_timeout(LOOK) {
                    Ok(outcome) => return early.and(outcome),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Failure::new(Code::Internal, "the job's thread has ended"));
                    }
                    Err(RecvTimeoutError::Timeout) if early.is_ok() => {
                        early = go_on();
                        if early.is_err() {
                            request.terminate()?;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        Ok(self.model.clone())
    }
}
