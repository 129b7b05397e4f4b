//! Programs: compiled from a graph, or exported and imported again.

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

/// A graph that its device can run. Nobody writes to it once it is made.
pub struct Program {
    /// What it was made for.
    pub device: Arc<Device>,
    /// OpenVINO's.
    pub compiled: Compiled,
    /// Rows of the graph.
    pub rows: usize,
    /// Inputs in the order of the IR.
    pub inputs: Vec<Value>,
    /// Outputs likewise.
    pub outputs: Vec<Value>,
    /// As bytes, from when their length was asked for to when they are fetched.
    saved: Mutex<Option<Vec<u8>>>,
}

/// An input or an output.
#[derive(Debug, Clone, Copy)]
pub struct Value {
    /// Its id in the graph.
    pub id: u32,
    /// Its columns.
    pub cols: usize,
}

/// Says of each node whether the device takes it; the error is why not.
///
/// # Errors
/// INVALID where a graph has a number of rows that is not in the device's list.
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
    /// UNSUPPORTED where the device does not take a node, INVALID where a weight has
    /// not its data; what OpenVINO says.
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

    /// Imports what [`Program::save`] gave.
    ///
    /// # Errors
    /// CORRUPT or INCOMPATIBLE.
    pub fn load(device: &Arc<Device>, blob: &[u8]) -> Result<Program> {
        let contents = container::read(blob, &device.identity())?;
        let exported = Tensor::of_bytes(contents.exported)?;
        let compiled = device.runtime.core.import(exported, device.name);
        let compiled = compiled.map_err(|failure| Failure {
            // Its checksum is right, so its compiler is another.
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

    /// Shows the program as bytes to `write`, which tells whether it took them.
    ///
    /// # Errors
    /// Where it can't be exported.
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

/// The bytes of a compiled model, by way of a file that nobody else can see.
fn export(compiled: &Compiled) -> Result<Vec<u8>> {
    let folder = private_folder().map_err(|e| no_file(&env::temp_dir(), &e))?;
    let file = folder.join("program");
    let bytes = compiled
        .export(&file)
        .and_then(|()| fs::read(&file).map_err(|e| no_file(&file, &e)));
    // What is left in the system's temporary folder is the system's to remove.
    let _ = fs::remove_dir_all(&folder);
    bytes
}

fn no_file(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Internal, format!("{}: {error}", path.display()))
}

/// A new folder in the system's temporary one: it fails where the name is taken.
fn private_folder() -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Numbers of processes come again, and what one left behind may still be there.
    let now = UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos());
    let name = format!("ondol-openvino-{}-{now}-{count}", process::id());
    let folder = env::temp_dir().join(name);
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    Ok(folder)
}
