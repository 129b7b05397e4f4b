//! Builds Ondol and its peers. Peers are kept in `target/peers/`, one build for each
//! instruction set.

use crate::engines::{Candle, LlamaCpp, Ondol};
use crate::results::Isa;
use crate::{Result, root};
use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python package whose source distribution holds llama.cpp.
const LLAMA_CPP: &str = "llama-cpp-python";
const LLAMA_CPP_VERSION: &str = "0.3.36";

/// candle's version, as `benches/candle/Cargo.toml` pins it.
const CANDLE_VERSION: &str = "0.11.1";

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn peers() -> PathBuf {
    target().join("peers")
}

/// Runs a step of a build.
pub fn step(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    eprintln!("bench: {line}");
    let status = command.status().map_err(|e| format!("{line}: {e}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{line}: {status}").into()),
    }
}

/// Cargo in the workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    cargo
}

/// The path of the command `ondol`, built anew.
pub fn ondol_program() -> Result<PathBuf> {
    step(cargo().args(["build", "--release", "-p", "ondol-cli"]))?;
    Ok(target().join(format!("release/ondol{EXE_SUFFIX}")))
}

/// Ondol, on files as they are or on their packed copies.
pub fn ondol(program: &Path, isa: Isa, threads: usize, packed: bool) -> Ondol {
    Ondol {
        program: program.to_path_buf(),
        isa,
        threads,
        packed,
    }
}

/// llama.cpp, built by cmake from its Python package's source unless `existing` is
/// the folder of a build.
pub fn llama_cpp(isa: Isa, threads: usize, existing: Option<&Path>) -> Result<LlamaCpp> {
    let build = peers().join(format!("llama.cpp-{}", isa.as_str()));
    let flags = match isa {
        Isa::Native => &["-DGGML_NATIVE=ON"][..],
        Isa::Avx2 => &[
            "-DGGML_NATIVE=OFF",
            "-DGGML_AVX2=ON",
            "-DGGML_FMA=ON",
            "-DGGML_F16C=ON",
            "-DGGML_BMI2=ON",
        ],
    };
    let (programs, how) = match existing {
        Some(folder) => (folder.join("bin"), "a build that was there".to_owned()),
        None => (build.join("bin"), flags.join(" ")),
    };
    if existing.is_none() && !programs.join("llama-completion").exists() {
        cmake(&llama_cpp_source()?, &build, flags)?;
    }
    let version = format!("{LLAMA_CPP} {LLAMA_CPP_VERSION}, {how}");
    Ok(LlamaCpp {
        programs,
        version,
        threads,
    })
}

/// The folder of llama.cpp's source, from the package index.
fn llama_cpp_source() -> Result<PathBuf> {
    let folder = peers().join("source");
    let name = format!("{}-{LLAMA_CPP_VERSION}", LLAMA_CPP.replace('-', "_"));
    let source = folder.join(&name).join("vendor/llama.cpp");
    if source.is_dir() {
        return Ok(source);
    }
    fs::create_dir_all(&folder)?;
    let exact = format!("{LLAMA_CPP}=={LLAMA_CPP_VERSION}");
    step(
        python(&folder)
            .args([
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--no-binary",
                LLAMA_CPP,
            ])
            .args(["--dest", ".", &exact]),
    )?;
    let archive = format!("{name}.tar.gz");
    step(python(&folder).args(["-m", "tarfile", "-e", &archive, "."]))?;
    Ok(source)
}

/// Builds the two programs with cmake and ninja from the package index.
fn cmake(source: &Path, build: &Path, flags: &[&str]) -> Result<()> {
    let tools = peers().join("tools");
    if !tools.join("bin/ninja").exists() {
        fs::create_dir_all(&tools)?;
        let install = [
            "-m",
            "pip",
            "install",
            "--upgrade",
            "--target",
            ".",
            "cmake",
            "ninja",
        ];
        step(python(&tools).args(install))?;
    }
    let tools = std::path::absolute(tools)?;
    let cmake = || {
        let mut command = Command::new(tools.join("bin/cmake"));
        // The programs that pip installs in a folder are Python scripts, which need this.
        command.env("PYTHONPATH", &tools);
        command
    };
    let ninja = tools.join("bin/ninja");
    step(
        cmake()
            .args([
                "-G",
                "Ninja",
                "-DCMAKE_BUILD_TYPE=Release",
                "-DBUILD_SHARED_LIBS=OFF",
            ])
            .args(["-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF"])
            .arg(format!("-DCMAKE_MAKE_PROGRAM={}", ninja.display()))
            .args(flags)
            .arg("-S")
            .arg(source)
            .arg("-B")
            .arg(build),
    )?;
    let targets = ["llama-bench", "llama-batched-bench", "llama-completion"];
    step(
        cmake()
            .arg("--build")
            .arg(build)
            .arg("--target")
            .args(targets),
    )
}

fn python(folder: &Path) -> Command {
    let mut python = Command::new("python3");
    python.current_dir(folder);
    python
}

/// The program in `benches/candle`. Its kernels are chosen when it is built, so it is
/// built for the instruction set.
pub fn candle(isa: Isa, threads: usize) -> Result<Candle> {
    let cpu = match isa {
        Isa::Native => "-C target-cpu=native",
        Isa::Avx2 => "-C target-cpu=x86-64-v3",
    };
    let target = peers().join(format!("candle-{}", isa.as_str()));
    step(
        cargo()
            .args([
                "build",
                "--release",
                "--locked",
                "--manifest-path",
                "benches/candle/Cargo.toml",
            ])
            .env("RUSTFLAGS", cpu)
            .env("CARGO_TARGET_DIR", std::path::absolute(&target)?),
    )?;
    Ok(Candle {
        program: target.join(format!("release/ondol-bench-candle{EXE_SUFFIX}")),
        version: format!("{CANDLE_VERSION}, {cpu}"),
        threads,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_told_for_candle_is_the_one_that_is_built() {
        let manifest = include_str!("../candle/Cargo.toml");
        let pin = format!("candle-transformers = \"={CANDLE_VERSION}\"");
        assert!(manifest.contains(&pin));
    }
}
