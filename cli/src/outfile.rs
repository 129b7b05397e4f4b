//! The file that a command writes: complete under its name, or not at all.
//!
//! One rule for all commands:
//!
//! - If the name is free or is a regular file, a new file is written under a private
//!   name in the same folder, and renamed at the end. Symlinks are followed, so that
//!   the link stays and its target is replaced.
//! - A device, a FIFO, or a file that the shell has open, such as `/dev/stdout`, is
//!   written directly and not replaced.
//! - An existing regular file is replaced only with `--force`; an input of the command
//!   is never replaced, under any of its names.
//!
//! [`AtomicFile`] makes the private names.

use crate::error::{Error, Result};
use crate::memory;
use ondol::files::{AtomicFile, folder_of};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The most links that are followed to a file that does not exist yet.
const MAX_LINKS: usize = 40;

/// A file that is being written. It is removed unless [`Outfile::commit`] is called.
pub struct Outfile {
    /// Its name, as the user gave it.
    path: PathBuf,
    to: Output,
    force: bool,
}

enum Output {
    /// An output that is written directly, and the number of bytes written.
    Through(File, u64),
    /// A private file, and its final name.
    Private {
        file: AtomicFile,
        target: PathBuf,
        _unlink: memory::UnlinkOnExit,
    },
}

impl Outfile {
    /// Opens the output of a command that reads `inputs`, before any work is done.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is an input, or exists and `force` is not set.
    pub fn create(path: &Path, force: bool, inputs: &[PathBuf]) -> Result<Outfile> {
        refuse_inputs(path, inputs)?;
        let about = match fs::metadata(path) {
            Ok(about) => Some(about),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(Error::file("create", path)(e)),
        };
        if about.as_ref().is_some_and(fs::Metadata::is_dir) {
            let source = ErrorKind::IsADirectory.into();
            return Err(Error::file("write", path)(source));
        }
        let is_special = about.as_ref().is_some_and(|about| !about.is_file());
        let target = follow_links(path).map_err(Error::file("create", path))?;
        let to = match target.filter(|_| !is_special) {
            Some(target) => {
                refuse_existing(path, force)?;
                private(target, about.as_ref()).map_err(Error::file("create", path))?
            }
            None => {
                // Without append mode, output to a file that the shell opened with `>>` would
                // overwrite the file from its start.
                let file = OpenOptions::new().append(true).open(path);
                Output::Through(file.map_err(Error::file("open", path))?, 0)
            }
        };
        Ok(Outfile {
            path: path.to_path_buf(),
            to,
            force,
        })
    }

    /// The output as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the bytes until [`Outfile::commit`], to check them; `None` if they
    /// are written directly.
    pub fn part(&self) -> Option<&Path> {
        match &self.to {
            Output::Private { file, .. } => Some(file.part()),
            Output::Through(..) => None,
        }
    }

    /// Lets nobody but its owner read the file, before anything is written.
    ///
    /// # Errors
    /// [`Error::File`] if the system can't.
    pub fn only_for_the_owner(&self) -> Result<()> {
        #[cfg(unix)]
        if let Some(part) = self.part() {
            use std::os::unix::fs::PermissionsExt;
            let rights = fs::Permissions::from_mode(0o600);
            fs::set_permissions(part, rights).map_err(Error::file("protect", &self.path))?;
        }
        Ok(())
    }

    /// Syncs the bytes to the disk and renames the file. Returns the number of bytes.
    pub fn commit(self) -> Result<u64> {
        let failed = || Error::file("write", &self.path);
        match self.to {
            Output::Through(_, bytes) => Ok(bytes),
            Output::Private { file, target, .. } => {
                file.sync().map_err(failed())?;
                // Another program may have made the target since `create`.
                refuse_existing(&target, self.force)?;
                file.commit(&target).map_err(failed())
            }
        }
    }
}

/// A private file beside `target`, with the rights of the file that it replaces.
fn private(target: PathBuf, replaced: Option<&fs::Metadata>) -> io::Result<Output> {
    let file = AtomicFile::create_in(folder_of(&target))?;
    if let Some(about) = replaced {
        // If the system can't set the rights, the default ones stay: that is no error.
        let _ = fs::set_permissions(file.part(), about.permissions());
    }
    Ok(Output::Private {
        _unlink: memory::UnlinkOnExit::new(file.part()),
        file,
        target,
    })
}

impl Write for Outfile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            Output::Private { file, .. } => file.write(bytes),
            Output::Through(file, all) => {
                let written = file.write(bytes)?;
                *all += written as u64;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            Output::Private { file, .. } => file.flush(),
            Output::Through(file, _) => file.flush(),
        }
    }
}

/// Refuses an output that is also an input, under any name.
fn refuse_inputs(path: &Path, inputs: &[PathBuf]) -> Result<()> {
    match inputs.iter().find(|input| is_same_file(input, path)) {
        Some(input) => Err(Error::Usage(format!(
            "the output {} is the same file as the input {}",
            path.display(),
            input.display()
        ))),
        None => Ok(()),
    }
}

/// Whether two paths lead to one file. Neither is opened: it may be a FIFO, which
/// would wait for its other end.
#[cfg(unix)]
fn is_same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path| {
        fs::metadata(path)
            .map(|about| (about.dev(), about.ino()))
            .ok()
    };
    identity(a).is_some_and(|a| identity(b) == Some(a))
}

#[cfg(not(unix))]
fn is_same_file(a: &Path, b: &Path) -> bool {
    // A path that does not exist is not the same file as any other.
    same_file::is_same_file(a, b).unwrap_or(false)
}

/// Refuses an output that leads to standard output if JSON is printed there.
///
/// # Errors
/// [`Error::Usage`].
pub fn refuse_output_of_json(path: &Path, json: bool) -> Result<()> {
    if json && cfg!(unix) && is_same_file(path, Path::new("/dev/stdout")) {
        return Err(Error::Usage(format!(
            "{} is standard output, where --json prints: leave one of them out",
            path.display()
        )));
    }
    Ok(())
}

fn refuse_existing(path: &Path, force: bool) -> Result<()> {
    match !force && path.exists() {
        true => Err(Error::Usage(format!(
            "{} exists; --force replaces it",
            path.display()
        ))),
        false => Ok(()),
    }
}

/// The file that a path leads to, whether it is there or not; `None` where that is
/// one that a process has open, as `/dev/stdout` is.
fn follow_links(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        if cfg!(unix) && (path.starts_with("/dev/fd") || path.starts_with("/proc")) {
            return Ok(None);
        }
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_symlink() => {
                let to = fs::read_link(&path)?;
                path = folder_of(&path).join(to);
            }
            _ => break,
        }
    }
    Ok(Some(path))
}

/// Makes a write beyond the limit of file sizes (`ulimit -f`) an error. By default a
/// signal ends the process, and the file that is being written stays. Child processes
/// have the default.
#[cfg(unix)]
pub fn take_size_limit_as_error() {
    use std::sync::atomic::AtomicBool;
    /// The signal needs no action: the failed write returns an error.
    static CAME: AtomicBool = AtomicBool::new(false);
    let _ = signal_hook::flag::register(libc::SIGXFSZ, &CAME);
}

#[cfg(not(unix))]
pub fn take_size_limit_as_error() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(test: &str) -> PathBuf {
        let name = format!("ondol-outfile-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn write(path: &Path, force: bool, text: &str) -> Result<()> {
        let mut out = Outfile::create(path, force, &[])?;
        out.write_all(text.as_bytes()).unwrap();
        out.commit().map(drop)
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = folder("whole");
        let path = folder.join("out");
        let mut out = Outfile::create(&path, false, &[]).unwrap();
        out.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(out);
        assert!(names(&folder).is_empty());

        write(&path, false, "one").unwrap();
        assert!(matches!(write(&path, false, "two"), Err(Error::Usage(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        write(&path, true, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(&folder), ["out"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_came_meanwhile_is_not_replaced_unasked() {
        let folder = folder("meanwhile");
        let path = folder.join("out");
        let out = Outfile::create(&path, false, &[]).unwrap();
        fs::write(&path, "the user's").unwrap();
        assert!(matches!(out.commit(), Err(Error::Usage(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "the user's");
        assert_eq!(names(&folder), ["out"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_inputs_are_known_by_all_their_names() {
        use std::os::unix::fs::symlink;
        let folder = folder("links");
        let [real, link, hard] = ["real", "link", "hard"].map(|name| folder.join(name));
        symlink("real", &link).unwrap();
        // A link to what is not there yet.
        write(&link, false, "one").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "one");
        write(&link, true, "two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "two");

        fs::hard_link(&real, &hard).unwrap();
        for output in [&real, &link, &hard] {
            let refused = Outfile::create(output, true, std::slice::from_ref(&real));
            assert!(matches!(refused, Err(Error::Usage(_))), "{output:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
