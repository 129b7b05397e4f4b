//! `ondol bench --auto` with simulated devices: the sample plug-in, made slower than any
//! CPU. The faster split is measured, kept, and used by the next run.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod common;

use common::{Said, folder, ondol, run};
use ondol_app::{DelegateOptions, LoadOptions, Model, Source};
use ondol_tests::softnpu;
use std::fs;
use std::path::{Path, PathBuf};

/// Said by a run that found a split.
const FOUND: &str = "as `ondol bench --auto` found";

/// Measures `hello` on one thread.
fn measure(home: &Path, plugin: &Path, arguments: &[&str]) -> Said {
    let mut command = ondol(home);
    command.args([
        "bench", "hello", "--auto", "-p", "256", "-n", "4", "-r", "1", "-t", "1",
    ]);
    run(command.arg("--delegate").arg(plugin).args(arguments)).expect(0)
}

/// Answers with `hello` on one thread.
fn answer(home: &Path, plugin: &Path, arguments: &[&str]) -> Said {
    let mut command = ondol(home);
    command.args([
        "run",
        "hello",
        "안녕하세요",
        "--max-tokens",
        "4",
        "--json",
        "-t",
        "1",
    ]);
    run(command.arg("--delegate").arg(plugin).args(arguments)).expect(0)
}

#[test]
fn a_slow_device_leaves_everything_to_the_cpu() {
    let (home, plugin) = (folder("slow"), softnpu::slow_for("slow", "true"));
    let report = measure(&home, &plugin, &["--json"]).json();
    assert_eq!(report["split"]["prefill"], false, "{report}");
    assert_eq!(report["split"]["decode"], false, "{report}");
    assert_eq!(report["slower_than_cpu"], true, "{report}");
    assert_eq!(report["device"]["label"], "contract stub", "{report}");
    let stages = report["stages"].as_array().unwrap();
    let on = |stage: &serde_json::Value| stage["runs_on"] == "cpu";
    assert!(stages.len() == 4 && stages.iter().all(on), "{report}");

    let said = measure(&home, &plugin, &[]);
    assert!(
        said.out.contains("the device is slower than the CPU"),
        "{}",
        said.out
    );
    assert!(said.out.contains("simulated"), "{}", said.out);
    assert!(
        !said.out.contains('\x1b'),
        "colours in a pipe: {}",
        said.out
    );

    let said = answer(&home, &plugin, &[]).complains(FOUND);
    assert!(said.json().get("delegate").is_none(), "{}", said.out);
    let said = answer(&home, &plugin, &["--delegate-stages", "prefill"]);
    let figures = &said.json()["delegate"];
    assert!(
        figures["spans_on_device"].as_u64() > Some(0),
        "{}",
        said.out
    );
    assert!(!said.err.contains(FOUND), "{}", said.err);
}

/// Whether prefill is faster on a device that the processor plays depends on what else the
/// machine does; the split is what was measured, and the next run has it.
#[test]
fn a_device_that_is_slow_in_decode_gets_prefill_at_most() {
    let home = folder("decode");
    let plugin = softnpu::slow_for("slow-decode", "job->program->rows == 1");
    // Slow, so that the device is faster in prefill on a quiet machine.
    let cpu = ["--kernels", "exact"];
    let report = measure(&home, &plugin, &[&cpu[..], &["--json"]].concat()).json();
    assert_eq!(report["split"]["decode"], false, "{report}");
    let is_faster = report["stages"][0]["speedup"].as_f64() > Some(1.0);
    assert_eq!(report["split"]["prefill"], is_faster, "{report}");
    let said = answer(&home, &plugin, &cpu);
    let figures = said.json()["delegate"].clone();
    if !is_faster {
        assert!(figures.is_null(), "{}", said.out);
        said.complains("prefill and decode on the CPU");
        return;
    }
    assert!(
        figures["spans_on_device"].as_u64() > Some(0),
        "{}",
        said.out
    );
    assert_eq!(figures["failures"], 0, "{}", said.out);
    said.complains("prefill on the device, decode on the CPU");
}

/// The file of the kept split, among those of programs.
fn kept_split(home: &Path) -> PathBuf {
    let files = fs::read_dir(home.join("programs")).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let is_split = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(9).any(|bytes| bytes == b"\"prefill\"")
    };
    paths.find(is_split).expect("a kept split")
}

#[test]
fn a_split_is_kept_for_one_plug_in_and_measured_again_when_damaged() {
    let home = folder("kept");
    let plugin = home.join("npu.so");
    fs::copy(softnpu::slow_for("kept", "true"), &plugin).unwrap();
    let found = |said: &Said| said.err.contains(FOUND);
    assert!(!found(&answer(&home, &plugin, &[])));
    measure(&home, &plugin, &[]);
    assert!(found(&answer(&home, &plugin, &[])));
    let other = answer(&home, &plugin, &["--kv-type", "q8_0"]);
    assert!(!found(&other), "another KV cache");

    let split = kept_split(&home);
    let mut bytes = fs::read(&split).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&split, bytes).unwrap();
    let said = answer(&home, &plugin, &[]).complains("is damaged");
    assert!(!found(&said), "{}", said.err);
    measure(&home, &plugin, &[]);
    assert!(found(&answer(&home, &plugin, &[])));

    // Removed first: the old one may be mapped.
    fs::remove_file(&plugin).unwrap();
    fs::copy(
        softnpu::slow_for("rebuilt", "job->program->rows > 0"),
        &plugin,
    )
    .unwrap();
    assert!(!found(&answer(&home, &plugin, &[])), "a rebuilt plug-in");
}

/// Asked for by name, each stage runs on the device, alone and with the other.
#[test]
fn stages_can_be_chosen() {
    let home = folder("stages");
    let spans = |stages: &str| {
        let arguments = [
            "--temperature",
            "0",
            "--drafts",
            "0",
            "--delegate-stages",
            stages,
        ];
        let said = answer(&home, &softnpu::plugin(), &arguments);
        let figures = &said.json()["delegate"];
        assert_eq!(figures["failures"], 0, "{}", said.out);
        assert!(figures["audits"].as_u64() > Some(0), "{}", said.out);
        figures["spans_on_device"].as_u64().unwrap()
    };
    let (prefill, decode) = (spans("prefill"), spans("decode"));
    assert!(prefill > 0 && decode > prefill, "{prefill} and {decode}");
    assert_eq!(spans("prefill,decode"), prefill + decode);
}

/// A model that is compiled ahead of time, for the command and for an app.
#[test]
fn a_bundle_is_loaded_and_nothing_is_compiled() {
    let home = folder("bundle");
    let (plugin, bundle) = (softnpu::plugin(), home.join("hello.npu"));
    let compile = |arguments: &[&str]| {
        let mut command = ondol(&home);
        command
            .args(["compile", "hello", "--delegate"])
            .arg(&plugin);
        run(command.arg("-o").arg(&bundle).args(arguments))
    };
    let said = compile(&["--json"]).expect(0).json();
    assert_eq!(said["bytes"], fs::metadata(&bundle).unwrap().len());
    assert!(said["programs"].as_u64() > Some(0), "{said}");
    compile(&[]).expect(2).complains("--force replaces it");
    compile(&["--force"]).expect(0);

    let path = bundle.display().to_string();
    let with = ["--delegate-bundle", path.as_str()];
    let said = answer(&home, &plugin, &with).json();
    let figures = &said["delegate"];
    assert!(figures["spans_on_device"].as_u64() > Some(0), "{said}");
    assert!(!home.join("programs").exists(), "programs were stored");

    let decode = [&with[..], &["--delegate-stages", "decode"]].concat();
    let mut command = ondol(&home);
    command.args(["run", "hello", "안녕하세요", "--delegate"]);
    run(command.arg(&plugin).args(decode))
        .expect(1)
        .complains("none of 1");

    let options = LoadOptions {
        threads: Some(1),
        delegate: Some(DelegateOptions {
            cache: Some(bundle),
            ..DelegateOptions::new(&plugin)
        }),
        ..LoadOptions::default()
    };
    let model = Model::load(Source::Hello, &options).unwrap();
    assert!(model.memory(None).unwrap().delegate > 0);
}

#[test]
fn an_app_uses_what_was_kept() {
    let (home, plugin) = (
        folder("app"),
        softnpu::slow_for("app", "job->fault == FAULT_NONE"),
    );
    // The buffers that a session shares with the device.
    let shared = |decode| {
        let delegate = DelegateOptions {
            decode,
            cache: Some(home.join("programs")),
            ..DelegateOptions::new(&plugin)
        };
        let options = LoadOptions {
            threads: Some(1),
            delegate: Some(delegate),
            ..LoadOptions::default()
        };
        let model = Model::load(Source::Hello, &options).unwrap();
        model.memory(None).unwrap().delegate
    };
    assert!(shared(None) > 0);
    measure(&home, &plugin, &[]);
    assert_eq!(shared(None), 0);
    // What the app says itself counts more than what was found.
    assert!(shared(Some(false)) > 0 && shared(Some(true)) > 0);
}

#[test]
fn what_can_not_be_measured_is_refused() {
    let home = folder("usage");
    let refused = |arguments: &[&str]| {
        let mut command = ondol(&home);
        run(command.args(["bench", "hello"]).args(arguments)).expect(2)
    };
    refused(&["--auto"]).complains("--delegate");
    let plugin = softnpu::plugin().display().to_string();
    refused(&["--auto", "--delegate", &plugin, "-p", "0"]).complains("one length");
    refused(&["--auto", "--delegate", &plugin, "-n", "8,16"]).complains("one length");
    refused(&["--auto", "--delegate", &plugin, "-t", "1,2"]).complains("number of threads");
}
