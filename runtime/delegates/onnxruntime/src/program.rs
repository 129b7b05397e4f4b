//! Programs: ONNX models that ONNX Runtime has compiled for its execution provider.

use crate::device::Device;
use crate::onnxruntime::{RunOptions, Session};
use crate::runner::{Job, Running};
use ondol_plugin::ondol::delegate::Code;
use ondol_plugin::{Failure, Graph, Result, Values, unsupported};
use std::sync::Arc;

/// A compiled graph.
pub struct Program {
    session: Arc<Session>,
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
        Ok(Program {
            session: Arc::new(session),
            model,
        })
    }
}

impl ondol_plugin::Program for Program {
    type Request = Arc<RunOptions>;

    fn request(&self) -> Result<Arc<RunOptions>> {
        self.session.run_options().map(Arc::new)
    }

    fn run(
        &self,
        request: &mut Arc<RunOptions>,
        values: Values,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        request.reset()?;
        // SAFETY: the values live until this function returns, and then the job has ended.
        let bound = unsafe { self.session.bind(values) }?;
        let job = Job {
            session: self.session.clone(),
            options: request.clone(),
            bound,
        };
        Running::start(job)?.wait(go_on)
    }

    fn save(&self) -> Result<Vec<u8>> {
        Ok(self.model.clone())
    }
}
