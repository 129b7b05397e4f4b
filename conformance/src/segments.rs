//! Runs a segment on the device, and with plain loops in 64-bit floats.

use ondol::delegate::segment::{Activation, Op, Role, RowFn, Segment};
use ondol::delegate::{
    Buffer, Code, Delegate, DelegateError, DeviceSession, Job, Outcome, Place, Program, Stage,
};
use std::time::{Duration, Instant};

/// Values of tensors, `rows x cols` each.
pub type Values = Vec<Vec<f32>>;

/// A compiled segment with the memory to run it.
pub struct Bench {
    session: DeviceSession,
    inputs: Buffer,
    outputs: Buffer,
    /// Index and length of each input, then of each output.
    interface: [Vec<(usize, usize)>; 2],
    deadline: Duration,
}

impl Bench {
    /// Compiles a segment.
    pub fn new(
        delegate: &Delegate,
        segment: &Segment,
        deadline: Duration,
    ) -> Result<Bench, DelegateError> {
        Bench::of_program(delegate, delegate.compile(segment)?, segment, deadline)
    }

    /// For a program that was compiled from the segment.
    pub fn of_program(
        delegate: &Delegate,
        program: Program,
        segment: &Segment,
        deadline: Duration,
    ) -> Result<Bench, DelegateError> {
        let (inputs, outputs) = segment.interface();
        let len = |index: usize| segment.rows * segment.tensors[index].cols;
        let with_len = |list: Vec<usize>| list.into_iter().map(|i| (i, len(i))).collect();
        let interface: [Vec<(usize, usize)>; 2] = [with_len(inputs), with_len(outputs)];
        let floats = |side: &Vec<(usize, usize)>| side.iter().map(|&(_, len)| len).sum();
        Ok(Bench {
            session: DeviceSession::new(vec![program])?,
            inputs: Buffer::new(delegate, floats(&interface[0]))?,
            outputs: Buffer::new(delegate, floats(&interface[1]))?,
            interface,
            deadline,
        })
    }

    /// The outputs, in order, for inputs in order.
    pub fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Values, DelegateError> {
        let mut at = 0;
        for values in inputs {
            self.inputs.floats_mut()[at..at + values.len()].copy_from_slice(values);
            at += values.len();
        }
        // What the device leaves alone shows.
        self.outputs.floats_mut().fill(f32::NAN);
        let places = places(&self.interface, &self.inputs, &self.outputs);
        // SAFETY: the buffers live as long as the session, and are not looked at
        // before the job is over.
        #[allow(unsafe_code)]
        let mut job = unsafe { self.session.submit(0, places.into_iter(), self.deadline)? };
        let began = Instant::now();
        loop {
            match job.wait(self.deadline) {
                Outcome::Done(_) => return Ok(self.read()),
                Outcome::Failed(error) => return Err(error),
                Outcome::Running if began.elapsed() < 2 * self.deadline => job.cancel()?,
                Outcome::Running => return Err(abandon(job, never_ends())),
                Outcome::Stuck(error) => return Err(abandon(job, error)),
            }
        }
    }

    fn read(&self) -> Values {
        let mut rest = self.outputs.floats();
        let mut values = Vec::new();
        for &(_, len) in &self.interface[1] {
            let (value, after) = rest.split_at(len);
            values.push(value.to_vec());
            rest = after;
        }
        values
    }
}

/// The place of each value: one after the other in the memory of inputs or of outputs.
fn places<'b>(
    interface: &[Vec<(usize, usize)>; 2],
    inputs: &'b Buffer,
    outputs: &'b Buffer,
) -> Vec<Place<'b>> {
    let mut places = Vec::new();
    for (values, buffer) in interface.iter().zip([inputs, outputs]) {
        let mut offset = 0;
        for &(tensor, len) in values {
            places.push(Place {
                tensor,
                buffer,
                offset,
            });
            offset += len;
        }
    }
    places
}

/// Leaks a job that can't be freed because it may still run.
fn abandon(job: Job, error: DelegateError) -> DelegateError {
    std::mem::forget(job);
    error
}

fn never_ends() -> DelegateError {
    DelegateError {
        stage: Stage::Wait,
        code: Code::Timeout,
        vendor_code: 0,
        retryable: false,
        needs_reset: false,
        message: "the job did not end, not even when it was cancelled".to_owned(),
    }
}

/// The weight at `index`, dequantized from its format, row after row.
pub fn weight(segment: &Segment, index: usize) -> Vec<f32> {
    let tensor = &segment.tensors[index];
    let Role::Weight(form, stored) = &tensor.role else {
        return Vec::new();
    };
    match form {
        Some(form) => (0..tensor.rows)
            .flat_map(|row| form.dequantize_row(stored, row, tensor.cols))
            .collect(),
        None => {
            let floats = stored.data.chunks_exact(4);
            floats
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()
        }
    }
}

/// The expected outputs of a segment: the formulas of `ondol_npu.h` in 64-bit floats,
/// on the dequantized weights.
pub fn oracle(segment: &Segment, inputs: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let mut values: Vec<Vec<f64>> = Vec::new();
    let mut given = inputs.iter();
    for (index, tensor) in segment.tensors.iter().enumerate() {
        let wide = |floats: &[f32]| floats.iter().map(|&x| f64::from(x)).collect();
        values.push(match &tensor.role {
            Role::Input => given.next().map_or_else(Vec::new, |floats| wide(floats)),
            Role::Weight(..) => wide(&weight(segment, index)),
            Role::Intermediate | Role::Output => Vec::new(),
        });
    }
    for node in &segment.nodes {
        let of = |i: usize| values[node.inputs[i]].as_slice();
        let cols = segment.tensors[node.out].cols;
        values[node.out] = match node.op {
            Op::MatMul => {
                let bias = node.inputs.get(2).map(|&bias| values[bias].as_slice());
                matmul(of(0), of(1), bias, cols)
            }
            Op::Row(function) => {
                let second = node.inputs.get(1).map(|&index| values[index].as_slice());
                row(function, of(0), second)
            }
        };
    }
    let outputs = segment.interface().1;
    outputs
        .into_iter()
        .map(|index| std::mem::take(&mut values[index]))
        .collect()
}

/// A function of rows; `second` is its other value, or its weight.
fn row(function: RowFn, x: &[f64], second: Option<&[f64]>) -> Vec<f64> {
    let y = second.unwrap_or_default();
    let pairs = x.iter().zip(y);
    match function {
        RowFn::RmsNorm { group, eps } => rms_norm(x, second, f64::from(eps), group),
        RowFn::Add => pairs.map(|(a, b)| a + b).collect(),
        RowFn::Scale { factor } => x.iter().map(|x| x * f64::from(factor)).collect(),
        RowFn::Glu(Activation::Silu) => pairs.map(|(a, b)| a / (1.0 + (-a).exp()) * b).collect(),
        RowFn::Glu(Activation::GeluTanh) => pairs.map(|(a, b)| gelu(*a) * b).collect(),
        RowFn::Softcap { cap } => {
            let cap = f64::from(cap);
            x.iter().map(|x| cap * (x / cap).tanh()).collect()
        }
    }
}

fn matmul(x: &[f64], w: &[f64], bias: Option<&[f64]>, n: usize) -> Vec<f64> {
    let k = w.len() / n;
    let mut out = Vec::with_capacity(x.len() / k * n);
    for x in x.chunks_exact(k) {
        out.extend(w.chunks_exact(k).enumerate().map(|(i, w)| {
            let product: f64 = x.iter().zip(w).map(|(x, w)| x * w).sum();
            product + bias.map_or(0.0, |bias| bias[i])
        }));
    }
    out
}

fn rms_norm(x: &[f64], weight: Option<&[f64]>, eps: f64, group: usize) -> Vec<f64> {
    let normal = |x: &[f64]| -> Vec<f64> {
        let mean_square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (mean_square + eps).sqrt();
        let factor = |i: usize| weight.map_or(1.0, |weight| weight[i]);
        x.iter()
            .enumerate()
            .map(|(i, x)| x * scale * factor(i))
            .collect()
    };
    x.chunks_exact(group).flat_map(normal).collect()
}

fn gelu(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

/// The squared distance divided by the squared length; 0 if both are 0.
pub fn nmse(found: &[f32], expected: &[f64]) -> f64 {
    let distance: f64 = found
        .iter()
        .zip(expected)
        .map(|(x, y)| (f64::from(*x) - y) * (f64::from(*x) - y))
        .sum();
    let length: f64 = expected.iter().map(|y| y * y).sum();
    if distance == 0.0 {
        0.0
    } else {
        distance / length
    }
}

/// Normally distributed numbers, the same for the same seed (a sum of twelve uniform
/// numbers).
pub fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = move || {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..len)
        .map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
        .collect()
}
