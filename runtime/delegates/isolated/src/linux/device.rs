//! The host's objects of a device and its programs.

use super::helper::{Helper, LONG, SHORT};
use super::message::{Graph, Info, Node, Opened, Request, Tensor, raw_form};
use super::zone::{Value, file_of};
use core::ffi::CStr;
use ondol::delegate::{Code, ffi};
use ondol_plugin::raw::{Lists, given, list};
use ondol_plugin::{Failure, Result, invalid};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::{io, slice};

/// A device that the helper has opened, before the host opens it.
pub struct Pending {
    pub helper: Helper,
    pub opened: Opened,
}

/// An open device.
pub struct Device {
    pub helper: Helper,
    lists: Lists,
}

impl Device {
    /// Takes over an open device.
    ///
    /// # Errors
    /// Those of the plug-in; DEVICE_LOST.
    pub fn new(pending: Pending) -> Result<Device> {
        let (info, _) = pending.helper.call::<Info>(&Request::Info, None, SHORT)?;
        let forms = info.quants.iter().map(raw_form).collect();
        Ok(Device {
            helper: pending.helper,
            lists: Lists::new(forms, info.rows),
        })
    }

    /// The description as it is now.
    ///
    /// # Errors
    /// Those of the plug-in; DEVICE_LOST.
    pub fn info(&self) -> Result<ffi::DeviceInfo> {
        let (found, _) = self.helper.call::<Info>(&Request::Info, None, SHORT)?;
        Ok(ffi::DeviceInfo {
            flags: found.flags,
            mem_total: found.memory,
            mem_free: found.memory_free,
            mem_limit: found.memory_limit,
            activations: found.activations,
            activation_group: found.activation_group,
            accumulator_bits: found.accumulator_bits,
            rounding: found.rounding,
            ..self.lists.info(found.names.each_ref().map(String::as_str))
        })
    }

    /// Asks for a fault.
    ///
    /// # Errors
    /// Those of the plug-in; DEVICE_LOST.
    pub fn inject(&self, fault: &str, after: u32) -> Result<()> {
        let fault = fault.to_owned();
        self.do_call(&Request::Inject { fault, after })
    }

    /// Resets the device.
    ///
    /// # Errors
    /// Those of the plug-in; DEVICE_LOST.
    pub fn reset(&self) -> Result<()> {
        self.do_call(&Request::Reset)
    }

    /// For each node the reason why the device does not take it.
    ///
    /// # Safety
    /// The graph is null or keeps the contract.
    ///
    /// # Errors
    /// Those of the plug-in; DEVICE_LOST.
    pub unsafe fn claim(&self, graph: *const ffi::Graph) -> Result<Vec<Option<String>>> {
        // SAFETY: passed on to the caller.
        let (graph, _) = unsafe { read_graph(graph) }?;
        Ok(self.helper.call(&Request::Claim(graph), None, LONG)?.0)
    }

    fn do_call(&self, request: &Request) -> Result<()> {
        self.helper.call(request, None, SHORT).map(|((), _)| ())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // If the helper is gone, there is no device to close.
        let _ = self.do_call(&Request::Close);
    }
}

// ---- programs -----------------------------------------------------------------------

/// A compiled graph.
pub struct Program {
    pub device: Arc<Device>,
    /// Its id in the helper.
    pub id: u64,
    /// Its inputs and outputs.
    pub values: Vec<Value>,
}

impl Program {
    /// Compiles a graph.
    ///
    /// # Safety
    /// The graph is null or keeps the contract.
    ///
    /// # Errors
    /// Those of the plug-in; NO_MEMORY; DEVICE_LOST.
    pub unsafe fn compile(device: &Arc<Device>, graph: *const ffi::Graph) -> Result<Program> {
        // SAFETY: passed on to the caller.
        let (graph, weights) = unsafe { read_graph(graph) }?;
        let values = values_of(&graph);
        let file = file_of(weights).map_err(no_memory)?;
        Program::make(device, values, &Request::Compile(graph), &file)
    }

    /// Loads the bytes that [`Program::save`] wrote.
    ///
    /// # Errors
    /// Those of the plug-in; CORRUPT; NO_MEMORY; DEVICE_LOST.
    pub fn load(device: &Arc<Device>, blob: &[u8]) -> Result<Program> {
        let (values, blob) = take_head(blob)?;
        let file = file_of([blob]).map_err(no_memory)?;
        let bytes = blob.len() as u64;
        Program::make(device, values, &Request::Load { bytes }, &file)
    }

    fn make(
        device: &Arc<Device>,
        values: Vec<Value>,
        request: &Request,
        file: &File,
    ) -> Result<Program> {
        let (id, _) = device.helper.call(request, Some(file), LONG)?;
        Ok(Program {
            device: device.clone(),
            id,
            values,
        })
    }

    /// The program as bytes for [`Program::load`].
    ///
    /// # Errors
    /// Those of the plug-in; NO_MEMORY; DEVICE_LOST.
    pub fn save(&self) -> Result<Vec<u8>> {
        let request = Request::Save { program: self.id };
        let (bytes, file) = self.device.helper.call::<u64>(&request, None, LONG)?;
        let file = file.ok_or_else(|| no_memory(io::ErrorKind::InvalidData.into()))?;
        let mut blob = head(&self.values)?;
        let start = blob.len();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        blob.try_reserve_exact(bytes).map_err(|e| {
            Failure::new(Code::NoMemory, format!("a program of {bytes} bytes: {e}"))
        })?;
        blob.resize(start + bytes, 0);
        file.read_exact_at(&mut blob[start..], 0)
            .map_err(no_memory)?;
        Ok(blob)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // If the helper is gone, there is no program to free.
        let _ = self
            .device
            .do_call(&Request::FreeProgram { program: self.id });
    }
}

/// A failure to share memory with the helper.
pub fn no_memory(error: io::Error) -> Failure {
    Failure::new(
        Code::NoMemory,
        format!("memory to share with the plug-in's process: {error}"),
    )
}

// ---- graphs -------------------------------------------------------------------------

/// Reads the host's graph, and the bytes of its weights. The graph is not checked, so that the
/// plug-in gets it as the host made it.
///
/// # Safety
/// The graph is null, or keeps the contract and lives for `'g`.
unsafe fn read_graph<'g>(raw: *const ffi::Graph) -> Result<(Graph, Vec<&'g [u8]>)> {
    let mut weights = Vec::new();
    // SAFETY: by the contract.
    unsafe {
        let raw = given(raw)?;
        let name = match raw.name.is_null() {
            true => String::new(),
            false => CStr::from_ptr(raw.name).to_string_lossy().into_owned(),
        };
        let mut tensors = Vec::new();
        for &tensor in list(raw.tensors, raw.n_tensors)? {
            let tensor = given(tensor)?;
            let parts = [
                (tensor.data, tensor.data_size),
                (tensor.scales, tensor.scales_size),
            ];
            let parts = parts.map(|(start, size)| match start.is_null() {
                true => &[],
                false => slice::from_raw_parts(start.cast::<u8>(), size as usize),
            });
            weights.extend(parts);
            tensors.push(Tensor {
                role: tensor.role,
                rows: tensor.rows,
                cols: tensor.cols,
                form: tensor
                    .quant
                    .as_ref()
                    .map(|q| [q.store, q.group, q.scale_type]),
                data: parts[0].len() as u64,
                scales: parts[1].len() as u64,
            });
        }
        let mut nodes = Vec::new();
        for &node in list(raw.nodes, raw.n_nodes)? {
            let node = given(node)?;
            let inputs = node.inputs.get(..node.n_in as usize);
            nodes.push(Node {
                op: node.op,
                inputs: inputs
                    .ok_or_else(|| invalid("a node of too many inputs"))?
                    .to_vec(),
                out: node.out,
                eps: node.eps,
                group: node.group,
                factor: node.factor,
            });
        }
        let rows = raw.rows;
        Ok((
            Graph {
                name,
                rows,
                tensors,
                nodes,
            },
            weights,
        ))
    }
}

fn values_of(graph: &Graph) -> Vec<Value> {
    let tensors = graph.tensors.iter().zip(0..);
    tensors
        .filter(|(tensor, _)| matches!(tensor.role, ffi::INPUT | ffi::OUTPUT))
        .map(|(tensor, id)| Value {
            tensor: id,
            bytes: u64::from(tensor.rows) * u64::from(tensor.cols) * size_of::<f32>() as u64,
            is_output: tensor.role == ffi::OUTPUT,
        })
        .collect()
}

// ---- the head of a saved program ----------------------------------------------------

/// The first bytes of a saved program. The length of the values, their checksum, and the values
/// that a job binds follow; without them only the plug-in would know the values. The rest are
/// the plug-in's bytes, unchanged and unchecked, so that the plug-in finds damage in them.
const MAGIC: &[u8; 8] = b"ONDOLIP1";

fn head(values: &[Value]) -> Result<Vec<u8>> {
    let body = postcard::to_stdvec(values);
    let body = body.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    let (len, sum) = (body.len() as u32, checksum(&body));
    Ok([
        MAGIC,
        len.to_le_bytes().as_slice(),
        &sum.to_le_bytes(),
        &body,
    ]
    .concat())
}

/// The values of a saved program, and its bytes without the head.
///
/// # Errors
/// CORRUPT.
fn take_head(blob: &[u8]) -> Result<(Vec<Value>, &[u8])> {
    let take = || {
        let (len, rest) = blob.strip_prefix(MAGIC)?.split_first_chunk()?;
        let (sum, rest) = rest.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let is_whole = u64::from_le_bytes(*sum) == checksum(body);
        is_whole.then_some((postcard::from_bytes(body).ok()?, rest))
    };
    let message = "not a program of a plug-in in a process of its own";
    take().ok_or_else(|| Failure::new(Code::Corrupt, message))
}

/// 64-bit FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_damage_of_a_head_goes_unseen() {
        let value = |tensor, is_output| Value {
            tensor,
            bytes: 1 << 20,
            is_output,
        };
        let values = [value(0, false), value(300, true)];
        let head = head(&values).unwrap();
        let blob = [&head[..], b"the plug-in's"].concat();
        let (found, rest) = take_head(&blob).unwrap();
        assert_eq!(
            (found.as_slice(), rest),
            (values.as_slice(), &b"the plug-in's"[..])
        );
        for bit in 0..head.len() * 8 {
            let mut flipped = blob.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(take_head(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..head.len() {
            let failure = take_head(&blob[..len]).unwrap_err();
            assert_eq!(failure.code, Code::Corrupt, "{len} bytes");
        }
    }
}
