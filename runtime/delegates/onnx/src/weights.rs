//! Weights as ONNX's constants. ONNX multiplies by a matrix of `inputs x outputs`, so matrices
//! are transposed.

use crate::proto::{FLOAT, FLOAT16, INT4, INT8, TensorProto};
use half::f16;
use ondol_plugin::Tensor;
use ondol_plugin::ondol::delegate::{Quant, Store};

/// Columns that are transposed at a time: as many places are written in turn, and all of them
/// stay in the CPU's cache.
const STRIP: usize = 64;

/// A constant of any type.
pub fn constant(name: String, data_type: i32, dims: &[usize], bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        dims: dims.iter().map(|&side| side as i64).collect(),
        data_type: Some(data_type),
        name: Some(name),
        raw_data: Some(bytes),
    }
}

/// The numbers of a matrix of `form`, transposed.
pub fn numbers(name: String, matrix: &Tensor, form: Quant) -> TensorProto {
    let (rows, cols) = (matrix.rows, matrix.cols);
    let (data_type, bytes) = match form.store {
        Store::F32 => (FLOAT, transpose::<4>(matrix.data, rows, cols)),
        Store::F16 => (FLOAT16, transpose::<2>(matrix.data, rows, cols)),
        Store::I8 => (INT8, transpose::<1>(matrix.data, rows, cols)),
        Store::I4 => (INT4, transpose_nibbles(matrix.data, rows, cols)),
    };
    constant(name, data_type, &[cols, rows], bytes)
}

/// The scales of a matrix of `form`, transposed: one for each output, or `groups` rows of them.
/// They are 32-bit floats, because what is dequantized has the type of its scales.
pub fn scales(name: String, matrix: &Tensor, form: Quant, groups: usize) -> TensorProto {
    let wide = wide_scales(form, matrix.scales);
    let bytes = transpose::<4>(&wide, matrix.rows, groups);
    match groups {
        1 => constant(name, FLOAT, &[matrix.rows], bytes),
        _ => constant(name, FLOAT, &[groups, matrix.rows], bytes),
    }
}

fn wide_scales(form: Quant, scales: &[u8]) -> Vec<u8> {
    if form.wide_scales {
        return scales.to_vec();
    }
    let halves = scales.chunks_exact(2);
    let floats = halves.map(|half| f16::from_le_bytes([half[0], half[1]]).to_f32());
    floats.flat_map(f32::to_le_bytes).collect()
}

/// Transposes a matrix of numbers of `W` bytes.
fn transpose<const W: usize>(from: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let mut to = vec![0; from.len()];
    places(rows, cols, |old, new| {
        to[new * W..][..W].copy_from_slice(&from[old * W..][..W]);
    });
    to
}

/// Transposes a matrix of 4-bit numbers. The last byte of an odd number of them is half full.
fn transpose_nibbles(from: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let mut to = vec![0; (rows * cols).div_ceil(2)];
    places(rows, cols, |old, new| {
        let nibble = from[old / 2] >> (old % 2 * 4) & 15;
        to[new / 2] |= nibble << (new % 2 * 4);
    });
    to
}

/// Calls `place` with the old and the new place of every number of a matrix.
fn places(rows: usize, cols: usize, mut place: impl FnMut(usize, usize)) {
    for start in (0..cols).step_by(STRIP) {
        for row in 0..rows {
            for col in start..cols.min(start + STRIP) {
                place(row * cols + col, col * rows + row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_transposed() {
        let (rows, cols) = (3, 2 * STRIP + 2);
        let from: Vec<u8> = (0..rows * cols).flat_map(|i| [i as u8, 7]).collect();
        let to = transpose::<2>(&from, rows, cols);
        for i in 0..rows * cols {
            let (col, row) = (i / rows, i % rows);
            assert_eq!(to[2 * i..][..2], [(row * cols + col) as u8, 7]);
        }
    }

    #[test]
    fn nibbles_are_transposed() {
        // 1 2 | 3 4 | 5 -8 becomes 1 3 5 | 2 4 -8.
        let to = transpose_nibbles(&[0x21, 0x43, 0x85], 3, 2);
        assert_eq!(to, [0x31, 0x25, 0x84]);
    }
}
