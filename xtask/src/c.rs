//! The C binding from the outside: a C program against the header and both libraries.

use crate::apt;
use crate::models;
use crate::steps::{Outcome, run, run_env};
use std::fs;

const PACKAGES: [&str; 3] = ["gcc", "libc6-dev", "valgrind"];

/// What the static library asks of the system.
const SYSTEM: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

/// The built-in model as a file.
pub const HELLO: &str = "models/hello/hello.gguf";

/// The model, and a file that is none.
const ARGUMENTS: [&str; 2] = [HELLO, "bindings/c/tests/api.c"];

/// Builds the libraries and runs `bindings/c/tests/api.c` with each.
pub fn c() -> Outcome {
    if !apt::install("the C binding", &PACKAGES)? {
        return Ok(());
    }
    let libraries = libraries()?;
    let fixed = link(
        "tests/api.c",
        "static",
        &[&format!("{libraries}/libondol.a")],
    )?;
    let shared = link("tests/api.c", "shared", &["-L", &libraries, "-londol"])?;
    run(&fixed, &ARGUMENTS)?;
    run_env(&shared, &ARGUMENTS, &[("LD_LIBRARY_PATH", &libraries)])?;

    // Tables that live as long as the program are only "possibly" lost. It does
    // not know the widest vectors, and needs none.
    let check = [
        "--quiet",
        "--error-exitcode=1",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
    ];
    let line = [&check[..], &[&fixed], &ARGUMENTS].concat();
    run_env("valgrind", &line, &[("ONDOL_KERNELS", "scalar")])
}

/// Builds `bindings/c/examples/answer.c`; where it lies.
pub fn example() -> Result<String, String> {
    let archive = format!("{}/libondol.a", libraries()?);
    link("examples/answer.c", "answer", &[&archive])
}

/// Builds the libraries, with all of the workspace; their folder.
fn libraries() -> Result<String, String> {
    models::command()?;
    Ok(models::target().join("debug").display().to_string())
}

/// Compiles a program of `bindings/c` and links it with a library; where it lies.
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
