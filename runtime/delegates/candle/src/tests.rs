//! Programs on candle's CPU, beside the exact sums of the reference part.

use crate::device::{Device, FORMS, Place};
use crate::program::Program;
use ondol_delegate_reference::EXACT;
use ondol_plugin::ondol::delegate::segment::{Activation, Node, Op, Role, RowFn, Segment};
use ondol_plugin::ondol::delegate::{Code, Quant, Quantized};
use ondol_plugin::testing::{empty, numbers};
use ondol_plugin::{Device as _, Failure, Graph, Program as _, Values};
use std::cell::Cell;

const COLS: usize = 64;

fn weight(segment: &mut Segment, form: Option<Quant>, rows: usize, cols: usize) -> usize {
    let seed = segment.tensors.len() as u32;
    let mut stored = Quantized::default();
    for row in numbers(seed, rows * cols).chunks_exact(cols) {
        form.unwrap_or(Quant::F32).quantize_row(row, &mut stored);
    }
    segment.push(Role::Weight(form, stored), rows, cols)
}

fn node(segment: &mut Segment, op: Op, inputs: &[usize], role: Role) -> usize {
    let cols = match op {
        Op::MatMul => segment.tensors[inputs[1]].rows,
        Op::Row(_) => segment.tensors[inputs[0]].cols,
    };
    let out = segment.push(role, segment.rows, cols);
    let inputs = inputs.to_vec();
    segment.nodes.push(Node { op, inputs, out });
    out
}

/// Every kind of operation, with two inputs and two outputs.
fn block(form: Quant, rows: usize) -> Segment {
    let mut segment = empty(rows);
    let s = &mut segment;
    let between = || Role::Intermediate;
    let (x, y) = (
        s.push(Role::Input, rows, COLS),
        s.push(Role::Input, rows, COLS),
    );
    let sum = node(s, Op::Row(RowFn::Add), &[x, y], Role::Output);
    let vector = weight(s, None, 1, COLS / 2);
    let grouped = RowFn::RmsNorm {
        group: COLS / 2,
        eps: 1e-2,
    };
    let normal = node(s, Op::Row(grouped), &[sum, vector], between());
    let whole = RowFn::RmsNorm {
        group: COLS,
        eps: 1e-5,
    };
    let normal = node(s, Op::Row(whole), &[normal], between());
    let (gate, up) = (
        weight(s, Some(form), 96, COLS),
        weight(s, Some(form), 96, COLS),
    );
    let bias = weight(s, None, 1, 96);
    let gate = node(s, Op::MatMul, &[normal, gate, bias], between());
    let up = node(s, Op::MatMul, &[normal, up], between());
    let silu = node(
        s,
        Op::Row(RowFn::Glu(Activation::Silu)),
        &[gate, up],
        between(),
    );
    let gelu = RowFn::Glu(Activation::GeluTanh);
    let gelu = node(s, Op::Row(gelu), &[silu, gate], between());
    let scaled = node(s, Op::Row(RowFn::Scale { factor: 3.0 }), &[gelu], between());
    node(
        s,
        Op::Row(RowFn::Softcap { cap: 2.0 }),
        &[scaled],
        Role::Output,
    );
    segment
}

fn cpu() -> Device {
    Device::open(Place::Cpu).unwrap()
}

/// Runs the program of a segment.
fn run(
    program: &Program,
    segment: &Segment,
    inputs: &[Vec<f32>],
    go_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<Vec<Vec<f32>>, Failure> {
    let outputs = segment.interface().1.into_iter();
    let mut outputs: Vec<Vec<f32>> = outputs
        .map(|id| vec![f32::NAN; segment.rows * segment.tensors[id].cols])
        .collect();
    let values = Values {
        rows: segment.rows,
        inputs: inputs.iter().map(Vec::as_slice).collect(),
        outputs: outputs.iter_mut().map(Vec::as_mut_slice).collect(),
    };
    program.run(&mut (), values, go_on)?;
    Ok(outputs)
}

fn inputs(rows: usize) -> Vec<Vec<f32>> {
    vec![numbers(91, rows * COLS), numbers(92, rows * COLS)]
}

#[test]
fn every_operation_is_the_contract_s() {
    for form in FORMS {
        for rows in [1, 5] {
            let segment = block(form, rows);
            let inputs = inputs(rows);
            let program = cpu().compile(&Graph::from(&segment)).unwrap();
            let found = run(&program, &segment, &inputs, &|| Ok(())).unwrap();
            let exact = ondol_delegate_reference::run(&segment, &inputs, &EXACT);
            assert_eq!(found.len(), exact.len());
            for (found, exact) in found.iter().flatten().zip(exact.iter().flatten()) {
                assert!((found - exact).abs() < 2e-5, "{form}: {found}, not {exact}");
            }
        }
    }
}

#[test]
fn a_saved_program_computes_the_same_bits() {
    let (device, segment) = (cpu(), block(FORMS[0], 5));
    let program = device.compile(&Graph::from(&segment)).unwrap();
    let saved = program.save().unwrap();
    let loaded = device.load(&saved).unwrap();
    assert!(loaded.save().unwrap() == saved);
    let outputs = |program| run(program, &segment, &inputs(5), &|| Ok(())).unwrap();
    assert_eq!(outputs(&loaded), outputs(&program));
    assert_eq!(
        device.load(&saved[..saved.len() - 1]).err().unwrap().code,
        Code::Corrupt
    );
}

#[test]
fn a_job_ends_between_two_operations() {
    let segment = block(FORMS[1], 1);
    let left = Cell::new(4);
    let go_on = || match left.replace(left.get() - 1) {
        0 => Err(Failure::new(Code::Cancelled, "cancelled")),
        _ => Ok(()),
    };
    let program = cpu().compile(&Graph::from(&segment)).unwrap();
    let failure = run(&program, &segment, &inputs(1), &go_on).unwrap_err();
    assert_eq!((failure.code, left.get()), (Code::Cancelled, -1));
}
