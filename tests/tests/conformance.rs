//! The conformance kit on the sample plug-in, whole and with bugs.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use ondol::Model;
use ondol_conformance::report::{Level, Name, Report, Verdict};
use ondol_conformance::{Error, Sample, Setup, html, samples, verify};
use ondol_tests::softnpu;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

fn setup(plugin: PathBuf, levels: &[Name]) -> Setup {
    let scratch = std::env::temp_dir().join(format!("ondol-verify-{}", std::process::id()));
    Setup {
        plugin,
        files: Vec::new(),
        model_name: "hello".to_owned(),
        levels: levels.to_vec(),
        texts: samples(),
        tokens: 64,
        rows: 16,
        deadline: Duration::from_secs(5),
        threads: Some(1),
        scratch: scratch.join(format!("{:?}", std::thread::current().id())),
        waivers: Vec::new(),
        command: vec!["ondol".to_owned(), "verify".to_owned()],
    }
}

/// One at a time: the kit looks at the memory of the whole process.
fn run(setup: &Setup) -> Result<Report, Error> {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    verify(setup, &Model::hello().unwrap(), |_| ())
}

/// The ids of gates that failed.
fn failed(report: &Report) -> Vec<&str> {
    let gates = report.levels.iter().flat_map(|level| &level.gates);
    let failed = gates.filter(|gate| gate.verdict == Verdict::Fail);
    failed.map(|gate| gate.id.as_str()).collect()
}

/// Every gate that can be decided without hardware is, and passes; the report comes
/// back from its JSON, and makes the same page.
#[test]
fn the_sample_conforms() {
    use Name::{Abi, Determinism, EndToEnd, Energy, Faults, Op, Performance};
    let levels = [
        Abi,
        Op,
        Name::Model,
        EndToEnd,
        Determinism,
        Performance,
        Energy,
        Faults,
    ];
    let report = run(&setup(softnpu::plugin(), &levels)).unwrap();
    assert_eq!(failed(&report), [""; 0]);
    assert!(report.passed);
    assert_eq!(report.device.label, "contract stub");
    assert_eq!(report.offload.as_ref().unwrap().share, 1.0);
    let passed = |level: &Level| {
        let passed = level
            .gates
            .iter()
            .filter(|gate| gate.verdict == Verdict::Pass);
        passed.count()
    };
    let decided: Vec<bool> = report
        .levels
        .iter()
        .map(|level| passed(level) > 0)
        .collect();
    // No stub's times are written down.
    assert_eq!(decided, [true, true, true, true, true, false, false, true]);
    let back: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(html::page(&back), html::page(&report));
}

/// Sums of 16 bits do for small numbers, and not for the largest.
#[test]
fn sums_that_overflow_are_found() {
    let bug = ("kernels.c", "int32_t sum = 0;", "int16_t sum = 0;");
    let plugin = softnpu::with_bug("overflow", bug.0, bug.1, bug.2);
    let report = run(&setup(plugin, &[Name::Op])).unwrap();
    assert!(failed(&report).contains(&"op.matmul.i8-32.largest.nmse"));
    assert!(!report.passed);
}

#[test]
fn a_wrong_constant_is_found() {
    let plugin = softnpu::with_bug("gelu", "kernels.c", "0.044715f", "0.44715f");
    let report = run(&setup(plugin, &[Name::Op])).unwrap();
    assert_eq!(failed(&report), ["op.gelu-mul"]);
}

/// A device whose numbers are none passes no gate that looks at them.
#[test]
fn nan_from_the_device_fails_every_gate_that_sees_it() {
    let silu = ("return x / (1 + expf(-x));", "return (x - x) / (x - x);");
    let plugin = softnpu::with_bug("nan", "kernels.c", silu.0, silu.1);
    let report = run(&setup(plugin, &[Name::Op, Name::Model, Name::EndToEnd])).unwrap();
    let failed = failed(&report);
    for gate in ["op.silu-mul", "model.spans.nmse"] {
        assert!(failed.contains(&gate), "{failed:?}");
    }
    // The runtime takes no such numbers from a device: the CPU answered.
    assert!(failed.contains(&"e2e.ko.fallbacks"), "{failed:?}");
    assert!(!report.passed);
}

/// A gate that is waived does not fail the report, and says why; another's waiver
/// changes nothing.
#[test]
fn a_failure_can_be_waived_by_name() {
    let plugin = softnpu::with_bug(
        "major",
        "softnpu.c",
        "host_major != ONDOL_NPU_ABI_MAJOR",
        "host_major > 99",
    );
    let mut setup = setup(plugin, &[Name::Abi]);
    assert_eq!(failed(&run(&setup).unwrap()), ["abi.major"]);
    setup.waivers = vec![("abi.minor".to_owned(), "another".to_owned())];
    assert!(!run(&setup).unwrap().passed);
    setup.waivers = vec![("abi.major".to_owned(), "an old host".to_owned())];
    let report = run(&setup).unwrap();
    let gate = &report.levels[0].gates[0];
    assert!(report.passed && gate.verdict == Verdict::Waived, "{gate:?}");
    assert!(gate.note.starts_with("waived: an old host"));
}

/// A loader that does not look at its checksum takes damaged programs.
#[test]
fn a_careless_loader_is_found() {
    let check = " || header.checksum != checksum(from->bytes, from->left)";
    let plugin = softnpu::with_bug("loader", "blob.c", check, "");
    let report = run(&setup(plugin, &[Name::Abi])).unwrap();
    assert_eq!(failed(&report), ["abi.blob"]);
}

#[test]
fn a_text_must_be_long_enough() {
    let mut setup = setup(softnpu::plugin(), &[Name::EndToEnd]);
    setup.texts = vec![Sample {
        name: "short".to_owned(),
        text: "a".to_owned(),
    }];
    assert!(matches!(run(&setup), Err(Error::ShortText { name, .. }) if name == "short"));
}

#[test]
fn what_is_no_plug_in_is_refused() {
    let setup = setup(std::env::current_exe().unwrap(), &[Name::Abi]);
    assert!(matches!(run(&setup), Err(Error::Delegate(_))));
}
