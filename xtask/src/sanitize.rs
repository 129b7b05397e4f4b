//! Tests of what shares memory between threads or lays it out by itself, with tools
//! that watch every access: AddressSanitizer, ThreadSanitizer and, where the toolchain
//! has it, Miri.

use crate::steps::{Outcome, output, root, run_env};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A sanitizer, and what the compiler wants besides to build with it.
struct Sanitizer {
    name: &'static str,
    flags: &'static str,
}

const SANITIZERS: [Sanitizer; 2] = [
    Sanitizer {
        name: "address",
        flags: "-Zsanitizer=address",
    },
    // The standard library is not built anew: what it synchronizes is known to the
    // sanitizer, and what it does between is not watched.
    Sanitizer {
        name: "thread",
        flags: "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
    },
];

/// The runtime's tests of the arena, the pool and the governor. ThreadSanitizer knows no
/// fences: it sees races of memory, but no lost call (`tests/loom` does).
const TESTS: [&str; 2] = ["cpu::", "governor::"];

/// Sooner compiled than run: the built-in model is small.
const PLAIN: &str = "profile.dev.package.ondol.opt-level=0";

/// What Miri can run in minutes: it interprets.
const SMALL: [&str; 2] = ["cpu::arena::", "cpu::pool::tests::every_piece"];

/// Runs what is to be had, and says what ran and what did not.
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

/// The tests, and an answer of the built-in model on two threads, which runs the whole
/// path, with one sanitizer.
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
        // Without it a stable compiler takes no such option.
        ("RUSTC_BOOTSTRAP", "1"),
        ("RUSTFLAGS", sanitizer.flags),
        ("CARGO_TARGET_DIR", folder.as_str()),
        // A test asks for more memory than there is, and what a piece of work threw is
        // forgotten on purpose; valgrind looks for leaks (`cargo xtask c`).
        ("ASAN_OPTIONS", "allocator_may_return_null=1:detect_leaks=0"),
        ("TSAN_OPTIONS", suppressions.as_str()),
    ];
    let runtime = ["--target", TARGET, "--config", PLAIN, "-p", "ondol"];
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
    // Some tests look at the clock.
    let env = [("MIRIFLAGS", "-Zmiri-disable-isolation")];
    let runtime = ["miri", "test", "-p", "ondol", "--lib", "--"];
    run_env("cargo", &[&runtime[..], &SMALL].concat(), &env)?;
    Ok(format!("Miri: {SMALL:?}"))
}
