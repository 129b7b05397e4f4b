//! Tests the Python package, and builds its wheel.

use crate::steps::{Outcome, python as system_python, root, run, run_env, run_in};
use crate::{bindings, models};
use std::fs;
use std::path::{Path, PathBuf};

const SOURCE: &str = "bindings/python";

/// The tools and their versions.
const REQUIREMENTS: &str = "bindings/python/tests/requirements.txt";

/// The file that maturin also writes beside the glue.
const INIT: &str = "from .ondol_ffi import *  # NOQA\n";

/// Checks the package and runs its tests over a library from the shared build; with
/// `--wheel`, over the wheel that it builds. Other arguments go to pytest.
pub fn python(args: &[String]) -> Outcome {
    let tools = match tools("tools") {
        Ok(tools) => tools,
        Err(reason) => {
            eprintln!("xtask: SKIPPED the Python package: {reason}");
            return Ok(());
        }
    };
    let wheel = args.iter().any(|arg| arg == "--wheel");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let rest: Vec<&str> = args.into_iter().filter(|arg| *arg != "--wheel").collect();
    match wheel {
        true => test_wheel(&tools, &rest),
        false => test_package(&tools, &rest),
    }
}

fn test_package(tools: &Path, args: &[&str]) -> Outcome {
    let tool = |name: &str| text(&tools.join("bin").join(name));
    run(&tool("ruff"), &["check", "--no-cache", SOURCE])?;
    run(&tool("ruff"), &["format", "--no-cache", "--check", SOURCE])?;
    let packages = package()?;
    let config = format!("--config-file={SOURCE}/pyproject.toml");
    let cache = format!(
        "--cache-dir={}",
        text(&models::target().join("python/mypy"))
    );
    let (ondol, tests) = (text(&packages.join("ondol")), format!("{SOURCE}/tests"));
    run(&tool("mypy"), &[&config, &cache, &ondol, &tests])?;
    let pytest = [&[SOURCE], args].concat();
    let packages = text(&packages);
    let model = models::smollm2()?;
    let model = model.iter().map(|file| ("ONDOL_SMOLLM2", file.as_str()));
    let environment: Vec<_> = model.chain([("PYTHONPATH", packages.as_str())]).collect();
    run_env(&tool("pytest"), &pytest, &environment)
}

/// Builds the wheel as a release has it, and tests it where it is installed.
fn test_wheel(tools: &Path, args: &[&str]) -> Outcome {
    let wheels = root().join("target/python/wheels");
    let _ = fs::remove_dir_all(&wheels);
    let build = ["build", "--release", "--locked", "--out", &text(&wheels)];
    let maturin = text(&tools.join("bin/maturin"));
    run_in(&root().join(SOURCE), &maturin, &build)?;
    let wheel = fs::read_dir(&wheels).map_err(|e| e.to_string())?.next();
    let wheel = wheel.ok_or("maturin left no wheel")?;
    let wheel = text(&wheel.map_err(|e| e.to_string())?.path());
    let installed = self::tools("installed")?;
    let pip = text(&installed.join("bin/pip"));
    let install = ["install", "--quiet", "--no-deps", "--force-reinstall"];
    run(&pip, &[&install[..], &[&wheel]].concat())?;
    let pytest = text(&installed.join("bin/pytest"));
    run(&pytest, &[&[SOURCE], args].concat())
}

/// A virtual environment with the tools, made once. The error is the reason why there is
/// none.
fn tools(name: &str) -> Result<PathBuf, String> {
    let wanted = fs::read(root().join(REQUIREMENTS)).map_err(|e| e.to_string())?;
    let folder = root().join("target/python").join(name);
    let had = folder.join("requirements.txt");
    if fs::read(&had).is_ok_and(|had| had == wanted) {
        return Ok(folder);
    }
    let _ = fs::remove_dir_all(&folder);
    system_python(&["-m", "venv", &text(&folder)])?;
    let pip = text(&folder.join("bin/pip"));
    let install = ["install", "--quiet", "--no-input", "-r", REQUIREMENTS];
    run(&pip, &install)?;
    fs::write(&had, wanted).map_err(|e| e.to_string())?;
    Ok(folder)
}

/// The package with the library and its glue; returns the folder that it is in.
fn package() -> Result<PathBuf, String> {
    let built = bindings::libraries(&bindings::TESTING)?;
    let prefix = std::env::consts::DLL_PREFIX;
    let library = format!("{prefix}ondol_ffi{}", std::env::consts::DLL_SUFFIX);
    let packages = models::target().join("python/package");
    let _ = fs::remove_dir_all(&packages);
    let (ondol, glue) = (packages.join("ondol"), packages.join("ondol/_ffi"));
    fs::create_dir_all(&glue).map_err(|e| e.to_string())?;
    copy_files(&root().join(SOURCE).join("ondol"), &ondol)?;
    fs::copy(built.join(&library), glue.join(&library)).map_err(|e| e.to_string())?;
    fs::write(glue.join("__init__.py"), INIT).map_err(|e| e.to_string())?;
    let generate = ["generate", "--no-format", "--language", "python"];
    let (library, glue) = (text(&glue.join(&library)), text(&glue));
    let places = ["--out-dir", &glue, "--library", &library];
    let bindgen = text(&built.join("uniffi-bindgen"));
    run(&bindgen, &[&generate[..], &places].concat())?;
    Ok(packages)
}

fn copy_files(from: &Path, to: &Path) -> Outcome {
    let entries = fs::read_dir(from).map_err(|e| e.to_string())?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    for file in files.filter(|path| path.is_file()) {
        let name = file.file_name().unwrap_or_default();
        fs::copy(&file, to.join(name)).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
