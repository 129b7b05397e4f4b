//! Writes the code that UniFFI generates, or compares it with the committed code. Only Swift's
//! code is committed, because a Swift package needs it in the repository. The code of the other
//! languages is generated when it is tested.

use crate::models;
use crate::steps::{Outcome, cargo, root, run};
use std::fs;
use std::path::{Path, PathBuf};

/// The files, and where they are committed.
pub const SWIFT: [(&str, &str); 2] = [
    ("OndolFFI.swift", "ios/Sources/OndolFFI/OndolFFI.swift"),
    ("COndolFFI.h", "ios/Sources/COndolFFI/COndolFFI.h"),
];

/// Writes the committed code again, or with `--check` compares it.
pub fn bindings(args: &[String]) -> Outcome {
    let check = match args {
        [] => false,
        [arg] if arg == "--check" => true,
        _ => return Err("`bindings` takes `--check` alone".into()),
    };
    let made = swift(&libraries(&[])?.join("libondol_ffi.so"))?;
    for (file, committed) in SWIFT {
        let made = read(&made.join(file))?;
        let path = root().join(committed);
        if !check {
            fs::write(&path, made).map_err(|e| format!("{committed}: {e}"))?;
        } else if read(&path)? != made {
            return Err(format!(
                "{committed}: the library has changed; `cargo xtask bindings` writes it anew,"
            ));
        }
    }
    Ok(())
}

/// The features that the bindings' tests need, to cause a panic.
pub const TESTING: [&str; 2] = ["ondol-uniffi/testing", "ondol-jni/testing"];

/// Builds the libraries of the bindings with these features, and the generator; returns
/// their folder. Builds the whole workspace, since one package alone would have its
/// dependencies built with other features.
pub fn libraries(features: &[&str]) -> Result<PathBuf, String> {
    let all = ["build", "--workspace", "--all-targets", "--features"];
    cargo(&[&all[..], &[&features.join(",")]].concat())?;
    Ok(models::target().join("debug"))
}

/// Generates the code for Swift from a library; returns its folder.
pub fn swift(library: &Path) -> Result<PathBuf, String> {
    generate(&library.with_file_name("uniffi-bindgen"), "swift", library)
}

/// Generates a language's code from a library; returns its folder.
pub fn generate(generator: &Path, language: &str, library: &Path) -> Result<PathBuf, String> {
    let out = models::target().join("bindings").join(language);
    let _ = fs::remove_dir_all(&out);
    let (generator, library) = (generator.to_string_lossy(), library.to_string_lossy());
    let folder = out.to_string_lossy();
    let to = ["--no-format", "--language", language, "--out-dir", &folder];
    run(&generator, &[&["generate"], &to[..], &[&library]].concat())?;
    Ok(out)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}
