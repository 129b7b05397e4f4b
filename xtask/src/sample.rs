//! Uses the sample app of `android/` under Robolectric, on the JVM of this computer.

use crate::apt;
use crate::kotlin;
use crate::steps::{Outcome, run};

const PACKAGES: [&str; 1] = ["aapt"];

/// Robolectric needs `androidx.test`, which is in Google's repository and not in Maven Central.
const ROBOLECTRIC: &str = "org.robolectric:robolectric:4.16.1";

/// Builds the native library, compiles the sample app, and uses it in tests in which Robolectric
/// simulates Android 7. Prints why if a tool for it is missing.
pub fn sample() -> Outcome {
    if !kotlin::tools()? || !apt::install("the sample app", &PACKAGES)? {
        return Ok(());
    }
    let artifact = format!("-Dartifact={ROBOLECTRIC}");
    if run("mvn", &["-q", "-B", "dependency:get", &artifact]).is_err() {
        eprintln!("xtask: SKIPPED the sample app under Robolectric: {ROBOLECTRIC} can't be had");
        return Ok(());
    }
    let library = kotlin::property(&kotlin::library()?);
    let modules = ["-P", "robolectric", "-pl", "robolectric", "-am", "verify"];
    let tests = "-Dtest=dev/ondol/robolectric/*,dev/ondol/sample/*";
    let other = "-Dsurefire.failIfNoSpecifiedTests=false";
    kotlin::maven(&[&modules[..], &[&library, tests, other]].concat()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::root;

    #[test]
    fn the_version_is_that_of_the_tests() {
        let pom = root().join("android/robolectric/pom.xml");
        let pom = std::fs::read_to_string(pom).unwrap();
        let (_, version) = ROBOLECTRIC.rsplit_once(':').unwrap();
        assert!(pom.contains(&format!(
            "<artifactId>robolectric</artifactId>\n      <version>{version}<"
        )));
    }
}
