//! Block formats against readers and writers that share no code with ours:
//! the Python package `gguf`, llama.cpp (golden files in `tests/data`) and candle-core.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use ondol_models::quant::{DType, dequantize, quantize};
use proptest::prelude::*;

/// Reads little-endian numbers off the front of a golden file.
struct Golden<'a>(&'a [u8]);

impl<'a> Golden<'a> {
    fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(n);
        self.0 = rest;
        front
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap())
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        self.bytes(4 * n)
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    }
}

/// Equal bits, or both NaN.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[track_caller]
fn assert_same(dtype: DType, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{dtype}");
    for (i, (&a, &b)) in ours.iter().zip(theirs).enumerate() {
        assert!(
            same(a, b),
            "{dtype}, element {i}: {a:e}, the oracle has {b:e}"
        );
    }
}

fn decode(dtype: DType, blocks: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; blocks.len() / dtype.block_bytes() * dtype.block_len()];
    dequantize(dtype, blocks, &mut out).unwrap();
    out
}

fn encode(dtype: DType, row: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let mut out = vec![0; dtype.row_bytes(row.len()).unwrap()];
    quantize(dtype, row, &mut out, importance).unwrap();
    out
}

#[test]
fn values_are_those_of_the_python_package() {
    let mut golden = Golden(include_bytes!("../data/quant_blocks.bin"));
    let mut seen = vec![DType::F32];
    while !golden.0.is_empty() {
        let dtype = DType::from_gguf(golden.u32()).unwrap();
        let (blocks, elements) = (golden.u32() as usize, golden.u32() as usize);
        let bytes = golden.bytes(blocks * dtype.block_bytes());
        assert_same(dtype, &decode(dtype, bytes), &golden.floats(elements));
        seen.push(dtype);
    }
    assert!(DType::all().all(|dtype| seen.contains(&dtype)), "{seen:?}");
}

/// The types that candle knows too.
const CANDLE: [(DType, GgmlDType); 13] = [
    (DType::F32, GgmlDType::F32),
    (DType::F16, GgmlDType::F16),
    (DType::BF16, GgmlDType::BF16),
    (DType::Q4_0, GgmlDType::Q4_0),
    (DType::Q4_1, GgmlDType::Q4_1),
    (DType::Q5_0, GgmlDType::Q5_0),
    (DType::Q5_1, GgmlDType::Q5_1),
    (DType::Q8_0, GgmlDType::Q8_0),
    (DType::Q2_K, GgmlDType::Q2K),
    (DType::Q3_K, GgmlDType::Q3K),
    (DType::Q4_K, GgmlDType::Q4K),
    (DType::Q5_K, GgmlDType::Q5K),
    (DType::Q6_K, GgmlDType::Q6K),
];

fn candle_decode(dtype: GgmlDType, blocks: &[u8]) -> Vec<f32> {
    let elements = blocks.len() / dtype.type_size() * dtype.block_size();
    let storage = candle_core::quantized::QStorage::from_data(blocks.into(), &Device::Cpu, dtype);
    let tensor = QTensor::new(storage.unwrap(), elements).unwrap();
    tensor.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap()
}

fn candle_encode(dtype: GgmlDType, row: &[f32]) -> Vec<u8> {
    let tensor = Tensor::from_slice(row, row.len(), &Device::Cpu).unwrap();
    QTensor::quantize(&tensor, dtype)
        .unwrap()
        .data()
        .unwrap()
        .into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_are_those_of_candle(bytes in proptest::collection::vec(any::<u8>(), 4 * 210)) {
        for (dtype, theirs) in CANDLE {
            let blocks = &bytes[..bytes.len() / dtype.block_bytes() * dtype.block_bytes()];
            assert_same(dtype, &decode(dtype, blocks), &candle_decode(theirs, blocks));
        }
    }
}

/// The rows of the second golden file, and what another quantizer made of them.
struct Rows {
    columns: usize,
    importance: Vec<f32>,
    rows: Vec<f32>,
    quantized: Vec<(DType, bool, &'static [u8])>,
}

impl Rows {
    fn read() -> Self {
        let mut golden = Golden(include_bytes!("../data/quant_rows.bin"));
        let (rows, columns) = (golden.u32() as usize, golden.u32() as usize);
        let importance = golden.floats(columns);
        let rows = golden.floats(rows * columns);
        let mut quantized = Vec::new();
        while !golden.0.is_empty() {
            let dtype = DType::from_gguf(golden.u32()).unwrap();
            let weighted = golden.u32() == 1;
            let bytes = golden.bytes(dtype.row_bytes(rows.len()).unwrap());
            quantized.push((dtype, weighted, bytes));
        }
        Self {
            columns,
            importance,
            rows,
            quantized,
        }
    }

    fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.rows.chunks_exact(self.columns)
    }
}

/// The types whose scales are given by a formula.
const BY_FORMULA: [DType; 5] = [
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q8_0,
];

/// The squared errors of a row: plain, and weighted by importance and magnitude,
/// as all searches of scales weigh in one way or other.
fn errors(row: &[f32], importance: Option<&[f32]>, decoded: &[f32]) -> [f64; 2] {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let rms = (row.iter().map(|&x| square(x)).sum::<f64>() / row.len() as f64).sqrt();
    let (mut plain, mut weighted) = (0.0, 0.0);
    for (i, (&x, &y)) in row.iter().zip(decoded).enumerate() {
        assert!(y.is_finite());
        let importance = f64::from(importance.map_or(1.0, |w| w[i]));
        let error = (f64::from(x) - f64::from(y)).powi(2) * importance;
        plain += error;
        weighted += error * (rms + f64::from(x.abs()));
    }
    [plain, weighted]
}

/// No row loses more than with the other quantizer, by one measure at least,
/// and all rows together lose less by both. (With importance single rows may
/// lose a little more: the searches weigh it in different ways.)
#[track_caller]
fn assert_no_worse(
    dtype: DType,
    rows: &Rows,
    importance: Option<&[f32]>,
    theirs: impl Fn(usize, &[f32]) -> Vec<f32>,
) {
    let mut totals = [[0.0; 2]; 2];
    for (i, row) in rows.iter().enumerate() {
        let ours = decode(dtype, &encode(dtype, row, importance));
        let ours = errors(row, importance, &ours);
        let theirs = errors(row, importance, &theirs(i, row));
        let no_worse = (0..2).any(|m| ours[m] <= theirs[m]);
        assert!(
            no_worse || importance.is_some(),
            "{dtype}, row {i}: {ours:?}, not {theirs:?}"
        );
        let energy = errors(row, importance, &vec![0.0; row.len()]);
        for m in (0..2).filter(|&m| energy[m] > 0.0) {
            totals[0][m] += ours[m] / energy[m];
            totals[1][m] += theirs[m] / energy[m];
        }
    }
    let [ours, theirs] = totals;
    assert!(
        ours[0] < theirs[0] && ours[1] < theirs[1],
        "{dtype}: {ours:?}, not {theirs:?}"
    );
}

#[test]
fn quantizing_is_no_worse_than_llama_cpp() {
    let rows = Rows::read();
    for &(dtype, weighted, bytes) in &rows.quantized {
        let importance = weighted.then_some(&rows.importance[..]);
        if BY_FORMULA.contains(&dtype) && (importance.is_none() || dtype == DType::Q8_0) {
            assert!(encode(dtype, &rows.rows, importance) == bytes, "{dtype}");
        } else {
            let theirs = decode(dtype, bytes);
            let columns = rows.columns;
            assert_no_worse(dtype, &rows, importance, |i, _| {
                theirs[i * columns..][..columns].into()
            });
        }
    }
}

#[test]
fn quantizing_is_no_worse_than_candle() {
    let rows = Rows::read();
    for (dtype, theirs) in CANDLE {
        if BY_FORMULA.contains(&dtype) || dtype.block_len() == 1 {
            for (i, row) in rows.iter().enumerate() {
                assert_eq!(
                    encode(dtype, row, None),
                    candle_encode(theirs, row),
                    "{dtype}, row {i}"
                );
            }
        } else {
            assert_no_worse(dtype, &rows, None, |_, row| {
                candle_decode(theirs, &candle_encode(theirs, row))
            });
        }
    }
}
