//! The process that runs a plug-in: the libraries that it has loaded, among them the driver,
//! and the device nodes that it holds. Linux shows both in `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Device nodes that every program may hold: of the terminal, of random numbers, of shared
/// memory. They are of no device that computes.
const COMMON: [&str; 11] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/console",
    "/dev/ptmx",
    "/dev/pts/",
    "/dev/shm/",
    "/dev/zero (deleted)",
];

/// What the process of a plug-in holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Files of which it runs code: the program, the plug-in and other libraries, in the
    /// order of their paths.
    pub code: Vec<PathBuf>,
    /// Device nodes that it has open or mapped, but for those that every program may hold.
    pub nodes: Vec<String>,
}

impl Holdings {
    /// Of the process that has loaded the plug-in: this one, or one that this one started.
    /// `None` if there is none, or if the system does not tell.
    pub fn of(plugin: &Path) -> Option<Holdings> {
        let plugin = plugin.canonicalize().ok()?;
        let own = std::process::id();
        let processes = fs::read_dir("/proc")
            .ok()?
            .flatten()
            .map(|entry| entry.path());
        let of_ours = processes.filter(|process| is_of(process, own));
        of_ours
            .filter_map(|process| Holdings::read(&process))
            .find(|holdings| holdings.code.contains(&plugin))
    }

    /// From a process's folder in `/proc`: `maps` and `fd` (proc_pid_maps(5), proc_pid_fd(5)).
    fn read(process: &Path) -> Option<Holdings> {
        let maps = fs::read(process.join("maps")).ok()?;
        let maps = String::from_utf8_lossy(&maps);
        let mapped: Vec<(&str, &str)> = maps.lines().filter_map(mapping).collect();
        let code = mapped.iter().filter(|(access, _)| access.contains('x'));
        let code: BTreeSet<PathBuf> = code.map(|(_, path)| PathBuf::from(path)).collect();
        let open = fs::read_dir(process.join("fd")).ok()?.flatten();
        let open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        let paths = open.map(|path| path.to_string_lossy().into_owned());
        let paths = paths.chain(mapped.iter().map(|(_, path)| (*path).to_owned()));
        let nodes: BTreeSet<String> = paths.filter(|path| is_device(path)).collect();
        Some(Holdings {
            code: code.into_iter().collect(),
            nodes: nodes.into_iter().collect(),
        })
    }
}

/// Whether a folder of `/proc` is that of a process, or of one that it started.
fn is_of(process: &Path, id: u32) -> bool {
    let named = process
        .file_name()
        .and_then(|name| name.to_str()?.parse().ok());
    // `PID (NAME) STATE PARENT ..`; a name may have brackets and spaces (proc_pid_stat(5)).
    let parent = || {
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(1)?.parse().ok()
    };
    named.is_some() && (named == Some(id) || parent() == Some(id))
}

/// The access and the path of a mapping: `ADDRESSES ACCESS OFFSET DEVICE INODE PATH`.
fn mapping(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.splitn(6, ' ');
    let access = fields.nth(1)?;
    let path = fields.nth(3)?.trim_start();
    path.starts_with('/').then_some((access, path))
}

fn is_device(path: &str) -> bool {
    let common = |known: &&str| match known.ends_with('/') {
        true => path.starts_with(*known),
        false => path == *known,
    };
    path.starts_with("/dev/") && !COMMON.iter().any(common)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_process_tells_its_code_and_its_devices() {
        let process = std::env::temp_dir().join(format!("ondol-holdings-{}", std::process::id()));
        fs::create_dir_all(process.join("fd")).unwrap();
        let maps = "\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/ondol
00651000-00652000 r--p 00051000 08:02 173521      /usr/bin/model file.gguf
7f1000000000-7f1000021000 r-xp 00000000 08:02 1 /opt/a vendor/libnpu.so
7f2000000000-7f2000021000 rw-s 00000000 00:05 7 /dev/npu1
7f3000000000-7f3000021000 rw-s 00000000 00:05 7 /dev/zero (deleted)
7ffe00000000-7ffe00021000 r-xp 00000000 00:00 0      [vdso]
7fff00000000-7fff00021000 rw-p 00000000 00:00 0 ";
        fs::write(process.join("maps"), maps).unwrap();
        for (fd, target) in [("0", "/dev/null"), ("1", "/dev/pts/3"), ("5", "/dev/npu0")] {
            let _ = symlink(target, process.join("fd").join(fd));
        }
        let found = Holdings::read(&process).unwrap();
        fs::remove_dir_all(&process).unwrap();
        assert_eq!(
            found.code,
            ["/opt/a vendor/libnpu.so", "/usr/bin/ondol"].map(PathBuf::from)
        );
        assert_eq!(found.nodes, ["/dev/npu0", "/dev/npu1"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_runs_its_own_program() {
        let program = std::env::current_exe().unwrap();
        let found = Holdings::of(&program).unwrap();
        assert!(found.code.contains(&program.canonicalize().unwrap()));
        assert_eq!(Holdings::of(Path::new("/dev/null")), None);
    }
}
