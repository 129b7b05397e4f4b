//! The C binding from the outside: a C program against the header and both libraries.

use crate::apt;
use crate::steps::{Outcome, cargo, root, run, run_env};
use std::fs;
use std::path::PathBuf;

const PACKAGES: [&str; 3] = ["gcc", "libc6-dev", "valgrind"];

/// What the static library asks of the system.
const SYSTEM: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

/// Builds the libraries and runs `bindings/c/tests/api.c` with each.
pub fn c() -> Outcome {
    if !apt::install("the C binding", &PACKAGES)? {
        return Ok(());
    }
    cargo(&["build", "-p", "ondol-c"])?;
    let libraries = target().join("debug");
    let folder = target().join("c");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let program = |name: &str| folder.join(name).display().to_string();
    let (fixed, shared) = (program("static"), program("shared"));
    let archive = libraries.join("libondol.a").display().to_string();
    let path = libraries.display().to_string();

    compile(&fixed, &[&archive], &SYSTEM)?;
    compile(&shared, &["-L", &path, "-londol"], &["-lpthread"])?;
    run(&fixed, &ARGUMENTS)?;
    run_env(&shared, &ARGUMENTS, &[("LD_LIBRARY_PATH", &path)])?;

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

/// The model, and a file that is none.
const ARGUMENTS: [&str; 2] = ["models/hello/hello.gguf", "bindings/c/tests/api.c"];

fn compile(program: &str, library: &[&str], system: &[&str]) -> Outcome {
    let warnings = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"];
    let source = ["-Ibindings/c", "bindings/c/tests/api.c", "-o", program];
    run("gcc", &[&warnings[..], &source, library, system].concat())
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
