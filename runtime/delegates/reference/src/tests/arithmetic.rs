//! Compares the arithmetic with slow and simple loops.

use super::{I8_BY_ROW, bits, numbers, stored};
use crate::rounding::{BF16, F16, Float, significant};
use crate::{EXACT, activations, matmul};
use half::{bf16, f16};
use ondol::delegate::{Activations, Arithmetic, Group, Quant, Quantized, Rounding, Store};
use ondol_plugin::{Role, Tensor};

const ROUNDINGS: [Rounding; 3] = [
    Rounding::NearestEven,
    Rounding::NearestAway,
    Rounding::TowardZero,
];

const I8_BY_32: Quant = Quant {
    store: Store::I8,
    group: Group::Of(32),
    wide_scales: false,
};
const I4_BY_32: Quant = Quant {
    store: Store::I4,
    ..I8_BY_32
};
const FORMS: [Quant; 5] = [Quant::F32, Quant::F16, I8_BY_ROW, I8_BY_32, I4_BY_32];

// ---- rounding ----

/// Of all positive numbers of a type, in ascending order, the one that `x` becomes.
fn looked_up(all: &[f32], x: f32, rounding: Rounding) -> f32 {
    let size = x.abs();
    let above = all.partition_point(|&y| y < size);
    if all.get(above) == Some(&size) {
        return x;
    }
    let low = all[above - 1];
    // Beyond the largest, the next number would be as far as the one before it.
    let high = match all.get(above) {
        Some(&high) => f64::from(high),
        None => 2.0 * f64::from(low) - f64::from(all[above - 2]),
    };
    let middle = (f64::from(low) + high) / 2.0;
    let low_is_even = (above - 1).is_multiple_of(2);
    let is_low = match rounding {
        Rounding::TowardZero => true,
        Rounding::NearestEven => {
            f64::from(size) < middle || f64::from(size) == middle && low_is_even
        }
        Rounding::NearestAway => f64::from(size) < middle,
    };
    let high = all.get(above).copied().unwrap_or(f32::INFINITY);
    if is_low { low } else { high }.copysign(x)
}

/// Numbers of all sizes, and those in the middle between two neighbours.
fn hard(all: &[f32]) -> Vec<f32> {
    let middles = all.windows(2).map(|two| {
        let middle = (f64::from(two[0]) + f64::from(two[1])) / 2.0;
        middle as f32
    });
    let middles: Vec<f32> = middles.collect();
    let beside = middles
        .iter()
        .flat_map(|x| [x.next_down(), x.next_up(), -x]);
    let mut hard: Vec<f32> = beside.chain(middles.iter().copied()).collect();
    hard.extend(
        (0..u32::MAX)
            .step_by(99_991)
            .map(f32::from_bits)
            .filter(|x| x.is_finite()),
    );
    hard.extend([65519.99, 65520.0, f32::MAX, -f32::MAX, 1e-45, -0.0]);
    hard
}

#[test]
fn floats_are_rounded_as_by_looking_them_up() {
    let halves: Vec<f32> = (0..0x7c00).map(|b| f16::from_bits(b).to_f32()).collect();
    let brains: Vec<f32> = (0..0x7f80).map(|b| bf16::from_bits(b).to_f32()).collect();
    let check = |float: Float, all: &[f32]| {
        for x in hard(all) {
            for rounding in ROUNDINGS {
                let (found, expected) = (float.round(x, rounding), looked_up(all, x, rounding));
                assert_eq!(found, expected, "{x:e} {rounding}");
            }
        }
    };
    check(F16, &halves);
    check(BF16, &brains);
    assert!(F16.round(f32::NAN, Rounding::NearestEven).is_nan());
    assert_eq!(
        BF16.round(-f32::INFINITY, Rounding::TowardZero),
        -f32::INFINITY
    );
    // The smallest half float is subnormal, and kept.
    assert_eq!(F16.round(6e-8, Rounding::NearestEven), 2f32.powi(-24));
}

/// Rounds by dividing by the last place.
fn last_place(x: f64, bits: u32) -> f64 {
    let mut place = 1.0;
    while x.abs() / place >= 2f64.powi(bits as i32) {
        place *= 2.0;
    }
    while x != 0.0 && x.abs() / place < 2f64.powi(bits as i32 - 1) {
        place /= 2.0;
    }
    (x / place).round_ties_even() * place
}

#[test]
fn sums_are_rounded_to_their_last_place() {
    for bits in [8, 11, 23] {
        for x in numbers(9, 2000) {
            let x = f64::from(x) * 77.0;
            assert_eq!(significant(x, bits), last_place(x, bits), "{x} {bits}");
        }
    }
    assert_eq!(significant(257.0, 8), 256.0);
    assert_eq!(significant(259.0, 8), 260.0);
    assert_eq!(significant(0.0, 8), 0.0);
    assert_eq!(significant(f64::INFINITY, 8), f64::INFINITY);
}

#[test]
fn integers_are_rounded_by_groups() {
    let rounded = |x: &[f32], rounding| {
        let arithmetic = Arithmetic {
            group: Group::Of(8),
            rounding,
            ..Arithmetic::of(Activations::I8)
        };
        activations::round(x, &arithmetic)
    };
    // A scale of 2, then one of 1/4 with a group that is cut short.
    let x = [
        254.0, 1.0, -1.0, 3.0, -3.0, 5.0, 2.9, -253.0, -31.75, 0.125, 0.375,
    ];
    for (rounding, expected) in [
        (
            Rounding::NearestEven,
            [127, 0, 0, 2, -2, 2, 1, -126, -127, 0, 2],
        ),
        (
            Rounding::NearestAway,
            [127, 1, -1, 2, -2, 3, 1, -127, -127, 1, 2],
        ),
        (
            Rounding::TowardZero,
            [127, 0, 0, 1, -1, 2, 1, -126, -127, 0, 1],
        ),
    ] {
        let row = rounded(&x, rounding);
        assert_eq!(row.numbers, expected.map(|x| x as f32), "{rounding}");
        assert_eq!(row.scales, [2.0, 0.25]);
    }
    // Zeros; a number that is not finite; scales that are subnormal, or too small.
    for (x, number, scale) in [
        (0.0, 0.0, 0.0),
        (f32::INFINITY, 0.0, f64::NAN),
        (1e-39, 127.0, f64::from(1e-39f32 / 127.0)),
        (2.5e-43, 127.0, f64::from(1e-45f32)),
        (1e-45, 0.0, 0.0),
    ] {
        let row = rounded(&[x, x], Rounding::NearestEven);
        assert_eq!(row.numbers, [number, number], "{x:e}");
        assert!(row.scales[0] == scale || scale.is_nan() && row.scales[0].is_nan());
    }
}

// ---- matmuls ----

const N: usize = 9;
const K: usize = 160;

fn tensor<'t>(form: Quant, stored: &'t Quantized, cols: usize) -> Tensor<'t> {
    Tensor {
        role: Role::Weight,
        rows: stored.data.len() * 8 / form.bits() / cols,
        cols,
        form: Some(form),
        data: &stored.data,
        scales: &stored.scales,
    }
}

/// The number of a weight and its scale.
fn weight(form: Quant, stored: &Quantized, n: usize, k: usize) -> (f64, f64) {
    let value = f64::from(form.dequantize_row(stored, n, K)[k]);
    let group = match (form.store, form.group) {
        (Store::F32 | Store::F16, _) => return (value, 1.0),
        (_, Group::Row) => K,
        (_, Group::Of(group)) => group,
    };
    let scale = match form.wide_scales {
        true => f64::from(f32::from_le_bytes(
            stored.scales[4 * n..][..4].try_into().unwrap(),
        )),
        false => {
            let at = 2 * (n * K + k) / group / 2 * 2;
            f16::from_le_bytes(stored.scales[at..][..2].try_into().unwrap()).to_f64()
        }
    };
    ((value / scale).round(), scale)
}

fn products(x: &[f32], form: Quant, stored: &Quantized, n: usize) -> Vec<f64> {
    let value = |k| weight(form, stored, n, k);
    let pairs = x.iter().enumerate();
    pairs
        .map(|(k, &x)| f64::from(x) * value(k).0 * value(k).1)
        .collect()
}

/// Inputs with outliers, in `rows` rows.
fn inputs(rows: usize) -> Vec<f32> {
    let mut x = numbers(5, rows * K);
    x.iter_mut().step_by(37).for_each(|x| *x *= 30.0);
    x
}

fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    let pairs = found.iter().zip(expected);
    let error: f64 = pairs.map(|(x, y)| (f64::from(*x) - y).powi(2)).sum();
    error / expected.iter().map(|y| y * y).sum::<f64>()
}

#[test]
fn exact_is_as_64_bit_floats() {
    let bias = numbers(8, N);
    // The last ones are near the ends of 32-bit floats, and among the subnormal ones.
    for scale in [1.0, 1e30, 1e-30, 1e-41] {
        let x: Vec<f32> = inputs(19).iter().map(|x| x * scale).collect();
        let bias: Vec<f32> = bias.iter().map(|b| b * scale).collect();
        for form in FORMS {
            let stored = stored(form, &numbers(6, N * K), K);
            let mut expected = Vec::new();
            for x in x.chunks_exact(K) {
                let sum = |n| products(x, form, &stored, n).iter().sum::<f64>();
                expected.extend((0..N).map(|n| sum(n) + f64::from(bias[n])));
            }
            let found = matmul(&x, &tensor(form, &stored, K), Some(&bias), &EXACT);
            let error = relative_error(&found, &expected);
            // The results themselves have only some bits in the last case.
            let limit = if scale < 1e-38 { 1e-8 } else { 1e-13 };
            assert!(error < limit, "{form}, {scale:e}: {error:e}");
        }
    }
    // Subnormal inputs and scales that make ordinary numbers.
    let mut stored = stored(I8_BY_ROW, &numbers(6, K), K);
    stored.scales = 1e-41f32.to_le_bytes().to_vec();
    let x = vec![1e37; K];
    let expected: f64 = products(&x, I8_BY_ROW, &stored, 0).iter().sum();
    let found = matmul(&x, &tensor(I8_BY_ROW, &stored, K), None, &EXACT);
    assert!((f64::from(found[0]) / expected - 1.0).abs() < 1e-6);
}

#[test]
fn integers_are_summed_exactly_and_saturate() {
    let x = [inputs(9), numbers(7, 9 * K)].concat();
    let mut saturated = 0;
    for (form, activations, group, sum_bits, rounding) in [
        (
            I8_BY_ROW,
            Activations::I8,
            Group::Row,
            32,
            Rounding::NearestEven,
        ),
        (
            I8_BY_ROW,
            Activations::I8,
            Group::Row,
            17,
            Rounding::TowardZero,
        ),
        (
            I8_BY_ROW,
            Activations::I16,
            Group::Row,
            32,
            Rounding::NearestAway,
        ),
        (
            I8_BY_ROW,
            Activations::I16,
            Group::Row,
            24,
            Rounding::NearestAway,
        ),
        (
            I8_BY_32,
            Activations::I8,
            Group::Row,
            32,
            Rounding::NearestAway,
        ),
        (
            I8_BY_32,
            Activations::I8,
            Group::Of(48),
            16,
            Rounding::NearestEven,
        ),
        (
            I4_BY_32,
            Activations::I16,
            Group::Of(64),
            20,
            Rounding::TowardZero,
        ),
        (
            I4_BY_32,
            Activations::I8,
            Group::Of(32),
            32,
            Rounding::NearestAway,
        ),
    ] {
        let arithmetic = Arithmetic {
            activations,
            group,
            accumulator_bits: sum_bits,
            rounding,
        };
        let stored = stored(form, &numbers(6, N * K), K);
        let found = matmul(&x, &tensor(form, &stored, K), None, &arithmetic);
        let high = (1i64 << (sum_bits - 1)) - 1;
        let mut expected = Vec::new();
        for x in x.chunks_exact(K) {
            let row = activations::round(x, &arithmetic);
            for n in 0..N {
                let mut total = 0.0f32;
                let mut sum = 0i64;
                for k in 0..K {
                    let scales =
                        |k: usize| (row.scales[k / row.group], weight(form, &stored, n, k).1);
                    sum += row.numbers[k] as i64 * weight(form, &stored, n, k).0 as i64;
                    saturated += usize::from(sum > high);
                    sum = sum.clamp(-high - 1, high);
                    let groups = |k: usize| (k / row.group, k / form.group_len(K));
                    if k + 1 == K || groups(k) != groups(k + 1) {
                        total += (sum as f64 * scales(k).0 * scales(k).1) as f32;
                        sum = 0;
                    }
                }
                expected.push(total);
            }
        }
        assert_eq!(bits(&found), bits(&expected), "{form} {arithmetic:?}");
    }
    assert!(saturated > 100, "{saturated}");
}

#[test]
fn narrow_sums_of_floats_are_rounded_at_each_product() {
    let x = inputs(17);
    for form in FORMS {
        let stored = stored(form, &numbers(6, N * K), K);
        for (activations, sum_bits) in [(Activations::F16, 11), (Activations::Bf16, 20)] {
            let arithmetic = Arithmetic {
                accumulator_bits: sum_bits,
                ..Arithmetic::of(activations)
            };
            let found = matmul(&x, &tensor(form, &stored, K), None, &arithmetic);
            let mut expected = Vec::new();
            for x in x.chunks_exact(K) {
                let round = |&x: &f32| match activations {
                    Activations::F16 => f16::from_f32(x).to_f32(),
                    _ => bf16::from_f32(x).to_f32(),
                };
                let x: Vec<f32> = x.iter().map(round).collect();
                for n in 0..N {
                    let products = products(&x, form, &stored, n).into_iter();
                    let add = |sum: f64, product| last_place(sum + product, sum_bits);
                    expected.push(products.fold(0.0, add) as f32);
                }
            }
            assert_eq!(bits(&found), bits(&expected), "{form} {activations}");
        }
    }
}

#[test]
fn integers_times_floats_are_summed_by_groups() {
    let x = inputs(3);
    let arithmetic = Arithmetic {
        group: Group::Of(64),
        ..Arithmetic::of(Activations::I8)
    };
    let stored = stored(Quant::F16, &numbers(6, N * K), K);
    let found = matmul(&x, &tensor(Quant::F16, &stored, K), None, &arithmetic);
    let expected = x.chunks_exact(K).flat_map(|x| {
        let row = activations::round(x, &arithmetic);
        let value = |k: usize| f64::from(row.numbers[k]) * row.scales[k / 64];
        let x: Vec<f64> = (0..K).map(value).collect();
        let stored = &stored;
        (0..N).map(move |n| {
            let weights = Quant::F16.dequantize_row(stored, n, K);
            let pairs = x.iter().zip(weights);
            pairs.map(|(x, w)| x * f64::from(w)).sum::<f64>()
        })
    });
    let expected: Vec<f64> = expected.collect();
    assert!(relative_error(&found, &expected) < 1e-13);
}

/// A row has the same bits whatever the rows beside it.
#[test]
fn rows_are_independent() {
    let x = inputs(35);
    let narrow = |activations, accumulator_bits| Arithmetic {
        accumulator_bits,
        ..Arithmetic::of(activations)
    };
    let arithmetics = [
        EXACT,
        narrow(Activations::F16, 16),
        narrow(Activations::I8, 16),
        narrow(Activations::I16, 32),
    ];
    for form in FORMS {
        let stored = stored(form, &numbers(6, N * K), K);
        let weight = tensor(form, &stored, K);
        for arithmetic in &arithmetics {
            let together = matmul(&x, &weight, None, arithmetic);
            let alone = x.chunks_exact(K);
            let alone: Vec<f32> = alone
                .flat_map(|x| matmul(x, &weight, None, arithmetic))
                .collect();
            assert_eq!(bits(&together), bits(&alone), "{form} {arithmetic:?}");
        }
    }
}

/// A number that is not finite makes its row so, and no other.
#[test]
fn what_is_not_finite_stays_in_its_row() {
    let mut x = inputs(3);
    x[K + 7] = f32::INFINITY;
    let stored = stored(I8_BY_32, &numbers(6, N * K), K);
    for activations in [Activations::F32, Activations::F16, Activations::I8] {
        let arithmetic = Arithmetic::of(activations);
        let found = matmul(&x, &tensor(I8_BY_32, &stored, K), None, &arithmetic);
        let is_finite = |row: &[f32]| row.iter().all(|x| x.is_finite());
        let rows: Vec<bool> = found.chunks_exact(N).map(is_finite).collect();
        assert_eq!(rows, [true, false, true], "{activations}");
        assert!(found[N..2 * N].iter().all(|x| !x.is_finite()));
    }
}
