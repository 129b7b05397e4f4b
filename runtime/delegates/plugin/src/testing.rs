//! Tests of a plug-in from the host's side, for each to run on its device.

use ondol::delegate::segment::{Node, Op, Role, RowFn, Segment};
use ondol::delegate::{
    Buffer, Code, Delegate, DelegateError, DeviceSession, Group, Job, Outcome, Place, Quant,
    Quantized, Store,
};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// The tests of this module as tests of a plug-in, by its `ondol_npu_get_api`. They say that they
/// are skipped if the environment variable `$variable`, which names the device, is not set.
#[macro_export]
macro_rules! device_tests {
    ($get_api:path, $variable:literal: $($test:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                if std::env::var_os($variable).is_none() {
                    eprintln!("SKIPPED: {} is not set", $variable);
                    return;
                }
                // SAFETY: it is this plug-in.
                let device = unsafe { $crate::ondol::delegate::Delegate::open($get_api) };
                $crate::testing::$test(&device.unwrap());
            }
        )*
    };
}

/// Numbers between -1 and 1, the same for the same seed.
pub fn numbers(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A segment without tensors.
pub fn empty(rows: usize) -> Segment {
    Segment {
        name: "test".to_owned(),
        rows,
        tensors: Vec::new(),
        nodes: Vec::new(),
    }
}

fn vector(segment: &mut Segment, floats: &[f32]) -> usize {
    let data = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    let stored = Quantized {
        data,
        scales: Vec::new(),
    };
    segment.push(Role::Weight(None, stored), 1, floats.len())
}

fn matrix(segment: &mut Segment, floats: &[f32], cols: usize) -> usize {
    let form = Quant::F16;
    let mut stored = Quantized::default();
    let rows = floats.chunks_exact(cols);
    rows.for_each(|row| form.quantize_row(row, &mut stored));
    segment.push(Role::Weight(Some(form), stored), floats.len() / cols, cols)
}

fn node(segment: &mut Segment, op: Op, inputs: &[usize], role: Role, cols: usize) -> usize {
    let out = segment.push(role, segment.rows, cols);
    let inputs = inputs.to_vec();
    segment.nodes.push(Node { op, inputs, out });
    out
}

/// A session with one program, and the buffers of its one input and one output.
struct Running {
    session: DeviceSession,
    input: Buffer,
    output: Buffer,
}

impl Running {
    fn new(device: &Delegate, segment: &Segment, input: &[f32]) -> Running {
        let outputs = segment.interface().1;
        let floats = segment.rows * segment.tensors[outputs[0]].cols;
        let mut running = Running {
            session: DeviceSession::new(vec![device.compile(segment).unwrap()]).unwrap(),
            input: Buffer::new(device, input.len()).unwrap(),
            output: Buffer::new(device, floats).unwrap(),
        };
        running.input.floats_mut()[..input.len()].copy_from_slice(input);
        running
    }

    fn start(&mut self, output: usize, deadline: Duration) -> Job {
        let place = |tensor, buffer| Place {
            tensor,
            buffer,
            offset: 0,
        };
        let places = [place(0, &self.input), place(output, &self.output)];
        // SAFETY: every test waits for the job, or drops the session first.
        unsafe { self.session.submit(0, places.into_iter(), deadline) }.unwrap()
    }
}

fn failure(outcome: Outcome) -> Option<DelegateError> {
    match outcome {
        Outcome::Failed(error) => Some(error),
        _ => None,
    }
}

/// Several matmuls in a row, which take much longer than a hundredth of a second.
fn slow() -> Segment {
    const SIDE: usize = 2048;
    let mut segment = empty(256);
    let mut x = segment.push(Role::Input, 256, SIDE);
    let w = matrix(&mut segment, &vec![0.01; SIDE * SIDE], SIDE);
    for _ in 0..16 {
        x = node(&mut segment, Op::MatMul, &[x, w], Role::Intermediate, SIDE);
    }
    segment.tensors[x].role = Role::Output;
    segment
}

/// A job ends at its deadline, when it is cancelled, and with its session.
///
/// # Panics
/// If that is not so.
pub fn a_job_ends_at_its_deadline_or_when_cancelled(device: &Delegate) {
    let segment = slow();
    let output = segment.interface().1[0];
    let mut running = Running::new(device, &segment, &vec![1.0; 256 * 2048]);

    let mut job = running.start(output, LONG);
    let began = Instant::now();
    assert!(matches!(job.wait(Duration::ZERO), Outcome::Running));
    assert!(matches!(job.wait(LONG), Outcome::Done(_)));
    let whole = began.elapsed();

    let mut job = running.start(output, Duration::from_millis(3));
    let began = Instant::now();
    assert_eq!(failure(job.wait(LONG)).unwrap().code, Code::Timeout);
    assert!(began.elapsed() < whole, "the deadline is not heeded");

    let mut job = running.start(output, LONG);
    std::thread::sleep(Duration::from_millis(3));
    job.cancel().unwrap();
    assert_eq!(failure(job.wait(LONG)).unwrap().code, Code::Cancelled);

    // Two jobs are in the queue; both end with their session.
    let mut jobs = [running.start(output, LONG), running.start(output, LONG)];
    drop(running);
    for job in &mut jobs {
        assert_eq!(
            failure(job.wait(Duration::ZERO)).unwrap().code,
            Code::Cancelled
        );
    }
}

/// Norms of groups, with and without a weight, and a bias.
///
/// # Panics
/// If that is not so.
pub fn norms_of_groups_and_biases(device: &Delegate) {
    let mut segment = empty(1);
    let x = segment.push(Role::Input, 1, 4);
    let weight = vector(&mut segment, &[1.0, 2.0]);
    let norm = Op::Row(RowFn::RmsNorm { group: 2, eps: 0.5 });
    let normal = node(&mut segment, norm, &[x, weight], Role::Intermediate, 4);
    let again = node(&mut segment, norm, &[normal], Role::Intermediate, 4);
    let w = matrix(&mut segment, &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0], 4);
    let bias = vector(&mut segment, &[0.25, -1.0]);
    let out = node(&mut segment, Op::MatMul, &[again, w, bias], Role::Output, 2);

    let given = [3.0f32, -4.0, 0.5, 0.0];
    let mut running = Running::new(device, &segment, &given);
    let mut job = running.start(out, LONG);
    assert!(matches!(job.wait(LONG), Outcome::Done(_)));

    let normal = |x: [f32; 2], w: [f32; 2]| {
        let scale = 1.0 / ((x[0] * x[0] + x[1] * x[1]) / 2.0 + 0.5).sqrt();
        [x[0] * scale * w[0], x[1] * scale * w[1]]
    };
    let both = |x| normal(normal(x, [1.0, 2.0]), [1.0, 1.0]);
    let (first, second) = (both([3.0, -4.0]), both([0.5, 0.0]));
    let expected = [first[0] + 0.25, first[1] + second[0] - 1.0];
    for (found, expected) in running.output.floats().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
    }
}

/// A form that the device does not list (8 bits in groups of 4) is refused.
///
/// # Panics
/// If that is not so.
pub fn what_the_device_does_not_take_has_a_reason(device: &Delegate) {
    let mut segment = empty(1);
    let x = segment.push(Role::Input, 1, 4);
    let form = Quant {
        store: Store::I8,
        group: Group::Of(4),
        wide_scales: false,
    };
    let w = segment.push(Role::Weight(Some(form), Quantized::default()), 2, 4);
    node(&mut segment, Op::MatMul, &[x, w], Role::Output, 2);
    let claims = device.claim(&segment).unwrap();
    assert_eq!(
        claims[0].as_deref(),
        Some("in1 is in no form that the device takes")
    );
    assert_eq!(
        device.compile(&segment).err().unwrap().code,
        Code::Unsupported
    );
}
