//! `ondol verify` on parts that are broken in one way, and on healthy parts of every
//! arithmetic: no wrong part passes, every right one can. And signed reports.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod common;

use common::{Said, folder, ondol, run};
use ondol_conformance::html;
use ondol_tests::random_model::RandomModel;
use ondol_tests::{reference, softnpu};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A flaw of softnpu, the level that finds it, and how the ids of the gates begin that
/// fail.
type Flaw = (&'static str, &'static str, &'static str);

const FLAWS: &[Flaw] = &[
    ("decode-sign", "op", "op.matmul.i8-32.even."),
    ("rows-from-64", "op", "op.matmul.i8-32.even."),
    ("silent-corruption", "op", "op.matmul.i8-32.even."),
    ("saturate-24", "op", "op.matmul.i8-row.one-sign."),
    ("saturate-22", "op", "op.matmul.i8-row.one-sign."),
    ("saturate-21", "op", "op.matmul.i8-row.one-sign."),
    ("truncates", "op", "op.matmul.i8-32.even."),
    ("flush-tiny", "op", "op.matmul.i8-32.small-inputs."),
    ("tiny-scales", "op", "op.matmul.i8-32.small-weights."),
    ("scale-of-next-group", "op", "op.matmul.i8-32.even."),
    ("swapped-nibbles", "op", "op.matmul.i4-32.even."),
    ("loses-tail", "op", "op.matmul.i8-32.even."),
    ("no-bias", "op", "op.matmul.i8-32.even."),
    ("forgets-on-reset", "faults", "faults.reset"),
    ("cached-by-shape", "op", "op.matmul.i8-32.outliers."),
    ("stale-padding", "op", "op.matmul.i8-32.zeros."),
    ("no-eps", "op", "op.rmsnorm-eps."),
    ("wide-norm", "op", "op.rmsnorm-groups."),
    ("no-softcap", "op", "op.softcap."),
    ("stepped-activation", "op", "op.silu-mul."),
    ("overrun", "op", "op."),
    ("row-off", "model", "model.spans-128.judged.row"),
    ("element-off", "model", "model.spans-128.judged.element"),
    ("order-matters", "end-to-end", "e2e.ko."),
    ("stale-output", "end-to-end", "e2e.ko."),
    ("order-matters", "determinism", "determinism.runs"),
    ("other-weights", "abi", "abi.save"),
    ("wears-out", "soak", "soak.bits"),
    ("rare-bit-flip", "soak", "soak.bits"),
    ("sessions-collide", "soak", "soak.bits"),
    ("ends-early", "soak", "soak.bits"),
    ("row-late", "soak", "soak.bits"),
    ("leak-submit", "soak", "soak.resident"),
    ("leak-virtual", "soak", "soak.virtual"),
];

/// Runs a level on `hello`, with small programs.
fn verify(home: &Path, plugin: &Path, level: &str) -> Command {
    verify_model(home, "hello", plugin, level)
}

fn verify_model(home: &Path, model: &str, plugin: &Path, level: &str) -> Command {
    let mut command = ondol(home);
    command.args(["verify", model, "--level", level, "--json"]);
    command.args(["--rows", "128", "--seed", "1", "--tokens", "160"]);
    command.arg("--delegate").arg(plugin);
    command
}

/// A random model of more than two layers.
fn deep_model(home: &Path) -> String {
    let path = home.join("deep.gguf");
    let random = RandomModel {
        layers: 4,
        ..RandomModel::small("llama")
    };
    fs::write(&path, random.to_bytes()).unwrap();
    path.display().to_string()
}

fn report(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err))
}

/// The ids of gates with a verdict.
fn gates(report: &Value, verdict: &str) -> Vec<String> {
    let levels = report["levels"].as_array().unwrap().iter();
    let gates = levels.flat_map(|level| level["gates"].as_array().unwrap());
    let wanted = gates.filter(|gate| gate["verdict"] == verdict);
    wanted
        .map(|gate| gate["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The notes that a report's page has in English alone.
fn english_notes(report: &Value) -> Vec<String> {
    let page = html::page(&serde_json::from_value(report.clone()).unwrap());
    let notes = page.split("<p class=\"note\"><span lang=\"\">").skip(1);
    notes
        .map(|rest| rest.split("</span>").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_flaw_is_found_by_its_level() {
    let home = folder("flaws");
    let model = deep_model(&home);
    let (mut missed, mut english) = (Vec::new(), Vec::new());
    for &(flaw, level, gate) in FLAWS {
        // Some flaws are in layer 2 alone, which `hello` has not.
        let model = if level == "model" { &model } else { "hello" };
        let mut command = verify_model(&home, model, &softnpu::plugin(), level);
        let said = run(command.env("SOFTNPU_FAULT", flaw));
        let report = report(&said);
        english.extend(english_notes(&report));
        let failed = gates(&report, "fail");
        let found = failed.iter().any(|id| id.starts_with(gate));
        if !found || said.code != 1 {
            missed.push(format!("{flaw} by {level}: {failed:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(english.is_empty(), "no Korean for {english:#?}");
}

/// Parts that compute rightly in their arithmetic, whatever their forms lose.
#[test]
fn every_healthy_part_passes() {
    let home = folder("healthy");
    for part in [
        "activations=f16 weights=f16",
        "activations=f16 weights=i8-row",
        "activations=i8 group=32 weights=i8-32,i4-32",
        "activations=i8 group=row weights=i8-row",
        "activations=i16 group=row weights=i8-row",
        "activations=bf16 weights=f16",
        "activations=f32 weights=f32",
    ] {
        let mut command = verify(&home, &reference::plugin(), "op,model,end-to-end");
        let said = run(command.env("ONDOL_REFERENCE_PART", format!("{part} rows=1,64,128")));
        let failed = gates(&report(&said), "fail");
        assert!(failed.is_empty() && said.code == 0, "{part}: {failed:?}");
    }
}

/// The template for vendors, as they would build it: copied with the header, with `make`
/// and `cc` alone.
#[test]
fn the_template_builds_by_itself_and_passes() {
    let home = folder("template");
    let delegates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/delegates");
    for file in ["template/npu.c", "template/Makefile", "ondol_npu.h"] {
        let from = delegates.join(file);
        fs::copy(&from, home.join(from.file_name().unwrap())).unwrap();
    }
    let said = run(Command::new("make").arg("-C").arg(&home));
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let said = run(&mut verify(&home, &home.join("libnpu.so"), "abi,op,model"));
    let report = report(&said);
    assert_eq!(gates(&report, "fail"), [""; 0]);
    assert_eq!((said.code, &report["conclusion"]), (0, &"partial".into()));
    assert!(
        gates(&report, "pass")
            .iter()
            .any(|id| id.starts_with("op.matmul.f32"))
    );
}

#[test]
fn a_device_that_takes_little_is_partial() {
    let home = folder("partial");
    let mut command = verify(&home, &softnpu::plugin(), "end-to-end");
    let said = run(command.env("SOFTNPU_FAULT", "claims-little"));
    let report = report(&said);
    assert_eq!(report["conclusion"], "partial");
    let why = report["partial"].to_string();
    assert!(
        why.contains("of prefill's matmuls the device takes"),
        "{why}"
    );
    assert_eq!(said.code, 0);
}

#[test]
fn the_same_seed_repeats_a_run() {
    let home = folder("seed");
    let found = || {
        let said = run(&mut verify(&home, &softnpu::plugin(), "op"));
        let report = report(&said);
        let gates = report["levels"][0]["gates"].as_array().unwrap().clone();
        let found = gates.iter().map(|gate| gate["found"].to_string());
        found.collect::<Vec<_>>()
    };
    assert_eq!(found(), found());
}

/// A signed report is believed until anything in it changes.
#[test]
fn a_report_is_signed_and_checked() {
    let home = folder("signed");
    let path = |name: &str| home.join(name).display().to_string();
    let mut command = verify(&home, &softnpu::plugin(), "end-to-end");
    command.args(["--report", &path("evidence")]);
    assert_eq!(run(&mut command).code, 0);
    let report = |arguments: &[&str]| run(ondol(&home).arg("report").args(arguments));
    let said = report(&["keygen", &path("lab.pem")]);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = report(&["sign", &path("evidence"), "--key", &path("lab.pem")]);
    assert_eq!(said.code, 0, "{}", said.err);
    let check = |what: &str| report(&["check", &path(what), "--key", &path("lab.pub.pem")]);
    let said = check("evidence.zip");
    assert_eq!(said.code, 0, "{}", said.err);
    for file in [
        "report.json",
        "report.html",
        "records.jsonl",
        "log.txt",
        "text-ko.txt",
    ] {
        assert!(said.out.contains(file), "{file}: {}", said.out);
    }
    // The folder itself is not signed, and a zip with a changed byte is not believed.
    assert!(check("evidence").err.contains("not sealed"));
    let mut zip = fs::read(path("evidence.zip")).unwrap();
    let middle = zip.len() / 2;
    zip[middle] ^= 1;
    fs::write(path("evidence.zip"), zip).unwrap();
    assert_eq!(check("evidence.zip").code, 1);
    let rights = fs::metadata(path("lab.pem")).unwrap().permissions();
    let mode = std::os::unix::fs::PermissionsExt::mode(&rights);
    assert_eq!(mode & 0o077, 0, "others can read the secret key");
}

/// The device's distributions in a report are those that the CPU has too.
#[test]
fn records_of_a_report_can_be_replayed() {
    let home = folder("replay");
    let evidence = home.join("evidence");
    let mut command = verify(&home, &softnpu::plugin(), "end-to-end");
    assert_eq!(run(command.arg("--report").arg(&evidence)).code, 0);
    let records = evidence.join("records.jsonl");
    let mut agree = ondol(&home);
    agree.args(["agree", "hello"]).arg(&records);
    let said = run(agree.args(["--max-dlnp", "0.2", "--min-top1", "0.8"]));
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
}

/// A plug-in that crashes ends a process, which is none of the command's: the report is
/// written, and says what happened.
#[test]
fn a_plug_in_that_crashes_is_a_failed_gate() {
    let home = folder("crash");
    let command = |level| {
        let mut command = verify(&home, &softnpu::plugin(), level);
        let said = run(command.env("SOFTNPU_FAULT", "crash"));
        assert_eq!(said.code, 1, "{}", said.err);
        report(&said)
    };
    for level in ["abi", "soak"] {
        let report = command(level);
        assert_eq!(gates(&report, "fail"), [format!("{level}.process")]);
        let note = report["levels"][0]["gates"][0]["note"].to_string();
        assert!(note.contains("SIGABRT"), "{note}");
    }
    assert!(!gates(&command("op"), "fail").is_empty());
    assert!(!gates(&command("end-to-end"), "fail").is_empty());
}

/// Writes the log of a meter that reads ten times a second, until it is dropped. What the
/// machine draws rises, so that it is more at work than when idle.
struct OutsideMeter {
    running: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl OutsideMeter {
    fn start(path: &Path) -> OutsideMeter {
        let running = Arc::new(AtomicBool::new(true));
        let goes_on = running.clone();
        let mut log = fs::File::create(path).unwrap();
        let thread = thread::spawn(move || {
            let began = Instant::now();
            writeln!(log, "time,watts").unwrap();
            while goes_on.load(Ordering::Relaxed) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let watts = 2.0 + 0.1 * began.elapsed().as_secs_f64();
                writeln!(log, "{:.3},{watts:.3}", now.as_secs_f64()).unwrap();
                thread::sleep(Duration::from_millis(100));
            }
        });
        OutsideMeter {
            running,
            thread: Some(thread),
        }
    }
}

impl Drop for OutsideMeter {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// An emulator that says that it is hardware: its process holds no device, and its
/// temperature never moves. The outside meter is read.
#[test]
fn hardware_that_is_none_is_not_believed() {
    let home = folder("hardware");
    let log = home.join("meter.csv");
    let meter = OutsideMeter::start(&log);
    let mut command = verify(&home, &softnpu::plugin(), "performance,energy");
    command.arg("--meter").arg(&log);
    command.args(["--applicant", "온돌 주식회사", "--serial", "N-7"]);
    let said = run(command.env("SOFTNPU_FAULT", "says-hardware"));
    drop(meter);
    let report = report(&said);
    assert_eq!(gates(&report, "fail"), ["performance.device-node"]);
    let partial = gates(&report, "partial");
    let constant = "energy.temperature-moves".to_owned();
    assert!(partial.contains(&constant), "{partial:?}");
    assert_eq!(report["device"]["nodes"].as_array().map(Vec::len), Some(0));
    let libraries = report["device"]["libraries"].to_string();
    assert!(libraries.contains("libc.so"), "{libraries}");
    assert_eq!(report["submission"]["applicant"], "온돌 주식회사");
    let all = report["levels"].as_array().unwrap().iter();
    let all: Vec<&Value> = all
        .flat_map(|level| level["gates"].as_array().unwrap())
        .collect();
    let found = |id: &str| {
        let gate = all.iter().find(|gate| gate["id"] == id);
        *gate.unwrap_or_else(|| panic!("{id}: {}", said.out))
    };
    assert_eq!(found("performance.ttft-128.device")["spread"]["runs"], 5);
    for id in ["prefill", "decode", "idle"] {
        let gate = found(&format!("energy.outside.{id}"));
        assert!(gate["found"].as_f64() > Some(0.0), "{gate}");
    }
}
