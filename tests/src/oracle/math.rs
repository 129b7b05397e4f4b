//! The operations of the oracle, on one row of f64 for each token.

use super::file::Matrix;
use half::f16;

/// One row for each token.
pub type Rows = Vec<Vec<f64>>;

/// `x * w^T + bias`.
pub fn linear(x: &Rows, w: &Matrix, bias: Option<&Matrix>) -> Rows {
    let one = |x: &Vec<f64>| {
        let mut y: Vec<f64> = w
            .rows()
            .map(|row| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum())
            .collect();
        if let Some(bias) = bias {
            y.iter_mut()
                .zip(&bias.data)
                .for_each(|(y, bias)| *y += f64::from(*bias));
        }
        y
    };
    x.iter().map(one).collect()
}

/// RMS norm: divides each run of as many elements as `w` has columns by its root mean
/// square, and multiplies it with a row of `w`: with the only row, or if `w` has more rows,
/// each run with its own row.
pub fn rms_norm(x: &Rows, w: &Matrix, eps: f64) -> Rows {
    let one = |x: &Vec<f64>| times_rows(&unit_runs(x, w.cols, eps), w);
    x.iter().map(one).collect()
}

/// Each run of `len` elements, divided by its root mean square.
pub fn unit_rms(x: &Rows, len: usize, eps: f64) -> Rows {
    x.iter().map(|x| unit_runs(x, len, eps)).collect()
}

/// Like [`rms_norm`], but subtracts the mean of each run first, and adds the bias, if any.
pub fn layer_norm(x: &Rows, w: &Matrix, bias: Option<&Matrix>, eps: f64) -> Rows {
    let one = |x: &Vec<f64>| {
        let centred: Vec<f64> = x.chunks_exact(w.cols).flat_map(centre).collect();
        let mut y = times_rows(&unit_runs(&centred, w.cols, eps), w);
        if let Some(bias) = bias {
            y.iter_mut()
                .zip(&bias.data)
                .for_each(|(y, bias)| *y += f64::from(*bias));
        }
        y
    };
    x.iter().map(one).collect()
}

fn centre(run: &[f64]) -> Vec<f64> {
    let mean = run.iter().sum::<f64>() / run.len() as f64;
    run.iter().map(|v| v - mean).collect()
}

fn unit_runs(x: &[f64], len: usize, eps: f64) -> Vec<f64> {
    let unit = |run: &[f64]| -> Vec<f64> {
        let mean = run.iter().map(|v| v * v).sum::<f64>() / run.len() as f64;
        run.iter().map(|v| v / (mean + eps).sqrt()).collect()
    };
    x.chunks_exact(len).flat_map(unit).collect()
}

/// The elements of `x` times those of `w`, which is repeated until the end of `x`.
fn times_rows(x: &[f64], w: &Matrix) -> Vec<f64> {
    x.iter()
        .zip(w.data.iter().cycle())
        .map(|(x, w)| x * f64::from(*w))
        .collect()
}

/// Rotary embedding of every attention head: its first `2 * frequencies.len()` elements
/// rotate.
pub struct Rope {
    /// Whether elements `2i` and `2i+1` are a pair; otherwise `i` and `i + pairs` are.
    pub interleaved: bool,
    /// The angle per position of each pair, in radians.
    pub frequencies: Vec<f64>,
    /// Factor on sine and cosine.
    pub magnitude: f64,
}

impl Rope {
    pub fn rotate(&self, x: &mut Rows, head_dim: usize) {
        let pairs = self.frequencies.len();
        for (position, row) in x.iter_mut().enumerate() {
            for head in row.chunks_exact_mut(head_dim) {
                for (i, frequency) in self.frequencies.iter().enumerate() {
                    let (a, b) = if self.interleaved {
                        (2 * i, 2 * i + 1)
                    } else {
                        (i, i + pairs)
                    };
                    let (sin, cos) = (position as f64 * frequency).sin_cos();
                    let (x, y) = (head[a], head[b]);
                    head[a] = (x * cos - y * sin) * self.magnitude;
                    head[b] = (x * sin + y * cos) * self.magnitude;
                }
            }
        }
    }
}

/// Shape and options of attention.
pub struct Attention {
    /// Width of an attention head of q and k. The widths of q and k give the number of
    /// heads, and the width of v gives the width of a head of v.
    pub head_dim: usize,
    pub scale: f64,
    pub cap: Option<f64>,
    /// A token sees itself and the `window - 1` tokens before it.
    pub window: Option<usize>,
    /// For each attention head the score of a sink: it takes part in the softmax, but has
    /// no value.
    pub sinks: Option<Vec<f64>>,
    /// Whether keys and values are rounded to f16.
    pub f16_cache: bool,
}

/// Causal attention; query head `h` reads key and value head `h / (heads / kv_heads)`.
pub fn attention(q: &Rows, k: &Rows, v: &Rows, options: &Attention) -> Rows {
    let head_dim = options.head_dim;
    let (heads, kv_heads) = (q[0].len() / head_dim, k[0].len() / head_dim);
    let value_dim = v[0].len() / kv_heads;
    let keep = |x: &Rows| {
        if options.f16_cache {
            rounded(x)
        } else {
            x.clone()
        }
    };
    let (k, v) = (keep(k), keep(v));
    let mut out = Rows::new();
    for (now, query) in q.iter().enumerate() {
        let first = options
            .window
            .map_or(0, |window| (now + 1).saturating_sub(window));
        let mut row = Vec::new();
        for h in 0..heads {
            let kv = h / (heads / kv_heads);
            let query = part(query, h, head_dim);
            let mut scores: Vec<f64> = (first..=now)
                .map(|then| dot(query, part(&k[then], kv, head_dim)) * options.scale)
                .map(|score| softcap(score, options.cap))
                .collect();
            scores.extend(options.sinks.as_ref().map(|sinks| sinks[h]));
            let mut mixed = vec![0.0; value_dim];
            for (weight, then) in softmax(&scores).into_iter().zip(first..=now) {
                mixed
                    .iter_mut()
                    .zip(part(&v[then], kv, value_dim))
                    .for_each(|(m, v)| *m += weight * v);
            }
            row.extend(mixed);
        }
        out.push(row);
    }
    out
}

/// The `index`-th run of `len` elements.
pub fn part(row: &[f64], index: usize, len: usize) -> &[f64] {
    &row[index * len..][..len]
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Each element, rounded to the nearest f16.
pub fn rounded(x: &Rows) -> Rows {
    x.iter()
        .map(|row| row.iter().map(|v| f16::from_f64(*v).to_f64()).collect())
        .collect()
}

pub fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
    scores
        .iter()
        .map(|score| (score - max).exp() / sum)
        .collect()
}

/// `cap * tanh(x / cap)`, or `x` without a cap.
pub fn softcap(x: f64, cap: Option<f64>) -> f64 {
    cap.map_or(x, |cap| cap * (x / cap).tanh())
}

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// GELU in its tanh form (arXiv:1606.08415).
pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

/// `f(gate) * up`.
pub fn gated(gate: &Rows, up: &Rows, f: fn(f64) -> f64) -> Rows {
    zip(gate, up, |gate, up| f(gate) * up)
}

pub fn add(a: &Rows, b: &Rows) -> Rows {
    zip(a, b, |a, b| a + b)
}

pub fn scaled(x: &Rows, factor: f64) -> Rows {
    map(x, |x| x * factor)
}

pub fn map(x: &Rows, f: impl Fn(f64) -> f64) -> Rows {
    x.iter()
        .map(|row| row.iter().map(|x| f(*x)).collect())
        .collect()
}

/// `f` of each element of a row and the element of the vector at the same place.
pub fn each(x: &Rows, vector: &Matrix, f: impl Fn(f64, f64) -> f64) -> Rows {
    let one = |x: &Vec<f64>| {
        x.iter()
            .zip(&vector.data)
            .map(|(x, v)| f(*x, f64::from(*v)))
            .collect()
    };
    x.iter().map(one).collect()
}

/// The elements of `range` of each row.
pub fn columns(x: &Rows, range: std::ops::Range<usize>) -> Rows {
    x.iter().map(|row| row[range.clone()].to_vec()).collect()
}

pub fn zip(a: &Rows, b: &Rows, f: impl Fn(f64, f64) -> f64) -> Rows {
    a.iter()
        .zip(b)
        .map(|(a, b)| a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect())
        .collect()
}
