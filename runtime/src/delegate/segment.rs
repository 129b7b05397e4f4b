//! A segment: a span of a model as a delegate gets it, a graph of static shape with its
//! weights.

use super::ffi;
pub use super::op::{Activation, Op, RowFn};
use super::quant::{Quant, Quantized};
use core::ffi::c_void;
use core::ptr;
use std::ffi::CString;
use std::string::String;
use std::vec::Vec;

/// The role of a tensor in a segment.
#[derive(Debug, Clone)]
pub enum Role {
    /// Computed and read within the segment.
    Intermediate,
    /// Written by the host before each call.
    Input,
    /// Computed by the device and read by the host.
    Output,
    /// The same for all calls. Without a form, the weight is 32-bit floats. A segment
    /// whose weights have no data can be claimed, but not compiled.
    Weight(Option<Quant>, Quantized),
}

/// A tensor of `rows x cols`. Values have as many rows as the segment.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Input, output, weight or intermediate.
    pub role: Role,
    /// 1 for a vector.
    pub rows: usize,
    /// Numbers in each row.
    pub cols: usize,
}

/// An operation. Tensors are referred to by their index in [`Segment::tensors`].
#[derive(Debug, Clone)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// At most four tensors: values first, then weights.
    pub inputs: Vec<usize>,
    /// The tensor that it computes.
    pub out: usize,
}

/// A graph for a fixed number of rows.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Name for messages: `layer 3`.
    pub name: String,
    /// Rows (tokens) of one call.
    pub rows: usize,
    /// All values and weights.
    pub tensors: Vec<Tensor>,
    /// Operations in order of execution.
    pub nodes: Vec<Node>,
}

impl Segment {
    /// Appends a tensor and returns its index.
    pub fn push(&mut self, role: Role, rows: usize, cols: usize) -> usize {
        self.tensors.push(Tensor { role, rows, cols });
        self.tensors.len() - 1
    }

    /// The same graph for another number of rows.
    pub fn with_rows(mut self, rows: usize) -> Segment {
        self.rows = rows;
        let values = self.tensors.iter_mut();
        let values = values.filter(|tensor| !matches!(tensor.role, Role::Weight(..)));
        values.for_each(|tensor| tensor.rows = rows);
        self
    }

    /// The indices of the inputs and of the outputs, both in ascending order.
    pub fn interface(&self) -> (Vec<usize>, Vec<usize>) {
        let of = |is: fn(&Role) -> bool| {
            let tensors = self.tensors.iter().enumerate();
            tensors
                .filter(|(_, t)| is(&t.role))
                .map(|(i, _)| i)
                .collect()
        };
        (
            of(|role| matches!(role, Role::Input)),
            of(|role| matches!(role, Role::Output)),
        )
    }

    /// Calls `call` with the segment as C structs, which live during the call.
    pub(super) fn with_raw<R>(&self, call: impl FnOnce(&ffi::Graph) -> R) -> R {
        let name = CString::new(self.name.replace('\0', " ")).unwrap_or_default();
        let quants: Vec<ffi::Quant> = self.tensors.iter().map(raw_quant).collect();
        let tensors: Vec<ffi::Tensor> = self
            .tensors
            .iter()
            .zip(&quants)
            .enumerate()
            .map(|(id, (tensor, quant))| raw_tensor(id, tensor, quant))
            .collect();
        let nodes: Vec<ffi::Node> = self.nodes.iter().map(raw_node).collect();
        let tensor_list: Vec<*const ffi::Tensor> = tensors.iter().map(ptr::from_ref).collect();
        let node_list: Vec<*const ffi::Node> = nodes.iter().map(ptr::from_ref).collect();
        call(&ffi::Graph {
            hdr: ffi::Hdr::of::<ffi::Graph>(),
            name: name.as_ptr(),
            rows: self.rows as u32,
            n_tensors: tensors.len() as u32,
            n_nodes: nodes.len() as u32,
            tensors: tensor_list.as_ptr(),
            nodes: node_list.as_ptr(),
        })
    }
}

fn raw_quant(tensor: &Tensor) -> ffi::Quant {
    match &tensor.role {
        Role::Weight(Some(quant), _) => quant.raw(),
        _ => ffi::Quant {
            hdr: ffi::Hdr::of::<ffi::Quant>(),
            store: ffi::F32,
            group: 0,
            scale_type: 0,
        },
    }
}

fn raw_tensor(id: usize, tensor: &Tensor, quant: &ffi::Quant) -> ffi::Tensor {
    let mut raw = ffi::Tensor {
        hdr: ffi::Hdr::of::<ffi::Tensor>(),
        id: id as u32,
        role: match tensor.role {
            Role::Intermediate => ffi::INTERMEDIATE,
            Role::Input => ffi::INPUT,
            Role::Output => ffi::OUTPUT,
            Role::Weight(..) => ffi::WEIGHT,
        },
        rows: tensor.rows as u32,
        cols: tensor.cols as u32,
        quant: ptr::null(),
        data: ptr::null(),
        data_size: 0,
        scales: ptr::null(),
        scales_size: 0,
    };
    if let Role::Weight(form, stored) = &tensor.role {
        raw.quant = form.map_or(ptr::null(), |_| ptr::from_ref(quant));
        (raw.data, raw.data_size) = bytes(&stored.data);
        (raw.scales, raw.scales_size) = bytes(&stored.scales);
    }
    raw
}

fn bytes(bytes: &[u8]) -> (*const c_void, u64) {
    match bytes {
        [] => (ptr::null(), 0),
        bytes => (bytes.as_ptr().cast(), bytes.len() as u64),
    }
}

fn raw_node(node: &Node) -> ffi::Node {
    let mut raw = ffi::Node {
        n_in: node.inputs.len().min(4) as u32,
        out: node.out as u32,
        ..ffi::Node::EMPTY
    };
    for (slot, &input) in raw.inputs.iter_mut().zip(&node.inputs) {
        *slot = input as u32;
    }
    node.op.write(&mut raw);
    raw
}
