//! Programs: compiled from a graph, or saved and loaded again.

use crate::container::{self, Contents};
use crate::device::{Device, ROWS};
use crate::failure::{Failure, Result, invalid, unsupported};
use crate::graph::{Graph, Role};
use crate::ir;
use crate::openvino::{Compiled, Tensor};
use ondol::delegate::Code;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;
use std::{env, fs, io, process};

/// A compiled graph. It is not changed after it is made.
pub struct Program {
    /// The device for which it was compiled.
    pub device: Arc<Device>,
    /// OpenVINO's compiled model.
    pub compiled: Compiled,
    /// Rows of the graph.
    pub rows: usize,
    /// Inputs in the order of the IR.
    pub inputs: Vec<Value>,
    /// Outputs in the order of the IR.
    pub outputs: Vec<Value>,
    /// The saved bytes, from the call that asks for their length to the call that
    /// fetches them.
    saved: Mutex<Option<Vec<u8>>>,
}

/// An input or an output.
#[derive(Debug, Clone, Copy)]
pub struct Value {
    /// Its tensor's id in the graph.
    pub id: u32,
    /// Its number of columns.
    pub cols: usize,
}

/// Says for each node whether the device takes it; the error is the reason why not.
///
/// # Errors
/// INVALID if the graph's number of rows is not in the device's list.
pub fn claim(device: &Device, graph: &Graph) -> Result<Vec<core::result::Result<(), String>>> {
    if !ROWS.iter().any(|&rows| rows as usize == graph.rows) {
        return Err(invalid(format!(
            "{} rows are not in the device's list; graph \"{}\"",
            graph.rows, graph.name
        )));
    }
    let forms = device.forms();
    let nodes = graph.nodes.iter();
    Ok(nodes.map(|node| graph.supports(node, &forms)).collect())
}

impl Program {
    /// Compiles a graph.
    ///
    /// # Errors
    /// UNSUPPORTED if the device does not take a node; INVALID if a weight has no data;
    /// OpenVINO's errors.
    pub fn compile(device: &Arc<Device>, graph: &Graph) -> Result<Program> {
        for (id, claimed) in claim(device, graph)?.into_iter().enumerate() {
            claimed.map_err(|reason| unsupported(format!("node {id}: {reason}")))?;
        }
        graph.check_data()?;
        let ir = ir::build(graph);
        let weights = Tensor::of_bytes(&ir.weights)?;
        drop(ir.weights);
        let core = &device.runtime.core;
        let model = core.read(&ir.xml, &weights)?;
        Ok(Program {
            device: device.clone(),
            compiled: core.compile(&model, device.name)?,
            rows: graph.rows,
            inputs: values(graph, Role::Input),
            outputs: values(graph, Role::Output),
            saved: Mutex::new(None),
        })
    }

    /// Loads the bytes that [`Program::save`] wrote.
    ///
    /// # Errors
    /// CORRUPT or INCOMPATIBLE.
    pub fn load(device: &Arc<Device>, blob: &[u8]) -> Result<Program> {
        let contents = container::read(blob, &device.identity())?;
        let exported = Tensor::of_bytes(contents.exported)?;
        let compiled = device.runtime.core.import(exported, device.name);
        let compiled = compiled.map_err(|failure| Failure {
            // The checksum is right, so the program is from another version of the
            // compiler.
            code: Code::Incompatible,
            ..failure
        })?;
        Ok(Program {
            device: device.clone(),
            compiled,
            rows: contents.rows as usize,
            inputs: contents.inputs.into_iter().map(Value::from).collect(),
            outputs: contents.outputs.into_iter().map(Value::from).collect(),
            saved: Mutex::new(None),
        })
    }

    /// Calls `write` with the saved program; it returns whether it has copied the
    /// bytes.
    ///
    /// # Errors
    /// If OpenVINO can't export the program; errors of `write`.
    pub fn save(&self, write: impl FnOnce(&[u8]) -> Result<bool>) -> Result<()> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let blob = match saved.take() {
            Some(blob) => blob,
            None => self.pack()?,
        };
        if !write(saved.insert(blob))? {
            return Ok(());
        }
        *saved = None;
        Ok(())
    }

    fn pack(&self) -> Result<Vec<u8>> {
        let exported = export(&self.compiled)?;
        let pairs = |values: &[Value]| values.iter().map(|v| (v.id, v.cols as u32)).collect();
        Ok(container::write(&Contents {
            identity: self.device.identity(),
            rows: self.rows as u32,
            inputs: pairs(&self.inputs),
            outputs: pairs(&self.outputs),
            exported: &exported,
        }))
    }
}

impl From<(u32, u32)> for Value {
    fn from((id, cols): (u32, u32)) -> Value {
        let cols = cols as usize;
        Value { id, cols }
    }
}

fn values(graph: &Graph, role: Role) -> Vec<Value> {
    let tensors = graph.tensors.iter().enumerate();
    tensors
        .filter(|(_, tensor)| tensor.role == role)
        .map(|(id, tensor)| Value::from((id as u32, tensor.cols as u32)))
        .collect()
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
