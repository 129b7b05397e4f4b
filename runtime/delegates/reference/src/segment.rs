//! A segment in a given arithmetic.

use crate::matmul;
use crate::weights::{Matrix, f32s};
use core::convert::Infallible;
use ondol_plugin::ondol::delegate::Arithmetic;
use ondol_plugin::ondol::delegate::segment::{Activation, Op, RowFn, Segment};
use ondol_plugin::{Graph, Node, Role};

/// The outputs of a segment for its inputs, `rows x cols` each, both in ascending order
/// of their tensors. Matmuls are computed in the arithmetic, all other operations in
/// 64-bit floats; each value is rounded to 32 bits once.
///
/// # Panics
/// If a device could not compile the segment, or if an input is missing or its length does not
/// fit its tensor.
pub fn run(segment: &Segment, inputs: &[Vec<f32>], arithmetic: &Arithmetic) -> Vec<Vec<f32>> {
    let go_on = || Ok::<(), Infallible>(());
    match compute(&Graph::from(segment), inputs, arithmetic, &go_on) {
        Ok(outputs) => outputs,
        Err(never) => match never {},
    }
}

/// [`run`] that ends early if `go_on` fails.
///
/// # Errors
/// The error of `go_on`.
pub fn compute<E>(
    graph: &Graph,
    inputs: &[impl AsRef<[f32]>],
    arithmetic: &Arithmetic,
    go_on: &dyn Fn() -> Result<(), E>,
) -> Result<Vec<Vec<f32>>, E> {
    let mut values = given(graph, inputs);
    for node in &graph.nodes {
        let of = |i: usize| values[node.inputs[i]].as_slice();
        let second = (node.inputs.len() > 1).then(|| of(1));
        values[node.out] = match node.op {
            Ok(Op::MatMul) => {
                let bias = (node.inputs.len() > 2).then(|| of(2));
                let matrix = Matrix::of(&graph.tensors[node.inputs[1]]);
                matmul::compute(of(0), &matrix, bias, arithmetic, go_on)?
            }
            Ok(Op::Row(function)) => {
                go_on()?;
                row(function, of(0), second)
            }
            Err(op) => panic!("op {op} is unknown"),
        };
    }
    let tensors = graph.tensors.iter().zip(values);
    let outputs = tensors.filter(|(tensor, _)| tensor.role == Role::Output);
    Ok(outputs.map(|(_, value)| value).collect())
}

/// The values before the first node, by tensor: inputs, and weights that are vectors. The other
/// tensors are empty.
fn given(graph: &Graph, inputs: &[impl AsRef<[f32]>]) -> Vec<Vec<f32>> {
    let is_matrix = |id: usize| {
        let reads = |node: &Node| node.op == Ok(Op::MatMul) && node.inputs[1] == id;
        graph.nodes.iter().any(reads)
    };
    let mut inputs = inputs.iter();
    let tensors = graph.tensors.iter().enumerate();
    tensors
        .map(|(id, tensor)| match tensor.role {
            Role::Input => {
                let input = inputs.next().expect("an input for each of the segment's");
                input.as_ref().to_vec()
            }
            Role::Weight if !is_matrix(id) => f32s(tensor.data).collect(),
            _ => Vec::new(),
        })
        .collect()
}

/// Computes a function of rows; `second` is its second operand, a value or a weight.
fn row(function: RowFn, x: &[f32], second: Option<&[f32]>) -> Vec<f32> {
    if let RowFn::RmsNorm { group, eps } = function {
        let groups = x.chunks_exact(group);
        return groups.flat_map(|x| rms_norm(x, second, eps)).collect();
    }
    let number = |a: f64, b: f64| match function {
        RowFn::Add => a + b,
        RowFn::Scale { factor } => a * f64::from(factor),
        RowFn::Glu(Activation::Silu) => a / (1.0 + (-a).exp()) * b,
        RowFn::Glu(Activation::GeluTanh) => gelu(a) * b,
        RowFn::Softcap { cap } => f64::from(cap) * (a / f64::from(cap)).tanh(),
        _ => unreachable!("the contract does not have it"),
    };
    let wide = |(i, &a): (usize, &f32)| {
        let b = second.map_or(0.0, |second| second[i]);
        number(f64::from(a), f64::from(b)) as f32
    };
    x.iter().enumerate().map(wide).collect()
}

fn rms_norm(x: &[f32], weight: Option<&[f32]>, eps: f32) -> Vec<f32> {
    let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let scale = 1.0 / (squares / x.len() as f64 + f64::from(eps)).sqrt();
    let factor = |i: usize| weight.map_or(1.0, |weight| f64::from(weight[i]));
    let numbers = x.iter().enumerate();
    numbers
        .map(|(i, &x)| (f64::from(x) * scale * factor(i)) as f32)
        .collect()
}

fn gelu(x: f64) -> f64 {
    let inner = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}
