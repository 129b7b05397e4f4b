//! Programs: a graph whose weights are tensors of candle on the device.

use crate::device::{Device, failure};
use candle_core::{D, DType, Tensor};
use ondol_plugin::ondol::delegate::segment::{Activation, Op, RowFn};
use ondol_plugin::ondol::delegate::{Code, Quantized};
use ondol_plugin::{Failure, Graph, Node, Result, Role, Values, unsupported};

/// A compiled graph.
pub struct Program {
    /// The graph as bytes, to be saved.
    bytes: Vec<u8>,
    nodes: Vec<Node>,
    /// By tensor: a weight on the device, a matrix in the type of [`Program::dtype`];
    /// `None` for values.
    weights: Vec<Option<Tensor>>,
    inputs: Vec<Shape>,
    /// Tensors of the outputs, in ascending order.
    outputs: Vec<usize>,
    dtype: DType,
    device: candle_core::Device,
}

/// A value's tensor and its number of columns.
#[derive(Clone, Copy)]
struct Shape {
    tensor: usize,
    cols: usize,
}

impl Program {
    /// Puts the weights of a graph on the device.
    ///
    /// # Errors
    /// INTERNAL if the device has too little memory.
    pub fn of(device: &Device, graph: &Graph, bytes: Vec<u8>) -> Result<Program> {
        let dtype = device.place.dtype();
        let weights = weights(graph, dtype, &device.device)?;
        device.device.synchronize().map_err(failure)?;
        let with = |role: Role| {
            let tensors = graph.tensors.iter().enumerate();
            tensors.filter(move |(_, tensor)| tensor.role == role)
        };
        let inputs = with(Role::Input).map(|(id, tensor)| Shape {
            tensor: id,
            cols: tensor.cols,
        });
        Ok(Program {
            bytes,
            nodes: graph.nodes.clone(),
            weights,
            inputs: inputs.collect(),
            outputs: with(Role::Output).map(|(id, _)| id).collect(),
            dtype,
            device: device.device.clone(),
        })
    }

    /// Computes all nodes, and copies the outputs to the host.
    fn compute(&self, values: Values, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let mut computed = self.weights.clone();
        for (shape, input) in self.inputs.iter().zip(values.inputs) {
            let input = Tensor::from_slice(input, (values.rows, shape.cols), &self.device);
            computed[shape.tensor] = Some(input.map_err(failure)?);
        }
        for node in &self.nodes {
            go_on()?;
            computed[node.out] = Some(self.node(node, &computed)?);
        }
        for (&id, output) in self.outputs.iter().zip(values.outputs) {
            let missing = || Failure::new(Code::Internal, "an output was not computed");
            let value = computed[id].as_ref().ok_or_else(missing)?;
            let floats = value.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
            output.copy_from_slice(&floats.map_err(failure)?);
        }
        Ok(())
    }

    /// Computes a node of which all operands are there.
    fn node(&self, node: &Node, values: &[Option<Tensor>]) -> Result<Tensor> {
        let operand = |i: usize| operand(node, values, i);
        let computed = match node.op {
            Ok(Op::MatMul) => self.matmul(operand(0)?, operand(1)?, operand(2).ok()),
            Ok(Op::Row(function)) => row(function, operand(0)?, operand(1).ok()),
            Err(op) => return Err(unsupported(format!("op {op} is unknown"))),
        };
        computed.map_err(failure)
    }

    /// `x` times the transposed `matrix`, plus the bias.
    fn matmul(
        &self,
        x: &Tensor,
        matrix: &Tensor,
        bias: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let product = x.to_dtype(self.dtype)?.matmul(&matrix.t()?)?;
        let product = product.to_dtype(DType::F32)?;
        match bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}

/// The weights of a graph by tensor: matrices in `dtype`, vectors in F32.
fn weights(
    graph: &Graph,
    dtype: DType,
    device: &candle_core::Device,
) -> Result<Vec<Option<Tensor>>> {
    let is_matrix = |id: usize| {
        let reads = |node: &Node| node.op == Ok(Op::MatMul) && node.inputs[1] == id;
        graph.nodes.iter().any(reads)
    };
    let tensors = graph.tensors.iter().enumerate();
    let weight = |(id, tensor): (usize, &ondol_plugin::Tensor)| {
        let Some(form) = tensor.form.filter(|_| tensor.role == Role::Weight) else {
            return Ok(None);
        };
        let stored = Quantized {
            data: tensor.data.to_vec(),
            scales: tensor.scales.to_vec(),
        };
        let rows = (0..tensor.rows).flat_map(|row| form.dequantize_row(&stored, row, tensor.cols));
        let floats: Vec<f32> = rows.collect();
        let shape = (tensor.rows, tensor.cols);
        let on_device =
            Tensor::from_vec(floats, shape, device).and_then(|made| match is_matrix(id) {
                true => made.to_dtype(dtype),
                false => made.flatten_all(),
            });
        on_device.map(Some).map_err(failure)
    };
    tensors.map(weight).collect()
}

/// The operand `i` of a node: a weight, or a value that an earlier node computed.
fn operand<'v>(node: &Node, values: &'v [Option<Tensor>], i: usize) -> Result<&'v Tensor> {
    let value = node.inputs.get(i).and_then(|&id| values[id].as_ref());
    value.ok_or_else(|| Failure::new(Code::Internal, "an operand was not computed"))
}

/// Computes a function of rows; `second` is its second operand, a value or a weight.
fn row(function: RowFn, x: &Tensor, second: Option<&Tensor>) -> candle_core::Result<Tensor> {
    match (function, second) {
        (RowFn::RmsNorm { group, eps }, weight) => rms_norm(x, weight, group, eps),
        (RowFn::Add, Some(y)) => x.add(y),
        (RowFn::Scale { factor }, _) => x.affine(f64::from(factor), 0.0),
        (RowFn::Glu(Activation::Silu), Some(y)) => x.silu()?.mul(y),
        // candle's `gelu` is the form with the hyperbolic tangent.
        (RowFn::Glu(Activation::GeluTanh), Some(y)) => x.gelu()?.mul(y),
        (RowFn::Softcap { cap }, _) => {
            let share = x.affine(1.0 / f64::from(cap), 0.0)?;
            share.tanh()?.affine(f64::from(cap), 0.0)
        }
        _ => candle_core::bail!("the contract does not have {function:?}"),
    }
}

fn rms_norm(
    x: &Tensor,
    weight: Option<&Tensor>,
    group: usize,
    eps: f32,
) -> candle_core::Result<Tensor> {
    let (rows, cols) = x.dims2()?;
    let grouped = x.reshape((rows, cols / group, group))?;
    let mean = grouped.sqr()?.mean_keepdim(D::Minus1)?;
    let length = mean.affine(1.0, f64::from(eps))?.sqrt()?;
    let mut normal = grouped.broadcast_div(&length)?;
    if let Some(weight) = weight {
        normal = normal.broadcast_mul(weight)?;
    }
    normal.reshape((rows, cols))
}

impl ondol_plugin::Program for Program {
    type Request = ();

    fn request(&self) -> Result<()> {
        Ok(())
    }

    fn run(&self, _: &mut (), values: Values, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let outcome = self.compute(values, go_on);
        // A GPU may still compute what a job that ends early has started.
        self.device.synchronize().map_err(failure)?;
        outcome
    }

    fn save(&self) -> Result<Vec<u8>> {
        Ok(self.bytes.clone())
    }
}
