use std::vec::Vec;

use half::f16;
use ondol_models::graph::Activation;
use ondol_models::quant::{self, DType};
use proptest::prelude::*;

use super::{Q8Block, Recurrence, RopeStyle, RowFn, VectorOps};
use crate::{Isa, Kernels};

/// The functions of every ISA that this machine has.
fn isas() -> Vec<&'static dyn VectorOps> {
    let kernels = Isa::ALL.into_iter().flat_map(Kernels::with_isa);
    kernels.map(|kernels| kernels.backend.vector).collect()
}

/// `got` is within `ulps` units in the last place of f32 of the truth, or
/// within `absolute` of it.
fn close(got: f32, truth: f64, ulps: f64, absolute: f64) -> bool {
    let rounded = truth as f32;
    if !rounded.is_finite() || rounded.is_nan() {
        return got == rounded || got.is_nan() && rounded.is_nan();
    }
    let ulp = f64::from(rounded.abs().next_up()) - f64::from(rounded.abs());
    (f64::from(got) - truth).abs() <= (ulps * ulp).max(absolute)
}

fn assert_close(got: &[f32], truth: &[f64], ulps: f64, absolute: f64) {
    assert_eq!(got.len(), truth.len());
    for (i, (&got, &truth)) in got.iter().zip(truth).enumerate() {
        assert!(
            close(got, truth, ulps, absolute),
            "at {i}: {got:e} instead of {truth:e}"
        );
    }
}

fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Rows of odd lengths, with numbers of very different sizes.
fn row(max_len: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(number(), 1..max_len)
}

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![8 => -4.0_f32..4.0, 2 => -100.0_f32..100.0, 1 => -1e-3_f32..1e-3]
}

/// Two rows of the same odd length.
fn two_rows() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    prop::collection::vec((number(), number()), 1..70).prop_map(|pairs| pairs.into_iter().unzip())
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn gelu_tanh(x: f64) -> f64 {
    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + u.tanh())
}

/// One row through `gate * 1`, so that an activation is seen alone.
fn activation(isa: &dyn VectorOps, activation: Activation, x: &[f32]) -> Vec<f32> {
    let mut gate = x.to_vec();
    let ones = std::vec![1.0; x.len()];
    isa.apply(RowFn::Glu(activation), &mut gate, Some(&ones), None);
    gate
}

/// A fine sweep over the whole range where `f32` functions are not trivial.
fn sweep() -> Vec<f32> {
    let mut x: Vec<f32> = (-110_000..=110_000).map(|i| i as f32 / 1000.0).collect();
    x.extend((-149..=6).flat_map(|e| [1.0, 1.37, -1.0, -1.71].map(|m| m * 2.0_f32.powi(e))));
    x.extend([0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE]);
    x
}

#[test]
fn exponentials_are_exact_to_the_last_places() {
    for isa in isas() {
        for x in sweep() {
            let got = isa.sum_exp(&[x], 0.0) as f32;
            let truth = f64::from(x).exp();
            // Below the normal numbers, to the spacing of the subnormal ones.
            assert!(close(got, truth, 2.0, 3e-45), "exp {x:e}: {got:e}");
        }
        assert_eq!(isa.sum_exp(&[f32::NEG_INFINITY], 0.0), 0.0);
        assert_eq!(isa.sum_exp(&[f32::INFINITY], 0.0), f64::INFINITY);
        assert!(isa.sum_exp(&[f32::NAN], 0.0).is_nan());
    }
}

#[test]
fn activations_are_exact_to_the_last_places() {
    let x = sweep();
    for isa in isas() {
        let got = activation(isa, Activation::Silu, &x);
        let truth: Vec<f64> = widen(&x).into_iter().map(silu).collect();
        assert_close(&got, &truth, 5.0, 1e-36);

        // The argument of the exponential is rounded before: its error grows
        // with the argument, where the result is small.
        let got = activation(isa, Activation::GeluTanh, &x);
        let truth: Vec<f64> = widen(&x).into_iter().map(gelu_tanh).collect();
        assert_close(&got, &truth, 8.0, 1e-7);
        assert!(got.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn softcap_is_exact_to_the_last_places() {
    for isa in isas() {
        for cap in [1.0_f32, 30.0, 50.0] {
            let x = sweep();
            let mut got = x.clone();
            isa.apply(RowFn::Softcap { cap }, &mut got, None, None);
            let cap64 = f64::from(cap);
            let truth: Vec<f64> = widen(&x)
                .iter()
                .map(|x| cap64 * (x / cap64).tanh())
                .collect();
            // x / cap may be subnormal, whose spacing is multiplied again.
            assert_close(&got, &truth, 6.0, 1e-43);
        }
    }
}

/// Every half float but the signalling NaNs, and floats between and beyond.
#[test]
fn half_floats_are_the_same_bits_at_every_isa() {
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let mut floats: Vec<f32> = (0..=u32::MAX)
        .step_by(40_009)
        .map(f32::from_bits)
        .filter(|x| !x.is_nan())
        .collect();
    // Halfway between two neighbours, and a bit to each side.
    for half in halves.iter().filter(|half| half.is_finite()) {
        let middle = f32::from_bits(half.to_f32().to_bits() | 1 << 12);
        floats.extend([middle, middle.next_up(), middle.next_down()]);
    }
    for isa in isas() {
        let mut wide = std::vec![0.0; halves.len()];
        isa.f16_to_f32(&halves, &mut wide);
        for (half, wide) in halves.iter().zip(&wide) {
            if half.is_nan() {
                assert!(wide.is_nan());
            } else {
                assert_eq!(half.to_f32().to_bits(), wide.to_bits());
            }
        }
        let mut narrow = std::vec![f16::ZERO; floats.len()];
        isa.f32_to_f16(&floats, &mut narrow);
        for (x, narrow) in floats.iter().zip(&narrow) {
            assert_eq!(f16::from_f32(*x).to_bits(), narrow.to_bits(), "{x:e}");
        }
        let mut nan = [f16::ZERO];
        isa.f32_to_f16(&[f32::NAN], &mut nan);
        assert!(nan[0].is_nan());
    }
}

/// Numbers of any size, in blocks: near to the nearest step of a scale that
/// fits, the same bits at every ISA, and GGUF's own reading of them.
#[test]
fn blocks_of_8_bits_are_the_same_bits_at_every_isa() {
    // From where the scale has few bits, or none, to where it is the largest.
    for size in [1e-8_f32, 1e-6, 2e-5, 1e-3, 0.1, 1.0, 700.0, 8.2e6] {
        let sizes = (0..64).map(|block| size / (1 + block % 7) as f32);
        let x: Vec<f32> = sizes
            .enumerate()
            .flat_map(|(block, size)| {
                (0..32).map(move |i| size * ((block * 41 + i * 29) as f32).sin())
            })
            .collect();
        let mut first: Option<Vec<Q8Block>> = None;
        for isa in isas() {
            let mut blocks = std::vec![Q8Block::default(); 64];
            isa.f32_to_q8_0(&x, &mut blocks);
            let first = first.get_or_insert_with(|| blocks.clone());
            assert_eq!(*first, blocks);
        }
        for (x, block) in x.chunks(32).zip(first.unwrap()) {
            let mut bytes = block.scale.to_le_bytes().to_vec();
            bytes.extend(block.q.map(i8::cast_unsigned));
            let mut read = [0.0; 32];
            quant::dequantize(DType::Q8_0, &bytes, &mut read).unwrap();
            let step = block.scale.to_f32();
            // The smallest scale is 2^-24, and the rounding of one half of it.
            let near = (0.501 * step).max(127.0 / 2_f32.powi(25));
            for (x, read) in x.iter().zip(read) {
                assert!((x - read).abs() <= near, "{x:e} became {read:e}");
            }
        }
    }
}

/// What is not finite, or too large, is not hidden by the numbers beside it.
#[test]
fn blocks_of_8_bits_hide_no_nan() {
    for isa in isas() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e7] {
            for place in [0, 9, 31] {
                let mut x = [0.5; 64];
                x[32 + place] = bad;
                let mut blocks = [Q8Block::default(); 2];
                isa.f32_to_q8_0(&x, &mut blocks);
                assert!(blocks[0].scale.is_finite());
                let scale = blocks[1].scale.to_f32();
                let hidden = blocks[1]
                    .q
                    .iter()
                    .filter(|&&q| !(scale * f32::from(q)).is_nan());
                assert_eq!(hidden.count(), 0, "{bad} at {place}");
            }
        }
    }
}

#[test]
fn argmax_takes_the_lowest_of_equal_ids_and_no_nan() {
    for isa in isas() {
        assert_eq!(isa.argmax(&[]), 0);
        assert_eq!(isa.argmax(&[f32::NAN, f32::NAN]), 0);
        assert_eq!(isa.argmax(&[f32::NAN, -3.0, 2.0, 2.0]), 2);
        assert_eq!(isa.argmax(&[f32::NEG_INFINITY; 20]), 0);
        let mut x = std::vec![0.0; 10_000];
        for (i, value) in [(9_999, 1.0), (4_095, 1.0), (4_096, 2.0), (7, 2.0), (3, 3.0)] {
            x[i] = value;
            let first = x.iter().position(|&y| y == value).unwrap();
            assert_eq!(isa.argmax(&x), first);
            assert_eq!(isa.max(&x), value);
        }
    }
}

/// A row as long as a vocabulary: the sum must not lose its small terms.
#[test]
fn log_softmax_of_a_long_row() {
    let x: Vec<f32> = (0..262_144_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6 - 12.0)
        .collect();
    let max = x.iter().copied().fold(f32::MIN, f32::max);
    let truth: f64 = x.iter().map(|&x| f64::from(x - max).exp()).sum();
    for isa in isas() {
        assert_eq!(isa.max(&x), max);
        let sum = isa.sum_exp(&x, max);
        assert!((sum / truth - 1.0).abs() < 1e-6, "{sum} instead of {truth}");
    }
}

proptest! {
    #[test]
    fn rms_norm((x, weight) in two_rows(), eps in 1e-6_f32..1e-2, weighted: bool) {
        let wide = widen(&x);
        let mean = wide.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let factor = 1.0 / (mean + f64::from(eps)).sqrt();
        let truth: Vec<f64> = wide
            .iter()
            .zip(&weight)
            .map(|(x, &w)| x * factor * if weighted { f64::from(w) } else { 1.0 })
            .collect();
        for isa in isas() {
            let mut out = x.clone();
            let norm = RowFn::RmsNorm { group: x.len(), eps };
            isa.apply(norm, &mut out, None, weighted.then_some(&weight[..]));
            assert_close(&out, &truth, 8.0, 0.0);
        }
    }

    #[test]
    fn rms_norm_of_heads_is_that_of_each((head, weight) in two_rows(), heads in 1_usize..5) {
        let x: Vec<f32> = (0..heads)
            .flat_map(|h| head.iter().map(move |x| x * (h + 1) as f32))
            .collect();
        for isa in isas() {
            let mut out = x.clone();
            let norm = RowFn::RmsNorm { group: head.len(), eps: 1e-6 };
            isa.apply(norm, &mut out, None, Some(&weight));
            let heads = x.chunks(head.len()).zip(out.chunks(head.len()));
            for (x, got) in heads {
                let mut one = x.to_vec();
                isa.apply(norm, &mut one, None, Some(&weight));
                prop_assert_eq!(&one[..], got);
            }
        }
    }

    #[test]
    fn element_wise((x, y) in two_rows(), factor in -8.0_f32..8.0) {
        let (wide_x, wide_y) = (widen(&x), widen(&y));
        for isa in isas() {
            let mut out = x.clone();
            isa.apply(RowFn::Add, &mut out, Some(&y), None);
            let truth: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
            prop_assert_eq!(out, truth);

            let mut out = x.clone();
            isa.apply(RowFn::Scale { factor }, &mut out, None, None);
            let truth: Vec<f32> = x.iter().map(|x| x * factor).collect();
            prop_assert_eq!(out, truth);

            let gated = |f: fn(f64) -> f64| -> Vec<f64> {
                wide_x.iter().zip(&wide_y).map(|(&x, y)| f(x) * y).collect()
            };
            let mut out = x.clone();
            isa.apply(RowFn::Glu(Activation::Silu), &mut out, Some(&y), None);
            assert_close(&out, &gated(silu), 8.0, 1e-34);
            let mut out = x.clone();
            isa.apply(RowFn::Glu(Activation::GeluTanh), &mut out, Some(&y), None);
            assert_close(&out, &gated(gelu_tanh), 8.0, 1e-5);
        }
    }

    #[test]
    fn rope(head in row(140), turned in 0.0_f64..=1.0, heads in 1_usize..4, split: bool) {
        let pairs = (head.len() as f64 * turned / 2.0) as usize;
        let style = if split { RopeStyle::HalfSplit } else { RopeStyle::Interleaved };
        let angle = |pair: usize| 0.1 + 3.7 * pair as f32;
        let cos: Vec<f32> = (0..pairs).map(|i| angle(i).cos()).collect();
        let sin: Vec<f32> = (0..pairs).map(|i| angle(i).sin()).collect();
        let x: Vec<f32> = (0..heads)
            .flat_map(|h| head.iter().map(move |x| x + h as f32))
            .collect();

        let mut truth = widen(&x);
        for head in truth.chunks_mut(head.len()) {
            for i in 0..pairs {
                let (a, b) = if split { (i, i + pairs) } else { (2 * i, 2 * i + 1) };
                let (x, y) = (head[a], head[b]);
                let (cos, sin) = (f64::from(cos[i]), f64::from(sin[i]));
                head[a] = x * cos - y * sin;
                head[b] = x * sin + y * cos;
            }
        }
        for isa in isas() {
            let mut out = x.clone();
            isa.rope(&mut out, head.len(), &cos, &sin, style);
            assert_close(&out, &truth, 2.0, 2e-5);
        }
    }

    #[test]
    fn max_and_sum_of_exponentials(x in row(100)) {
        let max = x.iter().copied().fold(f32::MIN, f32::max);
        let truth: f64 = x.iter().map(|&x| f64::from(x - max).exp()).sum();
        for isa in isas() {
            prop_assert_eq!(isa.max(&x), max);
            prop_assert!((isa.sum_exp(&x, max) / truth - 1.0).abs() < 1e-6);
            prop_assert_eq!(x[isa.argmax(&x)], max);
        }
    }

    #[test]
    fn layer_norm((x, weight) in two_rows(), eps in 1e-4_f32..1e-2, weighted: bool) {
        let wide = widen(&x);
        let mean = wide.iter().sum::<f64>() / x.len() as f64;
        let variance = wide.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let factor = 1.0 / (variance + f64::from(eps)).sqrt();
        let truth: Vec<f64> = wide
            .iter()
            .zip(&weight)
            .map(|(x, &w)| (x - mean) * factor * if weighted { f64::from(w) } else { 1.0 })
            .collect();
        // The rounding of the mean counts where a row has hardly any variance.
        let largest = wide.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
        let factors = weight.iter().fold(1.0_f64, |a, &w| a.max(f64::from(w).abs()));
        let rounding = 1e-6 * largest * factor * factors;
        for isa in isas() {
            let mut out = x.clone();
            let norm = RowFn::LayerNorm { group: x.len(), eps };
            isa.apply(norm, &mut out, None, weighted.then_some(&weight[..]));
            assert_close(&out, &truth, 8.0, rounding);
        }
    }

    #[test]
    fn biases_and_gains((x, y) in two_rows(), each in 1_usize..4) {
        let wide: Vec<f32> = x.iter().flat_map(|&x| (0..each).map(move |i| x + i as f32)).collect();
        for isa in isas() {
            let mut out = x.clone();
            isa.apply(RowFn::Bias, &mut out, None, Some(&y));
            let truth: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
            prop_assert_eq!(out, truth);

            let product = |(i, x): (usize, &f32)| x * y[i / each];
            let truth: Vec<f32> = wide.iter().enumerate().map(product).collect();
            let mut out = wide.clone();
            isa.apply(RowFn::Gain { each }, &mut out, None, Some(&y));
            prop_assert_eq!(&out, &truth);
            let mut out = wide.clone();
            isa.apply(RowFn::Mul { each }, &mut out, Some(&y), None);
            prop_assert_eq!(&out, &truth);
        }
    }

    #[test]
    fn activations((x, y) in two_rows()) {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let softplus = |x: f64| if x > 30.0 { x } else { x.exp().ln_1p() };
        let all: [(Activation, &dyn Fn(f64) -> f64); 4] = [
            (Activation::Silu, &silu),
            (Activation::GeluTanh, &gelu_tanh),
            (Activation::Sigmoid, &sigmoid),
            (Activation::Softplus, &softplus),
        ];
        for (activation, f) in all {
            let truth: Vec<f64> = widen(&x).into_iter().map(f).collect();
            let gated: Vec<f64> = truth.iter().zip(&y).map(|(f, &y)| f * f64::from(y)).collect();
            for isa in isas() {
                let mut out = x.clone();
                isa.apply(RowFn::Activate(activation), &mut out, None, None);
                assert_close(&out, &truth, 8.0, 1e-6);
                let mut out = x.clone();
                isa.apply(RowFn::Glu(activation), &mut out, Some(&y), None);
                assert_close(&out, &gated, 9.0, 1e-4);
            }
        }
    }

    #[test]
    fn keep_above((x, _) in two_rows(), deviations in -1.0_f32..2.0) {
        let wide = widen(&x);
        let count = wide.len() as f64;
        let mean = wide.iter().sum::<f64>() / count;
        let variance = wide.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let least = mean + f64::from(deviations) * variance.sqrt();
        let truth: Vec<f64> = wide.iter().map(|x| (x - least).max(0.0)).collect();
        let largest = wide.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
        for isa in isas() {
            let mut out = x.clone();
            isa.apply(RowFn::KeepAbove { deviations }, &mut out, None, None);
            assert_close(&out, &truth, 8.0, 1e-6 * largest);
        }
    }

    #[test]
    fn resize((x, y) in two_rows(), least in prop::sample::select(&[1e-5_f32, 4.0][..])) {
        let mean_square = |x: &[f32]| widen(x).iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let own = mean_square(&x).max(f64::from(least));
        let factor = (mean_square(&y) / own).sqrt();
        let truth: Vec<f64> = widen(&x).iter().map(|x| x * factor).collect();
        for isa in isas() {
            let mut out = x.clone();
            isa.apply(RowFn::Resize { least }, &mut out, Some(&y), None);
            assert_close(&out, &truth, 16.0, 1e-30);
        }
    }

    #[test]
    fn clamped_glu((x, y) in two_rows(), limit in 0.5_f32..8.0) {
        let unit = |(&gate, &up): (&f32, &f32)| {
            let limit = f64::from(limit);
            let (gate, up) = (f64::from(gate).min(limit), f64::from(up).clamp(-limit, limit));
            gate / (1.0 + (-1.702 * gate).exp()) * (up + 1.0)
        };
        let truth: Vec<f64> = x.iter().zip(&y).map(unit).collect();
        for isa in isas() {
            let mut out = x.clone();
            isa.apply(RowFn::ClampedGlu { limit }, &mut out, Some(&y), None);
            assert_close(&out, &truth, 9.0, 1e-5);
        }
    }

    #[test]
    fn linear_attention(
        columns in 1_usize..75,
        key in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 1..20),
        decay in -3.0_f32..0.0,
        beta in 0.0_f32..1.0,
        delta: bool,
    ) {
        let (q, k): (Vec<f32>, Vec<f32>) = key.into_iter().unzip();
        let number = |i: usize| ((i * 7919 + 13) % 211) as f32 / 100.0 - 1.0;
        let v: Vec<f32> = (0..columns).map(number).collect();
        let before: Vec<f32> = (0..columns * k.len()).map(|i| number(i + 5)).collect();
        let mut state = widen(&before);
        state.iter_mut().for_each(|s| *s *= f64::from(decay).exp());
        let mut truth = std::vec![0.0; columns];
        for (column, out) in truth.iter_mut().enumerate() {
            let mut of_column: Vec<&mut f64> = state.iter_mut().skip(column).step_by(columns).collect();
            let recalled: f64 = of_column.iter().zip(&k).map(|(s, &k)| **s * f64::from(k)).sum();
            let known = if delta { recalled } else { 0.0 };
            let stored = f64::from(beta) * (f64::from(v[column]) - known);
            of_column.iter_mut().zip(&k).for_each(|(s, &k)| **s += f64::from(k) * stored);
            *out = of_column.iter().zip(&q).map(|(s, &q)| **s * f64::from(q)).sum();
        }
        let token = Recurrence { q: &q, k: &k, v: &v, decay, beta, delta };
        for isa in isas() {
            let (mut now, mut out) = (before.clone(), std::vec![f32::NAN; columns]);
            isa.advance(&token, &mut now, &mut out);
            assert_close(&out, &truth, 4.0, 1e-5);
            assert_close(&now, &state, 4.0, 1e-5);
        }
    }
}
