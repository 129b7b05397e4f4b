//! The operations that carry a state from token to token.

use super::file::Matrix;
use super::math::{Rows, dot, part};

/// A causal convolution: each column has its own kernel over the last tokens, this one
/// included, plus a bias.
pub fn convolution(x: &Rows, kernels: &Matrix, bias: Option<&Matrix>) -> Rows {
    let taps = kernels.cols;
    let at = |now: usize, column: usize| {
        let kernel = kernels.row(column);
        // The last tap is for this token; rows before the first token are zero.
        let tap = |back: usize| {
            let weight = f64::from(kernel[taps - 1 - back]);
            weight * x[now - back][column]
        };
        let sum: f64 = (0..taps.min(now + 1)).map(tap).sum();
        sum + bias.map_or(0.0, |bias| f64::from(bias.data[column]))
    };
    let row = |now: usize| (0..x[now].len()).map(|column| at(now, column)).collect();
    (0..x.len()).map(row).collect()
}

/// The inputs of the state space of Mamba-2 (arXiv:2405.21060), with one row for each token.
/// A head reads a run of `x`, one element of `steps`, and the runs of `b` and `c` of its
/// group.
pub struct StateSpace<'a> {
    pub x: &'a Rows,
    /// The length of the step of each head.
    pub steps: &'a Rows,
    pub b: &'a Rows,
    pub c: &'a Rows,
    /// The rate of decay of each head, below zero.
    pub a: &'a Matrix,
    /// The share of `x` that each head adds to its output.
    pub d: &'a Matrix,
    pub groups: usize,
}

impl StateSpace<'_> {
    /// `state = exp(step a) state + step x b^T; y = state c + d x`, for each head.
    pub fn scan(&self) -> Rows {
        let heads = self.steps[0].len();
        let width = self.x[0].len() / heads;
        let size = self.b[0].len() / self.groups;
        let mut out = vec![Vec::new(); self.x.len()];
        for head in 0..heads {
            let group = head / (heads / self.groups);
            let (a, d) = (f64::from(self.a.data[head]), f64::from(self.d.data[head]));
            let mut state = vec![vec![0.0; size]; width];
            for (token, out) in out.iter_mut().enumerate() {
                let step = self.steps[token][head];
                let b = part(&self.b[token], group, size);
                let c = part(&self.c[token], group, size);
                let x = part(&self.x[token], head, width);
                for (state, x) in state.iter_mut().zip(x) {
                    for (s, b) in state.iter_mut().zip(b) {
                        *s = (step * a).exp() * *s + step * x * b;
                    }
                    out.push(dot(state, c) + d * x);
                }
            }
        }
        out
    }
}

/// The inputs of the gated delta rule (arXiv:2412.06464), with one row for each token. `v`
/// may have more heads than `q` and `k`; `decays` and `betas` have one number for each head
/// of `v`.
pub struct GatedDelta<'a> {
    pub q: &'a Rows,
    pub k: &'a Rows,
    pub v: &'a Rows,
    /// Logarithms of the share of the state that is kept.
    pub decays: &'a Rows,
    /// The share of the error that is added to the state.
    pub betas: &'a Rows,
    pub key_heads: usize,
}

impl GatedDelta<'_> {
    /// `state = exp(decay) state; state += beta (v - state k) k^T; y = state q`, for each
    /// head of `v`. Head `h` of `v` reads head `h mod key_heads` of `q` and `k`.
    pub fn scan(&self) -> Rows {
        let heads = self.betas[0].len();
        let width = self.v[0].len() / heads;
        let size = self.k[0].len() / self.key_heads;
        let mut out = vec![Vec::new(); self.v.len()];
        for head in 0..heads {
            let mut state = vec![vec![0.0; size]; width];
            for (token, out) in out.iter_mut().enumerate() {
                let k = unit(part(&self.k[token], head % self.key_heads, size));
                let q = unit(part(&self.q[token], head % self.key_heads, size));
                let v = part(&self.v[token], head, width);
                let kept = self.decays[token][head].exp();
                for (state, v) in state.iter_mut().zip(v) {
                    state.iter_mut().for_each(|s| *s *= kept);
                    let error = self.betas[token][head] * (v - dot(state, &k));
                    state.iter_mut().zip(&k).for_each(|(s, k)| *s += error * k);
                    out.push(dot(state, &q) / (size as f64).sqrt());
                }
            }
        }
        out
    }
}

/// The vector divided by its length.
fn unit(x: &[f64]) -> Vec<f64> {
    let length = (dot(x, x) + 1e-6).sqrt();
    x.iter().map(|x| x / length).collect()
}
