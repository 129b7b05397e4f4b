//! Tests the Swift package `ios/` with Debian's Swift, in a chroot.

use crate::steps::{Outcome, output, root, run};
use crate::{apt, bindings, models};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

mod snippets;

/// What makes the chroot.
const PACKAGES: [&str; 1] = ["debootstrap"];

/// The release of Debian with Swift 6.
const SUITE: &str = "trixie";

/// What is installed in the chroot.
const INSIDE: [&str; 4] = ["swiftlang", "libc6-dev", "libstdc++-14-dev", "binutils"];

/// Runs a command in the chroot `$0`. Swift's compiler finds its libraries by `/proc`.
const ENTER: &str = "mount --make-rprivate / && mount -t proc proc \"$0/proc\" && \
    mount --bind /dev \"$0/dev\" && exec chroot \"$0\" /bin/sh -ec \"$1\"";

/// The page whose snippets are compiled.
const PAGE: &str = "docs/ios.md";

/// Builds the package and runs its tests with the library, then builds it as an app on
/// Linux would. `--long` runs the tests for memory growth in full.
pub fn swift(args: &[String]) -> Outcome {
    let long = match args {
        [] => "",
        [arg] if arg == "--long" => "ONDOL_LONG=1 ",
        _ => return Err("`swift` takes `--long` alone".into()),
    };
    if output("id", &["-u"])?.trim() != "0" {
        println!("xtask: SKIPPED Swift: a chroot needs root");
        return Ok(());
    }
    let Some(chroot) = Chroot::find()? else {
        return Ok(());
    };
    let library = bindings::libraries(&bindings::TESTING)?.join("libondol_ffi.so");
    let place = Place::of(&chroot);
    copy(&library, &place.outside.join("lib/libondol_ffi.so"))?;
    copy(
        &root().join(crate::c::HELLO),
        &place.outside.join("hello.gguf"),
    )?;
    place.fill_tests(&library)?;
    let smollm2 = place.smollm2()?;
    let environment = format!("ONDOL_TESTING=1 {long}{smollm2}");
    chroot.run(&place.command("tests", &environment, "test"))?;
    mirror_folder(&root().join("ios"), &place.outside.join("app"))?;
    chroot.run(&place.command("app", "", "build"))
}

/// The chroot with Swift.
struct Chroot(PathBuf);

impl Chroot {
    /// Makes the chroot if it is missing; `None`, and prints why, if that is impossible. The chroot
    /// is kept outside the repository, in `$ONDOL_TOOLS` or the user's folder for caches.
    fn find() -> Result<Option<Chroot>, String> {
        let tools = tools()?;
        let home = tools.join(format!("swift-{SUITE}"));
        fs::create_dir_all(&tools).map_err(|e| format!("{}: {e}", tools.display()))?;
        // Another process may be making it.
        let lock = File::create(tools.join("lock")).and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(|e| format!("the lock in {} ({e})", tools.display()))?;
        if !home.exists() {
            if !apt::install("Swift", &PACKAGES)? {
                return Ok(None);
            }
            make(&home)?;
        }
        Ok(Some(Chroot(home)))
    }

    fn run(&self, command: &str) -> Outcome {
        let home = self.0.to_string_lossy();
        run("unshare", &["--mount", "sh", "-ec", ENTER, &home, command])
    }
}

fn tools() -> Result<PathBuf, String> {
    let own = std::env::var_os("ONDOL_TOOLS").map(PathBuf::from);
    let user = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/ondol"));
    own.or_else(user)
        .ok_or("neither ONDOL_TOOLS nor HOME is set".into())
}

/// Makes the chroot under another name, and renames it when it is complete.
fn make(home: &Path) -> Outcome {
    let making = home.with_extension("making");
    let _ = fs::remove_dir_all(&making);
    let path = making.to_string_lossy();
    let mirror = mirror()?;
    let base = ["--variant=minbase", "--include=ca-certificates", SUITE];
    run("debootstrap", &[&base[..], &[&path, &mirror]].concat())?;
    // Host names are resolved as outside the chroot.
    let _ = fs::copy("/etc/resolv.conf", making.join("etc/resolv.conf"));
    let quiet = "DEBIAN_FRONTEND=noninteractive apt-get -q";
    let inside = INSIDE.join(" ");
    let install = format!("{quiet} install -y --no-install-recommends {inside}");
    let all = format!("{quiet} update && {install} && apt-get clean && swift --version");
    Chroot(making.clone()).run(&all)?;
    fs::rename(&making, home).map_err(|e| format!("{}: {e}", home.display()))
}

/// The mirror of Debian that this machine uses.
fn mirror() -> Result<String, String> {
    let format = "$(ORIGIN) $(SUITE) $(REPO_URI)";
    let list = output("apt-get", &["indextargets", "--format", format])?;
    let debian = list.lines().filter_map(|line| line.strip_prefix("Debian "));
    let mut mirrors = debian.filter_map(|line| line.split_once(' '));
    // Suites such as `bookworm-security` are not complete releases.
    let first = mirrors.find(|(suite, _)| !suite.contains('-'));
    let first = first.map(|(_, mirror)| mirror.to_owned());
    first.ok_or("apt knows no mirror of Debian".into())
}

/// A folder in the chroot: one for each checkout of the repository, kept for the next run.
struct Place {
    /// The path in the chroot.
    inside: String,
    outside: PathBuf,
}

impl Place {
    fn of(chroot: &Chroot) -> Place {
        let mut hasher = DefaultHasher::new();
        root().hash(&mut hasher);
        let inside = format!("ondol/{:016x}", hasher.finish());
        let outside = chroot.0.join(&inside);
        let inside = format!("/{inside}");
        Place { inside, outside }
    }

    /// Copies the package, with the code of a library that has a panic for the tests, and
    /// the page's snippets.
    fn fill_tests(&self, library: &Path) -> Outcome {
        // Put together in another folder than the one that is built, whose files keep their times
        // if they do not change.
        let sources = self.outside.join("sources");
        let glue = bindings::swift(library)?;
        let page = fs::read_to_string(root().join(PAGE)).map_err(|e| format!("{PAGE}: {e}"))?;
        let snippets = snippets::source(&page)?;
        mirror_folder(&root().join("ios"), &sources)?;
        for (file, committed) in bindings::SWIFT {
            copy(&glue.join(file), &sources.join(inside_package(committed)))?;
        }
        let to = sources.join("Tests/OndolTests/PageSnippets.swift");
        write(&to, snippets.as_bytes())?;
        mirror_folder(&sources, &self.outside.join("tests"))
    }

    /// Copies SmolLM2's file, if it is available; returns the environment variable with its path.
    fn smollm2(&self) -> Result<String, String> {
        let Some(file) = models::smollm2()? else {
            return Ok(String::new());
        };
        copy(Path::new(&file), &self.outside.join("smollm2.gguf"))?;
        Ok(format!("ONDOL_SMOLLM2={}/smollm2.gguf ", self.inside))
    }

    /// A command of SwiftPM's in a copy of the package; warnings are errors.
    fn command(&self, copy: &str, environment: &str, command: &str) -> String {
        let place = &self.inside;
        format!(
            "cd {place}/{copy} && {environment}ONDOL_HELLO={place}/hello.gguf \
             LD_LIBRARY_PATH={place}/lib swift {command} --scratch-path {place}/built-{copy} \
             -Xswiftc -warnings-as-errors -Xlinker -L{place}/lib"
        )
    }
}

/// A path of the repository as the package has it.
fn inside_package(path: &str) -> &str {
    path.strip_prefix("ios/").unwrap_or(path)
}

/// Copies a folder, and removes from the copy what the folder does not have.
fn mirror_folder(from: &Path, to: &Path) -> Outcome {
    let failed = |e: std::io::Error| format!("{} to {} ({e})", from.display(), to.display());
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(to).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !from.join(entry.file_name()).exists() {
            let path = entry.path();
            let folder = entry.file_type().map_err(failed)?.is_dir();
            let removed = if folder {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
            removed.map_err(failed)?;
        }
    }
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().map_err(failed)?.is_dir() {
            true => mirror_folder(&from, &to)?,
            false => copy(&from, &to)?,
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    let bytes = fs::read(from).map_err(|e| format!("{} ({e})", from.display()))?;
    write(to, &bytes)
}

/// Writes a file only if that changes it: SwiftPM builds every file again whose time changed.
fn write(path: &Path, bytes: &[u8]) -> Outcome {
    if fs::read(path).is_ok_and(|had| had == bytes) {
        return Ok(());
    }
    let failed = |e: std::io::Error| format!("{} ({e})", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_its_folder_has() {
        let home = std::env::temp_dir().join(format!("ondol-mirror-{}", std::process::id()));
        let (from, to) = (home.join("from"), home.join("to"));
        write(&from.join("a/b"), b"1").unwrap();
        write(&to.join("a/old"), b"2").unwrap();
        write(&to.join("gone/c"), b"3").unwrap();
        mirror_folder(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("a/b")).unwrap(), b"1");
        assert!(!to.join("a/old").exists() && !to.join("gone").exists());
        fs::remove_dir_all(home).unwrap();
    }
}
