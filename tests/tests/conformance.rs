//! The conformance kit on the sample plug-in, whole and with bugs.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use ondol::Model;
use ondol_conformance::report::{Conclusion, Level, Name, Report, Submission, Verdict};
use ondol_conformance::{Error, Place, Sample, Setup, html, samples, verify};
use ondol_tests::softnpu;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

fn setup(plugin: PathBuf, levels: &[Name]) -> Setup {
    let scratch = std::env::temp_dir().join(format!("ondol-verify-{}", std::process::id()));
    Setup {
        plugin,
        device: 0,
        files: Vec::new(),
        model_name: "hello".to_owned(),
        levels: levels.to_vec(),
        texts: samples(),
        tokens: 64,
        rows: 16,
        seed: 1,
        soak: 1000,
        deadline: Duration::from_secs(5),
        threads: Some(1),
        scratch: scratch.join(format!("{:?}", std::thread::current().id())),
        place: Place::Here,
        meter: None,
        submission: Submission::default(),
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
    let report = run(&setup(softnpu::plugin(), &Name::ALL)).unwrap();
    assert_eq!(failed(&report), [""; 0]);
    // Everything was run, but on a toy.
    assert_eq!(report.conclusion, Conclusion::Partial);
    assert_eq!(report.partial.len(), 1, "{:?}", report.partial);
    assert_eq!(report.device.label, "contract stub");
    let work = report.offload.as_ref().unwrap().work;
    assert_eq!((work.prefill, work.decode), (1.0, 1.0));
    assert_eq!((work.attention, work.head), (0.0, 0.0));
    assert_eq!(report.records.len(), 2);
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
    let all_but_times = [true, true, true, true, true, true, false, false, true];
    assert_eq!(decided, all_but_times);
    let back: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(html::page(&back), html::page(&report));
}

#[test]
fn a_wrong_constant_is_found() {
    let plugin = softnpu::with_bug("gelu", "kernels.c", "0.044715f", "0.44715f");
    let report = run(&setup(plugin, &[Name::Op])).unwrap();
    let failed = failed(&report);
    assert!(failed.contains(&"op.gelu-mul.nmse"), "{failed:?}");
    assert!(failed.iter().all(|id| id.starts_with("op.gelu-mul")));
}

/// A device whose numbers are none passes no gate that looks at them.
#[test]
fn nan_from_the_device_fails_every_gate_that_sees_it() {
    let silu = ("return x / (1 + expf(-x));", "return (x - x) / (x - x);");
    let plugin = softnpu::with_bug("nan", "kernels.c", silu.0, silu.1);
    let report = run(&setup(plugin, &[Name::Op, Name::Model, Name::EndToEnd])).unwrap();
    let failed = failed(&report);
    for gate in ["op.silu-mul", "model.spans-16.runs"] {
        assert!(failed.contains(&gate), "{failed:?}");
    }
    // The runtime takes no such numbers from a device: the CPU answered.
    assert!(failed.contains(&"e2e.ko.failures"), "{failed:?}");
    assert_eq!(report.conclusion, Conclusion::Fail);
}

/// A gate that is waived does not fail the report, and says why; another's waiver
/// changes nothing.
#[test]
fn a_failure_can_be_waived_by_name() {
    let plugin = softnpu::with_bug(
        "cap",
        "kernels.c",
        "tanhf(a / node->factor)",
        "(a / node->factor)",
    );
    let mut setup = setup(plugin, &[Name::Op]);
    let broken = run(&setup).unwrap();
    let ids: Vec<String> = failed(&broken).into_iter().map(str::to_owned).collect();
    assert!(ids.iter().all(|id| id.starts_with("op.softcap")), "{ids:?}");
    setup.waivers = vec![("op.scale.nmse".to_owned(), "another".to_owned())];
    assert_eq!(run(&setup).unwrap().conclusion, Conclusion::Fail);
    let waiver = |id: &String| (id.clone(), "no tanh".to_owned());
    setup.waivers = ids.iter().map(waiver).collect();
    let report = run(&setup).unwrap();
    assert_eq!(report.conclusion, Conclusion::Partial);
    let gates = report.levels[0].gates.iter();
    let waived = gates.filter(|gate| gate.verdict == Verdict::Waived);
    for gate in waived {
        assert!(gate.note.starts_with("waived: no tanh"), "{gate:?}");
    }
}

/// A contract that is broken can't be waived.
#[test]
fn the_contract_can_not_be_waived() {
    let plugin = softnpu::with_bug(
        "major",
        "softnpu.c",
        "host_major != ONDOL_NPU_ABI_MAJOR",
        "host_major > 99",
    );
    let mut setup = setup(plugin, &[Name::Abi]);
    setup.waivers = vec![("abi.major".to_owned(), "an old host".to_owned())];
    let report = run(&setup).unwrap();
    assert_eq!(failed(&report), ["abi.major"]);
    let gate = &report.levels[0].gates[0];
    assert!(gate.note.starts_with("can't be waived"), "{gate:?}");
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
