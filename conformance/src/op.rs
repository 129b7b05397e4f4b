//! Level `op`: single operations on the device, judged by what its declared arithmetic
//! explains ([`crate::judge`]).
//!
//! Every weight is drawn anew, under the same name and of the same shape as others. The
//! inputs are made to find faults: some fill an integer sum, some are so small that
//! half floats have no leading bit left.

use crate::draw::{Draw, row_counts};
use crate::judge::{Judgement, Results};
use crate::report::{Level, Text};
use crate::segments::{Bench, Values};
use crate::{Kit, Result};
use ondol::delegate::segment::{Activation, Node, Op, Role, RowFn, Segment};
use ondol::delegate::{Quant, Quantized};
use std::time::Duration;

/// What inputs and weights look like.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Numbers {
    /// All numbers have a similar size.
    Even,
    /// Some inputs are a hundred times as large, as in hidden states.
    Outliers,
    /// Inputs and weights have one sign and almost one size, so that integer sums
    /// reach their limits: 8192 products of bytes fill 28 bits.
    OneSign,
    /// Inputs below the smallest normal half float.
    SmallInputs,
    /// Weights, and so their scales, below the smallest normal half float.
    SmallWeights,
    /// Inputs of zeros.
    Zeros,
}

impl Numbers {
    const ALL: [Numbers; 6] = [
        Numbers::Even,
        Numbers::Outliers,
        Numbers::OneSign,
        Numbers::SmallInputs,
        Numbers::SmallWeights,
        Numbers::Zeros,
    ];

    fn name(self) -> &'static str {
        match self {
            Numbers::Even => "even",
            Numbers::Outliers => "outliers",
            Numbers::OneSign => "one-sign",
            Numbers::SmallInputs => "small-inputs",
            Numbers::SmallWeights => "small-weights",
            Numbers::Zeros => "zeros",
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Numbers::Even => ("even inputs", "고른 입력"),
            Numbers::Outliers => ("inputs with outliers", "이상값이 있는 입력"),
            Numbers::OneSign => ("numbers of one sign", "부호가 같은 수"),
            Numbers::SmallInputs => ("small inputs", "매우 작은 입력"),
            Numbers::SmallWeights => ("small weights", "매우 작은 가중치"),
            Numbers::Zeros => ("inputs of zeros", "영 입력"),
        }
    }

    fn inputs(self, draw: &mut Draw, len: usize) -> Vec<f32> {
        let mut values = draw.normal(len);
        match self {
            Numbers::Even | Numbers::SmallWeights => {}
            Numbers::Outliers => values.iter_mut().step_by(97).for_each(|x| *x *= 100.0),
            Numbers::OneSign => values.iter_mut().for_each(|x| *x = one_sign(*x)),
            Numbers::SmallInputs => values.iter_mut().for_each(|x| *x *= SMALL),
            Numbers::Zeros => values.fill(0.0),
        }
        values
    }

    fn weights(self, draw: &mut Draw, len: usize) -> Vec<f32> {
        let mut values = draw.normal(len);
        match self {
            Numbers::OneSign => values.iter_mut().for_each(|x| *x = one_sign(*x)),
            Numbers::SmallWeights => values.iter_mut().for_each(|x| *x *= SMALL),
            _ => {}
        }
        values
    }
}

/// The smallest normal half float is 6.1e-5.
const SMALL: f32 = 2e-5;

/// Maps a number from -6 to 6 to one from 0.97 to 1.
fn one_sign(x: f32) -> f32 {
    1.0 - 0.0025 * (x + 6.0)
}

/// Rows and columns of weights: odd shapes, long ones, and one of a model's size. A shape that is
/// drawn from the seed is added.
const SHAPES: [(usize, usize); 5] = [(64, 64), (100, 96), (3, 2048), (17, 8192), (192, 576)];

pub fn run(kit: &Kit, level: &mut Level, say: &mut impl FnMut(&str)) -> Result<()> {
    for &form in &kit.delegate.info().quants {
        for numbers in Numbers::ALL {
            say(&format!("matmul, weights {form}, {}", numbers.words().0));
            matmuls(kit, level, form, numbers);
        }
        counts(kit, level, form);
    }
    for case in elementwise() {
        say(case.name);
        element(kit, level, &case);
    }
    Ok(())
}

// ---- matmuls ----------------------------------------------------------------------

fn matmuls(kit: &Kit, level: &mut Level, form: Quant, numbers: Numbers) {
    let id = format!("op.matmul.{}.{}", form.id(), numbers.name());
    let (en, ko) = numbers.words();
    let title = Text::new(
        format!("matmul, weights {form}, {en}"),
        format!("행렬곱, 가중치 {form}, {ko}"),
    );
    match worst_of(kit, form, numbers) {
        Err(error) => level.holds(&format!("{id}.runs"), title, Err(error)),
        Ok(None) => level.not_measured(
            &format!("{id}.runs"),
            title,
            "the device takes none of the shapes in this form",
        ),
        Ok(Some(worst)) => worst.record(level, &id, &title),
    }
}

/// The worst over all shapes and programs; `None` if the device claims none of them.
fn worst_of(kit: &Kit, form: Quant, numbers: Numbers) -> Result<Option<Judgement>, String> {
    let mut worst: Option<Judgement> = None;
    for rows in kit.programs() {
        for (index, (n, k)) in shapes(kit, form).into_iter().enumerate() {
            let purpose = format!("{} {numbers:?} {rows} {n} {k}", form.id());
            let mut draw = kit.draw(&purpose);
            let weights = numbers.weights(&mut draw, n * k);
            // Every other one has a bias.
            let bias = (index % 2 == 1).then(|| draw.normal(n));
            let segment = matmul(form, rows, &weights, k, bias.as_deref());
            if !kit.takes(&segment)? {
                continue;
            }
            let given = vec![numbers.inputs(&mut draw, rows * k)];
            let place = format!("a program of {rows} rows, {n} x {k}");
            let judgement = judge(kit, &segment, &given, &place)?;
            worst.get_or_insert_default().keep_worst(judgement);
        }
    }
    Ok(worst)
}

/// The shapes whose rows the form can have.
fn shapes(kit: &Kit, form: Quant) -> Vec<(usize, usize)> {
    let mut draw = kit.draw("shape");
    let drawn = (1 + draw.below(200), 32 * (1 + draw.below(40)));
    let all = SHAPES.into_iter().chain([drawn]);
    all.filter(|&(_, k)| form.fits(k)).collect()
}

/// A segment of one matmul: weights of rows of `k` numbers.
pub fn matmul(
    form: Quant,
    rows: usize,
    weights: &[f32],
    k: usize,
    bias: Option<&[f32]>,
) -> Segment {
    let n = weights.len() / k;
    let mut stored = Quantized::default();
    for row in weights.chunks_exact(k) {
        form.quantize_row(row, &mut stored);
    }
    let mut segment = empty("matmul", rows);
    let x = segment.push(Role::Input, rows, k);
    let w = segment.push(Role::Weight(Some(form), stored), n, k);
    let bias = bias.map(|bias| vector(&mut segment, bias));
    let out = segment.push(Role::Output, rows, n);
    let inputs = [x, w].into_iter().chain(bias).collect();
    segment.nodes.push(Node {
        op: Op::MatMul,
        inputs,
        out,
    });
    segment
}

fn vector(segment: &mut Segment, floats: &[f32]) -> usize {
    let stored = Quantized {
        data: floats.iter().flat_map(|x| x.to_le_bytes()).collect(),
        scales: Vec::new(),
    };
    segment.push(Role::Weight(None, stored), 1, floats.len())
}

pub fn empty(name: &str, rows: usize) -> Segment {
    Segment {
        name: name.to_owned(),
        rows,
        tensors: Vec::new(),
        nodes: Vec::new(),
    }
}

/// Runs a segment on the device and judges every output.
pub fn judge(
    kit: &Kit,
    segment: &Segment,
    given: &[Vec<f32>],
    place: &str,
) -> Result<Judgement, String> {
    let found = bench(kit, segment)?.run(given).map_err(|e| e.to_string())?;
    judge_outputs(kit, segment, given, &found, place)
}

/// Judges the outputs of a segment that the device has run on these inputs.
pub fn judge_outputs(
    kit: &Kit,
    segment: &Segment,
    given: &[Vec<f32>],
    found: &Values,
    place: &str,
) -> Result<Judgement, String> {
    let [exact, declared] = kit.expected(segment, given);
    let mut worst = Judgement::default();
    for (index, &output) in segment.interface().1.iter().enumerate() {
        let results = Results {
            found: &found[index],
            exact: &exact[index],
            declared: &declared[index],
            cols: segment.tensors[output].cols,
        };
        let place = format!("output {index}, {place}");
        worst.keep_worst(Judgement::of(results, &place)?);
    }
    Ok(worst)
}

/// Compiles a segment for the device.
pub fn bench(kit: &Kit, segment: &Segment) -> Result<Bench, String> {
    let deadline = kit.setup.deadline.max(Duration::from_secs(1));
    Bench::new(&kit.delegate, segment, deadline).map_err(|e| e.to_string())
}

// ---- numbers of rows --------------------------------------------------------------

/// Checks that the rows of a call do not depend on how many rows there are.
fn counts(kit: &Kit, level: &mut Level, form: Quant) {
    let title = Text::new(
        format!("matmul, weights {form}: a row is the same bits whatever the number of rows"),
        format!("행렬곱, 가중치 {form}: 행 수가 달라도 각 행의 결과가 비트까지 같음"),
    );
    let id = format!("op.matmul.{}.rows", form.id());
    let mut programs = kit.programs().into_iter();
    level.holds(
        &id,
        title,
        programs.try_for_each(|rows| same_in_all_counts(kit, form, rows)),
    );
}

/// Runs a program of `rows` rows with fewer and fewer, the others zeros.
fn same_in_all_counts(kit: &Kit, form: Quant, rows: usize) -> Result<(), String> {
    let (n, k) = (96, if form.fits(576) { 576 } else { 512 });
    let mut draw = kit.draw("rows");
    let segment = matmul(form, rows, &draw.normal(n * k), k, None);
    if !kit.takes(&segment)? {
        return Ok(());
    }
    let mut given = vec![draw.normal(rows * k)];
    let mut bench = bench(kit, &segment)?;
    let mut run = |given: &[Vec<f32>]| bench.run(given).map_err(|e| e.to_string());
    let expected = run(&given)?;
    for count in row_counts(kit.setup.seed, rows).into_iter().rev() {
        given[0][count * k..].fill(0.0);
        let found = run(&given)?;
        if let Some(row) = first_different_row(&found[0], &expected[0], n, count) {
            return Err(format!(
                "row {row} of {count} in a program of {rows} rows differs"
            ));
        }
    }
    Ok(())
}

/// The first of `count` rows that are not the same bits.
pub fn first_different_row(a: &[f32], b: &[f32], cols: usize, count: usize) -> Option<usize> {
    let mut pairs = a.iter().zip(b).take(count * cols);
    let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
    pairs.position(differs).map(|at| at / cols)
}

// ---- elementwise operations ---------------------------------------------------------

/// Columns of the rows that [`element`] runs a function on.
const COLS: usize = 576;

/// A function of rows, and what it is tested on.
struct Elementwise {
    /// Its name, by which it is reported.
    name: &'static str,
    function: RowFn,
    /// The size of most numbers.
    size: f32,
    /// Whether some numbers are forty times as large.
    outliers: bool,
}

fn elementwise() -> [Elementwise; 11] {
    let case = |name, function, size, outliers| Elementwise {
        name,
        function,
        size,
        outliers,
    };
    let norm = |group, eps| RowFn::RmsNorm { group, eps };
    let [silu, gelu] = [Activation::Silu, Activation::GeluTanh].map(RowFn::Glu);
    [
        case("rmsnorm", norm(COLS, 1e-5), 1.0, true),
        case("rmsnorm-groups", norm(64, 1e-6), 1.0, true),
        // Inputs whose mean square is as small as eps, so that a wrong eps is seen.
        case("rmsnorm-eps", norm(64, 1e-5), 3e-3, false),
        case("add", RowFn::Add, 1.0, true),
        case("scale", RowFn::Scale { factor: 0.37 }, 1.0, true),
        case("silu-mul", silu, 2.0, false),
        case("silu-mul-outliers", silu, 1.0, true),
        case("gelu-mul", gelu, 2.0, false),
        case("gelu-mul-outliers", gelu, 1.0, true),
        case("softcap", RowFn::Softcap { cap: 30.0 }, 20.0, false),
        case("softcap-outliers", RowFn::Softcap { cap: 30.0 }, 1.0, true),
    ]
}

/// The name of a function's test in Korean.
fn korean(name: &str) -> &str {
    match name {
        "rmsnorm" => "RMS 정규화",
        "rmsnorm-groups" => "RMS 정규화, 묶음별",
        "rmsnorm-eps" => "RMS 정규화, 매우 작은 입력",
        "add" => "덧셈",
        "scale" => "상수배",
        "silu-mul" => "SiLU 게이트",
        "silu-mul-outliers" => "SiLU 게이트, 이상치 포함",
        "gelu-mul" => "GELU 게이트",
        "gelu-mul-outliers" => "GELU 게이트, 이상치 포함",
        "softcap" => "소프트캡",
        "softcap-outliers" => "소프트캡, 이상치 포함",
        other => other,
    }
}

/// Judges one function in every program.
fn element(kit: &Kit, level: &mut Level, case: &Elementwise) {
    let id = format!("op.{}", case.name);
    let title = Text::new(case.name, korean(case.name));
    let mut worst: Option<Judgement> = None;
    for rows in kit.programs() {
        let mut draw = kit.draw(&format!("{} {rows}", case.name));
        let (segment, given) = element_segment(case, rows, &mut draw);
        match kit.delegate.claim(&segment) {
            Ok(claims) => {
                if let Some(Some(reason)) = claims.first() {
                    let why = format!("the device refuses it: {reason}");
                    return level.not_measured(&id, title, &why);
                }
            }
            Err(error) => return level.holds(&id, title, Err(error.to_string())),
        }
        match judge(kit, &segment, &given, &format!("a program of {rows} rows")) {
            Ok(judgement) => worst.get_or_insert_default().keep_worst(judgement),
            Err(error) => return level.holds(&id, title, Err(error)),
        }
    }
    if let Some(worst) = worst {
        worst.record(level, &id, &title);
    }
}

/// The function as a segment, and inputs for it.
fn element_segment(case: &Elementwise, rows: usize, draw: &mut Draw) -> (Segment, Vec<Vec<f32>>) {
    let mut segment = empty(case.name, rows);
    let mut inputs = vec![segment.push(Role::Input, rows, COLS)];
    let mut given = vec![draw.normal(rows * COLS)];
    given[0].iter_mut().for_each(|x| *x *= case.size);
    if case.outliers {
        given[0].iter_mut().step_by(31).for_each(|x| *x *= 40.0);
    }
    if case.function.values() == 2 {
        inputs.push(segment.push(Role::Input, rows, COLS));
        given.push(draw.normal(rows * COLS));
    }
    if let Some(len) = case.function.weight_len(COLS) {
        let weight = draw.normal(len);
        inputs.push(vector(&mut segment, &weight));
    }
    let out = segment.push(Role::Output, rows, COLS);
    segment.nodes.push(Node {
        op: Op::Row(case.function),
        inputs,
        out,
    });
    (segment, given)
}
