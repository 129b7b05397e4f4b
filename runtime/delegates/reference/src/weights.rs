//! Rows of weights, unpacked from the form in which they were handed over.

use crate::row::Row;
use half::f16;
use ondol_plugin::Tensor;
use ondol_plugin::ondol::delegate::{Quant, Store};

/// A matrix in the form of the host.
#[derive(Clone, Copy)]
pub struct Matrix<'m> {
    form: Quant,
    data: &'m [u8],
    scales: &'m [u8],
    pub rows: usize,
    pub cols: usize,
}

impl<'m> Matrix<'m> {
    /// # Panics
    /// If the tensor is no weight with data in a known form.
    pub fn of(tensor: &Tensor<'m>) -> Matrix<'m> {
        let (rows, cols) = (tensor.rows, tensor.cols);
        let form = tensor.form.expect("a form that this build knows");
        let sizes = Some((tensor.data.len(), tensor.scales.len()));
        assert_eq!(form.sizes(rows, cols), sizes, "the weight's data");
        Matrix {
            form,
            data: tensor.data,
            scales: tensor.scales,
            rows,
            cols,
        }
    }

    /// Whether the numbers are integers.
    pub fn has_integers(&self) -> bool {
        matches!(self.form.store, Store::I8 | Store::I4)
    }

    /// Unpacks a row.
    pub fn row(&self, index: usize) -> Row {
        let part = |bytes: &'m [u8]| {
            let len = bytes.len() / self.rows;
            &bytes[index * len..][..len]
        };
        let data = part(self.data);
        let numbers = match self.form.store {
            Store::F32 => f32s(data).collect(),
            Store::F16 => f16s(data).collect(),
            Store::I8 => data.iter().map(|&b| f32::from(b.cast_signed())).collect(),
            Store::I4 => data.iter().flat_map(|&b| nibbles(b)).collect(),
        };
        if !self.has_integers() {
            return Row::normalized(numbers);
        }
        let scales: Vec<f32> = match self.form.wide_scales {
            true => f32s(part(self.scales)).collect(),
            false => f16s(part(self.scales)).collect(),
        };
        Row {
            numbers,
            scales: scales.into_iter().map(f64::from).collect(),
            group: self.form.group_len(self.cols),
        }
    }
}

/// 32-bit floats, little-endian.
pub fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let words = bytes.chunks_exact(4);
    words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn f16s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let words = bytes.chunks_exact(2);
    words.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
}

/// The two numbers of four bits in a byte, the low one first.
fn nibbles(byte: u8) -> [f32; 2] {
    let signed = |bits: u8| f32::from((bits << 4).cast_signed() >> 4);
    [signed(byte & 15), signed(byte >> 4)]
}
