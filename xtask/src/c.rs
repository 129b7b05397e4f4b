//! Tests the C binding with C programs, the header and both libraries.

use crate::steps::{Outcome, run, run_env};
use crate::{apt, delegate, models};
use std::fs;

const PACKAGES: [&str; 3] = ["gcc", "libc6-dev", "valgrind"];

/// System libraries that the static library needs.
const SYSTEM: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

/// The built-in model, written to a file.
pub const HELLO: &str = "models/hello/hello.gguf";

/// A file that is not a model.
const NO_MODEL: &str = "bindings/c/tests/api.c";

/// Builds the libraries, then runs the programs in `bindings/c/tests` with each
/// library, and the example of two conversations.
pub fn c() -> Outcome {
    if !apt::install("the C binding", &PACKAGES)? {
        return Ok(());
    }
    let libraries = libraries()?;
    let archive = format!("{libraries}/libondol.a");
    test("api", &libraries, &[HELLO, NO_MODEL])?;
    let plug_in = delegate::sample()?;
    test("engine", &libraries, &[HELLO, NO_MODEL, &plug_in])?;
    run(&link("examples/two.c", "two", &[&archive])?, &[HELLO])
}

/// Runs one program with both libraries, and with valgrind.
fn test(name: &str, libraries: &str, arguments: &[&str]) -> Outcome {
    let (source, archive) = (format!("tests/{name}.c"), format!("{libraries}/libondol.a"));
    let fixed = link(&source, &format!("{name}-static"), &[&archive])?;
    let shared = format!("{name}-shared");
    let shared = link(&source, &shared, &["-L", libraries, "-londol"])?;
    run(&fixed, arguments)?;
    run_env(&shared, arguments, &[("LD_LIBRARY_PATH", libraries)])?;

    // Tables that live as long as the program are reported as "possibly lost". Valgrind
    // does not support the widest vectors, and does not need them.
    let check = [
        "--quiet",
        "--error-exitcode=1",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
    ];
    let line = [&check[..], &[&fixed], arguments].concat();
    run_env("valgrind", &line, &[("ONDOL_KERNELS", "scalar")])
}

/// Builds `bindings/c/examples/answer.c`; returns the path.
pub fn example() -> Result<String, String> {
    let archive = format!("{}/libondol.a", libraries()?);
    link("examples/answer.c", "answer", &[&archive])
}

/// Builds the libraries together with the whole workspace; returns their folder.
fn libraries() -> Result<String, String> {
    models::command()?;
    Ok(models::target().join("debug").display().to_string())
}

/// Compiles a program of `bindings/c` and links it with a library; returns the path.
fn link(source: &str, name: &str, library: &[&str]) -> Result<String, String> {
    let folder = models::target().join("c");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let program = folder.join(name).display().to_string();
    let source = format!("bindings/c/{source}");
    let strict = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"];
    let files = ["-Ibindings/c", &source, "-o", &program];
    run("gcc", &[&strict[..], &files, library, &SYSTEM].concat())?;
    Ok(program)
}
