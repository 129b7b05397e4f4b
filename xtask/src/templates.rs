//! Compares chat templates with jinja2, configured as in `transformers`.

use crate::steps::{Outcome, cargo, python, root, run_env};
use std::path::{Path, PathBuf};

/// The engine with which our results are compared.
const REFERENCE: &str = "jinja2==3.1.6";
/// The package whose source contains the templates of many model families. No template
/// is kept here.
const PUBLISHED: &str = "llama-cpp-python==0.3.36";

/// Extracts the templates from the archive into the folder of the second argument.
const UNPACK: &str = "
import pathlib, sys, tarfile
into = pathlib.Path(sys.argv[2])
into.mkdir(parents=True, exist_ok=True)
with tarfile.open(sys.argv[1]) as archive:
    for member in archive:
        if '/models/templates/' in member.name and member.name.endswith('.jinja'):
            content = archive.extractfile(member).read()
            (into / pathlib.PurePosixPath(member.name).name).write_bytes(content)
";

/// Renders our own templates and published ones with both engines; the texts must be
/// equal.
pub fn templates() -> Outcome {
    let (packages, published) = match fetched() {
        Ok(fetched) => fetched,
        Err(reason) => {
            eprintln!("xtask: SKIPPED chat templates against jinja2: {reason}");
            return Ok(());
        }
    };
    // Builds the whole workspace, because building one package alone would rebuild its
    // dependencies.
    cargo(&["build", "--workspace", "--example", "render"])?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let renderer = target.join("debug/examples/render");
    let compare = "tests/templates/compare.py";
    let args = [compare, &text(&renderer), &text(&published)];
    run_env("python3", &args, &[("PYTHONPATH", &text(&packages))])
}

/// The folder of jinja2, and the folder of the published templates. Both are fetched
/// once. The error is the reason why they are not available.
fn fetched() -> Result<(PathBuf, PathBuf), String> {
    let folder = root().join("target/templates");
    let packages = folder.join(REFERENCE);
    if !packages.is_dir() {
        let part = folder.join("packages");
        let install = ["-m", "pip", "install", "--quiet", "--target"];
        python(&[&install[..], &[&text(&part), REFERENCE]].concat())?;
        std::fs::rename(&part, &packages).map_err(|error| error.to_string())?;
    }
    let published = folder.join(PUBLISHED);
    if !published.is_dir() {
        let archives = folder.join("source");
        let download = [
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-binary",
            ":all:",
            "--no-deps",
            "-d",
        ];
        python(&[&download[..], &[&text(&archives), PUBLISHED]].concat())?;
        let archive = archive(&archives).ok_or("pip left no archive")?;
        // The file gets its own name only when it is complete.
        let part = folder.join("part");
        let unpack = folder.join("unpack.py");
        std::fs::write(&unpack, UNPACK).map_err(|error| error.to_string())?;
        python(&[&text(&unpack), &text(&archive), &text(&part)])?;
        std::fs::rename(&part, &published).map_err(|error| error.to_string())?;
        std::fs::remove_dir_all(&archives).map_err(|error| error.to_string())?;
    }
    Ok((packages, published))
}

fn archive(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.to_string_lossy().ends_with(".tar.gz"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
