//! Installs the header, both libraries, and the files by which pkg-config and CMake find
//! them: `cargo xtask c --install DIR`.

use crate::models;
use crate::steps::{Outcome, cargo, root};
use std::fs;
use std::io;
use std::path::Path;

/// System libraries that the static library needs.
pub const SYSTEM: [&str; 3] = ["pthread", "dl", "m"];

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The name by which linked programs find the shared library; `build.rs` of `ondol-c` writes it
/// into the library.
const SONAME: &str = concat!("libondol.so.", env!("CARGO_PKG_VERSION_MAJOR"));
/// The file of the shared library.
const SHARED: &str = concat!("libondol.so.", env!("CARGO_PKG_VERSION"));

/// The files that are made from a template with `@NAME@` in place of values.
const TEMPLATES: [(&str, &str); 3] = [
    (
        "lib/pkgconfig/ondol.pc",
        include_str!("../../../bindings/c/install/ondol.pc.in"),
    ),
    (
        "lib/cmake/ondol/ondol-config.cmake",
        include_str!("../../../bindings/c/install/ondol-config.cmake.in"),
    ),
    (
        "lib/cmake/ondol/ondol-config-version.cmake",
        include_str!("../../../bindings/c/install/ondol-config-version.cmake.in"),
    ),
];

/// Builds both libraries for use, and installs them.
pub fn build_and_install(prefix: &str) -> Outcome {
    cargo(&["build", "--release", "-p", "ondol-c"])?;
    install(&models::target().join("release"), Path::new(prefix))
}

/// Installs the libraries of a folder.
pub fn install(libraries: &Path, prefix: &Path) -> Outcome {
    if !cfg!(target_os = "linux") {
        return Err("installing, which only works on Linux,".into());
    }
    copy(
        &root().join("bindings/c/ondol.h"),
        &prefix.join("include/ondol.h"),
    )?;
    let lib = prefix.join("lib");
    copy(&libraries.join("libondol.a"), &lib.join("libondol.a"))?;
    copy(&libraries.join("libondol.so"), &lib.join(SHARED))?;
    link(SHARED, &lib.join(SONAME))?;
    link(SONAME, &lib.join("libondol.so"))?;
    for (path, template) in TEMPLATES {
        let path = prefix.join(path);
        prepare(&path)?;
        fs::write(&path, filled(template)).map_err(failed(&path))?;
    }
    Ok(())
}

fn filled(template: &str) -> String {
    let flags = SYSTEM.map(|library| format!("-l{library}")).join(" ");
    let values = [
        ("@VERSION@", VERSION),
        ("@MAJOR@", env!("CARGO_PKG_VERSION_MAJOR")),
        ("@MINOR@", env!("CARGO_PKG_VERSION_MINOR")),
        ("@SONAME@", SONAME),
        ("@SHARED@", SHARED),
        ("@SYSTEM_FLAGS@", &flags),
        ("@SYSTEM_LIBRARIES@", &SYSTEM.join(";")),
    ];
    let fill = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
    values.iter().fold(template.to_owned(), fill)
}

/// Makes the folder of a file, and removes the file: overwriting it would damage running programs
/// that have it mapped.
fn prepare(path: &Path) -> Outcome {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(failed(folder))?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Outcome {
    prepare(to)?;
    fs::copy(from, to).map(drop).map_err(failed(to))
}

#[cfg(unix)]
fn link(target: &str, path: &Path) -> Outcome {
    prepare(path)?;
    std::os::unix::fs::symlink(target, path).map_err(failed(path))
}

#[cfg(not(unix))]
fn link(_: &str, path: &Path) -> Outcome {
    Err(format!("{}: no link", path.display()))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{} ({error})", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_filled_in() {
        for (path, template) in TEMPLATES {
            let text = filled(template);
            assert!(!text.contains('@'), "{path}: {text}");
            assert!(text.contains(VERSION), "{path}: {text}");
        }
    }
}
