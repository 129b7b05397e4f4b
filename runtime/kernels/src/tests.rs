//! Every format at every ISA that the CPU has, against products in f64 of the dequantized
//! weights and the dequantized prepared activations.

use super::generic::acts::{
    ActBlock, BLOCK, I8Block, I16Block, SplitBlock, blocks, floats, widened_place,
};
use super::generic::oracle;
use super::*;
use half::{bf16, f16};
use ondol_models::quant::{Layout, dequantize, packed};
use proptest::prelude::*;

/// Tokens at which another path begins or ends.
const TOKENS: [usize; 12] = [1, 2, 3, 4, 5, 7, 8, 9, 12, 17, 31, 64];

fn isas() -> impl Iterator<Item = Kernels> {
    Isa::ALL.into_iter().filter_map(Kernels::with_isa)
}

/// Deterministic noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Roughly normal, of standard deviation 1.
    fn float(&mut self) -> f32 {
        (0..3)
            .map(|_| (self.next() % 65536) as f32 / 32768.0 - 1.0)
            .sum()
    }

    /// Some far larger than others.
    fn floats(&mut self, len: usize) -> Vec<f32> {
        let scale = |far: bool| if far { 40.0 } else { 1.0 };
        (0..len)
            .map(|_| scale(self.next().is_multiple_of(40)) * self.float())
            .collect()
    }

    /// Rows of weights with any codes and ordinary scales.
    fn weights(&mut self, dtype: DType, rows: usize, cols: usize) -> Vec<u8> {
        let len = rows * dtype.row_bytes(cols).unwrap();
        let mut data: Vec<u8> = (0..len).map(|_| self.next() as u8).collect();
        for block in data.chunks_exact_mut(dtype.block_bytes()) {
            for &at in scale_fields(dtype) {
                let scale = f16::from_f32(self.float() * 0.01).to_le_bytes();
                block[at..at + 2].copy_from_slice(&scale);
            }
            match dtype {
                DType::MXFP4 => block[0] = 110 + block[0] % 16,
                DType::F32 => block.copy_from_slice(&self.float().to_le_bytes()),
                DType::F16 => block.copy_from_slice(&f16::from_f32(self.float()).to_le_bytes()),
                DType::BF16 => block.copy_from_slice(&bf16::from_f32(self.float()).to_le_bytes()),
                _ => {}
            }
        }
        data
    }
}

/// Where a block has f16 scales.
fn scale_fields(dtype: DType) -> &'static [usize] {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::MXFP4 => &[],
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS => &[0],
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
    }
}

/// Bytes that start at a multiple of [`Acts::ALIGN`].
#[derive(Clone)]
struct Aligned {
    lines: Vec<Line>,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [u8; 64],
}

impl Aligned {
    fn new(len: usize) -> Aligned {
        Aligned {
            lines: vec![Line { _bytes: [0xa5; 64] }; len.div_ceil(64)],
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: lines are 64 bytes each, without padding.
        unsafe { core::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * 64) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.lines.len() * 64;
        // SAFETY: lines are 64 bytes each, without padding.
        unsafe { core::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }
}

/// A matmul's inputs.
struct Case {
    dtype: DType,
    rows: usize,
    cols: usize,
    weights: Vec<u8>,
    tokens: usize,
    x: Vec<f32>,
}

impl Case {
    fn random(dtype: DType, rows: usize, cols: usize, tokens: usize, seed: u64) -> Case {
        let mut noise = Noise(seed);
        let weights = noise.weights(dtype, rows, cols);
        Case {
            dtype,
            rows,
            cols,
            weights,
            tokens,
            x: noise.floats(tokens * cols),
        }
    }

    fn prepare(&self, kernels: &Kernels, kind: ActKind) -> Aligned {
        let bytes = kind.bytes(self.cols);
        let mut acts = Aligned::new(self.tokens * bytes);
        let rows = self
            .x
            .chunks_exact(self.cols)
            .zip(acts.bytes_mut().chunks_exact_mut(bytes));
        rows.for_each(|(x, dst)| kernels.prepare(kind, x, dst));
        acts
    }

    /// The product, in calls of `step` rows.
    fn run(&self, kernels: &Kernels, kind: ActKind, step: usize, store: Store) -> Vec<f32> {
        let data = &self.weights;
        let w = Matrix::new(self.dtype, Layout::Rows, self.rows, self.cols, data).unwrap();
        self.multiply(&w, kernels, kind, step, store)
    }

    /// The same with the weights packed.
    fn run_packed(&self, kernels: &Kernels, kind: ActKind, step: usize) -> Vec<f32> {
        let mut data = vec![0; self.weights.len()];
        packed::pack(self.dtype, self.cols, &self.weights, &mut data).unwrap();
        let w = Matrix::new(self.dtype, Layout::Packed, self.rows, self.cols, &data).unwrap();
        self.multiply(&w, kernels, kind, step, Store::Set)
    }

    fn multiply(
        &self,
        w: &Matrix,
        kernels: &Kernels,
        kind: ActKind,
        step: usize,
        store: Store,
    ) -> Vec<f32> {
        let acts = self.prepare(kernels, kind);
        let acts = Acts::new(kind, self.tokens, self.cols, acts.bytes());
        // A stride wider than the rows, and a canary between.
        let stride = self.rows + 3;
        let mut out = vec![7.0; self.tokens * stride];
        let mut scratch = vec![0x5a; kernels.scratch_bytes(self.dtype, self.cols)];
        // SAFETY: `out` has these elements, and nothing else uses it meanwhile.
        let target = unsafe { OutRows::new(out.as_mut_ptr(), stride, store) };
        for first in (0..self.rows).step_by(step) {
            let rows = first..self.rows.min(first + step);
            kernels.matmul(w, rows, &acts, &target, &mut scratch);
        }
        let (rows, rest): (Vec<_>, Vec<_>) = out
            .chunks_exact(stride)
            .map(|row| row.split_at(self.rows))
            .unzip();
        assert!(
            rest.concat().iter().all(|&v| v == 7.0),
            "wrote outside of its rows"
        );
        rows.concat()
    }

    /// The exact product of what is multiplied, and the sum of magnitudes that
    /// rounding goes by.
    fn oracle(&self, kernels: &Kernels, kind: ActKind) -> Vec<(f64, f64)> {
        let mut w = vec![0.0; self.rows * self.cols];
        dequantize(self.dtype, &self.weights, &mut w).unwrap();
        if kind == ActKind::I14 {
            // Such weights are rounded as activations are.
            for row in w.chunks_exact_mut(self.cols) {
                let mut rounded = Aligned::new(kind.bytes(self.cols));
                kernels.prepare(kind, row, rounded.bytes_mut());
                let rounded = values(kind, rounded.bytes(), self.cols);
                row.iter_mut().zip(rounded).for_each(|(w, v)| *w = v as f32);
            }
        }
        if kind == ActKind::I8Rounded {
            self.round_super_blocks(&mut w);
        }
        let acts = self.prepare(kernels, kind);
        let mut products = Vec::new();
        for prepared in acts
            .bytes()
            .chunks_exact(kind.bytes(self.cols))
            .take(self.tokens)
        {
            let x = &values(kind, prepared, self.cols)[..self.cols];
            for (row, w) in w.chunks_exact(self.cols).enumerate() {
                let terms = w.iter().zip(x).map(|(&w, &x)| f64::from(w) * x);
                let sums = terms.fold((0.0, 0.0), |(s, m), term| (s + term, m + term.abs()));
                products.push((sums.0, sums.1 + self.folded(row, x)));
            }
        }
        products
    }

    /// Puts the oracle's rounded super-blocks in the place of dequantized weights, and
    /// sees to it that they are near.
    fn round_super_blocks(&self, w: &mut [f32]) {
        let decode = oracle::decoder(self.dtype).unwrap();
        let super_blocks = self.weights.chunks_exact(self.dtype.block_bytes());
        for (w, super_block) in w.chunks_exact_mut(256).zip(super_blocks) {
            for (b, w) in w.chunks_exact_mut(32).enumerate() {
                let block = oracle::rounded(self.dtype, super_block, b, decode);
                for (w, q) in w.iter_mut().zip(block.q) {
                    let value = f32::from(q) * block.scale;
                    // Half a step, and what steps of 1/256 are off.
                    assert!((value - *w).abs() <= 0.63 * block.scale, "{value} for {w}");
                    assert!(q.abs() <= 127);
                    *w = value;
                }
            }
        }
    }

    /// Magnitude of what formats with a minimum add and subtract again.
    fn folded(&self, row: usize, x: &[f64]) -> f64 {
        let bytes = self.dtype.row_bytes(self.cols).unwrap();
        let Some(decode) = oracle::decoder(self.dtype) else {
            return 0.0;
        };
        let row = &self.weights[row * bytes..(row + 1) * bytes];
        let blocks = x.chunks_exact(32).enumerate();
        let min = |b: usize| match decode(row, b).min {
            oracle::Min::None => [0.0; 2],
            oracle::Min::Whole(min) => [min; 2],
            oracle::Min::Halves(min) => min,
        };
        let halves = blocks.flat_map(|(b, x)| {
            let min = min(b);
            [(min[0], &x[..16]), (min[1], &x[16..])]
        });
        halves
            .map(|(min, x)| f64::from(min).abs() * x.iter().sum::<f64>().abs())
            .sum()
    }

    fn kinds(&self) -> impl Iterator<Item = ActKind> + use<> {
        let dtype = self.dtype;
        ActKind::ALL
            .into_iter()
            .filter(move |kind| kind.fits(dtype))
    }

    /// The forms that an ISA multiplies.
    fn kinds_of(&self, kernels: &Kernels) -> impl Iterator<Item = ActKind> {
        let kinds = ActKind::ALL.into_iter();
        kinds.filter(|&kind| kernels.backend.matmul.takes(kind, self.dtype))
    }

    /// Every ISA and form is near to the oracle.
    fn check(&self) {
        for kernels in isas() {
            for kind in self.kinds_of(&kernels) {
                let out = self.run(&kernels, kind, 16, Store::Set);
                for (i, (y, (want, size))) in
                    out.iter().zip(self.oracle(&kernels, kind)).enumerate()
                {
                    let error = (f64::from(*y) - want).abs();
                    assert!(
                        error <= 1e-5 * size,
                        "{} {kind:?} {:?} {}x{} element {i}: {y}, want {want}, size {size}",
                        self.dtype,
                        kernels.isa(),
                        self.rows,
                        self.cols,
                    );
                }
            }
        }
    }
}

/// The values that a prepared row stands for.
fn values(kind: ActKind, row: &[u8], cols: usize) -> Vec<f64> {
    let scaled = |q: i32, scale: f32| f64::from(q) * f64::from(scale);
    match kind {
        ActKind::F32 => floats(row).iter().map(|&v| v.into()).collect(),
        ActKind::I8 | ActKind::I8Rounded => {
            let blocks = &blocks::<I8Block>(row)[..cols / BLOCK];
            let mut values: Vec<_> = blocks
                .iter()
                .flat_map(|b| b.plane.q.map(|q| scaled(q.into(), b.meta.scale)))
                .collect();
            for outlier in I8Block::outliers(row, cols) {
                assert_eq!(values[outlier.at as usize], 0.0);
                values[outlier.at as usize] = outlier.value.into();
            }
            values
        }
        ActKind::I16Split => blocks::<SplitBlock>(row)
            .iter()
            .flat_map(|b| {
                let q = |i: usize| i32::from(b.high.q[i]) * 256 + i32::from(b.low.q[i]);
                (0..32).map(move |i| scaled(q(i), b.meta.scale))
            })
            .collect(),
        ActKind::I16 | ActKind::I14 => blocks::<I16Block>(row)
            .iter()
            .flat_map(|b| (0..32).map(move |i| scaled(b.q[widened_place(i)].into(), b.meta.scale)))
            .collect(),
    }
}

#[test]
fn every_format_is_near_the_oracle() {
    for dtype in DType::all() {
        for tokens in TOKENS {
            let rows = 1 + tokens % 19;
            Case::random(
                dtype,
                rows,
                dtype.block_len().max(64),
                tokens,
                tokens as u64,
            )
            .check();
        }
        Case::random(dtype, 33, 768, 5, 1).check();
        Case::random(dtype, 16, 256, 1, 2).check();
    }
}

#[test]
fn plain_floats_may_have_any_length() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for cols in [1, 7, 8, 9, 15, 17, 33, 100] {
            Case::random(dtype, 5, cols, 3, cols as u64).check();
        }
    }
}

#[test]
fn the_largest_codes_do_not_saturate() {
    for dtype in DType::all().filter(|dtype| dtype.block_len() > 1) {
        for (codes, x) in [
            (0xff, 3.0),
            (0xff, -3.0),
            (0x00, 3.0),
            (0x7f, -3.0),
            (0x80, 3.0),
        ] {
            for tokens in [1, 5] {
                let mut case = Case::random(dtype, 11, 256, tokens, 3);
                for block in case.weights.chunks_exact_mut(dtype.block_bytes()) {
                    block.fill(codes);
                    let scale = f16::from_f32(0.01).to_le_bytes();
                    if dtype == DType::MXFP4 {
                        block[0] = 120;
                    }
                    scale_fields(dtype)
                        .iter()
                        .for_each(|&at| block[at..at + 2].copy_from_slice(&scale));
                }
                case.x.fill(x);
                case.check();
            }
        }
    }
}

#[test]
fn integer_isas_are_equal_bit_for_bit() {
    let scalar = Kernels::with_isa(Isa::Scalar).unwrap();
    for dtype in DType::all() {
        for tokens in [1, 2, 6, 9] {
            let case = Case::random(dtype, 21, 512, tokens, 4);
            for kind in case.kinds().filter(|&kind| kind != ActKind::F32) {
                let want = case.run(&scalar, kind, 16, Store::Set);
                let isas = isas().filter(|kernels| kernels.isa() != Isa::Exact);
                for kernels in isas.filter(|kernels| kernels.backend.matmul.takes(kind, case.dtype))
                {
                    let out = case.run(&kernels, kind, 16, Store::Set);
                    assert_eq!(out, want, "{dtype} {kind:?} {:?} {tokens}", kernels.isa());
                }
            }
        }
    }
}

#[test]
fn elements_depend_on_their_row_and_token_alone() {
    for dtype in DType::all() {
        for kernels in isas() {
            let all = Case::random(dtype, 37, 768, 5, 5);
            for kind in all.kinds_of(&kernels) {
                let want = all.run(&kernels, kind, 37, Store::Set);
                for step in [1, 8, 16] {
                    assert_eq!(
                        all.run(&kernels, kind, step, Store::Set),
                        want,
                        "{dtype} {kind:?}"
                    );
                }
                for token in 0..all.tokens {
                    let x = all.x[token * all.cols..(token + 1) * all.cols].to_vec();
                    let one = Case {
                        x,
                        tokens: 1,
                        weights: all.weights.clone(),
                        ..all
                    };
                    let want = &want[token * all.rows..(token + 1) * all.rows];
                    assert_eq!(
                        one.run(&kernels, kind, 16, Store::Set),
                        want,
                        "{dtype} {kind:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn store_add_adds_to_what_is_there() {
    let case = Case::random(DType::Q4_0, 10, 64, 3, 6);
    for kernels in isas() {
        let kind = kernels.act_kind(case.dtype, case.tokens);
        let set = case.run(&kernels, kind, 16, Store::Set);
        let sum: Vec<f32> = set.iter().map(|v| 7.0 + v).collect();
        assert_eq!(case.run(&kernels, kind, 16, Store::Add), sum);
    }
}

#[test]
fn prepared_values_are_near_and_their_sums_agree() {
    let kernels = Kernels::with_isa(Isa::Scalar).unwrap();
    let case = Case::random(DType::Q4_0, 1, 320, 1, 7);
    for (kind, steps) in [
        (ActKind::I8, 127.0),
        (ActKind::I16Split, 32639.0),
        (ActKind::I16, 32639.0),
        (ActKind::I14, 8191.0),
    ] {
        let prepared = case.prepare(&kernels, kind);
        let got = values(kind, &prepared.bytes()[..kind.bytes(320)], 320);
        for (x, got) in case.x.chunks_exact(32).zip(got.chunks_exact(32)) {
            let largest = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (x, got) in x.iter().zip(got) {
                assert!((f64::from(*x) - got).abs() <= f64::from(largest) / steps * 0.5001);
            }
        }
    }
    let prepared = case.prepare(&kernels, ActKind::I8);
    assert!(I8Block::outliers(prepared.bytes(), 320).count() > 0);
    for block in blocks::<I8Block>(&prepared.bytes()[..10 * size_of::<I8Block>()]) {
        let sum = |q: &[i8]| q.iter().map(|&q| f32::from(q)).sum::<f32>() * block.meta.scale;
        assert_eq!(block.meta.sum, sum(&block.plane.q));
        assert_eq!(
            block.plane.offset as f32 * block.meta.scale,
            -128.0 * sum(&block.plane.q)
        );
        assert_eq!(
            block.meta.half_sums,
            [sum(&block.plane.q[..16]), sum(&block.plane.q[16..])]
        );
    }
    let prepared = case.prepare(&kernels, ActKind::I16Split);
    for block in blocks::<SplitBlock>(&prepared.bytes()[..10 * size_of::<SplitBlock>()]) {
        let sum = |q: &[i8]| q.iter().map(|&q| i32::from(q)).sum::<i32>();
        let sums = [sum(&block.high.q), sum(&block.low.q)];
        assert_eq!(
            [block.high.offset, block.low.offset],
            sums.map(|sum| -128 * sum)
        );
    }
}

#[test]
fn a_far_value_leaves_the_others_their_precision() {
    for kernels in isas() {
        for far in [50.0, -50.0, f32::MAX] {
            let mut case = Case::random(DType::Q4_0, 1, 64, 1, 10);
            case.x.iter_mut().for_each(|x| *x = x.clamp(-2.0, 2.0));
            case.x[37] = far;
            let got = values(ActKind::I8, case.prepare(&kernels, ActKind::I8).bytes(), 64);
            assert_eq!(got[37], f64::from(far), "{}", kernels.isa());
            for (i, (x, got)) in case.x.iter().zip(got).enumerate() {
                assert!(
                    (f64::from(*x) - got).abs() <= 2.0 / 127.0 * 0.5001,
                    "{i}: {x}, {got}"
                );
            }
        }
    }
}

#[test]
fn values_that_are_not_finite_show_in_the_product() {
    for kernels in isas() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut case = Case::random(DType::Q4_K, 9, 256, 2, 8);
            case.x[256 + 40] = bad;
            for kind in case.kinds_of(&kernels) {
                let out = case.run(&kernels, kind, 16, Store::Set);
                assert!(out[..9].iter().all(|v| v.is_finite()), "{kind:?}");
                assert!(out[9..].iter().all(|v| !v.is_finite()), "{kind:?}");
            }
        }
    }
}

#[test]
fn packed_rows_give_the_same_bits() {
    let bits = |out: &[f32]| out.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for dtype in DType::all().filter(|&dtype| packed::can_pack(dtype)) {
        // One group and a rest, whole groups, and only a rest.
        for (rows, step) in [(21, 16), (32, 5), (40, 16), (7, 16), (8, 3)] {
            for tokens in [1, 6] {
                let case = Case::random(dtype, rows, 512, tokens, rows as u64);
                for kernels in isas() {
                    for kind in case.kinds_of(&kernels) {
                        let want = case.run(&kernels, kind, 16, Store::Set);
                        let out = case.run_packed(&kernels, kind, step);
                        let isa = kernels.isa();
                        assert_eq!(bits(&out), bits(&want), "{dtype} {kind:?} {isa} {rows}");
                    }
                }
            }
        }
    }
}

#[test]
fn tiny_and_huge_values_are_safe() {
    for scale in [1e-45, 1e-38, 1e-31, 1e38] {
        let mut case = Case::random(DType::Q5_1, 4, 64, 3, 9);
        case.x.iter_mut().for_each(|x| *x *= scale);
        for kernels in isas() {
            for kind in case.kinds_of(&kernels) {
                let out = case.run(&kernels, kind, 16, Store::Set);
                assert!(
                    scale > 1.0 || out.iter().all(|v| v.abs() < 1e-25),
                    "{kind:?} {out:?}"
                );
            }
        }
    }
}

#[test]
fn a_matrix_has_exactly_its_bytes() {
    assert!(Matrix::new(DType::Q4_0, Layout::Rows, 2, 64, &[0; 72]).is_some());
    assert!(Matrix::new(DType::Q4_0, Layout::Rows, 2, 64, &[0; 71]).is_none());
    assert!(Matrix::new(DType::Q4_0, Layout::Rows, 2, 48, &[0; 54]).is_none());
    assert!(Matrix::new(DType::F32, Layout::Rows, usize::MAX, 2, &[]).is_none());
    assert!(Matrix::new(DType::F32, Layout::Rows, 2, 0, &[]).is_none());
}

#[test]
fn isas_have_names() {
    for isa in Isa::ALL {
        assert_eq!(Isa::from_name(isa.name()), Some(isa));
    }
    assert_eq!(Isa::from_name("neon9"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn odd_shapes_are_near_the_oracle(
        dtype in prop::sample::select(DType::all().collect::<Vec<_>>()),
        rows in 1usize..40,
        blocks in 1usize..4,
        tokens in prop::sample::select(TOKENS.to_vec()),
        seed in any::<u64>(),
    ) {
        let cols = blocks * dtype.block_len();
        Case::random(dtype, rows, cols, tokens.min(9), seed).check();
    }

    #[test]
    fn prepared_rows_are_equal_at_all_isas(
        bits in prop::collection::vec(any::<u32>(), 64),
        kind in prop::sample::select(ActKind::ALL.to_vec()),
    ) {
        let x: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let case = Case { dtype: DType::Q4_0, rows: 1, cols: 64, weights: vec![0; 36], tokens: 1, x };
        let scalar = Kernels::with_isa(Isa::Scalar).unwrap();
        let want = case.prepare(&scalar, kind);
        for kernels in isas() {
            let got = case.prepare(&kernels, kind);
            prop_assert_eq!(got.bytes(), want.bytes());
        }
    }

    /// Scales of a hostile file are any bits at all.
    #[test]
    fn any_bytes_are_safe_and_alike_at_all_isas(
        dtype in prop::sample::select(DType::all().collect::<Vec<_>>()),
        seed in any::<u64>(),
        tokens in prop::sample::select(vec![1usize, 3, 9]),
    ) {
        let mut case = Case::random(dtype, 10, 256, tokens, seed);
        let mut noise = Noise(!seed);
        case.weights.iter_mut().for_each(|byte| *byte = noise.next() as u8);
        let scalar = Kernels::with_isa(Isa::Scalar).unwrap();
        for kind in case.kinds() {
            let want = case.run(&scalar, kind, 16, Store::Set);
            for kernels in isas().filter(|kernels| kernels.backend.matmul.takes(kind, case.dtype)) {
                let out = case.run(&kernels, kind, 16, Store::Set);
                for (a, b) in out.iter().zip(&want) {
                    let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                    prop_assert!(kind == ActKind::F32 || same, "{} {:?} {} {}", dtype, kind, a, b);
                }
            }
        }
    }
}
