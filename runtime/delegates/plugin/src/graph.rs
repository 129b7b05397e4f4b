//! Reads and checks the host's graph, and decides which of its nodes the device takes.

use crate::failure::{Result, complete, invalid, unsupported};
use core::ffi::{CStr, c_void};
use ondol::delegate::segment::{Op, RowFn};
use ondol::delegate::{Quant, ffi};

/// Largest number of tensors or nodes; more than any span of a model has.
const MAX_LISTED: usize = 4096;
/// Largest number of rows or columns of a tensor.
const MAX_SIDE: usize = 1 << 20;
/// Largest number of floats in a value.
const MAX_VALUE: usize = 1 << 28;

/// A span of a model for a fixed number of rows.
pub struct Graph<'g> {
    /// Name for messages.
    pub name: String,
    /// Rows (tokens) of one call.
    pub rows: usize,
    /// All values and weights.
    pub tensors: Vec<Tensor<'g>>,
    /// Operations in order of execution.
    pub nodes: Vec<Node>,
}

/// A tensor of `rows x cols`.
pub struct Tensor<'g> {
    /// Input, output, weight or intermediate.
    pub role: Role,
    /// 1 for a vector.
    pub rows: usize,
    /// How many numbers a row has.
    pub cols: usize,
    /// For a weight: its form; `None` for one that this build does not know.
    pub form: Option<Quant>,
    /// For a weight: its numbers; empty during a claim, when the host has no data yet.
    pub data: &'g [u8],
    /// For a weight: its scales.
    pub scales: &'g [u8],
}

/// The role of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Computed and read within the graph.
    Intermediate,
    /// Written by the host before each call.
    Input,
    /// Computed by the device and read by the host.
    Output,
    /// The same for all calls.
    Weight,
}

impl Role {
    /// The role in the C ABI.
    pub(crate) fn raw(self) -> u32 {
        match self {
            Role::Intermediate => ffi::INTERMEDIATE,
            Role::Input => ffi::INPUT,
            Role::Output => ffi::OUTPUT,
            Role::Weight => ffi::WEIGHT,
        }
    }

    /// Converts a role of the C ABI; the error says that there is no such role.
    pub(crate) fn from_raw(raw: u32) -> core::result::Result<Role, String> {
        let all = [Role::Intermediate, Role::Input, Role::Output, Role::Weight];
        let known = all.into_iter().find(|role| role.raw() == raw);
        known.ok_or_else(|| format!("its role is {raw}"))
    }
}

/// An operation. Tensors are referred to by their index.
#[derive(Debug, Clone)]
pub struct Node {
    /// The operation, or the number of one that this plug-in does not know.
    pub op: core::result::Result<Op, u32>,
    /// At most four tensors.
    pub inputs: Vec<usize>,
    /// The tensor that it computes.
    pub out: usize,
}

/// The values of a graph that jobs bind.
#[derive(Debug, Clone, PartialEq)]
pub struct Interface {
    /// Rows of each value.
    pub rows: usize,
    /// Inputs in ascending order of their ids.
    pub inputs: Vec<Value>,
    /// Outputs in ascending order of their ids.
    pub outputs: Vec<Value>,
}

/// An input or an output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// Its tensor's id in the graph.
    pub id: u32,
    /// Its number of columns.
    pub cols: usize,
}

// ---- reading the host's structs ---------------------------------------------------

impl<'g> Graph<'g> {
    /// Reads the host's graph.
    ///
    /// # Safety
    /// `raw` is null, or points to a graph that keeps the contract and lives for `'g`.
    ///
    /// # Errors
    /// INVALID if the graph is not well formed.
    pub(crate) unsafe fn read(raw: *const ffi::Graph) -> Result<Graph<'g>> {
        // SAFETY: passed on to the caller.
        if !unsafe { complete(raw) } {
            return Err(invalid("no graph, or a struct that is too small"));
        }
        // SAFETY: the struct exists and is complete.
        let raw = unsafe { &*raw };
        let name = match raw.name.is_null() {
            true => String::new(),
            // SAFETY: a string that ends in zero.
            false => unsafe { CStr::from_ptr(raw.name) }
                .to_string_lossy()
                .into_owned(),
        };
        // SAFETY: lists have as many elements as the graph says, by the contract.
        let (tensors, nodes) = unsafe {
            (
                listed(raw.tensors, raw.n_tensors)?,
                listed(raw.nodes, raw.n_nodes)?,
            )
        };
        let tensors = tensors.iter().enumerate();
        // SAFETY: passed on to the caller.
        let tensors = tensors.map(|(id, &tensor)| unsafe { read_tensor(tensor, id) });
        let nodes = nodes.iter().enumerate();
        // SAFETY: passed on to the caller.
        let nodes = nodes.map(|(id, &node)| unsafe { read_node(node, id) });
        let graph = Graph {
            name,
            rows: raw.rows as usize,
            tensors: tensors.collect::<Result<_>>()?,
            nodes: nodes.collect::<Result<_>>()?,
        };
        graph.check()?;
        Ok(graph)
    }

    pub(crate) fn interface(&self) -> Interface {
        let side = |role| {
            let tensors = self.tensors.iter().enumerate();
            tensors
                .filter(|(_, tensor)| tensor.role == role)
                .map(|(id, tensor)| Value {
                    id: id as u32,
                    cols: tensor.cols,
                })
                .collect()
        };
        Interface {
            rows: self.rows,
            inputs: side(Role::Input),
            outputs: side(Role::Output),
        }
    }
}

/// A list of the host as a slice.
///
/// # Safety
/// `list` is null, or has `len` elements.
unsafe fn listed<'g, T>(list: *const T, len: u32) -> Result<&'g [T]> {
    match len as usize {
        0 => Err(invalid("the graph is empty")),
        _ if list.is_null() => Err(invalid("a list of the graph is missing")),
        len if len > MAX_LISTED => Err(unsupported(format!("a graph with a list of {len}"))),
        // SAFETY: passed on to the caller.
        len => Ok(unsafe { core::slice::from_raw_parts(list, len) }),
    }
}

/// Reads a tensor.
///
/// # Safety
/// `raw` is null, or points to a tensor that keeps the contract and lives for `'g`.
unsafe fn read_tensor<'g>(raw: *const ffi::Tensor, id: usize) -> Result<Tensor<'g>> {
    let wrong = || {
        invalid(format!(
            "tensor {id} is missing, too small a struct, or has another id"
        ))
    };
    // SAFETY: passed on to the caller.
    if !unsafe { complete(raw) } {
        return Err(wrong());
    }
    // SAFETY: the struct is complete; so is what it points to, by the contract.
    let (raw, quant) = unsafe { (&*raw, (*raw).quant) };
    // SAFETY: as above.
    if raw.id as usize != id || !quant.is_null() && !unsafe { complete(quant) } {
        return Err(wrong());
    }
    Ok(Tensor {
        role: Role::from_raw(raw.role).map_err(|wrong| invalid(format!("tensor {id}: {wrong}")))?,
        rows: raw.rows as usize,
        cols: raw.cols as usize,
        // SAFETY: null, or complete.
        form: unsafe { quant.as_ref() }.map_or(Some(Quant::F32), Quant::from_raw),
        // SAFETY: the data has this many bytes, by the contract.
        data: unsafe { bytes(raw.data, raw.data_size) },
        // SAFETY: as above.
        scales: unsafe { bytes(raw.scales, raw.scales_size) },
    })
}

/// Some bytes of the host as a slice; empty if `start` is null.
///
/// # Safety
/// `start` is null, or `size` bytes lie there that live for `'g`.
unsafe fn bytes<'g>(start: *const c_void, size: u64) -> &'g [u8] {
    match usize::try_from(size) {
        // SAFETY: passed on to the caller.
        Ok(size) if !start.is_null() => unsafe { core::slice::from_raw_parts(start.cast(), size) },
        _ => &[],
    }
}

/// Reads a node.
///
/// # Safety
/// `raw` is null, or points to a node that keeps the contract.
unsafe fn read_node(raw: *const ffi::Node, id: usize) -> Result<Node> {
    // SAFETY: passed on to the caller.
    if !unsafe { complete(raw) } {
        return Err(invalid(format!(
            "node {id} is missing or too small a struct"
        )));
    }
    // SAFETY: the struct exists and is complete.
    let raw = unsafe { &*raw };
    let inputs = raw.inputs.get(..raw.n_in as usize);
    let inputs = inputs.ok_or_else(|| invalid(format!("node {id}: {} inputs", raw.n_in)))?;
    Ok(Node {
        op: Op::read(raw).ok_or(raw.op),
        inputs: inputs.iter().map(|&input| input as usize).collect(),
        out: raw.out as usize,
    })
}

// ---- checks of a graph ------------------------------------------------------------

/// The result of a check: the error says what is wrong, or why the device refuses.
pub type Verdict = core::result::Result<(), String>;

fn unless(holds: bool, wrong: &str) -> Verdict {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}

impl Graph<'_> {
    /// Checks that shapes fit, and that every value is computed once, before it is used.
    pub(crate) fn check(&self) -> Result<()> {
        let named = |what: &str, id: usize, wrong: String| {
            invalid(format!("{what} {id}: {wrong}; graph \"{}\"", self.name))
        };
        for (id, tensor) in self.tensors.iter().enumerate() {
            self.check_tensor(tensor)
                .map_err(|wrong| named("tensor", id, wrong))?;
        }
        let given = |tensor: &Tensor| matches!(tensor.role, Role::Input | Role::Weight);
        let mut defined: Vec<bool> = self.tensors.iter().map(given).collect();
        for (id, node) in self.nodes.iter().enumerate() {
            self.check_wiring(node, &defined)
                .and_then(|()| self.check_shapes(node))
                .map_err(|wrong| named("node", id, wrong))?;
            defined[node.out] = true;
        }
        for (id, tensor) in self.tensors.iter().enumerate() {
            unless(
                tensor.role != Role::Output || defined[id],
                "no node computes this output",
            )
            .map_err(|wrong| named("tensor", id, wrong))?;
        }
        Ok(())
    }

    fn check_tensor(&self, tensor: &Tensor) -> Verdict {
        unless(tensor.rows > 0 && tensor.cols > 0, "it is empty")?;
        unless(
            tensor.role == Role::Weight || tensor.rows == self.rows,
            "it is a value and has not as many rows as the graph",
        )
    }

    /// Checks the inputs and the output of a node. `defined` says for each tensor whether it has a
    /// value when the node runs.
    fn check_wiring(&self, node: &Node, defined: &[bool]) -> Verdict {
        // An operation that is unknown here may be valid for the host.
        let takes = |op: Op| op.inputs().contains(&node.inputs.len());
        unless(
            node.op.is_err() || node.op.is_ok_and(takes),
            "it has the wrong number of inputs",
        )?;
        for &input in &node.inputs {
            unless(input < defined.len(), "an input is out of range")?;
            unless(defined[input], "an input is used before it is computed")?;
        }
        unless(node.out < defined.len(), "its output is out of range")?;
        unless(
            !defined[node.out],
            "its output is an input, a weight, or computed before",
        )
    }

    fn check_shapes(&self, node: &Node) -> Verdict {
        let input = |i: usize| &self.tensors[node.inputs[i]];
        let out = &self.tensors[node.out];
        let is_vector = |i: usize, cols: usize| input(i).rows == 1 && input(i).cols == cols;
        let same = |i: usize| (input(i).rows, input(i).cols) == (out.rows, out.cols);
        match node.op {
            Ok(Op::MatMul) => {
                unless(
                    input(0).cols == input(1).cols,
                    "its inputs have not the same number of columns",
                )?;
                unless(
                    out.cols == input(1).rows,
                    "its output has not as many columns as in1 has rows",
                )?;
                unless(
                    node.inputs.len() == 2 || is_vector(2, out.cols),
                    "in2 is not a vector of its output's columns",
                )
            }
            Ok(Op::Row(function)) => {
                unless(
                    (0..function.values()).all(same),
                    "its inputs and output have not the same shape",
                )?;
                let Some(len) = function.weight_len(out.cols) else {
                    return Ok(());
                };
                unless(
                    len > 0 && out.cols.is_multiple_of(len),
                    "its group does not divide its columns",
                )?;
                let weight = function.values();
                unless(
                    node.inputs.len() == weight || is_vector(weight, len),
                    "its weight is not a vector of its group",
                )
            }
            Err(_) => Ok(()),
        }
    }
}

// ---- what the device takes --------------------------------------------------------

impl Graph<'_> {
    /// Whether the device takes a node; the error is the reason why not. `forms` are
    /// those that matrices may have.
    pub(crate) fn supports(&self, node: &Node, forms: &[Quant]) -> Verdict {
        let out = &self.tensors[node.out];
        if out.cols > MAX_SIDE || out.rows.saturating_mul(out.cols) > MAX_VALUE {
            return Err(format!("its output is {} x {}", out.rows, out.cols));
        }
        let values = match node.op {
            Err(op) => return Err(format!("op {op} is unknown")),
            Ok(Op::Row(RowFn::Softcap { cap: 0.0 })) => return Err("a cap of 0".to_owned()),
            Ok(Op::MatMul) => {
                self.supports_matrix(&self.tensors[node.inputs[1]], forms)?;
                1
            }
            Ok(Op::Row(function)) => function.values(),
        };
        for (i, &input) in node.inputs.iter().enumerate() {
            let tensor = &self.tensors[input];
            let is_weight = tensor.role == Role::Weight;
            let is_matrix = node.op == Ok(Op::MatMul) && i == 1;
            if i < values && is_weight {
                return Err(format!("in{i} is a weight, which this op does not take"));
            }
            if i >= values && !is_matrix && !(is_weight && tensor.form == Some(Quant::F32)) {
                return Err(format!("in{i} is not a weight of F32"));
            }
        }
        Ok(())
    }

    fn supports_matrix(&self, matrix: &Tensor, forms: &[Quant]) -> Verdict {
        let (rows, cols) = (matrix.rows, matrix.cols);
        unless(matrix.role == Role::Weight, "in1 is not a weight")?;
        let form = matrix.form.filter(|form| forms.contains(form));
        let form = form.ok_or("in1 is in no form that the device takes")?;
        unless(
            rows <= MAX_SIDE && cols <= MAX_SIDE,
            "in1 has too many rows or columns",
        )?;
        match form.fits(cols) {
            true => Ok(()),
            false => Err(format!(
                "rows of {cols} are not made of whole groups and bytes"
            )),
        }
    }

    /// Checks that all weights have data and scales of the right size.
    ///
    /// # Errors
    /// INVALID if one has not.
    pub(crate) fn check_data(&self) -> Result<()> {
        let mut weights = self.tensors.iter().enumerate();
        match weights.find(|(_, tensor)| tensor.role == Role::Weight && !tensor.is_complete()) {
            None => Ok(()),
            Some((id, _)) => Err(invalid(format!(
                "tensor {id}: its data or scales are missing or not of the right size; graph \"{}\"",
                self.name
            ))),
        }
    }
}

impl Tensor<'_> {
    fn is_complete(&self) -> bool {
        let sizes = self.form.and_then(|form| form.sizes(self.rows, self.cols));
        sizes == Some((self.data.len(), self.scales.len()))
    }
}
