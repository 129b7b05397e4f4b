//! A plug-in in a process of its own. Whatever it does to its process, the host goes on,
//! and the answer is the model's.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use ondol::delegate::{Code, Delegate, DelegateError, Offload, OffloadOptions, OffloadStats};
use ondol::{CancelToken, Model, Session, SessionOptions};
use ondol_tests::softnpu;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Tokens of a prompt: two passes.
const PROMPT: u32 = 100;

/// The deadline of a job where one is late.
const DEADLINE: Duration = Duration::from_millis(300);

/// What a loaded machine may take longer than its share.
const SLACK: Duration = Duration::from_secs(8);

/// One test at a time, since some count what the process has open.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A delegate, and the name by which its helper is found.
struct Isolated {
    delegate: Delegate,
    name: String,
}

fn try_open(plugin: &Path) -> (Result<Delegate, DelegateError>, String) {
    static OPENED: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "helper-{}-{}.",
        std::process::id(),
        OPENED.fetch_add(1, Relaxed)
    );
    let mut helper = Command::new(env!("CARGO_BIN_EXE_delegate-host"));
    helper.arg(&name);
    (ondol_delegate_isolated::open(plugin, helper), name)
}

fn open(plugin: &Path) -> Isolated {
    let (delegate, name) = try_open(plugin);
    let delegate = delegate.unwrap();
    Isolated { delegate, name }
}

/// The process, also if it is a zombie whose arguments are gone.
fn helper(name: &str) -> Option<Pid> {
    let processes = fs::read_dir("/proc").unwrap();
    let pid = processes.filter_map(|entry| {
        let path = entry.ok()?.path();
        let arguments = fs::read_to_string(path.join("cmdline")).ok()?;
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        arguments.contains(name).then(|| Pid::from_raw(pid))?
    });
    pid.last()
}

fn is_there(pid: Pid) -> bool {
    Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists()
}

#[track_caller]
fn assert_gone(pid: Pid) {
    let began = Instant::now();
    while is_there(pid) {
        assert!(began.elapsed() < SLACK, "{pid:?} is still there");
        sleep(Duration::from_millis(5));
    }
}

/// Files and sockets of this process.
fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn hello() -> Model {
    Model::hello().unwrap()
}

/// One job per span and pass, also in decode.
fn offload(model: &Model, device: &Delegate) -> Offload {
    let options = OffloadOptions {
        rows: 64,
        decode: true,
        deadline: DEADLINE,
        ..OffloadOptions::default()
    };
    Offload::new(model, device, &options, &CancelToken::new(), |_, _| ()).unwrap()
}

fn session(model: &Model, offload: Option<&Offload>) -> Session {
    let options = SessionOptions {
        threads: Some(2),
        context: Some(256),
        prefill_chunk: 64,
        offload: offload.cloned(),
        ..SessionOptions::default()
    };
    model.session(&options).unwrap()
}

fn on(device: &Delegate) -> Session {
    let model = hello();
    session(&model, Some(&offload(&model, device)))
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

fn prefill(session: &mut Session) -> Vec<u32> {
    let tokens: Vec<u32> = (0..PROMPT).map(|i| (i * 7919 + 13) % 300).collect();
    session.clear();
    bits(session.prefill(&tokens, &CancelToken::new()).unwrap())
}

fn on_cpu() -> Vec<u32> {
    prefill(&mut session(&hello(), None))
}

/// The likeliest token.
fn best(logits: &[f32]) -> u32 {
    let best = logits.iter().zip(0..).max_by(|a, b| a.0.total_cmp(b.0));
    best.unwrap().1
}

fn stats(session: &Session) -> OffloadStats {
    session.engine().offload_stats().unwrap().clone()
}

#[track_caller]
fn assert_lost(session: &Session, words: &str) {
    let stats = stats(session);
    let failure = stats.last_failure.clone().unwrap();
    assert_eq!(failure.code, Code::DeviceLost, "{failure}");
    assert!(failure.message.contains(words), "{failure}");
    assert!(stats.given_up && stats.failures == 1, "{stats:?}");
}

// ---- what works as in one process ----

#[test]
fn the_answer_is_that_of_the_plug_in_in_process() {
    let _alone = alone();
    let isolated = open(&softnpu::plugin());
    let in_process = softnpu::open();
    assert_eq!(isolated.delegate.info(), in_process.info());
    let mut sessions = [on(&isolated.delegate), on(&in_process)];
    let [a, b] = &mut sessions;
    assert!(prefill(a) == prefill(b));
    for token in 40..50 {
        assert!(bits(a.decode(token).unwrap()) == bits(b.decode(token).unwrap()));
    }
    let stats = sessions.map(|session| stats(&session));
    for stats in &stats {
        assert_eq!((stats.on_cpu(), stats.failures), (0, 0), "{stats:?}");
    }
    assert_eq!(stats[0].on_device(), stats[1].on_device());
}

#[test]
fn faults_that_a_plug_in_reports_come_through() {
    let _alone = alone();
    for (fault, code) in [
        (c"busy", Code::Busy),
        (c"nan", Code::Corrupt),
        (c"device-lost", Code::DeviceLost),
        (c"late", Code::Timeout),
        (c"hang", Code::Timeout),
        (c"hang-hard", Code::Timeout),
    ] {
        let failure = |device: &Delegate| {
            let mut session = on(device);
            device.inject(fault, 2).unwrap();
            let logits = prefill(&mut session);
            (logits, stats(&session).last_failure.unwrap())
        };
        let (isolated, failed) = failure(&open(&softnpu::plugin()).delegate);
        let (in_process, expected) = failure(&softnpu::open());
        assert_eq!(
            (failed.stage, failed.code),
            (expected.stage, code),
            "{fault:?}"
        );
        assert_eq!(failed.to_string(), expected.to_string());
        assert_eq!(failed.retryable, expected.retryable, "{fault:?}");
        assert!(isolated == in_process, "{fault:?}");
    }
    let refused = open(&softnpu::plugin()).delegate.inject(c"unknown", 0);
    assert_eq!(refused.unwrap_err().code, Code::Unsupported);
}

#[test]
fn programs_are_stored_and_loaded() {
    let _alone = alone();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("isolated-{}", std::process::id()));
    let isolated = open(&softnpu::plugin());
    let model = hello();
    let run = || {
        let options = OffloadOptions {
            cache: Some(folder.clone()),
            ..OffloadOptions::default()
        };
        let cancel = CancelToken::new();
        let offload = Offload::new(&model, &isolated.delegate, &options, &cancel, |_, _| ());
        let offload = offload.unwrap();
        let report = offload.report();
        let kept = (report.from_cache, report.programs);
        (kept, prefill(&mut session(&model, Some(&offload))))
    };
    let ((kept, programs), first) = run();
    assert_eq!(kept, 0);
    assert!(run() == ((programs, programs), first));
    fs::remove_dir_all(&folder).unwrap();
    // The plug-in sees the damage itself.
    let refused = isolated.delegate.load_program(b"damaged").err().unwrap();
    assert_eq!(refused.code, Code::Corrupt);
}

#[test]
fn two_delegates_do_not_disturb_each_other() {
    let _alone = alone();
    let devices = [(); 2].map(|()| open(&softnpu::plugin()));
    let expected = prefill(&mut on(&softnpu::open()));
    let mut sessions = devices.each_ref().map(|device| on(&device.delegate));
    std::thread::scope(|scope| {
        for session in &mut sessions {
            let expected = &expected;
            scope.spawn(move || (0..3).for_each(|_| assert!(prefill(session) == *expected)));
        }
    });
    kill_process(helper(&devices[0].name).unwrap(), Signal::KILL).unwrap();
    assert!(prefill(&mut sessions[0]) == on_cpu());
    assert!(prefill(&mut sessions[1]) == expected);
    assert_lost(&sessions[0], "SIGKILL");
    assert_eq!(stats(&sessions[1]).failures, 0);
}

#[test]
fn nothing_is_left_behind() {
    let _alone = alone();
    let before = open_files();
    let isolated = open(&softnpu::plugin());
    let pid = helper(&isolated.name).unwrap();
    let mut session = on(&isolated.delegate);
    prefill(&mut session);
    assert!(open_files() > before);
    drop((session, isolated));
    assert_gone(pid);
    // The thread that copies the log ends after the process.
    let began = Instant::now();
    while open_files() > before {
        assert!(
            began.elapsed() < SLACK,
            "{} files, {before} before",
            open_files()
        );
        sleep(Duration::from_millis(5));
    }
}

// ---- what ends the plug-in's process ----

#[test]
fn a_crash_is_a_lost_device() {
    let _alone = alone();
    let isolated = open(&softnpu::plugin());
    let pid = helper(&isolated.name).unwrap();
    let mut session = on(&isolated.delegate);
    isolated.delegate.inject(c"crash", 0).unwrap();
    assert!(prefill(&mut session) == on_cpu());
    assert_lost(&session, "submit: the plug-in's process ended: SIGABRT");
    assert!(!is_there(pid), "a zombie");
    // So is everything after it.
    assert!(prefill(&mut session) == on_cpu());
    let lost = isolated.delegate.inject(c"none", 0).unwrap_err();
    assert_eq!(lost.code, Code::DeviceLost);
    assert!(lost.needs_reset);
}

/// All state is the CPU's, so it goes on where the device was.
#[test]
fn a_kill_in_the_middle_of_an_answer_does_not_end_it() {
    let _alone = alone();
    let isolated = open(&softnpu::plugin());
    let mut session = on(&isolated.delegate);
    let model = hello();
    let prompt = model.encode_prompt("What is the capital of Japan?");
    let first = session.prefill(&prompt, &CancelToken::new()).unwrap();
    let mut token = best(first);
    for _ in 0..20 {
        token = best(session.decode(token).unwrap());
    }
    let mut cache = Vec::new();
    session.save(&mut cache).unwrap();
    assert_eq!(stats(&session).on_cpu(), 0);

    kill_process(helper(&isolated.name).unwrap(), Signal::KILL).unwrap();
    let mut alone = self::session(&model, None);
    alone.restore(cache.as_slice()).unwrap();
    for step in 20..40 {
        let logits = session.decode(token).unwrap();
        assert!(bits(logits) == bits(alone.decode(token).unwrap()), "{step}");
        token = best(logits);
    }
    assert_lost(&session, "SIGKILL");
    assert_eq!(session.tokens().len(), prompt.len() + 40);
}

#[test]
fn a_call_that_does_not_return_is_ended() {
    let _alone = alone();
    let hangs = softnpu::with_bug(
        "hangs",
        "job.c",
        "    *out = job; /*",
        "    for (;;) { nanosleep(&(struct timespec){1, 0}, NULL); }\n    *out = job; /*",
    );
    let isolated = open(&hangs);
    let pid = helper(&isolated.name).unwrap();
    let mut session = on(&isolated.delegate);
    let began = Instant::now();
    assert!(prefill(&mut session) == on_cpu());
    let time = began.elapsed();
    assert!(time > DEADLINE && time < DEADLINE + SLACK, "{time:?}");
    assert_lost(&session, "submit did not return within 2.3 s");
    assert!(!is_there(pid), "a zombie");
}

/// The sample, which also writes a byte at this offset from each output.
fn writes_beside(name: &str, offset: &str) -> PathBuf {
    let place =
        "spoil(job->fault, seed, space->values + tensor->place, tensor->rows, tensor->cols);";
    let bug = format!("((volatile char *)job->bound[i])[{offset}] = 0;");
    softnpu::with_bug(name, "session.c", place, &bug)
}

#[test]
fn a_write_past_an_output_is_a_crash() {
    let _alone = alone();
    let overruns = writes_beside("overruns", "value_bytes(tensor)");
    let isolated = open(&overruns);
    let mut session = on(&isolated.delegate);
    assert!(prefill(&mut session) == on_cpu());
    assert_lost(&session, "SIGSEGV");
}

#[test]
fn a_write_in_front_of_an_output_is_corrupt() {
    let _alone = alone();
    let underruns = writes_beside("underruns", "-1");
    let isolated = open(&underruns);
    let mut session = on(&isolated.delegate);
    assert!(prefill(&mut session) == on_cpu());
    let failure = stats(&session).last_failure.unwrap();
    assert_eq!(failure.code, Code::Corrupt);
    assert_eq!(failure.message, "the plug-in wrote in front of output 0");
}

#[test]
fn what_can_not_be_opened_is_an_error() {
    let _alone = alone();
    let refused = |plugin: &Path| try_open(plugin).0.unwrap_err();
    let missing = refused(Path::new("/nowhere/libnpu.so"));
    assert_eq!(missing.code, Code::Invalid);
    assert!(missing.message.contains("/nowhere/libnpu.so"), "{missing}");

    let exits = softnpu::with_bug(
        "exits",
        "softnpu.c",
        "    log_line(2, \"softnpu 1.0: device opened\");",
        "    exit(3);",
    );
    let ended = refused(&exits);
    assert_eq!(ended.code, Code::DeviceLost);
    assert!(ended.message.contains("exit status: 3"), "{ended}");

    for program in ["/nowhere/helper", "/bin/true"] {
        let helper = Command::new(program);
        let error = ondol_delegate_isolated::open(&softnpu::plugin(), helper).unwrap_err();
        assert_eq!(error.code, Code::DeviceLost, "{error}");
    }
}

// ---- what ends the host ----

/// The host of the test below, in a process of its own.
#[test]
#[ignore = "the other tests start it"]
fn a_host_that_waits() {
    let talks = softnpu::with_bug(
        "talks",
        "softnpu.c",
        "log_line(2, \"softnpu 1.0: device opened\");",
        "log_line(1, \"softnpu 1.0: device opened\");",
    );
    let isolated = open(&talks);
    // Not through the test's capture.
    let pid = helper(&isolated.name).unwrap().as_raw_nonzero();
    writeln!(std::io::stderr(), "the helper is {pid}").unwrap();
    sleep(Duration::from_secs(60));
}

#[test]
fn the_log_comes_through_and_the_helper_ends_with_its_host() {
    let _alone = alone();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_host_that_waits", "--ignored", "--nocapture"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stderr.take().unwrap()).lines();
    let (mut logged, mut pid) = (false, None);
    for line in lines {
        let line = line.unwrap();
        logged |= line == "delegate: softnpu 1.0: device opened";
        if let Some(found) = line.strip_prefix("the helper is ") {
            pid = Pid::from_raw(found.parse().unwrap());
        }
        if logged && pid.is_some() {
            break;
        }
    }
    assert!(logged);
    let pid = pid.unwrap();
    assert!(is_there(pid));
    host.kill().unwrap();
    host.wait().unwrap();
    assert_gone(pid);
}

#[test]
fn a_helper_without_a_host_ends() {
    let (host, helper) = UnixStream::pair().unwrap();
    let helper = std::os::fd::OwnedFd::from(helper);
    let mut child = Command::new(env!("CARGO_BIN_EXE_delegate-host"))
        .stdin(helper)
        .spawn()
        .unwrap();
    drop(host);
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && began.elapsed() < SLACK {
        sleep(Duration::from_millis(5));
    }
    // Not there any more, or it is ended here.
    let _ = child.kill();
    assert!(child.wait().unwrap().success());
}
