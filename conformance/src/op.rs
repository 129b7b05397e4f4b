//! Level `op`: single operations on the device, compared with 64-bit floats on the same
//! weights.
//!
//! The limit for a matmul is four times the error of rounding its inputs to the
//! device's activations, predicted from the actual numbers for one scale per row, and
//! at most a fixed cap for inputs of similar size. Each row is also checked separately:
//! in a mean over a whole tensor, one wrong row in a hundred would not show.

use crate::gates::{is_as_bad, worse};
use crate::report::{Level, Text};
use crate::segments::{Bench, nmse, normal, oracle, weight};
use crate::{Kit, Result};
use ondol::delegate::segment::{Activation, Node, Op, Role, RowFn, Segment};
use ondol::delegate::{Activations, Quant, Quantized};
use std::time::Duration;

/// What the inputs look like.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Inputs {
    /// All of similar size.
    Even,
    /// Some numbers are a hundred times as large, as in hidden states.
    Outliers,
    /// All numbers have the largest magnitude, so that integer sums reach their limits.
    Largest,
    /// All zeros.
    Zeros,
}

impl Inputs {
    const ALL: [Inputs; 4] = [
        Inputs::Even,
        Inputs::Outliers,
        Inputs::Largest,
        Inputs::Zeros,
    ];

    fn name(self) -> &'static str {
        match self {
            Inputs::Even => "even",
            Inputs::Outliers => "outliers",
            Inputs::Largest => "largest",
            Inputs::Zeros => "zeros",
        }
    }

    fn korean(self) -> &'static str {
        match self {
            Inputs::Even => "고른 입력",
            Inputs::Outliers => "이상값이 있는 입력",
            Inputs::Largest => "최댓값 입력",
            Inputs::Zeros => "영 입력",
        }
    }

    fn values(self, rows: usize, cols: usize) -> Vec<f32> {
        let mut values = normal(7, rows * cols);
        match self {
            Inputs::Even => {}
            Inputs::Outliers => values.iter_mut().step_by(97).for_each(|x| *x *= 100.0),
            Inputs::Largest => values.fill(1.0),
            Inputs::Zeros => values.fill(0.0),
        }
        values
    }
}

/// Rows and columns of weights: odd ones, long ones, and one of a model's size.
const SHAPES: [(usize, usize); 5] = [(64, 64), (100, 96), (3, 2048), (65, 8192), (576, 576)];

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    for &form in &kit.delegate.info().quants {
        for inputs in Inputs::ALL {
            say(&format!("matmul, weights {form}, {} inputs", inputs.name()));
            matmuls(kit, level, form, inputs);
        }
    }
    for (name, op) in elementwise() {
        say(name);
        element(kit, level, name, op);
    }
    Ok(())
}

/// The worst results over all shapes.
#[derive(Default)]
struct Worst {
    /// NMSE over its limit, and the two.
    tensor: (f64, f64, f64),
    row: (f64, f64, f64),
    /// The largest error in standard deviations of the predicted one.
    sigmas: f64,
    place: String,
}

fn matmuls(kit: &Kit, level: &mut Level, form: Quant, inputs: Inputs) {
    let id = |what: &str| format!("op.matmul.{}.{}.{what}", form.id(), inputs.name());
    let title = |en: &str, ko: &str| {
        Text::new(
            format!("matmul, weights {form}, {} inputs: {en}", inputs.name()),
            format!("행렬곱, 가중치 {form}, {}: {ko}", inputs.korean()),
        )
    };
    match worst_of(kit, form, inputs) {
        Err(error) => level.holds(&id("runs"), title("it runs", "실행"), Err(error)),
        Ok(None) => level.not_measured(
            &id("runs"),
            title("it runs", "실행"),
            "the device takes none of the shapes in this form",
        ),
        Ok(Some(worst)) => {
            let (_, found, limit) = worst.tensor;
            let gate = level.at_most(&id("nmse"), title("NMSE", "정규화 제곱오차"), found, limit);
            gate.note = worst.place.clone();
            let (_, found, limit) = worst.row;
            let rows = title("NMSE of the worst row", "최악 행의 정규화 제곱오차");
            level.at_most(&id("row-nmse"), rows, found, limit).note = worst.place.clone();
            let largest = title("largest error", "최대 오차");
            level
                .at_most(&id("max"), largest, worst.sigmas, MAX_SIGMAS)
                .unit = "σ".to_owned();
        }
    }
}

/// The largest allowed error, in standard deviations of the predicted one.
const MAX_SIGMAS: f64 = 8.0;

/// `None` if the device claims none of the shapes.
fn worst_of(kit: &Kit, form: Quant, inputs: Inputs) -> Result<Option<Worst>, String> {
    let mut worst: Option<Worst> = None;
    for (n, k) in SHAPES.into_iter().filter(|&(_, k)| form.fits(k)) {
        let segment = matmul(kit, form, n, k);
        let claims = kit.delegate.claim(&segment).map_err(|e| e.to_string())?;
        if claims.iter().any(Option::is_some) {
            continue;
        }
        let x = inputs.values(segment.rows, k);
        let found = run_once(kit, &segment, std::slice::from_ref(&x))?;
        let expected = &oracle(&segment, std::slice::from_ref(&x))[0];
        let place = format!("worst of {} rows, {n} x {k}", segment.rows);
        let activations = kit.delegate.info().activations;
        let predicted = predicted(activations, &segment, &x, n, k);
        let cap = match inputs {
            Inputs::Even => cap(activations),
            _ => f64::INFINITY,
        };
        let judged = judge(&found[0], expected, &predicted, n, cap);
        let judged = judged.map_err(|e| format!("{e}, {place}"))?;
        let worst = worst.get_or_insert_default();
        if is_as_bad(judged.tensor.0, worst.tensor.0) {
            (worst.tensor, worst.place) = (judged.tensor, place);
        }
        if is_as_bad(judged.row.0, worst.row.0) {
            worst.row = judged.row;
        }
        worst.sigmas = worse(worst.sigmas, judged.sigmas);
    }
    Ok(worst)
}

/// A segment of one matmul, of as many rows as the device's programs for prefill
/// have here.
pub fn matmul(kit: &Kit, form: Quant, n: usize, k: usize) -> Segment {
    let rows = rows(kit);
    let mut stored = Quantized::default();
    for row in normal(11, n * k).chunks_exact(k) {
        form.quantize_row(row, &mut stored);
    }
    let mut segment = empty("matmul", rows);
    let x = segment.push(Role::Input, rows, k);
    let w = segment.push(Role::Weight(Some(form), stored), n, k);
    let out = segment.push(Role::Output, rows, n);
    segment.nodes.push(Node {
        op: Op::MatMul,
        inputs: vec![x, w],
        out,
    });
    segment
}

/// The largest number of rows up to 64 that the device has programs for.
pub fn rows(kit: &Kit) -> usize {
    let all = &kit.delegate.info().rows;
    let fitting = all.iter().rev().find(|&&rows| rows <= 64);
    *fitting.unwrap_or(&all[0])
}

pub fn empty(name: &str, rows: usize) -> Segment {
    Segment {
        name: name.to_owned(),
        rows,
        tensors: Vec::new(),
        nodes: Vec::new(),
    }
}

pub fn run_once(
    kit: &Kit,
    segment: &Segment,
    inputs: &[Vec<f32>],
) -> Result<Vec<Vec<f32>>, String> {
    let deadline = kit.setup.deadline.max(Duration::from_secs(1));
    let bench = Bench::new(&kit.delegate, segment, deadline);
    bench
        .and_then(|mut bench| bench.run(inputs))
        .map_err(|e| e.to_string())
}

/// For each row, the energy of the error that rounding the inputs is expected to
/// make in all of its outputs together.
fn predicted(
    activations: Activations,
    segment: &Segment,
    x: &[f32],
    n: usize,
    k: usize,
) -> Vec<f64> {
    let w = weight(segment, 1);
    // By input, the energy of its weights over all outputs.
    let mut energy = vec![0.0; k];
    for row in w.chunks_exact(k).take(n) {
        row.iter()
            .zip(&mut energy)
            .for_each(|(w, e)| *e += f64::from(*w) * f64::from(*w));
    }
    let total: f64 = energy.iter().sum();
    let of_row = |x: &[f32]| {
        let largest = f64::from(x.iter().fold(0.0f32, |a, b| a.max(b.abs())));
        let even_steps = |steps: f64| (largest / steps) * (largest / steps) / 12.0 * total;
        let by_size = |bits: i32| {
            let share = f64::powi(2.0, -2 * bits) / 12.0;
            let pairs = x.iter().zip(&energy);
            pairs
                .map(|(x, e)| f64::from(*x) * f64::from(*x) * e)
                .sum::<f64>()
                * share
        };
        match activations {
            Activations::I8 => even_steps(127.0),
            Activations::I16 => even_steps(32_767.0),
            Activations::F16 => by_size(10),
            Activations::Bf16 => by_size(7),
            Activations::F32 => by_size(23),
        }
    };
    x.chunks_exact(k).map(of_row).collect()
}

/// The largest allowed error of a matmul with even inputs.
fn cap(activations: Activations) -> f64 {
    match activations {
        Activations::I8 => 5e-4,
        Activations::I16 => 1e-5,
        Activations::Bf16 => 1e-4,
        Activations::F16 | Activations::F32 => 1e-6,
    }
}

/// The error that 32-bit sums may always have.
const FLOOR: f64 = 1e-7;

fn judge(
    found: &[f32],
    expected: &[f64],
    predicted: &[f64],
    n: usize,
    cap: f64,
) -> Result<Worst, String> {
    if let Some(at) = found.iter().position(|x| !x.is_finite()) {
        return Err(format!("{} in row {}", found[at], at / n));
    }
    let energy = |values: &[f64]| values.iter().map(|y| y * y).sum::<f64>();
    let share = |error: f64, of: f64| if of == 0.0 { 0.0 } else { error / of };
    let over = |found: f64, limit: f64| (found / limit, found, limit);
    let all = share(predicted.iter().sum(), energy(expected));
    let limit = (4.0 * all).clamp(FLOOR, cap);
    let whole = over(nmse(found, expected), limit);
    let mut worst = Worst {
        tensor: whole,
        ..Worst::default()
    };
    for ((found, expected), predicted) in found
        .chunks_exact(n)
        .zip(expected.chunks_exact(n))
        .zip(predicted)
    {
        // Few outputs say little of their error: more room for them.
        let room = 4.0 * (1.0 + 8.0 / (n as f64).sqrt());
        let limit = (room * share(*predicted, energy(expected))).max(FLOOR);
        let row = over(nmse(found, expected), limit);
        if is_as_bad(row.0, worst.row.0) {
            worst.row = row;
        }
        let floor = FLOOR * energy(expected);
        let sigma = ((predicted.max(floor)) / n as f64).sqrt();
        let errors = found
            .iter()
            .zip(expected)
            .map(|(x, y)| (f64::from(*x) - y).abs());
        let largest = errors.fold(0.0, worse);
        worst.sigmas = worse(worst.sigmas, share(largest, sigma));
    }
    Ok(worst)
}

/// Columns of the rows that [`element`] runs a function on.
const COLS: usize = 576;

/// Operations without a matmul, with the id by which they are reported.
fn elementwise() -> [(&'static str, RowFn); 6] {
    let norm = RowFn::RmsNorm {
        group: COLS,
        eps: 1e-5,
    };
    [
        ("rmsnorm", norm),
        ("add", RowFn::Add),
        ("scale", RowFn::Scale { factor: 0.37 }),
        ("silu-mul", RowFn::Glu(Activation::Silu)),
        ("gelu-mul", RowFn::Glu(Activation::GeluTanh)),
        ("softcap", RowFn::Softcap { cap: 30.0 }),
    ]
}

/// One function on rows of numbers of all sizes.
fn element(kit: &Kit, level: &mut Level, name: &str, function: RowFn) {
    let rows = rows(kit);
    let mut segment = empty(name, rows);
    let mut inputs = vec![segment.push(Role::Input, rows, COLS)];
    let mut given = vec![normal(3, rows * COLS)];
    given[0].iter_mut().step_by(31).for_each(|x| *x *= 40.0);
    if function.values() == 2 {
        inputs.push(segment.push(Role::Input, rows, COLS));
        given.push(normal(13, rows * COLS));
    }
    if let Some(len) = function.weight_len() {
        let weight = normal(5, len).into_iter().flat_map(f32::to_le_bytes);
        let stored = Quantized {
            data: weight.collect(),
            scales: Vec::new(),
        };
        inputs.push(segment.push(Role::Weight(None, stored), 1, len));
    }
    let op = Op::Row(function);
    let out = segment.push(Role::Output, rows, COLS);
    segment.nodes.push(Node { op, inputs, out });

    let id = format!("op.{name}");
    let title = Text::new(format!("{name}: NMSE"), format!("{name}: 정규화 제곱오차"));
    match kit.delegate.claim(&segment) {
        Ok(claims) => {
            if let Some(Some(reason)) = claims.first() {
                level.not_measured(&id, title, &format!("the device refuses it: {reason}"));
                return;
            }
        }
        Err(error) => return level.holds(&id, title, Err(error.to_string())),
    }
    match run_once(kit, &segment, &given) {
        Ok(found) => {
            let expected = oracle(&segment, &given);
            level.at_most(&id, title, nmse(&found[0], &expected[0]), ELEMENTWISE);
        }
        Err(error) => level.holds(&id, title, Err(error)),
    }
}

/// The error of half floats, with a margin.
const ELEMENTWISE: f64 = 1e-6;
