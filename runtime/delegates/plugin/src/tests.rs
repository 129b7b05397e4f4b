//! The table from the host's side, with a device that doubles its inputs.

use super::*;
use crate::forms::I8_BY_ROW;
use crate::testing::empty;
use core::time::Duration;
use ondol::delegate::segment::{self, Op, RowFn, Segment};
use ondol::delegate::{
    Activations, Arithmetic, Buffer, Code, Delegate, DelegateError, DeviceSession, Group, Job,
    Label, Outcome, Place, Quant, Quantized, Rounding, ffi,
};
use std::sync::{Arc, Mutex};

const LONG: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(20);
const COLS: usize = 4;

/// With `FAULTS`, another plug-in, which can inject faults.
struct Toy<const FAULTS: bool>;

#[derive(Default)]
struct ToyDevice<const FAULTS: bool>(Arc<Mutex<String>>);

/// Shares the device's fault.
struct Doubling(Arc<Mutex<String>>);

impl<const FAULTS: bool> Plugin for Toy<FAULTS> {
    type Device = ToyDevice<FAULTS>;
    const NAME: &'static CStr = if FAULTS { c"faulty" } else { c"toy" };
    const LICENCE: &'static CStr = c"none";

    fn init(log: &Log) -> Result<()> {
        log.warn("a \0 in a message");
        Ok(())
    }

    fn device_count() -> u32 {
        1
    }

    fn open(_: u32) -> Result<Self::Device> {
        Ok(ToyDevice::default())
    }
}

impl<const FAULTS: bool> Device for ToyDevice<FAULTS> {
    type Program = Doubling;
    const INJECT: Option<Inject<Self>> = match FAULTS {
        true => Some(|device, fault, _| {
            fault.clone_into(&mut device.0.lock().unwrap());
            Ok(())
        }),
        false => None,
    };

    fn describe(&self) -> Description {
        Description {
            vendor: "온돌".repeat(40),
            device: "doubler".to_owned(),
            arch: "none".to_owned(),
            driver: "none".to_owned(),
            firmware: "none".to_owned(),
            label: Label::ContractStub,
            memory: 7,
            arithmetic: ARITHMETIC,
            forms: vec![Quant::F16, I8_BY_ROW],
            rows: vec![1, 2],
        }
    }

    fn claim(&self, _: &Graph, node: &Node) -> Verdict {
        match node.op {
            Ok(Op::Row(RowFn::Add)) => Err("the device can't add".to_owned()),
            _ => Ok(()),
        }
    }

    fn compile(&self, _: &Graph) -> Result<Doubling> {
        Ok(Doubling(self.0.clone()))
    }

    fn load(&self, bytes: &[u8]) -> Result<Doubling> {
        assert_eq!(bytes, b"doubling");
        Ok(Doubling(self.0.clone()))
    }
}

impl Program for Doubling {
    type Request = u64;

    fn request(&self) -> Result<u64> {
        Ok(0)
    }

    fn run(
        &self,
        runs: &mut u64,
        mut values: Values,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        *runs += 1;
        let fault = self.0.lock().unwrap().clone();
        match fault.as_str() {
            "hang" => loop {
                go_on()?;
                std::thread::sleep(Duration::from_millis(1));
            },
            "lost" => return Err(Failure::new(Code::DeviceLost, "lost")),
            "panic" => panic!("in a job"),
            _ => {}
        }
        for (x, y) in values.inputs[0].iter().zip(&mut *values.outputs[0]) {
            *y = 2.0 * x;
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>> {
        Ok(b"doubling".to_vec())
    }
}

const ARITHMETIC: Arithmetic = Arithmetic {
    activations: Activations::I16,
    group: Group::Of(64),
    accumulator_bits: 40,
    rounding: Rounding::TowardZero,
};

fn device<const FAULTS: bool>() -> Delegate {
    // SAFETY: it is this plug-in.
    unsafe { Delegate::open(get_api::<Toy<FAULTS>>) }.unwrap()
}

fn node(segment: &mut Segment, op: Op, inputs: &[usize], out: usize) {
    let inputs = inputs.to_vec();
    segment.nodes.push(segment::Node { op, inputs, out });
}

fn doubling() -> Segment {
    let mut segment = empty(2);
    let x = segment.push(segment::Role::Input, 2, COLS);
    let out = segment.push(segment::Role::Output, 2, COLS);
    let double = Op::Row(RowFn::Scale { factor: 2.0 });
    node(&mut segment, double, &[x], out);
    segment
}

/// A session of one program, with a buffer for input and output.
struct Running {
    session: DeviceSession,
    buffer: Buffer,
}

impl Running {
    fn new(device: &Delegate, program: ondol::delegate::Program) -> Running {
        let mut buffer = Buffer::new(device, 4 * COLS).unwrap();
        buffer.floats_mut()[..2 * COLS].fill(1.5);
        let session = DeviceSession::new(vec![program]).unwrap();
        Running { session, buffer }
    }

    /// Starts the program with its output at a float of the buffer.
    fn start(
        &mut self,
        output: usize,
        deadline: Duration,
    ) -> std::result::Result<Job, DelegateError> {
        let place = |tensor, offset| Place {
            tensor,
            buffer: &self.buffer,
            offset,
        };
        let places = [place(0, 0), place(1, output)];
        // SAFETY: every test waits for the job, or drops the session first.
        unsafe { self.session.submit(0, places.into_iter(), deadline) }
    }

    fn run(&mut self) -> Outcome {
        self.start(2 * COLS, LONG).unwrap().wait(LONG)
    }
}

fn code(outcome: Outcome) -> Option<Code> {
    match outcome {
        Outcome::Failed(error) => Some(error.code),
        _ => None,
    }
}

#[test]
fn a_description_arrives() {
    let device = device::<false>();
    let info = device.info();
    assert_eq!(info.plugin[0], "toy");
    assert_eq!(info.plugin[1], env!("CARGO_PKG_VERSION"));
    // Cut between two characters: 63 bytes are 21 of them.
    assert_eq!(info.vendor.chars().count(), 21);
    assert_eq!(info.label, Label::ContractStub);
    assert_eq!((info.memory, info.arithmetic), (7, ARITHMETIC));
    assert_eq!(info.quants, [Quant::F16, I8_BY_ROW]);
    assert_eq!(info.rows, [1, 2]);
    assert!(!info.injects_faults);
}

/// A host of version 1.0 has a smaller struct, of which nothing beyond the end is
/// touched.
#[test]
fn a_host_of_version_1_0_is_served() {
    let mut api = core::ptr::null();
    // SAFETY: the table is this plug-in's, and all structs are as large as they say.
    unsafe {
        get_api::<Toy<false>>(1, 0, &mut api);
        let api: &ffi::Api = &*api;
        let (mut device, error) = (core::ptr::null_mut(), core::ptr::null_mut());
        assert_eq!(api.device_open.unwrap()(0, &mut device, error), ffi::OK);
        let mut info: ffi::DeviceInfo = core::mem::zeroed();
        info.rounding = 77;
        let size = ffi::DeviceInfo::SIZE_1_0 as u32;
        info.hdr.struct_size = size - 1;
        let status = api.device_info.unwrap()(device, &mut info, error);
        assert_eq!(status, Code::Invalid as ffi::Status);
        info.hdr.struct_size = size;
        let status = api.device_info.unwrap()(device, &mut info, error);
        assert_eq!(status, ffi::OK);
        assert_eq!((info.n_rows, info.rounding), (2, 77));
        assert_eq!(info.hdr.struct_size, size);
        api.device_close.unwrap()(device);
    }
}

#[test]
fn a_program_runs_and_comes_back_undamaged() {
    let device = device::<false>();
    let program = device.compile(&doubling()).unwrap();
    let blob = program.save().unwrap();
    let loaded = device.load_program(&blob).unwrap();
    for program in [program, loaded] {
        let mut running = Running::new(&device, program);
        assert!(matches!(running.run(), Outcome::Done(_)));
        assert_eq!(running.buffer.floats()[2 * COLS..4 * COLS], [3.0; 2 * COLS]);
    }
    let refused = |device: &Delegate, blob: &[u8]| device.load_program(blob).err().unwrap().code;
    assert_eq!(refused(&device, &blob[1..]), Code::Corrupt);
    assert_eq!(refused(&self::device::<true>(), &blob), Code::Incompatible);
}

#[test]
fn a_job_ends_at_its_deadline_or_when_cancelled() {
    let device = device::<true>();
    let program = device.compile(&doubling()).unwrap();
    let mut running = Running::new(&device, program);
    device.inject(c"hang", 0).unwrap();

    let mut job = running.start(2 * COLS, SOON).unwrap();
    assert_eq!(code(job.wait(LONG)), Some(Code::Timeout));

    let mut job = running.start(2 * COLS, LONG).unwrap();
    assert!(matches!(job.wait(SOON), Outcome::Running));
    job.cancel().unwrap();
    assert_eq!(code(job.wait(LONG)), Some(Code::Cancelled));

    // Two jobs are in the queue; both end with their session.
    let mut start = || running.start(2 * COLS, LONG).unwrap();
    let mut jobs = [start(), start()];
    drop(running);
    for job in &mut jobs {
        assert_eq!(code(job.wait(Duration::ZERO)), Some(Code::Cancelled));
    }
}

#[test]
fn a_job_that_fails_leaves_its_session_usable() {
    let device = device::<true>();
    assert!(device.info().injects_faults);
    let program = device.compile(&doubling()).unwrap();
    let mut running = Running::new(&device, program);
    for (fault, expected) in [
        (c"panic", Some(Code::Internal)),
        (c"lost", Some(Code::DeviceLost)),
        (c"none", None),
    ] {
        device.inject(fault, 0).unwrap();
        assert_eq!(code(running.run()), expected, "{fault:?}");
    }
}

#[test]
fn an_output_has_memory_of_its_own() {
    let device = device::<false>();
    let program = device.compile(&doubling()).unwrap();
    let mut running = Running::new(&device, program);
    for output in [0, 2 * COLS - 1, 4 * COLS - 1] {
        let refused = running.start(output, LONG).err().unwrap();
        assert_eq!(refused.code, Code::Invalid, "at {output}: {refused}");
    }
    assert!(matches!(running.run(), Outcome::Done(_)));
}

/// A matmul whose matrix has no data.
fn matmul(form: Quant) -> Segment {
    let mut segment = empty(1);
    let x = segment.push(segment::Role::Input, 1, COLS);
    let role = segment::Role::Weight(Some(form), Quantized::default());
    let matrix = segment.push(role, COLS, COLS);
    let out = segment.push(segment::Role::Output, 1, COLS);
    node(&mut segment, Op::MatMul, &[x, matrix], out);
    segment
}

#[test]
fn what_the_device_does_not_take_has_a_reason() {
    let device = device::<false>();
    let reason = |segment: &Segment| device.claim(segment).unwrap().remove(0);
    let refusal = |segment: &Segment| device.compile(segment).err().unwrap().code;

    let by_four = Quant {
        group: Group::Of(4),
        ..I8_BY_ROW
    };
    let words = "in1 is in no form that the device takes";
    assert_eq!(reason(&matmul(by_four)).as_deref(), Some(words));
    assert_eq!(refusal(&matmul(by_four)), Code::Unsupported);

    let mut sum = doubling();
    sum.nodes.clear();
    node(&mut sum, Op::Row(RowFn::Add), &[0, 0], 1);
    assert_eq!(reason(&sum).as_deref(), Some("the device can't add"));
    assert_eq!(refusal(&sum), Code::Unsupported);

    // It may be claimed before its weights have data, but not compiled.
    assert_eq!(reason(&matmul(I8_BY_ROW)), None);
    assert_eq!(refusal(&matmul(I8_BY_ROW)), Code::Invalid);

    let mut odd = doubling();
    odd.rows = 3;
    odd.tensors.iter_mut().for_each(|tensor| tensor.rows = 3);
    assert_eq!(refusal(&odd), Code::Invalid);
}
