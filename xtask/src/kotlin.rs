//! Builds and tests the Kotlin library in `android/` on the JVM of this computer.

use crate::models::target;
use crate::steps::{Outcome, cargo, root};
use crate::{apt, bindings, steps};
use std::fs;
use std::process::{Command, Stdio};

const PACKAGES: [&str; 2] = ["maven", "openjdk-17-jdk-headless"];

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

/// Builds the native library for this computer; returns the property that says where it
/// is.
pub fn library() -> Result<String, String> {
    let libraries = bindings::libraries(&bindings::TESTING)?;
    Ok(format!("-Dondol.library={}", libraries.display()))
}

fn test(properties: &[&str]) -> Outcome {
    let library = library()?;
    let said = maven(&[properties, &["verify", &library]].concat())?;
    let faults: Vec<&str> = said
        .lines()
        .filter(|line| JNI_FAULTS.iter().any(|fault| line.contains(fault)))
        .collect();
    match faults[..] {
        [] => summary(),
        _ => Err(format!("-Xcheck:jni: {}", faults.join("\nxtask: "))),
    }
}

/// Measures with the library as apps have it, except that a panic unwinds.
fn bench() -> Outcome {
    let build = ["build", "--release", "-p", "ondol-jni", "-p", "ondol-app"];
    cargo(&[&build[..], &["--example", "stream", "--lib"]].concat())?;
    let folder = target().join("release");
    steps::run(&folder.join("examples/stream").display().to_string(), &[])?;
    let library = format!("-Dondol.library={}", folder.display());
    let only = ["-pl", "ondol", "-Dgroups=bench", "-DexcludedGroups="];
    maven(&[&only[..], &["-Dondol.check=", "test", &library]].concat()).map(drop)
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
fn summary() -> Outcome {
    for module in ["ondol", "ondol-api34", "ondol-client"] {
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
