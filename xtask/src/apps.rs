//! The tests of the libraries for apps, one language after another.

use crate::steps::Outcome;
use crate::{bindings, kotlin, python, swift};

/// Checks the generated code, and runs the tests of Kotlin and Java, Swift, and Python.
/// With `--long` the tests for memory growth make 1,000 loads and 10,000 answers.
pub fn apps(args: &[String]) -> Outcome {
    bindings::bindings(&["--check".to_owned()])?;
    kotlin::kotlin(args)?;
    swift::swift(args)?;
    python::python(args)
}
