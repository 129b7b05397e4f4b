//! The sample plug-in, `runtime/delegates/sample`, built with the system's compiler.

use ondol::delegate::Delegate;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const FLAGS: [&str; 5] = ["-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"];

/// The path of the library, which is built once in a process.
///
/// # Panics
/// If there is no compiler, or the sample does not compile.
pub fn plugin() -> PathBuf {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    PLUGIN
        .get_or_init(|| build(&delegates().join("sample"), "libsoftnpu.so"))
        .clone()
}

/// The library with a bug: in its file `source`, the text `from` is replaced by `to`.
///
/// # Panics
/// As for [`plugin`], and if the file does not contain `from` exactly once.
pub fn with_bug(name: &str, source: &str, from: &str, to: &str) -> PathBuf {
    let copy = folder().join(format!("softnpu-{name}-{}", std::process::id()));
    fs::create_dir_all(&copy).expect("a folder to write to");
    for path in fs::read_dir(delegates().join("sample")).expect("the sample") {
        let path = path.expect("a file").path();
        if path.is_file() {
            fs::copy(&path, copy.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    let path = copy.join(source);
    let text = fs::read_to_string(&path).expect("a source of the sample");
    assert_eq!(text.matches(from).count(), 1, "`{from}` in {source}");
    fs::write(&path, text.replace(from, to)).expect("a copy");
    build(&copy, &format!("libsoftnpu-{name}.so"))
}

/// The library with a device that takes 20 ms longer for some jobs, and so is slower than
/// any CPU. `which` is a C expression over `job` that is true for these jobs.
///
/// # Panics
/// As for [`with_bug`].
pub fn slow_for(name: &str, which: &str) -> PathBuf {
    let run = "ondol_npu_status outcome = run(job);";
    let late = format!("if ({which}) nanosleep(&(struct timespec){{0, 20000000}}, NULL);\n{run}");
    with_bug(name, "session.c", run, &late)
}

/// Opens a device. Faults that are injected into it do not concern other devices.
///
/// # Panics
/// As for [`plugin`].
pub fn open() -> Delegate {
    // SAFETY: the sample keeps the contract.
    unsafe { Delegate::load(&plugin()) }.expect("the sample opens")
}

/// As [`open`], but once the device is lost, it stays lost: the plug-in has no reset.
///
/// # Panics
/// As for [`with_bug`].
pub fn open_without_reset() -> Delegate {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    let plugin = || with_bug("no-reset", "softnpu.c", ".reset = reset,", ".reset = NULL,");
    let plugin = PLUGIN.get_or_init(plugin);
    // SAFETY: the sample keeps the contract.
    unsafe { Delegate::load(plugin) }.expect("the sample opens")
}

/// Builds the library under another name and renames it, since other processes may build it
/// at the same time.
fn build(sample: &Path, name: &str) -> PathBuf {
    let library = folder().join(name);
    let beside = library.with_extension(format!("so.{}", std::process::id()));
    let output = Command::new("cc")
        .args(FLAGS)
        .arg("-I")
        .arg(delegates())
        .args(sources(sample))
        .arg("-o")
        .arg(&beside)
        .args(["-lpthread", "-lm"])
        .output()
        .expect("cc, which links Rust programs too");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    fs::rename(&beside, &library).expect("a folder to write to");
    library
}

fn delegates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/delegates")
}

/// The folder of the test program, which is in the target folder.
fn folder() -> PathBuf {
    let program = std::env::current_exe().expect("a program with a path");
    program.parent().expect("a folder").to_path_buf()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the sample");
    let paths = entries.map(|entry| entry.expect("a file").path());
    let mut sources: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "c"))
        .collect();
    sources.sort();
    sources
}
