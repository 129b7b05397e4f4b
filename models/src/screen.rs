//! The screen: a 4-bit copy of the output head, with the error of each row.
//!
//! In small models with large vocabularies, the output head is most of the bytes that
//! decode reads for a token. To find the likeliest tokens, a runtime can compute the score
//! of every row with the copy, and exact scores only of the rows that may be among the
//! likeliest: see `docs/screened-head.md`. The screen is two tensors of a packed copy, and
//! is made with it ([`crate::pack`]).

use crate::gguf::{Gguf, TensorInfo};
use crate::graph::{Graph, Op, Weight};
use crate::quant::{self, DType, Layout, packed::GROUP};
use crate::{Error, Result};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The tensor of the copy: as many rows and columns as the output head, of type [`DTYPE`].
pub const WEIGHT: &str = "ondol.screen.weight";

/// The tensor of the errors, an F32 for each row: the Euclidean norm of the difference
/// of the row and its copy, plus 2^-12 times the norm of the row. The sum is rounded up.
pub const ERROR: &str = "ondol.screen.error";

/// The type of the copy.
pub const DTYPE: DType = DType::Q4_0;

/// The error that 16-bit activations may add to a row's score, relative to the row's
/// norm. This is ten times the measured error; the error of the copy is usually
/// hundreds of times as large.
const ROUNDING: f64 = 1.0 / 4096.0;

/// Below this size in bytes the whole output head is faster than the screen.
const LEAST_HEAD_BYTES: usize = 1 << 20;

/// A screen must save at least one part in this many of the bytes that a token reads.
const LEAST_SAVING: f64 = 1.0 / 8.0;

/// The screen of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// The copy of the output head.
    pub weight: Weight,
    /// The error of each row: a vector of F32.
    pub error: Weight,
}

impl Screen {
    /// The screen of a file with this graph, if it has one.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] where only one of its two tensors is in the file, and
    /// [`Error::BadShape`] where it does not fit the output head, or an error is
    /// negative or not finite.
    pub fn find(gguf: &Gguf, graph: &Graph) -> Result<Option<Screen>> {
        if gguf.tensor(WEIGHT).is_none() && gguf.tensor(ERROR).is_none() {
            return Ok(None);
        }
        let (weight, copy) = tensor(gguf, WEIGHT)?;
        let (error, errors) = tensor(gguf, ERROR)?;
        let Some(head) = graph.head() else {
            return Err(bad(WEIGHT, "the model has no output head to screen".into()));
        };
        let found = (copy.dtype, copy.rows(), copy.cols());
        if found != (DTYPE, head.rows, head.cols) || copy.dims().len() > 2 {
            let (rows, cols) = (head.rows, head.cols);
            let reason = format!("expected {DTYPE} {cols} x {rows}, the file has {copy:?}");
            return Err(bad(WEIGHT, reason));
        }
        if (errors.dtype, errors.layout) != (DType::F32, Layout::Rows)
            || errors.dims() != [head.rows as u64]
        {
            let reason = format!("expected F32 {}, the file has {errors:?}", head.rows);
            return Err(bad(ERROR, reason));
        }
        let mut sizes = errors.data.as_chunks().0.iter();
        let is_size = |size: f32| size.is_finite() && size >= 0.0;
        if let Some(row) = sizes.position(|&size| !is_size(f32::from_le_bytes(size))) {
            let reason = format!("the error of row {row} is negative or not finite");
            return Err(bad(ERROR, reason));
        }
        Ok(Some(Screen {
            weight: whole(weight, copy, head.rows, head.cols),
            error: whole(error, errors, 1, head.rows),
        }))
    }
}

fn tensor<'g, 'a>(gguf: &'g Gguf<'a>, name: &str) -> Result<(u32, &'g TensorInfo<'a>)> {
    let found = (0..).zip(gguf.tensors()).find(|(_, t)| t.name == name);
    found.ok_or_else(|| Error::MissingTensor { name: name.into() })
}

fn whole(tensor: u32, info: &TensorInfo, rows: usize, cols: usize) -> Weight {
    Weight {
        tensor,
        dtype: info.dtype,
        layout: info.layout,
        first_row: 0,
        rows,
        cols,
    }
}

fn bad(name: &str, reason: String) -> Error {
    Error::BadShape {
        name: name.into(),
        reason,
    }
}

/// The output head, if a screen of it makes decode faster: the head has at least 1 MiB, and
/// the screen saves at least an eighth of the bytes that decode reads for a token.
pub fn gains(graph: &Graph) -> Option<Weight> {
    let bytes =
        |w: &Weight, dtype: DType| Some(dtype.row_bytes(w.cols)?.checked_mul(w.rows)? as f64);
    let head = graph.head().filter(|head| head.rows >= GROUP)?;
    let read = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::MatMul { weight, .. } => bytes(weight, weight.dtype),
        _ => None,
    });
    let size = bytes(&head, head.dtype)?;
    let saved = size - bytes(&head, DTYPE)?;
    let pays = size >= LEAST_HEAD_BYTES as f64 && saved >= LEAST_SAVING * read.sum::<f64>();
    pays.then_some(head)
}

/// Makes the screen's copies of rows.
pub struct Copier {
    dtype: DType,
    exact: Vec<f32>,
    copy: Vec<f32>,
}

impl Copier {
    /// A copier for rows of `cols` elements of type `dtype`.
    pub fn new(dtype: DType, cols: usize) -> Copier {
        let (exact, copy) = (vec![0.0; cols], vec![0.0; cols]);
        Copier { dtype, exact, copy }
    }

    /// Writes the copy of a row to `out` and returns its error.
    ///
    /// A row that is not finite gets the largest finite error, so that it is always
    /// scored exactly.
    ///
    /// # Errors
    /// [`quant::Error::SizeMismatch`] where `row` or `out` does not have the bytes of a row.
    pub fn row(&mut self, row: &[u8], out: &mut [u8]) -> Result<f32, quant::Error> {
        quant::dequantize(self.dtype, row, &mut self.exact)?;
        let finite = self.exact.iter().all(|x| x.is_finite());
        if !finite {
            self.exact.fill(0.0);
        }
        quant::quantize(DTYPE, &self.exact, out, None)?;
        if !finite {
            return Ok(f32::MAX);
        }
        quant::dequantize(DTYPE, out, &mut self.copy)?;
        let pairs = self.exact.iter().zip(&self.copy);
        let off = norm(pairs.map(|(x, y)| f64::from(*x) - f64::from(*y)));
        let size = norm(self.exact.iter().map(|x| f64::from(*x)));
        let error = (off + ROUNDING * size) as f32;
        Ok(error.next_up().min(f32::MAX))
    }
}

fn norm(x: impl Iterator<Item = f64>) -> f64 {
    libm::sqrt(x.map(|x| x * x).sum())
}

#[cfg(test)]
mod tests;
