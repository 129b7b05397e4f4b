//! Computes a segment on the host in an arithmetic: exactly, or as a device declares
//! that it does.
//!
//! Rows are independent: a row has the same bits whatever the number of rows. The
//! other operations than matmuls are computed in 64-bit floats, and rounded once.

use crate::round::{Inputs, RoundedRow};
use ondol::delegate::Arithmetic;
use ondol::delegate::segment::{Activation, Op, Role, RowFn, Segment};
use std::borrow::Cow;

/// The outputs of a segment, in ascending order of their tensors, for its inputs in
/// ascending order; `rows x cols` numbers each.
///
/// # Panics
/// If an input has not `rows x cols` numbers, or the segment is not well formed.
pub fn compute(segment: &Segment, given: &[Vec<f32>], arithmetic: &Arithmetic) -> Vec<Vec<f32>> {
    let mut values = values(segment, given);
    for node in &segment.nodes {
        let of = |i: usize| values[node.inputs[i]].as_ref();
        let cols = segment.tensors[node.out].cols;
        let computed = match node.op {
            Op::MatMul => {
                let bias = node.inputs.get(2).map(|&bias| values[bias].as_ref());
                let weight = Matrix::of(segment, node.inputs[1]);
                weight.times(of(0), bias, arithmetic)
            }
            Op::Row(function) => {
                let second = node.inputs.get(1).map(|&index| values[index].as_ref());
                row(function, of(0), second, cols)
            }
        };
        values[node.out] = Cow::Owned(computed);
    }
    let outputs = segment.interface().1;
    outputs
        .into_iter()
        .map(|index| std::mem::take(&mut values[index]).into_owned())
        .collect()
}

/// Inputs and vectors; other tensors are empty.
fn values<'g>(segment: &Segment, given: &'g [Vec<f32>]) -> Vec<Cow<'g, [f32]>> {
    let mut given = given.iter();
    let tensors = segment.tensors.iter();
    tensors
        .map(|tensor| match &tensor.role {
            Role::Input => Cow::Borrowed(given.next().map_or(&[][..], Vec::as_slice)),
            Role::Weight(None, stored) if tensor.rows == 1 => {
                let floats = stored.data.as_chunks().0.iter();
                Cow::Owned(floats.map(|&bytes| f32::from_le_bytes(bytes)).collect())
            }
            _ => Cow::default(),
        })
        .collect()
}

// ---- matmul -----------------------------------------------------------------------

/// Numbers that are summed in 32-bit lanes before 64-bit floats take over: few enough
/// that their error is far below a half float's.
const RUN: usize = 64;

/// Sums that are computed side by side, so that they fit into a vector.
const LANES: usize = 16;

/// A matrix of weights: numbers, and a scale for each run of `group` of them.
struct Matrix {
    numbers: Vec<f32>,
    scales: Vec<f32>,
    /// Numbers of a row that share a scale.
    group: usize,
    cols: usize,
    /// The largest magnitude of a number.
    largest: f32,
}

impl Matrix {
    fn of(segment: &Segment, index: usize) -> Matrix {
        let tensor = &segment.tensors[index];
        let (rows, cols) = (tensor.rows, tensor.cols);
        let Role::Weight(form, stored) = &tensor.role else {
            unreachable!("a matmul's second input is a weight");
        };
        let (numbers, scales) = match form {
            Some(form) => form.numbers_and_scales(stored, rows, cols),
            None => {
                let floats = stored.data.as_chunks().0.iter();
                let floats = floats.map(|&bytes| f32::from_le_bytes(bytes));
                (floats.collect(), vec![1.0; rows])
            }
        };
        Matrix {
            group: rows * cols / scales.len().max(1),
            largest: numbers.iter().fold(0.0, |a: f32, b| a.max(b.abs())),
            numbers,
            scales,
            cols,
        }
    }

    /// Rows of `x` times the matrix, transposed, plus the bias.
    fn times(&self, x: &[f32], bias: Option<&[f32]>, arithmetic: &Arithmetic) -> Vec<f32> {
        let n = self.numbers.len() / self.cols;
        let inputs = Inputs::new(arithmetic, self.cols);
        let mut out = vec![0.0; x.len() / self.cols * n];
        let rows = x.chunks_exact(self.cols).zip(out.chunks_exact_mut(n));
        for (x, out) in rows {
            let x = inputs.round(x);
            for (row, out) in out.iter_mut().enumerate() {
                let bias = bias.map_or(0.0, |bias| f64::from(bias[row]));
                *out = (self.row_times(row, &x) + bias) as f32;
            }
        }
        out
    }

    /// The sum over runs of numbers that share both scales.
    fn row_times(&self, row: usize, x: &RoundedRow) -> f64 {
        let numbers = &self.numbers[row * self.cols..(row + 1) * self.cols];
        let scales = &self.scales[row * self.cols / self.group..];
        let run = self.group.min(x.group);
        let mut sum = 0.0;
        for (index, (w, x_run)) in numbers.chunks(run).zip(x.numbers.chunks(run)).enumerate() {
            let at = index * run;
            let scale = f64::from(scales[at / self.group]) * f64::from(x.scales[at / x.group]);
            sum += x.accumulate(w, x_run, self.largest) * scale;
        }
        x.finish(sum)
    }
}

/// The sum of products, its error far below that of any device.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.chunks(RUN).zip(b.chunks(RUN)) {
        let mut lanes = [0.0f32; LANES];
        let (whole_a, rest_a) = a.as_chunks::<LANES>();
        let (whole_b, rest_b) = b.as_chunks::<LANES>();
        for (a, b) in whole_a.iter().zip(whole_b) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        for (lane, (a, b)) in rest_a.iter().zip(rest_b).enumerate() {
            lanes[lane] += a * b;
        }
        sum += lanes.iter().map(|&x| f64::from(x)).sum::<f64>();
    }
    sum
}

// ---- functions of rows ------------------------------------------------------------

/// A function of rows; `second` is its other value, or its weight.
fn row(function: RowFn, x: &[f32], second: Option<&[f32]>, cols: usize) -> Vec<f32> {
    let wide = |x: &f32| f64::from(*x);
    let y = second.unwrap_or_default();
    let pairs = || x.iter().map(wide).zip(y.iter().map(wide));
    let each = |f: &dyn Fn(f64) -> f64| x.iter().map(|x| f(wide(x)) as f32).collect();
    match function {
        RowFn::RmsNorm { group, eps } => {
            debug_assert!(cols.is_multiple_of(group));
            x.chunks_exact(group)
                .flat_map(|x| rms_norm(x, second, f64::from(eps)))
                .collect()
        }
        RowFn::Add => pairs().map(|(a, b)| (a + b) as f32).collect(),
        RowFn::Scale { factor } => each(&|x| x * f64::from(factor)),
        RowFn::Glu(activation) => pairs()
            .map(|(a, b)| (activate(activation, a) * b) as f32)
            .collect(),
        RowFn::Softcap { cap } => {
            let cap = f64::from(cap);
            each(&|x| cap * (x / cap).tanh())
        }
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}

/// One group of numbers.
fn rms_norm<'x>(
    x: &'x [f32],
    weight: Option<&'x [f32]>,
    eps: f64,
) -> impl Iterator<Item = f32> + 'x {
    let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let scale = 1.0 / (squares / x.len() as f64 + eps).sqrt();
    let factor = move |i: usize| weight.map_or(1.0, |weight| f64::from(weight[i]));
    let each = x.iter().enumerate();
    each.map(move |(i, &x)| (f64::from(x) * scale * factor(i)) as f32)
}
