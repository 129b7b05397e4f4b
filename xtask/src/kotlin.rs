//! Builds and tests the Kotlin library in `android/` on the JVM of this computer.

use crate::models::{smollm2, target};
use crate::steps::{Outcome, cargo, root};
use crate::{apt, bindings, mobile, steps};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PACKAGES: [&str; 2] = ["maven", "openjdk-17-jdk-headless"];

/// The modules with tests; those of the AAR and its sample app come last.
const MODULES: [&str; 5] = [
    "ondol",
    "ondol-api34",
    "ondol-client",
    "ondol-sample",
    "ondol-aar",
];

/// What the JVM prints under `-Xcheck:jni` where native code breaks the rules.
const JNI_FAULTS: [&str; 3] = [
    "WARNING in native method",
    "FATAL ERROR in native method",
    "WARNING: JNI local refs",
];

/// Builds the native library, compiles the Kotlin library for the JVM and for Android,
/// and runs its tests. `--long` runs the tests for leaks in full, `--bench` only prints
/// what a call and a token cost.
pub fn kotlin(args: &[String]) -> Outcome {
    let arguments: Vec<&str> = args.iter().map(String::as_str).collect();
    if !tools()? {
        return Ok(());
    }
    match arguments[..] {
        [] => test(&[]),
        ["--long"] => test(&["-Dondol.long=true"]),
        ["--bench"] => bench(),
        _ => Err("`kotlin` takes `--long` or `--bench` alone".into()),
    }
}

/// Whether there are Maven and a JDK, after installing what is missing.
pub fn tools() -> Result<bool, String> {
    let works = |program: &str| {
        let output = Command::new(program).arg("-version").output();
        output.is_ok_and(|output| output.status.success())
    };
    if works("mvn") && works("javac") {
        return Ok(true);
    }
    apt::install("the Kotlin library", &PACKAGES)
}

/// Builds the native library for this computer; returns its folder.
pub fn library() -> Result<PathBuf, String> {
    bindings::libraries(&bindings::TESTING)
}

/// The property that says where the native library is.
pub fn property(library: &Path) -> String {
    format!("-Dondol.library={}", library.display())
}

fn test(properties: &[&str]) -> Outcome {
    let folder = library()?;
    let library = property(&folder);
    let model = format!("-Dondol.smollm2={}", smollm2()?.unwrap_or_default());
    let aar = mobile::stand_in(&folder)?;
    let modules: &[&str] = match &aar {
        Some(_) => &MODULES,
        None => &MODULES[..3],
    };
    let aar: Vec<&str> = aar.iter().flatten().map(String::as_str).collect();
    remove_classes(&target().join("kotlin"))?;
    let said = maven(&[properties, &["verify", &library, &model], &aar].concat())?;
    let faults: Vec<&str> = said
        .lines()
        .filter(|line| JNI_FAULTS.iter().any(|fault| line.contains(fault)))
        .collect();
    match faults[..] {
        [] => summary(modules),
        _ => Err(format!("-Xcheck:jni: {}", faults.join("\nxtask: "))),
    }
}

/// Turns of a measurement, each of Rust and then of Kotlin.
const TURNS: usize = 3;

/// The most nanoseconds that a streamed token may cost in Kotlin in addition to its cost in Rust.
const MOST_NANOSECONDS: u64 = 2000;

/// The only measurement in Kotlin to which this limit applies: it passes the text on and does
/// nothing else.
const HELD: &str = "JNI, TokenStream";

/// Measures Rust, and Kotlin over JNI and over UniFFI with JNA, with the libraries that apps have,
/// except that a panic unwinds. Fails if JNI costs too much.
fn bench() -> Outcome {
    let generator = bindings::libraries(&bindings::TESTING)?.join("uniffi-bindgen");
    let build = ["build", "--release", "--lib", "--example", "stream"];
    let packages = ["-p", "ondol-jni", "-p", "ondol-uniffi", "-p", "ondol-app"];
    cargo(&[&build[..], &packages].concat())?;
    let folder = target().join("release");
    let glue = bindings::generate(&generator, "kotlin", &folder.join("libondol_ffi.so"))?;
    let library = property(&folder);
    let glue = format!("-Dondol.glue={}", glue.display());
    let modules = ["-P", "bench", "-pl", "bench", "-am", "test"];
    // The other module's tests need another library.
    let only = ["-Dtest=CostTest", "-Dsurefire.failIfNoSpecifiedTests=false"];
    let measure = [&modules[..], &only, &[&library, glue.as_str()]].concat();
    let stream = folder.join("examples/stream").display().to_string();
    let mut fastest = BTreeMap::new();
    for _ in 0..TURNS {
        let said = steps::output(&stream, &[])? + &maven(&measure)?;
        for (name, nanoseconds) in said.lines().filter_map(measured) {
            let best = fastest.entry(name.to_owned()).or_insert(nanoseconds);
            *best = nanoseconds.min(*best);
        }
    }
    compare(&fastest)
}

/// The name and the nanoseconds in a line `NAME: N ns ...`.
fn measured(line: &str) -> Option<(&str, u64)> {
    let (name, rest) = line.split_once(": ")?;
    let (number, unit) = rest.split_once(' ')?;
    let number = number.parse().ok()?;
    unit.starts_with("ns a ").then_some((name, number))
}

/// Prints the fastest of all turns, and checks the limit of JNI.
fn compare(fastest: &BTreeMap<String, u64>) -> Outcome {
    let of = |name: &str| {
        fastest
            .get(name)
            .copied()
            .ok_or_else(|| format!("no `{name}`: it"))
    };
    let rust = of("Rust")?;
    println!("The fastest of {TURNS} turns, in nanoseconds:");
    for (name, nanoseconds) in fastest {
        println!("{name}: {nanoseconds}");
    }
    let more = of(HELD)?.saturating_sub(rust);
    println!("{HELD}: a token costs {more} ns more than in Rust, of {MOST_NANOSECONDS} at most");
    match more < MOST_NANOSECONDS {
        true => Ok(()),
        false => Err(format!("{HELD}: {more} ns more than in Rust;")),
    }
}

/// Removes the classes of all modules from Maven's `output`. Those whose source is gone would
/// stay there, and ProGuard would miss what they call.
pub fn remove_classes(output: &Path) -> Outcome {
    let Ok(modules) = fs::read_dir(output) else {
        return Ok(());
    };
    for module in modules.flatten() {
        let classes = module.path().join("classes");
        if classes.exists() {
            fs::remove_dir_all(&classes).map_err(|e| format!("{}: {e}", classes.display()))?;
        }
    }
    Ok(())
}

/// Runs Maven in `android/`; returns what it printed, which is shown as well.
pub fn maven(args: &[&str]) -> Result<String, String> {
    let line = format!("mvn {}", args.join(" "));
    eprintln!("xtask: {line}");
    let output = Command::new("mvn")
        .args(["-q", "-B"])
        .args(args)
        .arg(format!("-Dondol.output={}", output_folder()))
        .current_dir(root().join("android"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{line} ({error})"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{said}");
    match output.status.success() {
        true => Ok(said),
        false => Err(line),
    }
}

/// Where Maven writes.
fn output_folder() -> String {
    target().join("kotlin").display().to_string()
}

/// Prints how many tests ran in each module, from Surefire's reports.
fn summary(modules: &[&str]) -> Outcome {
    for module in modules {
        let folder = target()
            .join("kotlin")
            .join(module)
            .join("surefire-reports");
        let files = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let texts = files
            .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
            .filter(|text| text.contains("<testsuite "));
        let tests: usize = texts.map(|text| text.matches("<testcase ").count()).sum();
        if tests == 0 {
            return Err(format!("{module}: no test ran;"));
        }
        eprintln!("xtask: {module}: {tests} tests");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_measurements_are_read() {
        let line = "JNI, TokenStream: 61234 ns a streamed token";
        assert_eq!(measured(line), Some(("JNI, TokenStream", 61234)));
        assert_eq!(measured("[INFO] Tests: 2 run"), None);
    }

    #[test]
    fn a_token_that_costs_too_much_is_told() {
        let turns = |kotlin| {
            let named = [("Rust", 5000), (HELD, kotlin)];
            BTreeMap::from(named.map(|(name, time)| (name.to_owned(), time)))
        };
        assert_eq!(compare(&turns(6999)), Ok(()));
        assert!(compare(&turns(7000)).is_err());
        assert!(compare(&BTreeMap::new()).is_err());
    }
}
