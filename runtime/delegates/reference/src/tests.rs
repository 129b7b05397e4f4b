//! The device, and whole models on it.

mod arithmetic;

use crate::{EXACT, Setting, open, run};
use ondol::delegate::segment::{Activation, Node, Op, Role, RowFn, Segment};
use ondol::delegate::{
    Activations, Arithmetic, Buffer, Code, Delegate, DeviceSession, Group, Label, Offload,
    OffloadOptions, Outcome, Place, Program, Quant, Quantized, Rounding, Store,
};
use ondol::{CancelToken, Isa, Model, Session, SessionOptions};
use ondol_plugin::forms::I8_BY_ROW;
use ondol_plugin::testing::numbers;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn stored(form: Quant, floats: &[f32], cols: usize) -> Quantized {
    let mut stored = Quantized::default();
    for row in floats.chunks_exact(cols) {
        form.quantize_row(row, &mut stored);
    }
    stored
}

/// A gated block with every kind of operation.
fn block(form: Quant, rows: usize) -> Segment {
    const COLS: usize = 64;
    let mut segment = Segment {
        name: "block".to_owned(),
        rows,
        tensors: Vec::new(),
        nodes: Vec::new(),
    };
    let s = &mut segment;
    let weight = |s: &mut Segment, seed, n, cols, form: Option<Quant>| {
        let data = stored(form.unwrap_or(Quant::F32), &numbers(seed, n * cols), cols);
        s.push(Role::Weight(form, data), n, cols)
    };
    let node = |s: &mut Segment, op, inputs: &[usize], cols| {
        let out = s.push(Role::Intermediate, s.rows, cols);
        let inputs = inputs.to_vec();
        s.nodes.push(Node { op, inputs, out });
        out
    };
    let x = s.push(Role::Input, rows, COLS);
    let y = s.push(Role::Input, rows, COLS);
    let sum = node(s, Op::Row(RowFn::Add), &[x, y], COLS);
    let factors = weight(s, 1, 1, 32, None);
    let norm = RowFn::RmsNorm {
        group: 32,
        eps: 1e-5,
    };
    let normal = node(s, Op::Row(norm), &[sum, factors], COLS);
    let bias = weight(s, 2, 1, 96, None);
    let up = weight(s, 3, 96, COLS, Some(form));
    let gate = node(s, Op::MatMul, &[normal, up, bias], 96);
    let value = node(s, Op::MatMul, &[normal, up], 96);
    let silu = node(s, Op::Row(RowFn::Glu(Activation::Silu)), &[gate, value], 96);
    let gelu = RowFn::Glu(Activation::GeluTanh);
    let gated = node(s, Op::Row(gelu), &[silu, value], 96);
    let half = node(s, Op::Row(RowFn::Scale { factor: 0.5 }), &[gated], 96);
    let out = node(s, Op::Row(RowFn::Softcap { cap: 3.0 }), &[half], 96);
    s.tensors[out].role = Role::Output;
    segment
}

fn inputs(segment: &Segment) -> Vec<Vec<f32>> {
    let inputs = segment.interface().0.into_iter();
    inputs
        .map(|i| numbers(40 + i as u32, segment.rows * segment.tensors[i].cols))
        .collect()
}

/// The output of a program of [`block`].
fn on_device(device: &Delegate, program: Program, segment: &Segment) -> Vec<f32> {
    let given = inputs(segment).concat();
    let output = segment.interface().1[0];
    let len = segment.rows * segment.tensors[output].cols;
    let mut x = Buffer::new(device, given.len()).unwrap();
    x.floats_mut()[..given.len()].copy_from_slice(&given);
    let y = Buffer::new(device, len).unwrap();
    let mut session = DeviceSession::new(vec![program]).unwrap();
    let place = |tensor, buffer, offset| Place {
        tensor,
        buffer,
        offset,
    };
    let second = given.len() / 2;
    let places = [place(0, &x, 0), place(1, &x, second), place(output, &y, 0)];
    // SAFETY: the job is waited for.
    let mut job = unsafe { session.submit(0, places.into_iter(), LONG) }.unwrap();
    assert!(matches!(job.wait(LONG), Outcome::Done(_)));
    y.floats()[..len].to_vec()
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

fn setting(arithmetic: Arithmetic, weights: &[Quant]) -> Setting {
    Setting {
        arithmetic,
        weights: weights.to_vec(),
        rows: vec![1, 16],
    }
}

#[test]
fn a_device_is_what_it_was_opened_as_and_computes_so() {
    let arithmetics = [
        Arithmetic::of(Activations::F16),
        Arithmetic {
            group: Group::Of(32),
            accumulator_bits: 20,
            rounding: Rounding::NearestAway,
            ..Arithmetic::of(Activations::I8)
        },
    ];
    let devices = arithmetics.map(|arithmetic| open(setting(arithmetic, &[I8_BY_ROW])).unwrap());
    let segment = block(I8_BY_ROW, 16);
    let mut found = Vec::new();
    for (device, arithmetic) in devices.iter().zip(arithmetics) {
        let info = device.info();
        assert_eq!((info.arithmetic, info.label), (arithmetic, Label::Emulator));
        assert_eq!(
            (info.rows.as_slice(), info.quants.as_slice()),
            ([1, 16].as_slice(), [I8_BY_ROW].as_slice())
        );
        let program = device.compile(&segment).unwrap();
        let loaded = device.load_program(&program.save().unwrap()).unwrap();
        let expected = bits(&run(&segment, &inputs(&segment), &arithmetic)[0]);
        for program in [program, loaded] {
            assert_eq!(bits(&on_device(device, program, &segment)), expected);
        }
        found.push(expected);
    }
    assert_ne!(found[0], found[1]);

    let blob = devices[0].compile(&segment).unwrap().save().unwrap();
    let refused = devices[1].load_program(&blob).err().unwrap();
    assert_eq!(refused.code, Code::Incompatible);
    let refused = devices[0].compile(&block(Quant::F16, 16)).err().unwrap();
    assert_eq!(refused.code, Code::Unsupported);
}

#[test]
fn functions_have_their_values() {
    let check = |function: RowFn, inputs: &[[f32; 2]], expected: [f32; 2]| {
        let mut segment = Segment {
            name: "function".to_owned(),
            rows: 1,
            tensors: Vec::new(),
            nodes: Vec::new(),
        };
        let ids: Vec<usize> = inputs
            .iter()
            .map(|_| segment.push(Role::Input, 1, 2))
            .collect();
        let out = segment.push(Role::Output, 1, 2);
        segment.nodes.push(Node {
            op: Op::Row(function),
            inputs: ids,
            out,
        });
        let inputs: Vec<Vec<f32>> = inputs.iter().map(|x| x.to_vec()).collect();
        let found = run(&segment, &inputs, &EXACT);
        for (found, expected) in found[0].iter().zip(expected) {
            assert!(
                (found / expected - 1.0).abs() < 1e-6,
                "{function:?}: {found}"
            );
        }
    };
    let norm = RowFn::RmsNorm { group: 2, eps: 0.5 };
    // The square root of 12.5 + 0.5 is 3.605551.
    check(norm, &[[3.0, 4.0]], [0.832_050_3, 1.109_400_4]);
    check(RowFn::Add, &[[3.0, 4.0], [0.5, -1.0]], [3.5, 3.0]);
    check(RowFn::Scale { factor: -0.5 }, &[[3.0, 4.0]], [-1.5, -2.0]);
    let silu = RowFn::Glu(Activation::Silu);
    check(
        silu,
        &[[1.0, -1.0], [1.0, 2.0]],
        [0.731_058_6, -0.537_882_8],
    );
    let gelu = RowFn::Glu(Activation::GeluTanh);
    check(gelu, &[[1.0, -1.0], [1.0, 2.0]], [0.841_192, -0.317_616]);
    let cap = RowFn::Softcap { cap: 30.0 };
    check(cap, &[[30.0, -30.0]], [22.847_824, -22.847_824]);
}

#[test]
fn a_job_ends_at_its_deadline() {
    let device = open(setting(EXACT, &[Quant::F16])).unwrap();
    let (side, rows) = (2048, 16);
    let mut segment = Segment {
        name: "slow".to_owned(),
        rows,
        tensors: Vec::new(),
        nodes: Vec::new(),
    };
    let x = segment.push(Role::Input, rows, side);
    let data = stored(Quant::F16, &vec![0.1; side * side], side);
    let w = segment.push(Role::Weight(Some(Quant::F16), data), side, side);
    let out = segment.push(Role::Output, rows, side);
    segment.nodes.push(Node {
        op: Op::MatMul,
        inputs: vec![x, w],
        out,
    });
    let mut session = DeviceSession::new(vec![device.compile(&segment).unwrap()]).unwrap();
    let buffers = [side, side].map(|cols| Buffer::new(&device, rows * cols).unwrap());
    let places = [(x, 0), (out, 1)].map(|(tensor, i)| Place {
        tensor,
        buffer: &buffers[i],
        offset: 0,
    });
    let soon = Duration::from_millis(1);
    // SAFETY: the job is waited for.
    let mut job = unsafe { session.submit(0, places.into_iter(), soon) }.unwrap();
    match job.wait(LONG) {
        Outcome::Failed(error) => assert_eq!(error.code, Code::Timeout),
        _ => panic!("the job did not fail"),
    }
}

// ---- whole models ----

const TOKENS: u32 = 40;

fn session(model: &Model, offload: Option<Offload>) -> Session {
    let options = SessionOptions {
        threads: Some(1),
        context: Some(64),
        kernels: Some(Isa::Exact),
        offload,
        ..SessionOptions::default()
    };
    model.session(&options).unwrap()
}

fn logits(session: &mut Session) -> Vec<f32> {
    let prompt: Vec<u32> = (0..TOKENS).map(|i| (i * 7919 + 13) % 300).collect();
    session
        .prefill(&prompt, &CancelToken::new())
        .unwrap()
        .to_vec()
}

/// The logits, and the largest error of a span: the CPU computes a row of each too.
fn on_reference(model: &Model, setting: Setting) -> (Vec<f32>, f64) {
    let device = open(setting).unwrap();
    let options = OffloadOptions {
        rows: 16,
        deadline: LONG,
        ..OffloadOptions::default()
    };
    let offload = Offload::new(model, &device, &options, &CancelToken::new(), |_, _| ());
    let mut session = session(model, Some(offload.unwrap()));
    let logits = logits(&mut session);
    let stats = session.engine().offload_stats().unwrap();
    assert!(stats.on_device() > 0, "{stats:?}");
    assert_eq!((stats.on_cpu(), stats.failures), (0, 0), "{stats:?}");
    (logits, stats.worst_audit)
}

fn nmse(found: &[f32], expected: &[f32]) -> f64 {
    let pairs = found.iter().zip(expected);
    let error: f64 = pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum();
    error / expected.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>()
}

#[test]
fn a_model_on_an_exact_device_is_the_model() {
    let model = Model::hello().unwrap();
    let expected = logits(&mut session(&model, None));
    let error = |arithmetic, weights: &[Quant]| {
        let (found, spans) = on_reference(&model, setting(arithmetic, weights));
        [spans, nmse(&found, &expected)]
    };
    let floats = [Quant::F32, Quant::F16];
    let within = |found: [f64; 2], spans: [f64; 2], logits: [f64; 2]| {
        assert!(found[0] > spans[0] && found[0] < spans[1], "{found:?}");
        assert!(found[1] > logits[0] && found[1] < logits[1], "{found:?}");
    };
    within(error(EXACT, &floats[..1]), [0.0, 1e-12], [0.0, 1e-9]);
    // Half floats are large enough a form for the host.
    within(error(EXACT, &floats), [1e-9, 1e-6], [1e-8, 1e-5]);
    let halves = Arithmetic::of(Activations::F16);
    within(error(halves, &floats), [1e-8, 1e-5], [1e-8, 1e-5]);
    let bytes = Arithmetic::of(Activations::I8);
    within(error(bytes, &[I8_BY_ROW]), [1e-5, 1e-2], [1e-5, 1e-2]);
}

// ---- settings ----

#[test]
fn a_text_is_a_setting() {
    let text =
        "rows=8 sums=20 activations=i8 group=64 rounding=toward-zero weights=i4-32,i8-row,f16";
    let setting: Setting = text.parse().unwrap();
    let i4_by_32 = Quant {
        store: Store::I4,
        group: Group::Of(32),
        wide_scales: false,
    };
    let expected = Setting {
        arithmetic: Arithmetic {
            activations: Activations::I8,
            group: Group::Of(64),
            accumulator_bits: 20,
            rounding: Rounding::TowardZero,
        },
        weights: vec![i4_by_32, I8_BY_ROW, Quant::F16],
        rows: vec![8],
    };
    assert_eq!(setting, expected);
    assert_eq!(setting.arch(), "i8-64 sums=20 toward-zero");
    assert_eq!("".parse(), Ok(Setting::default()));
    for (wrong, words) in [
        ("i8", "`i8` is not key=value"),
        ("bits=8", "there is no `bits`"),
        ("activations=f8", "there are no activations of `f8`"),
        ("rounding=up", "there is no rounding `up`"),
        ("weights=i8-row,", "there are no weights of ``"),
        ("weights=i8-0", "`0` is not a number above 0"),
        ("rows=1,x", "`x` is not a number above 0"),
    ] {
        assert_eq!(wrong.parse::<Setting>(), Err(words.to_owned()), "{wrong}");
    }
}
