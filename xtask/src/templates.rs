//! Chat templates against jinja2, set up as `transformers` sets it up.

use crate::steps::{Outcome, cargo, python, root, run_env};
use std::path::{Path, PathBuf};

/// The engine that our answers are held against.
const REFERENCE: &str = "jinja2==3.1.6";
/// Its source package carries the templates of many families. None is kept here.
const PUBLISHED: &str = "llama-cpp-python==0.3.36";

/// Takes the templates (the second argument is their folder) out of the archive.
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

/// Templates of our own and published ones, rendered by both; the texts must agree.
pub fn templates() -> Outcome {
    let (packages, published) = match fetched() {
        Ok(fetched) => fetched,
        Err(reason) => {
            eprintln!("xtask: SKIPPED chat templates against jinja2: {reason}");
            return Ok(());
        }
    };
    // Of the workspace, since a package alone would have its dependencies built anew.
    cargo(&["build", "--workspace", "--example", "render"])?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let renderer = target.join("debug/examples/render");
    let compare = "tests/templates/compare.py";
    let args = [compare, &text(&renderer), &text(&published)];
    run_env("python3", &args, &[("PYTHONPATH", &text(&packages))])
}

/// The folder of jinja2, and that of the published templates. Both are fetched once;
/// the error is why not.
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
        // Under its own name only once it is whole.
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
