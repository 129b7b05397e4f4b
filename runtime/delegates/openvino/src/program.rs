//! Programs: compiled from a graph, or exported by OpenVINO and imported again.

use crate::device::Device;
use crate::ir;
use crate::openvino::{Compiled, Request, Tensor};
use core::time::Duration;
use ondol_plugin::ondol::delegate::Code;
use ondol_plugin::{Failure, Graph, Result, Values};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;
use std::{env, fs, io, process};

/// The time between two checks of a running job whether it must end early.
const LOOK: Duration = Duration::from_millis(2);

/// A compiled graph.
pub struct Program(Compiled);

impl Program {
    /// Compiles a graph.
    ///
    /// # Errors
    /// OpenVINO's errors.
    pub fn compile(device: &Device, graph: &Graph) -> Result<Program> {
        let ir = ir::build(graph);
        let weights = Tensor::of_bytes(&ir.weights)?;
        drop(ir.weights);
        let core = &device.runtime.core;
        let model = core.read(&ir.xml, &weights)?;
        Ok(Program(core.compile(&model, device.name)?))
    }

    /// Imports what OpenVINO exported.
    ///
    /// # Errors
    /// INCOMPATIBLE.
    pub fn load(device: &Device, exported: &[u8]) -> Result<Program> {
        let exported = Tensor::of_bytes(exported)?;
        let compiled = device.runtime.core.import(exported, device.name);
        compiled.map(Program).map_err(|failure| Failure {
            // The bytes are undamaged, so they are from another version of the compiler.
            code: Code::Incompatible,
            ..failure
        })
    }
}

impl ondol_plugin::Program for Program {
    type Request = Request;

    fn request(&self) -> Result<Request> {
        self.0.request()
    }

    fn run(
        &self,
        request: &mut Request,
        values: Values,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        bind(request, values)?;
        request.start()?;
        while !request.wait(LOOK)? {
            if let Err(why) = go_on() {
                stop(request);
                return Err(why);
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>> {
        export(&self.0)
    }
}

/// Binds the values, which come in the order of the IR.
fn bind(request: &mut Request, values: Values) -> Result<()> {
    let rows = values.rows;
    for (i, input) in values.inputs.into_iter().enumerate() {
        let (floats, cols) = (input.as_ptr().cast_mut(), input.len() / rows);
        // SAFETY: the values live until the request has ended; inputs are only read.
        request.bind_input(i, &unsafe { Tensor::of_host(floats, rows, cols) }?)?;
    }
    for (i, output) in values.outputs.into_iter().enumerate() {
        let (floats, cols) = (output.as_mut_ptr(), output.len() / rows);
        // SAFETY: as above.
        request.bind_output(i, &unsafe { Tensor::of_host(floats, rows, cols) }?)?;
    }
    Ok(())
}

/// Cancels the request and waits until it has ended. A device that can't cancel
/// computes it to the end.
fn stop(request: &mut Request) {
    let _ = request.cancel();
    while let Ok(false) = request.wait(LOOK) {}
}

/// The bytes of a compiled model, exported through a file in a private folder.
fn export(compiled: &Compiled) -> Result<Vec<u8>> {
    let folder = private_folder().map_err(|e| no_file(&env::temp_dir(), &e))?;
    let file = folder.join("program");
    let bytes = compiled
        .export(&file)
        .and_then(|()| fs::read(&file).map_err(|e| no_file(&file, &e)));
    // If this fails, the system clears its temporary folder later.
    let _ = fs::remove_dir_all(&folder);
    bytes
}

fn no_file(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Internal, format!("{}: {error}", path.display()))
}

/// Makes a new folder in the system's temporary folder; fails if the name is taken.
fn private_folder() -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Process ids are reused, and the folder of an earlier process may still exist.
    let now = UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos());
    let name = format!("ondol-openvino-{}-{now}-{count}", process::id());
    let folder = env::temp_dir().join(name);
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    Ok(folder)
}
