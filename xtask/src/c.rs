//! Tests the C binding with programs in C and C++, and both libraries as they are
//! installed.

mod install;
mod page;

use crate::steps::{Outcome, output, run, run_env};
use crate::{apt, delegate, models};
use std::fs;
use std::path::{Path, PathBuf};

const PACKAGES: [&str; 6] = ["cmake", "g++", "gcc", "libc6-dev", "pkg-config", "valgrind"];

/// The built-in model, written to a file.
pub const HELLO: &str = "models/hello/hello.gguf";

/// A file that is not a model.
const NO_MODEL: &str = "bindings/c/tests/api.c";

/// The libraries that the test programs themselves use.
const OWN: [&str; 2] = ["-pthread", "-lm"];

const SANITIZERS: [&str; 3] = [
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
];

/// Runs the tests, or installs the header and the libraries.
pub fn c(args: &[String]) -> Outcome {
    match args {
        [] => tests(),
        [flag, prefix] if flag == "--install" => install::build_and_install(prefix),
        _ => Err("`c` takes `--install DIR` alone".into()),
    }
}

/// Installs the libraries in a folder. With them, runs the programs in
/// `bindings/c/tests`, the examples, and what `docs/c.md` shows.
fn tests() -> Outcome {
    if !apt::install("the C binding", &PACKAGES)? {
        return Ok(());
    }
    let prefix = installed()?;
    let plug_in = delegate::sample()?;
    test("api", &prefix, &[HELLO, NO_MODEL])?;
    test("engine", &prefix, &[HELLO, NO_MODEL, &plug_in])?;
    smollm2(&prefix)?;
    examples(&prefix)?;
    page::page(&prefix)
}

/// Installs the libraries, and moves them to another place: the installed files must
/// work wherever they are.
fn installed() -> Result<PathBuf, String> {
    let (made, prefix) = (folder()?.join("made"), folder()?.join("installed"));
    for old in [&made, &prefix] {
        let _ = fs::remove_dir_all(old);
    }
    install::install(&libraries()?, &made)?;
    fs::rename(&made, &prefix).map_err(|e| format!("{} ({e})", prefix.display()))?;
    Ok(prefix)
}

/// Runs one program with both libraries, with valgrind, and with sanitizers in its own
/// code and under the library's allocations.
fn test(name: &str, prefix: &Path, arguments: &[&str]) -> Outcome {
    let source = format!("bindings/c/tests/{name}.c");
    let build = |kind: &str, flags: &[&str]| {
        let program = folder()?.join(format!("{name}-{kind}"));
        cc(&source, &program, &[flags, &OWN].concat())
    };
    let (fixed, shared) = (static_flags(prefix)?, shared_flags(prefix)?);
    let (fixed, shared) = (words(&fixed), words(&shared));
    let program = build("static", &fixed)?;
    run(&program, arguments)?;
    valgrind(&program, arguments)?;
    run(
        &build("sanitized", &[&SANITIZERS, &fixed[..]].concat())?,
        arguments,
    )?;
    let lib = prefix.join("lib").display().to_string();
    let program = build("shared", &shared)?;
    run_env(&program, arguments, &[("LD_LIBRARY_PATH", &lib)])
}

/// Runs the program that uses a real model, if the model is available.
fn smollm2(prefix: &Path) -> Outcome {
    let Some(model) = models::smollm2()? else {
        return Ok(());
    };
    let flags = static_flags(prefix)?;
    let program = folder()?.join("smollm2");
    let flags = [&words(&flags)[..], &OWN].concat();
    run(
        &cc("bindings/c/tests/smollm2.c", &program, &flags)?,
        &[&model],
    )
}

/// Builds the examples with CMake, and runs them, also with valgrind.
fn examples(prefix: &Path) -> Outcome {
    let build = folder()?.join("examples").display().to_string();
    let found = format!("-DCMAKE_PREFIX_PATH={}", prefix.display());
    let strict = "-Wall -Wextra -Werror";
    let (c, cpp) = (
        format!("-DCMAKE_C_FLAGS={strict}"),
        format!("-DCMAKE_CXX_FLAGS={strict}"),
    );
    let source = ["-S", "bindings/c/examples", "-B", &build];
    run("cmake", &[&source[..], &[&found, &c, &cpp]].concat())?;
    run("cmake", &["--build", &build])?;
    let greet = format!("{build}/greet");
    let said = output(&greet, &[HELLO])?;
    if !said.contains("안녕하세요!") || !said.contains("Hello!") {
        return Err(format!("{greet}: {said}"));
    }
    valgrind(&greet, &[HELLO])?;
    valgrind(&format!("{build}/answer"), &[HELLO, "What is ondol?"])?;
    valgrind(&format!("{build}/two"), &[HELLO])
}

fn valgrind(program: &str, arguments: &[&str]) -> Outcome {
    // Tables that live as long as the program are reported as "possibly lost". Valgrind
    // does not support the widest vectors, and does not need them.
    let check = [
        "--quiet",
        "--error-exitcode=1",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
    ];
    let line = [&check[..], &[program], arguments].concat();
    run_env("valgrind", &line, &[("ONDOL_KERNELS", "scalar")])
}

/// The flags of pkg-config for the shared library.
fn shared_flags(prefix: &Path) -> Result<String, String> {
    pkg_config(prefix, &["--cflags", "--libs", "ondol"])
}

/// The flags for the static library, by its file's name: the linker prefers the shared
/// one.
fn static_flags(prefix: &Path) -> Result<String, String> {
    let flags = pkg_config(prefix, &["--static", "--cflags", "--libs", "ondol"])?;
    Ok(flags.replace("-londol", "-l:libondol.a"))
}

fn pkg_config(prefix: &Path, arguments: &[&str]) -> Result<String, String> {
    let path = prefix.join("lib/pkgconfig");
    let path = format!("PKG_CONFIG_PATH={}", path.display());
    output("env", &[&[&path, "pkg-config"], arguments].concat())
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Builds `bindings/c/examples/answer.c`; returns the path.
pub fn example() -> Result<String, String> {
    let archive = libraries()?.join("libondol.a").display().to_string();
    let system = install::SYSTEM.map(|library| format!("-l{library}"));
    let system = system.iter().map(String::as_str);
    let flags: Vec<&str> = ["-Ibindings/c", &archive]
        .into_iter()
        .chain(system)
        .collect();
    let program = folder()?.join("answer");
    cc("bindings/c/examples/answer.c", &program, &flags)
}

/// Builds the libraries together with the whole workspace; returns their folder.
fn libraries() -> Result<PathBuf, String> {
    models::command()?;
    Ok(models::target().join("debug"))
}

/// The folder of this chore's files.
fn folder() -> Result<PathBuf, String> {
    let folder = models::target().join("c");
    fs::create_dir_all(&folder).map_err(|e| format!("{} ({e})", folder.display()))?;
    Ok(folder)
}

/// Compiles a source to a program, or an object by `-c`; returns its path.
fn cc(source: &str, to: &Path, flags: &[&str]) -> Result<String, String> {
    let to = to.display().to_string();
    let strict = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"];
    run("cc", &[&strict[..], &[source, "-o", &to], flags].concat())?;
    Ok(to)
}
