//! Runs the tests of shared memory and of memory layout with tools that check every
//! access: AddressSanitizer, ThreadSanitizer and, if the toolchain has it, Miri.

use crate::steps::{Outcome, output, root, run_env};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A sanitizer, and the other options that the compiler needs for it.
struct Sanitizer {
    name: &'static str,
    flags: &'static str,
}

const SANITIZERS: [Sanitizer; 2] = [
    Sanitizer {
        name: "address",
        flags: "-Zsanitizer=address",
    },
    // The standard library is not built with the sanitizer, which knows the library's
    // synchronization but does not check its other accesses.
    Sanitizer {
        name: "thread",
        flags: "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
    },
];

/// The runtime's tests of the thread pool and the queue of passes, of memory and of the governor.
/// ThreadSanitizer does not support fences: it finds data races, but no lost wake-ups
/// (`tests/loom` does).
const TESTS: [&str; 3] = ["cpu::", "memory::", "governor::"];

/// No optimization: the built-in model is small, so that optimizing would take longer than the
/// faster code saves.
const PLAIN: [&str; 4] = [
    "--config",
    "profile.dev.package.ondol.opt-level=0",
    "--config",
    "profile.dev.package.ondol-kernels.opt-level=0",
];

/// The tests that Miri, an interpreter, can run in minutes.
const SMALL: [&str; 2] = ["memory::arena::", "cpu::pool::tests::every_piece"];

/// Runs the tools that are available, and prints which ran and which did not.
pub fn sanitize() -> Outcome {
    let mut said = Vec::new();
    for sanitizer in &SANITIZERS {
        said.push(sanitized(sanitizer)?);
    }
    said.push(miri()?);
    for line in said {
        eprintln!("xtask: {line}");
    }
    Ok(())
}

/// With one sanitizer, runs the tests, and an answer of the built-in model on two
/// threads, which covers the whole path.
fn sanitized(sanitizer: &Sanitizer) -> Result<String, String> {
    let name = sanitizer.name;
    if !output("rustc", &["-vV"])?.contains(&format!("host: {TARGET}")) {
        return Ok(format!(
            "SKIPPED the {name} sanitizer: the host is not {TARGET}"
        ));
    }
    let folder = root().join("target/sanitize").join(name);
    let folder = folder.display().to_string();
    let suppressions = root().join("xtask/src/sanitize.supp");
    let suppressions = format!(
        "allocator_may_return_null=1:suppressions={}",
        suppressions.display()
    );
    let env = [
        // Without it a stable compiler rejects this option.
        ("RUSTC_BOOTSTRAP", "1"),
        ("RUSTFLAGS", sanitizer.flags),
        ("CARGO_TARGET_DIR", folder.as_str()),
        // A test asks for more memory than there is, and the payload of a panic is
        // leaked on purpose. Valgrind looks for leaks (`cargo xtask c`).
        ("ASAN_OPTIONS", "allocator_may_return_null=1:detect_leaks=0"),
        ("TSAN_OPTIONS", suppressions.as_str()),
    ];
    let runtime = [&PLAIN[..], &["--target", TARGET, "-p", "ondol"]].concat();
    let tests = [&["test"], &runtime[..], &["--lib", "--"], &TESTS].concat();
    run_env("cargo", &tests, &env)?;
    let answer = [&["run"], &runtime[..], &["--example", "answer"]].concat();
    run_env("cargo", &answer, &env)?;
    Ok(format!(
        "the {name} sanitizer: {TESTS:?} and a whole answer"
    ))
}

fn miri() -> Result<String, String> {
    if let Err(reason) = output("cargo", &["miri", "--version"]) {
        let first = reason.lines().next().unwrap_or_default();
        return Ok(format!("SKIPPED Miri: {first}"));
    }
    // Some tests read the clock.
    let env = [("MIRIFLAGS", "-Zmiri-disable-isolation")];
    let runtime = ["miri", "test", "-p", "ondol", "--lib", "--"];
    run_env("cargo", &[&runtime[..], &SMALL].concat(), &env)?;
    Ok(format!("Miri: {SMALL:?}"))
}
