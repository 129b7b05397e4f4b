//! Plug-ins that break the contract, or barely keep it.

mod fake;

use super::ffi::Opaque;
use super::segment::{Node, Op, Role, RowFn, Segment};
use super::*;
use crate::tests::logged;
use crate::{CancelToken, Error, Model, Session, SessionOptions};
use core::ffi::{c_char, c_void};
use core::mem::offset_of;
use core::ptr;
use core::time::Duration;
use std::format;
use std::string::String;
use std::time::Instant;
use std::vec;
use std::vec::Vec;

use fake::*;

// ---- loading and opening ----

unsafe extern "C" fn speaks_no_version(_: u32, _: u32, _: *mut *const ffi::Api) -> ffi::Status {
    Code::Incompatible as ffi::Status
}

#[test]
fn other_versions_are_refused() {
    // SAFETY: it gives no table.
    let refused = unsafe { Delegate::open(speaks_no_version) }.unwrap_err();
    assert_is(&refused, Stage::Load, Code::Incompatible);
    let refused = refusal(|fake| fake.api.hdr.abi_major = 2);
    assert_is(&refused, Stage::Load, Code::Incompatible);
    // Success without a table.
    FAKE.set(None);
    // SAFETY: as above.
    let refused = unsafe { Delegate::open(get_api) }.unwrap_err();
    assert_is(&refused, Stage::Load, Code::Incompatible);
    // Later minor versions only append fields.
    let (_, later) = opened(|fake| fake.api.hdr.abi_minor = 7);
    assert!(later.is_ok());
}

#[test]
fn every_entry_but_the_last_is_required() {
    let first = offset_of!(ffi::Api, init);
    let last = offset_of!(ffi::Api, inject);
    for at in (first..last).step_by(size_of::<usize>()) {
        let refused = refusal(|fake| {
            // SAFETY: an entry of the table; null is none.
            unsafe {
                ptr::from_mut(&mut fake.api)
                    .byte_add(at)
                    .cast::<usize>()
                    .write(0)
            };
        });
        assert_is(&refused, Stage::Load, Code::Invalid);
        assert!(refused.message.contains("has no `"), "{refused}");
    }
    let (_, delegate) = device(|_| ());
    assert!(!delegate.info().injects_faults);
    let error = delegate.inject(c"none", 0).unwrap_err();
    assert_is(&error, Stage::Inject, Code::Unsupported);
}

/// Nothing is read beyond the end of a table, and a function that is cut counts as
/// missing.
#[test]
fn a_table_ends_where_it_says() {
    let job_free = offset_of!(ffi::Api, job_free);
    for (size, missing) in [
        (0, "init"),
        (8, "init"),
        (job_free - 1, "job_cancel"),
        (job_free, "job_free"),
        (job_free + 4, "job_free"),
    ] {
        let refused = refusal(|fake| fake.api.hdr.struct_size = size as u32);
        assert_is(&refused, Stage::Load, Code::Invalid);
        assert!(
            refused.message.contains(&format!("`{missing}`")),
            "{size}: {refused}"
        );
    }
    let without_inject = offset_of!(ffi::Api, inject) as u32;
    let (_, shorter) = device(|fake| fake.api.hdr.struct_size = without_inject);
    assert!(!shorter.info().injects_faults);
    let (_, longer) = opened(|fake| fake.api.hdr.struct_size = u32::MAX);
    assert!(longer.is_ok());
}

unsafe extern "C" fn init_fails(host: *const ffi::Host, error: *mut ffi::Error) -> ffi::Status {
    // SAFETY: both structs are the host's.
    unsafe {
        let error = &mut *error;
        ((*host).log)((*host).context, 0, ptr::null());
        ((*host).log)((*host).context, 1, c"\xff is no UTF-8".as_ptr());
        error.vendor_code = 41;
        error.message[..3].copy_from_slice(&[b'o', b'h', b'!'].map(|c| c as c_char));
    }
    Code::Permission as ffi::Status
}

unsafe extern "C" fn fails_without_a_word(
    _: *mut Opaque,
    _: *mut ffi::DeviceInfo,
    _: *mut ffi::Error,
) -> ffi::Status {
    -1
}

unsafe extern "C" fn no_device() -> u32 {
    0
}

unsafe extern "C" fn opens_nothing(_: u32, _: *mut *mut Opaque, _: *mut ffi::Error) -> ffi::Status {
    ffi::OK
}

#[test]
fn a_plug_in_that_does_not_open_says_why() {
    let refused = refusal(|fake| fake.api.init = Some(init_fails));
    assert_is(&refused, Stage::Load, Code::Permission);
    assert_eq!((refused.vendor_code, refused.message.as_str()), (41, "oh!"));
    let refused = refusal(|fake| fake.api.device_count = Some(no_device));
    assert_is(&refused, Stage::Open, Code::Unsupported);
    let refused = refusal(|fake| fake.api.device_open = Some(opens_nothing));
    assert_is(&refused, Stage::Open, Code::Internal);
    // The device is open at this point, so it must be closed.
    let refused = refusal(|fake| fake.api.device_info = Some(fails_without_a_word));
    assert_is(&refused, Stage::Open, Code::Internal);
    assert_eq!(refused.message, "status -1, without a message");
}

#[test]
fn a_device_without_what_is_needed_is_refused() {
    static ZEROS: [u32; 2] = [0, 0];
    let changes: [fn(&mut ffi::DeviceInfo); 11] = [
        |info| info.n_rows = 0,
        |info| info.rows = ptr::null(),
        |info| (info.rows, info.n_rows) = (ZEROS.as_ptr(), 2),
        |info| info.n_rows = 1_000_000,
        |info| info.quants = ptr::null(),
        |info| info.n_quants = u32::MAX,
        |info| info.activations = 77,
        |info| info.accumulator_bits = 7,
        |info| info.accumulator_bits = 65,
        |info| info.rounding = 4,
        |info| info.mem_caps = 0,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let refused = refusal(|fake| change(&mut fake.info));
        assert_is(&refused, Stage::Open, Code::Unsupported);
        assert!(!refused.message.is_empty(), "change {index}");
    }
}

#[test]
fn a_device_says_how_it_computes() {
    let arithmetic = |activations, version_1_0| {
        let (_, delegate) = device(|fake| {
            fake.info.activations = activations;
            fake.info.activation_group = 64;
            fake.info.accumulator_bits = 20;
            fake.info.rounding = ffi::ROUND_TOWARD_ZERO;
            if version_1_0 {
                fake.api.hdr.abi_minor = 0;
                fake.api.device_info = Some(info_of_1_0);
            }
        });
        delegate.info().arithmetic
    };
    let said = Arithmetic {
        activations: Activations::I8,
        group: Group::Of(64),
        accumulator_bits: 20,
        rounding: Rounding::TowardZero,
    };
    assert_eq!(arithmetic(ffi::I8, false), said);
    // Floats have no groups.
    let floats = Arithmetic {
        activations: Activations::F16,
        group: Group::Row,
        ..said
    };
    assert_eq!(arithmetic(ffi::F16, false), floats);
    assert_eq!(arithmetic(ffi::I8, true), Arithmetic::of(Activations::I8));
    assert_eq!(
        arithmetic(ffi::BF16, true),
        Arithmetic::of(Activations::Bf16)
    );
    assert_eq!(Arithmetic::of(Activations::I16).accumulator_bits, 32);
    assert_eq!(Arithmetic::of(Activations::Bf16).accumulator_bits, 24);
}

#[test]
fn what_makes_no_sense_in_lists_is_left_out() {
    static UNSORTED: [u32; 6] = [64, 0, 16, u32::MAX, 1, 16];
    let no_groups = ffi::Quant {
        group: 0,
        ..raw_quant(ffi::I8)
    };
    let grouped_floats = ffi::Quant {
        group: 32,
        ..raw_quant(ffi::F32)
    };
    let list = [
        raw_quant(99),
        raw_quant(0),
        no_groups,
        grouped_floats,
        raw_quant(ffi::F16),
    ];
    let (_, delegate) = device(|fake| {
        (fake.info.rows, fake.info.n_rows) = (UNSORTED.as_ptr(), 6);
        let (quants, len) = quants(&list);
        // SAFETY: as long as `len`, one of which becomes null.
        let pointers = unsafe { core::slice::from_raw_parts(quants, len as usize) };
        let with_null: Vec<*const ffi::Quant> =
            [ptr::null()].iter().chain(pointers).copied().collect();
        (fake.info.quants, fake.info.n_quants) = (with_null.leak().as_ptr(), len + 1);
        fake.info.vendor = [b'v' as c_char; 64];
        fake.info.driver = [!0; 64];
    });
    let info = delegate.info();
    assert_eq!(info.rows, [1, 16, 64, u32::MAX as usize]);
    assert_eq!(info.quants.len(), 1);
    assert_eq!(info.quants[0].store, Store::F16);
    // Neither string ends in zero.
    assert_eq!(info.vendor, "v".repeat(64));
    assert_eq!(info.driver.chars().count(), 64);
    assert_eq!(info.plugin, [""; 3]);
}

// ---- programs ----

/// `out = a + b` with four columns.
fn addition() -> Segment {
    let mut segment = Segment {
        name: "a\0b".into(),
        rows: 1,
        tensors: Vec::new(),
        nodes: Vec::new(),
    };
    let inputs = vec![
        segment.push(Role::Input, 1, 4),
        segment.push(Role::Input, 1, 4),
    ];
    let out = segment.push(Role::Output, 1, 4);
    segment.nodes.push(Node {
        op: Op::Row(RowFn::Add),
        inputs,
        out,
    });
    segment
}

fn places(buffer: &Buffer) -> [Place<'_>; 3] {
    [0, 1, 2].map(|tensor| Place {
        tensor,
        buffer,
        offset: 4 * tensor,
    })
}

unsafe extern "C" fn compiles_nothing(
    _: *mut Opaque,
    _: *const ffi::Graph,
    _: *mut *mut Opaque,
    _: *mut ffi::Error,
) -> ffi::Status {
    ffi::OK
}

unsafe extern "C" fn loads_nothing(
    _: *mut Opaque,
    _: *const c_void,
    _: usize,
    _: *mut *mut Opaque,
    _: *mut ffi::Error,
) -> ffi::Status {
    ffi::OK
}

unsafe extern "C" fn makes_no_session(
    _: *const *mut Opaque,
    _: u32,
    _: *mut *mut Opaque,
    _: *mut ffi::Error,
) -> ffi::Status {
    ffi::OK
}

unsafe extern "C" fn imports_nothing(
    _: *mut Opaque,
    _: *const ffi::Mem,
    _: *mut *mut Opaque,
    _: *mut ffi::Error,
) -> ffi::Status {
    ffi::OK
}

unsafe extern "C" fn starts_nothing(
    _: *mut Opaque,
    _: u32,
    _: *const *const ffi::Binding,
    _: u32,
    _: u64,
    _: *mut *mut Opaque,
    _: *mut ffi::Error,
) -> ffi::Status {
    ffi::OK
}

#[test]
fn success_without_a_handle_is_a_failure() {
    let (fake, delegate) = device(|fake| {
        fake.api.program_load = Some(loads_nothing);
        fake.api.session_new = Some(makes_no_session);
        fake.api.buffer_import = Some(imports_nothing);
    });
    let error = delegate.load_program(&[]).err().unwrap();
    assert_is(&error, Stage::LoadProgram, Code::Internal);
    let program = delegate.compile(&addition()).unwrap();
    let error = DeviceSession::new(vec![program]).err().unwrap();
    assert_is(&error, Stage::Session, Code::Internal);
    let error = Buffer::new(&delegate, 12).err().unwrap();
    assert_is(&error, Stage::Session, Code::Internal);
    drop(delegate);
    fake.assert_all_freed();

    let (fake, delegate) = device(|fake| fake.api.submit = Some(starts_nothing));
    let program = delegate.compile(&addition()).unwrap();
    let mut session = DeviceSession::new(vec![program]).unwrap();
    let buffer = Buffer::new(&delegate, 12).unwrap();
    // SAFETY: no job is started.
    let job = unsafe { session.submit(0, places(&buffer).into_iter(), Duration::from_secs(1)) };
    assert_is(&job.err().unwrap(), Stage::Submit, Code::Internal);
    drop((session, buffer, delegate));
    fake.assert_all_freed();

    let (_, delegate) = device(|fake| fake.api.compile = Some(compiles_nothing));
    let error = delegate.compile(&addition()).err().unwrap();
    assert_is(&error, Stage::Compile, Code::Internal);
}

unsafe extern "C" fn saves_too_much(
    _: *mut Opaque,
    _: *mut c_void,
    size: *mut usize,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: the host's number.
    unsafe { *size = usize::MAX };
    ffi::OK
}

/// Announces three bytes, then reports that it wrote a thousand.
unsafe extern "C" fn grows(
    _: *mut Opaque,
    blob: *mut c_void,
    size: *mut usize,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: the host's number.
    unsafe { *size = if blob.is_null() { 3 } else { 1000 } };
    ffi::OK
}

#[test]
fn a_saved_program_has_the_size_that_was_asked_for() {
    let saved = |save| {
        let (_, delegate) = device(|fake| fake.api.program_save = Some(save));
        delegate.compile(&addition()).unwrap().save()
    };
    assert_is(
        &saved(saves_too_much).unwrap_err(),
        Stage::Save,
        Code::NoMemory,
    );
    assert_eq!(saved(grows).unwrap(), [0; 3]);
    assert_eq!(saved(save).unwrap(), [0; 0]);
}

#[test]
fn handles_are_freed_once_and_in_order() {
    let (fake, delegate) = device(|_| ());
    let program = delegate.compile(&addition()).unwrap();
    let loaded = delegate.load_program(&[]).unwrap();
    let buffer = Buffer::new(&delegate, 12).unwrap();
    drop(delegate);
    let mut session = DeviceSession::new(vec![program.clone(), loaded]).unwrap();
    drop(program);
    // SAFETY: the buffer lives longer than the job.
    let job = unsafe { session.submit(1, places(&buffer).into_iter(), Duration::from_secs(1)) };
    let mut job = job.unwrap();
    assert!(matches!(job.wait(Duration::ZERO), Outcome::Done(_)));
    drop(job);
    drop(session);
    drop(buffer);
    assert_eq!(fake.handles().len(), 6);
    fake.assert_all_freed();
}

// ---- whole passes ----

/// A session with a delegate gives the same results as one without.
#[test]
fn sessions_can_be_sent_and_shared() {
    fn assert_both<T: Send + Sync>() {}
    assert_both::<Session>();
    assert_both::<Offload>();
}

fn offload(model: &Model, delegate: &Delegate, options: &OffloadOptions) -> Result<Offload, Error> {
    Offload::new(model, delegate, options, &CancelToken::new(), |_, _| ())
}

fn options(offload: Option<Offload>) -> SessionOptions {
    SessionOptions {
        threads: Some(1),
        context: Some(64),
        offload,
        ..SessionOptions::default()
    }
}

/// The bits of the logits after a prompt.
fn prefill(session: &mut Session) -> Result<Vec<u32>, Error> {
    let tokens: Vec<u32> = (10..30).collect();
    session.clear();
    let logits = session.prefill(&tokens, &CancelToken::new())?;
    Ok(logits.iter().map(|x| x.to_bits()).collect())
}

fn by_the_cpu(model: &Model) -> Vec<u32> {
    prefill(&mut model.session(&options(None)).unwrap()).unwrap()
}

fn told(result: Result<impl Sized, Error>) -> DelegateError {
    match result {
        Err(Error::Delegate(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn a_device_that_takes_nothing_is_an_error_with_the_reason() {
    let model = Model::hello().unwrap();
    let refused = |change: fn(&mut Fake), options: &OffloadOptions| {
        let (fake, delegate) = device(change);
        let error = told(offload(&model, &delegate, options));
        drop(delegate);
        fake.assert_all_freed();
        assert_is(&error, Stage::Claim, Code::Unsupported);
        error.message
    };
    let usual = OffloadOptions::default();
    let silent = refused(|fake| fake.api.claim = Some(claim_none), &usual);
    assert!(silent.contains("no reason given"), "{silent}");
    let formless = refused(|fake| fake.info.n_quants = 0, &usual);
    assert!(formless.contains("no form"), "{formless}");

    let sixteen = |fake: &mut Fake| (fake.info.rows, fake.info.n_rows) = (&raw const ROWS[1], 1);
    let fewer = OffloadOptions {
        rows: 15,
        ..usual.clone()
    };
    assert!(refused(sixteen, &fewer).contains("16 rows"));
    let decode = OffloadOptions {
        decode: true,
        ..usual
    };
    assert!(refused(sixteen, &decode).contains("one row"));
}

/// The fake plug-in computes nothing: its outputs are finite, but wrong.
#[test]
fn wrong_numbers_are_found_and_the_device_is_given_up() {
    let model = Model::hello().unwrap();
    let (fake, delegate) = device(|_| ());
    let all = OffloadOptions {
        decode: true,
        ..OffloadOptions::default()
    };
    let offload = offload(&model, &delegate, &all).unwrap();
    drop(delegate);
    let mut session = model.session(&options(Some(offload))).unwrap();
    assert_eq!(prefill(&mut session).unwrap(), by_the_cpu(&model));

    let stats = session.engine().offload_stats().unwrap().clone();
    let spans = session.engine().offload().unwrap().report().spans.len() as u64;
    assert!(stats.given_up);
    assert_eq!((stats.failures, stats.audits), (1, 1));
    assert_eq!((stats.on_device(), stats.on_cpu()), (0, spans));
    assert_eq!(stats.worst_audit, 1.0);
    assert_is(&stats.last_failure.unwrap(), Stage::Output, Code::Corrupt);
    // Memory and session of a device that is no longer used are freed at once.
    assert!(!fake.of_kind(Kind::Session)[0].is_in_use());
    drop(session);
    fake.assert_all_freed();
}

/// The rows of 64 that ten audits check.
fn audited_rows(runner: &mut Runner) -> Vec<usize> {
    let call = runner.begin(0, ProgramSet::Prefill, 64).unwrap().unwrap();
    let rows = (0..160).filter_map(|_| runner.audited_row(call)).collect();
    assert_eq!(Vec::len(&rows), 10);
    assert!(rows.iter().all(|&row| row < 64), "{rows:?}");
    rows
}

#[test]
fn no_device_can_foretell_which_rows_are_audited() {
    let model = Model::hello().unwrap();
    let (_, delegate) = device(|_| ());
    let offload = offload(&model, &delegate, &OffloadOptions::default()).unwrap();
    let runner = || Runner::new(&offload, 64).unwrap();
    assert_ne!(audited_rows(&mut runner()), audited_rows(&mut runner()));
    let with_seed = |seed| {
        let mut runner = runner();
        runner.seed = seed;
        audited_rows(&mut runner)
    };
    assert_eq!(with_seed(1), with_seed(1));
    assert_ne!(with_seed(1), with_seed(2));
}

unsafe extern "C" fn always_busy(
    _: *mut Opaque,
    _: u32,
    _: *const *const ffi::Binding,
    _: u32,
    _: u64,
    _: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: the host's struct.
    unsafe { (*error).flags = ffi::ERROR_RETRYABLE };
    Code::Busy as ffi::Status
}

#[test]
fn a_device_that_is_always_busy_is_given_up() {
    let model = Model::hello().unwrap();
    let (fake, delegate) = device(|fake| fake.api.submit = Some(always_busy));
    let offload = offload(&model, &delegate, &OffloadOptions::default()).unwrap();
    drop(delegate);
    let mut session = model.session(&options(Some(offload))).unwrap();
    let (mut passes, expected) = (0, by_the_cpu(&model));
    let lines = logged(|| {
        while !session.engine().offload_stats().unwrap().given_up {
            assert_eq!(prefill(&mut session).unwrap(), expected);
            passes += 1;
            assert!(passes < 100);
        }
        prefill(&mut session).unwrap();
    });
    let told = [1, 2, 4, 8, 16].map(|failure| format!("after failure {failure}:"));
    let says = |(line, told): (&String, &String)| line.contains(told.as_str());
    assert_eq!(lines.len(), told.len(), "{lines:#?}");
    assert!(lines.iter().zip(&told).all(says), "{lines:#?}");
    assert!(lines[4].contains("all further spans"), "{lines:#?}");
    passes += 1;
    let stats = session.engine().offload_stats().unwrap();
    let spans = session.engine().offload().unwrap().report().spans.len() as u64;
    assert_eq!((stats.on_device(), stats.on_cpu()), (0, spans * passes));
    assert!(stats.failures > 1);
    drop(session);
    fake.assert_all_freed();
}

#[test]
fn where_the_cpu_may_not_take_over_it_never_does() {
    let model = Model::hello().unwrap();
    let strict = OffloadOptions {
        strict: true,
        ..OffloadOptions::default()
    };
    let (_, delegate) = device(|_| ());
    let offload = offload(&model, &delegate, &strict).unwrap();
    let mut session = model.session(&options(Some(offload))).unwrap();
    for _ in 0..2 {
        let error = told(prefill(&mut session));
        assert_is(&error, Stage::Output, Code::Corrupt);
    }
}

/// A session on the changed plug-in, after a prefill that the CPU computed in the end.
#[track_caller]
fn overruled(change: impl FnOnce(&mut Fake)) -> (&'static Fake, Session) {
    let model = Model::hello().unwrap();
    let (fake, delegate) = device(change);
    let short = OffloadOptions {
        deadline: Duration::from_millis(20),
        ..OffloadOptions::default()
    };
    let offload = offload(&model, &delegate, &short).unwrap();
    let mut session = model.session(&options(Some(offload))).unwrap();
    assert_eq!(prefill(&mut session).unwrap(), by_the_cpu(&model));
    let stats = session.engine().offload_stats().unwrap();
    let spans = session.engine().offload().unwrap().report().spans.len() as u64;
    assert_eq!((stats.on_device(), stats.on_cpu()), (0, spans));
    (fake, session)
}

#[track_caller]
fn last_failure(session: &Session) -> DelegateError {
    let stats = session.engine().offload_stats().unwrap();
    stats.last_failure.unwrap()
}

/// A job that does not end keeps its buffers, and no thread waits for it.
#[test]
fn a_late_job_is_buried_with_its_session() {
    let (fake, session) = overruled(|fake| {
        fake.api.job_wait = Some(wait_in_vain);
        fake.api.job_cancel = Some(ignore_cancel);
        fake.api.session_free = Some(free_slowly);
    });
    assert_is(&last_failure(&session), Stage::Wait, Code::Timeout);
    assert_eq!(fake.of_kind(Kind::Job).len(), 1);
    let buffers = fake.of_kind(Kind::Buffer);
    assert!(buffers.iter().all(|buffer| buffer.is_in_use()));
    let began = Instant::now();
    drop(session);
    assert!(began.elapsed() < SLOW, "{:?}", began.elapsed());
    fake.assert_all_freed();
}

/// If waiting or cancelling fails, the job may still be running.
#[test]
fn a_job_that_can_not_be_asked_keeps_its_buffers() {
    let changes: [fn(&mut Fake); 2] = [
        |fake| fake.api.job_wait = Some(fail_to_wait),
        |fake| {
            fake.api.job_wait = Some(wait_in_vain);
            fake.api.job_cancel = Some(fail_to_cancel);
        },
    ];
    for change in changes {
        let (fake, session) = overruled(change);
        assert_is(&last_failure(&session), Stage::Wait, Code::Internal);
        assert!(session.engine().offload_stats().unwrap().given_up);
        let buffers = fake.of_kind(Kind::Buffer);
        assert!(buffers.iter().all(|buffer| buffer.is_in_use()));
        drop(session);
        fake.assert_all_freed();
    }
}

#[test]
fn a_device_that_is_late_three_times_is_given_up() {
    let (fake, session) = overruled(|fake| fake.api.job_wait = Some(wait_for_cancel));
    assert_is(&last_failure(&session), Stage::Wait, Code::Timeout);
    let stats = session.engine().offload_stats().unwrap();
    assert!(stats.given_up);
    assert_eq!((stats.failures, fake.of_kind(Kind::Job).len()), (3, 3));
    drop(session);
    fake.assert_all_freed();
}

#[test]
fn there_may_be_no_deadline() {
    let model = Model::hello().unwrap();
    let (_, delegate) = device(|_| ());
    let endless = OffloadOptions {
        deadline: Duration::MAX,
        ..OffloadOptions::default()
    };
    let offload = offload(&model, &delegate, &endless).unwrap();
    let mut session = model.session(&options(Some(offload))).unwrap();
    assert_eq!(prefill(&mut session).unwrap(), by_the_cpu(&model));
}

#[test]
fn the_memory_that_is_announced_is_the_memory_that_is_shared() {
    let model = Model::hello().unwrap();
    for (rows, prefill_chunk) in [(1, 7), (16, 16), (16, 17), (256, 5)] {
        let (fake, delegate) = device(|_| ());
        let some = OffloadOptions {
            rows,
            ..OffloadOptions::default()
        };
        let options = SessionOptions {
            prefill_chunk,
            ..options(Some(offload(&model, &delegate, &some).unwrap()))
        };
        let announced = model.memory(&options).unwrap().delegate;
        let _session = model.session(&options).unwrap();
        let shared: u64 = fake.of_kind(Kind::Buffer).iter().map(|b| b.bytes).sum();
        assert!(shared > 0);
        assert_eq!(announced, shared, "{rows} rows, chunks of {prefill_chunk}");
    }
}
