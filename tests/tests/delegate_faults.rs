//! Devices that fail, and programs that were stored: with the sample plug-in, over the
//! whole path. Whatever the device does, the answer is the model's.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use ondol::delegate::{Code, Delegate, OffloadOptions, Stage};
use ondol::models::quant::DType;
use ondol::{CancelToken, Error, Model, Session};
use ondol_tests::offloads::*;
use ondol_tests::random_model::RandomModel;
use ondol_tests::softnpu;
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Short beside a test, long beside a job.
const SHORT: Duration = Duration::from_millis(300);

/// What a loaded machine may take longer than its share.
const SLACK: Duration = Duration::from_secs(5);

// ---- what goes wrong ----

/// A session that prefills 100 tokens while a fault strikes its third job; what
/// came of it, and after how long.
fn with_fault(
    model: &Model,
    fault: &CStr,
    options: &OffloadOptions,
) -> (Session, Result<Vec<u32>, Error>, Duration) {
    let device = softnpu::open();
    let offload = try_offload(model, &device, options).unwrap();
    let mut session = session(model, Some(&offload));
    device.inject(fault, 2).unwrap();
    let began = Instant::now();
    let logits = try_prefill(&mut session, 100);
    (session, logits, began.elapsed())
}

/// One job per span and pass.
fn whole_passes() -> OffloadOptions {
    OffloadOptions {
        rows: 64,
        ..small_programs()
    }
}

/// Whatever struck, the CPU did what the device did not, and it was counted.
#[track_caller]
fn assert_cpu_took_over(
    fault: &CStr,
    options: &OffloadOptions,
    (stage, code): (Stage, Code),
    failures: u64,
) -> (Session, Duration) {
    let model = hello();
    let (session, logits, time) = with_fault(&model, fault, options);
    assert_near(
        &logits.unwrap(),
        &prefill(&mut self::session(&model, None), 100),
    );
    let stats = stats(&session);
    let last = stats.last_failure.clone().unwrap();
    assert_eq!((last.stage, last.code), (stage, code), "{last}");
    assert_eq!(stats.failures, failures, "{stats:?}");
    assert_eq!(
        stats.on_device() + stats.on_cpu(),
        2 * spans(&session),
        "{stats:?}"
    );
    assert!(stats.on_device() >= 2, "{stats:?}");
    (session, time)
}

/// The device is used again, and alone.
#[track_caller]
fn assert_used_again(mut session: Session, failed: u64) {
    let before = stats(&session);
    assert!(!before.given_up);
    assert_eq!(before.on_cpu(), failed, "{before:?}");
    let again = prefill(&mut session, 100);
    let after = stats(&session);
    assert_eq!(after.on_device() - before.on_device(), 2 * spans(&session));
    assert_eq!(after.failures, before.failures);
    let model = hello();
    let offload = offload(&model, &whole_passes());
    assert!(again == prefill(&mut self::session(&model, Some(&offload)), 100));
}

#[track_caller]
fn assert_given_up(mut session: Session) {
    let before = stats(&session);
    assert!(before.given_up);
    assert_eq!(before.on_device(), 2, "{before:?}");
    let again = prefill(&mut session, 100);
    assert_eq!(stats(&session).on_device(), 2);
    assert!(again == prefill(&mut self::session(&hello(), None), 100));
}

#[test]
fn a_busy_device_is_asked_again() {
    let told = (Stage::Submit, Code::Busy);
    let (session, _) = assert_cpu_took_over(c"busy", &whole_passes(), told, 1);
    assert_used_again(session, 1);
}

#[test]
fn a_hot_device_is_asked_again() {
    let told = (Stage::Submit, Code::Thermal);
    let (session, _) = assert_cpu_took_over(c"throttle", &whole_passes(), told, 3);
    assert_used_again(session, 3);
}

#[test]
fn a_lost_device_is_reset() {
    let told = (Stage::Wait, Code::DeviceLost);
    let (session, _) = assert_cpu_took_over(c"device-lost", &whole_passes(), told, 1);
    assert!(stats(&session).last_failure.unwrap().needs_reset);
    assert_eq!(stats(&session).resets, 1);
    assert_used_again(session, 1);
}

#[test]
fn a_device_that_is_lost_again_and_again_is_given_up() {
    let model = hello();
    let device = softnpu::open();
    let offload = try_offload(&model, &device, &whole_passes()).unwrap();
    let mut session = session(&model, Some(&offload));
    for losses in 1..=4 {
        device.inject(c"device-lost", 0).unwrap();
        prefill(&mut session, 20);
        let stats = stats(&session);
        assert_eq!((stats.failures, stats.resets), (losses, losses.min(3)));
        assert_eq!(stats.given_up, losses == 4);
    }
}

#[test]
fn a_lost_device_without_a_reset_is_given_up() {
    let model = hello();
    let device = softnpu::open_without_reset();
    assert_eq!(device.reset().unwrap_err().code, Code::Unsupported);
    let offload = try_offload(&model, &device, &whole_passes()).unwrap();
    let mut session = session(&model, Some(&offload));
    device.inject(c"device-lost", 2).unwrap();
    prefill(&mut session, 100);
    assert_given_up(session);
}

#[test]
fn a_device_that_gives_back_no_numbers_is_given_up() {
    let told = (Stage::Output, Code::Corrupt);
    let (session, _) = assert_cpu_took_over(c"nan", &whole_passes(), told, 1);
    assert_given_up(session);
}

fn short_deadline() -> OffloadOptions {
    OffloadOptions {
        deadline: SHORT,
        ..whole_passes()
    }
}

/// Both end when they are cancelled, at the deadline.
#[test]
fn a_device_that_is_late_is_not_waited_for() {
    for fault in [c"hang", c"late"] {
        let told = (Stage::Wait, Code::Timeout);
        let (session, time) = assert_cpu_took_over(fault, &short_deadline(), told, 1);
        assert!(time >= SHORT && time < SHORT + SLACK, "{time:?}");
        assert_used_again(session, 1);
    }
}

#[test]
fn a_device_that_hangs_for_ever_is_left_alone() {
    let told = (Stage::Wait, Code::Timeout);
    let (session, time) = assert_cpu_took_over(c"hang-hard", &short_deadline(), told, 1);
    assert!(time >= SHORT && time < SHORT + SLACK, "{time:?}");
    let stats = stats(&session);
    assert_eq!(stats.on_device(), 2, "{stats:?}");
    let began = Instant::now();
    drop(session);
    assert!(began.elapsed() < SHORT, "{:?}", began.elapsed());
}

/// A device, and a session of `hello` on it with programs of one row.
fn single_rows() -> (Delegate, Session) {
    let (model, device) = (hello(), softnpu::open());
    let options = OffloadOptions {
        rows: 1,
        ..small_programs()
    };
    let offload = try_offload(&model, &device, &options).unwrap();
    let session = session(&model, Some(&offload));
    (device, session)
}

/// In programs of one row every call has a row that is wrong, so the first audit
/// finds it.
#[test]
fn wrong_numbers_are_found_by_the_audit() {
    let (device, mut session) = single_rows();
    device.inject(c"silent-corruption", 0).unwrap();
    let logits = prefill(&mut session, 40);
    assert!(logits == prefill(&mut self::session(&hello(), None), 40));
    let stats = stats(&session);
    assert!(stats.given_up);
    assert_eq!((stats.on_device(), stats.audits, stats.failures), (0, 1, 1));
    assert!(stats.worst_audit > 2e-2, "{stats:?}");
    let last = stats.last_failure.unwrap();
    assert_eq!((last.stage, last.code), (Stage::Output, Code::Corrupt));
}

/// Later audits find what begins later.
#[test]
fn a_device_that_goes_bad_is_found_within_sixteen_calls() {
    let (device, mut session) = single_rows();
    prefill(&mut session, 10);
    device.inject(c"silent-corruption", 0).unwrap();
    let passes = (1..=16).find(|_| {
        prefill(&mut session, 10);
        stats(&session).given_up
    });
    assert_eq!(passes, Some(16));
}

/// The sample with other results, before they are copied to the host: `spoil` is C.
fn spoiled(name: &str, spoil: &str) -> Delegate {
    let place =
        "spoil(job->fault, seed, space->values + tensor->place, tensor->rows, tensor->cols);";
    let bug = format!("float *values = space->values + tensor->place; {spoil}");
    let plugin = softnpu::with_bug(name, "session.c", place, &bug);
    // SAFETY: the sample keeps the contract, but for its numbers.
    unsafe { Delegate::load(&plugin) }.unwrap()
}

/// C that makes all numbers of an output a fifth larger. Of one row, an audit finds the
/// squared relative difference 0.2² / 1.2² = 0.028, and allows 0.02.
const A_FIFTH_MORE: &str =
    "for (uint32_t n = 0; n < tensor->rows * tensor->cols; n++) values[n] *= 1.2f;";

/// Values, the last output of each span, are so small beside the hidden states that
/// their error is lost in the sum over all outputs.
#[test]
fn an_error_in_the_values_alone_is_found() {
    let model = hello();
    let last = format!("if (i + 1 == job->program->n_tensors) {{ {A_FIFTH_MORE} }}");
    let device = spoiled("values", &last);
    let offload = try_offload(&model, &device, &small_programs()).unwrap();
    let mut session = session(&model, Some(&offload));
    assert!(prefill(&mut session, 1) == prefill(&mut self::session(&model, None), 1));
    let stats = stats(&session);
    assert!(stats.given_up);
    assert_eq!((stats.on_device(), stats.audits), (0, 1), "{stats:?}");
    assert!(
        stats.worst_audit > 0.025 && stats.worst_audit < 0.03,
        "{stats:?}"
    );
}

/// The first call of each decode program is audited too.
#[test]
fn an_error_in_decode_alone_is_found() {
    let model = hello();
    let in_decode = format!("if (tensor->rows == 1) {{ {A_FIFTH_MORE} }}");
    let device = spoiled("decode", &in_decode);
    let decoded = |options: &OffloadOptions| {
        let offload = try_offload(&model, &device, options).unwrap();
        let mut session = session(&model, Some(&offload));
        prefill(&mut session, 40);
        assert!(!stats(&session).given_up);
        (bits(session.decode(40).unwrap()), stats(&session))
    };
    let (logits, stats) = decoded(&all_passes());
    assert!(stats.given_up);
    assert_eq!(stats.decode.on_device.spans, 0, "{stats:?}");
    // The CPU decoded, as it does where nothing else was asked for.
    assert!(logits == decoded(&small_programs()).0);
}

#[test]
fn a_device_without_memory_leaves_the_session_to_the_cpu() {
    let model = hello();
    let device = softnpu::open();
    let offload = try_offload(&model, &device, &whole_passes()).unwrap();
    device.inject(c"no-memory", 0).unwrap();
    let mut session = session(&model, Some(&offload));
    assert!(prefill(&mut session, 40) == prefill(&mut self::session(&model, None), 40));
    let stats = stats(&session);
    assert!(stats.given_up);
    assert_eq!((stats.on_device(), stats.on_cpu()), (0, spans(&session)));
    let last = stats.last_failure.unwrap();
    assert_eq!((last.stage, last.code), (Stage::Session, Code::NoMemory));
}

fn told(result: Result<impl Sized, Error>) -> (Stage, Code) {
    match result {
        Err(Error::Delegate(error)) => (error.stage, error.code),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn programs_that_do_not_fit_are_an_error() {
    let device = softnpu::open();
    device.inject(c"no-memory", 0).unwrap();
    let refused = told(try_offload(&hello(), &device, &whole_passes()));
    assert_eq!(refused, (Stage::Compile, Code::NoMemory));
}

#[test]
fn no_program_is_small_enough() {
    let none = OffloadOptions {
        rows: 0,
        ..small_programs()
    };
    let refused = told(try_offload(&hello(), &softnpu::open(), &none));
    assert_eq!(refused, (Stage::Claim, Code::Unsupported));
}

#[test]
fn where_the_cpu_may_not_take_over_faults_are_errors() {
    let model = hello();
    let strict = OffloadOptions {
        strict: true,
        ..short_deadline()
    };
    for (fault, expected) in [
        (c"busy", (Stage::Submit, Code::Busy)),
        (c"throttle", (Stage::Submit, Code::Thermal)),
        (c"device-lost", (Stage::Wait, Code::DeviceLost)),
        (c"nan", (Stage::Output, Code::Corrupt)),
        (c"hang", (Stage::Wait, Code::Timeout)),
        (c"late", (Stage::Wait, Code::Timeout)),
        (c"hang-hard", (Stage::Wait, Code::Timeout)),
    ] {
        let (session, result, time) = with_fault(&model, fault, &strict);
        assert_eq!(told(result), expected, "{fault:?}");
        assert!(time < SHORT + SLACK, "{fault:?}: {time:?}");
        assert_eq!(stats(&session).on_cpu(), 0, "{fault:?}");
    }
    let device = softnpu::open();
    let offload = try_offload(&model, &device, &strict).unwrap();
    device.inject(c"no-memory", 0).unwrap();
    let refused = told(model.session(&options(Some(&offload))));
    assert_eq!(refused, (Stage::Session, Code::NoMemory));
}

/// After an error the device that is not given up is tried again; the one that is
/// stays an error.
#[test]
fn an_error_is_over_with_its_fault() {
    let strict = OffloadOptions {
        strict: true,
        ..whole_passes()
    };
    let (mut busy, _, _) = with_fault(&hello(), c"busy", &strict);
    assert!(try_prefill(&mut busy, 100).is_ok());
    let (mut lost, _, _) = with_fault(&hello(), c"device-lost", &strict);
    assert_eq!(stats(&lost).resets, 1);
    assert!(try_prefill(&mut lost, 100).is_ok());
    let (mut spoilt, _, _) = with_fault(&hello(), c"nan", &strict);
    assert_eq!(
        told(try_prefill(&mut spoilt, 100)),
        (Stage::Output, Code::Corrupt)
    );
}

/// Cancels a prefill whose third job hangs, long before its deadline.
fn cancelled_in(fault: &CStr) -> Session {
    let device = softnpu::open();
    let model = hello();
    let offload = try_offload(&model, &device, &whole_passes()).unwrap();
    let mut session = session(&model, Some(&offload));
    device.inject(fault, 2).unwrap();
    let cancel = CancelToken::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            cancel.cancel();
        });
        let began = Instant::now();
        let result = session.prefill(&prompt(100), &cancel).map(|_| ());
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    });
    assert_eq!(stats(&session).failures, 0);
    session
}

#[test]
fn a_cancel_is_heard_while_the_device_hangs() {
    let model = hello();
    let mut session = cancelled_in(c"hang");
    let offload = offload(&model, &whole_passes());
    let expected = prefill(&mut self::session(&model, Some(&offload)), 100);
    assert!(prefill(&mut session, 100) == expected);
    assert_eq!(stats(&session).on_cpu(), 0);
}

#[test]
fn after_a_cancel_the_cpu_goes_on_where_the_device_does_not() {
    let mut session = cancelled_in(c"hang-hard");
    let expected = prefill(&mut self::session(&hello(), None), 100);
    assert!(prefill(&mut session, 100) == expected);
    assert_eq!(stats(&session).on_device(), 2);
}

// ---- the cache of programs ----

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("delegate-{name}-{}", std::process::id());
        Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kept_in(folder: &Path) -> OffloadOptions {
    OffloadOptions {
        cache: Some(folder.to_path_buf()),
        ..all_passes()
    }
}

/// How many programs came from the cache, of how many, and the logits of a prompt.
fn cached(model: &Model, options: &OffloadOptions) -> (usize, usize, Vec<u32>) {
    let offload = offload(model, options);
    let report = offload.report();
    let logits = prefill(&mut session(model, Some(&offload)), 50);
    (report.from_cache, report.programs, logits)
}

#[test]
fn programs_are_compiled_once() {
    let folder = Folder::new("once");
    let options = kept_in(&folder.0);
    let (kept, programs, first) = cached(&hello(), &options);
    assert_eq!(kept, 0);
    assert_eq!(folder.files().len(), programs);
    assert!(cached(&hello(), &options) == (programs, programs, first));
}

/// The file of a plug-in is a part of the key, and its place is not.
#[test]
fn a_rebuilt_plug_in_does_not_meet_its_old_programs() {
    let (folder, model) = (Folder::new("rebuilt"), hello());
    let options = kept_in(&folder.0.join("programs"));
    let plugin = fs::read(softnpu::plugin()).unwrap();
    let kept_of = |name: &str, bytes: &[u8]| {
        let path = folder.0.join(name);
        fs::write(&path, bytes).unwrap();
        // SAFETY: the sample keeps the contract.
        let device = unsafe { Delegate::load(&path) }.unwrap();
        let offload = try_offload(&model, &device, &options).unwrap();
        offload.report().from_cache
    };
    fs::create_dir_all(&folder.0).unwrap();
    assert_eq!(kept_of("one.so", &plugin), 0);
    let programs = offload(&model, &options).report().programs;
    assert_eq!(kept_of("same.so", &plugin), programs);
    let rebuilt = [plugin.as_slice(), b"+"].concat();
    assert_eq!(kept_of("rebuilt.so", &rebuilt), 0);
    assert_eq!(kept_of("again.so", &rebuilt), programs);
}

#[test]
fn a_damaged_program_is_compiled_anew() {
    let folder = Folder::new("damaged");
    let options = kept_in(&folder.0);
    let (_, programs, first) = cached(&hello(), &options);
    let path = folder.files().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(cached(&hello(), &options) == (programs - 1, programs, first.clone()));
    // And is whole again.
    assert!(cached(&hello(), &options) == (programs, programs, first));
}

/// Models that differ in nothing but numbers; the forms of both lose nothing.
#[test]
fn programs_of_another_model_are_not_taken() {
    let folder = Folder::new("another");
    let options = kept_in(&folder.0);
    let with_seed = |seed| {
        let random = RandomModel {
            seed,
            ..RandomModel::small("llama").quantized(DType::Q4_0)
        };
        Model::from_bytes(random.to_bytes()).unwrap()
    };
    let (_, programs, one) = cached(&with_seed(1), &options);
    let (kept, _, two) = cached(&with_seed(2), &options);
    assert_eq!(kept, 0);
    assert!(one != two);
    assert!(cached(&with_seed(1), &options) == (programs, programs, one));
}

// ---- bundles ----

/// Compiles `model` for a device, as a bundle in a folder.
fn bundle_of(
    model: &Model,
    device: &Delegate,
    options: &OffloadOptions,
    folder: &Folder,
) -> PathBuf {
    fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("model.npu");
    let offload = try_offload(model, device, options).unwrap();
    let mut file = fs::File::create(&path).unwrap();
    let bytes = offload.write_bundle(&mut file).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
    path
}

#[test]
fn a_bundle_has_all_programs_and_compiles_none() {
    let folder = Folder::new("bundle");
    let path = bundle_of(&hello(), &softnpu::open(), &all_passes(), &folder);
    let (kept, programs, logits) = cached(&hello(), &kept_in(&path));
    assert_eq!(kept, programs);
    assert!(logits == cached(&hello(), &all_passes()).2);
    // A plug-in that was built anew is the same part.
    let rebuilt = softnpu::with_bug("rebuilt", "softnpu.c", "device opened", "a device opened");
    // SAFETY: the sample keeps the contract.
    let rebuilt = unsafe { Delegate::load(&rebuilt) }.unwrap();
    let offload = try_offload(&hello(), &rebuilt, &kept_in(&path)).unwrap();
    assert_eq!(offload.report().from_cache, programs);
}

#[test]
fn a_bundle_is_bound_to_part_rows_and_weights() {
    let folder = Folder::new("bound");
    let path = bundle_of(&hello(), &softnpu::open(), &small_programs(), &folder);
    let refused = |model: &Model, device: &Delegate, options: &OffloadOptions, word: &str| {
        let Err(Error::Delegate(told)) = try_offload(model, device, options) else {
            panic!("{word}: taken");
        };
        let expected = (Stage::LoadProgram, Code::Incompatible);
        assert_eq!((told.stage, told.code), expected, "{told}");
        assert!(told.message.contains(word), "{told}");
    };
    let prefill_only = OffloadOptions {
        decode: false,
        ..kept_in(&path)
    };
    try_offload(&hello(), &softnpu::open(), &prefill_only).unwrap();
    refused(&hello(), &softnpu::open(), &kept_in(&path), "none of 1");
    let random = RandomModel::small("llama").quantized(DType::Q4_0);
    let other = Model::from_bytes(random.to_bytes()).unwrap();
    refused(&other, &softnpu::open(), &prefill_only, "other weights");
    let newer = softnpu::with_bug(
        "newer",
        "softnpu.c",
        "sizeof info->driver, \"softnpu 1.0\"",
        "sizeof info->driver, \"softnpu 1.1\"",
    );
    // SAFETY: the sample keeps the contract.
    let newer = unsafe { Delegate::load(&newer) }.unwrap();
    refused(
        &hello(),
        &newer,
        &prefill_only,
        "this is softnpu 1.0, architecture softnpu1, driver softnpu 1.1",
    );
}

#[test]
fn a_damaged_bundle_is_refused() {
    let folder = Folder::new("damaged-bundle");
    let path = bundle_of(&hello(), &softnpu::open(), &small_programs(), &folder);
    let whole = fs::read(&path).unwrap();
    let prefill_only = OffloadOptions {
        decode: false,
        ..kept_in(&path)
    };
    let outcome = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match try_offload(&hello(), &softnpu::open(), &prefill_only) {
            Err(Error::Delegate(told)) => (told.stage, told.code),
            other => panic!("{other:?}"),
        }
    };
    let corrupt = (Stage::LoadProgram, Code::Corrupt);
    for at in (0..whole.len()).step_by(whole.len() / 61) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        assert_eq!(outcome(&damaged), corrupt, "byte {at}");
        assert_eq!(outcome(&whole[..at]), corrupt, "{at} bytes");
    }
    // An index that is too long for the file, or for memory.
    for length in [whole.len() as u64, 1 << 40, u64::MAX] {
        let mut damaged = whole.clone();
        let end = damaged.len() - 8;
        damaged[end..].copy_from_slice(&length.to_le_bytes());
        assert_eq!(outcome(&damaged), corrupt, "an index of {length} bytes");
    }
}

#[test]
fn a_folder_that_can_not_be_written_is_no_error() {
    let folder = Folder::new("file");
    fs::write(&folder.0, "a file").unwrap();
    let (kept, _, logits) = cached(&hello(), &kept_in(&folder.0.join("below")));
    fs::remove_file(&folder.0).unwrap();
    assert_eq!(kept, 0);
    assert!(logits == cached(&hello(), &all_passes()).2);
}
