//! Runs a program and measures its time and memory, if wanted while a core is kept busy.

use crate::Result;
use ondol::machine::{ProcessMemory, process_memory};
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time between two readings of a process's memory: long enough not to slow the process down.
const LOOK: Duration = Duration::from_millis(25);

/// A program that ended well.
#[derive(Debug)]
pub struct Finished {
    /// What it printed.
    pub stdout: String,
    /// Seconds from its start to its end.
    pub seconds: f64,
    /// The most bytes of memory that were resident.
    pub peak_rss: u64,
    /// The most bytes that were resident and not pages of a file (Linux).
    pub peak_anonymous: Option<u64>,
}

/// Runs a program to its end.
///
/// # Errors
/// It can't be started, or fails; then the error has the end of what it said.
pub fn run(command: &mut Command) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{name}: {e}"))?;
    watch(child, start).map_err(|reason| format!("{name}: {reason}").into())
}

fn watch(mut child: Child, start: Instant) -> Result<Finished> {
    let pid = child.id();
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let ended = Arc::new(AtomicBool::new(false));
    let looker = {
        let ended = ended.clone();
        thread::spawn(move || peaks(pid, &ended))
    };
    let waited = wait(pid);
    let seconds = start.elapsed().as_secs_f64();
    ended.store(true, Ordering::Relaxed);
    looker.thread().unpark();
    let seen = looker.join().unwrap_or_default();
    let text = |thread: JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&thread.join().unwrap_or_default()).into_owned()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    let (status, peak_rss) = waited?;
    if status != 0 {
        let lines: Vec<&str> = stderr.lines().rev().take(3).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        return Err(format!("failed (wait status {status}): {}", lines.join(" / ")).into());
    }
    Ok(Finished {
        stdout,
        seconds,
        peak_rss: seen.peak.unwrap_or(peak_rss),
        peak_anonymous: seen.anonymous,
    })
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Waits for a child: its wait status and peak resident bytes. On Linux these are no
/// less than what this process had when it started the child.
fn wait(pid: u32) -> Result<(i32, u64)> {
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are valid for writes; the child is ours and was not waited for.
    let found = unsafe { libc::wait4(pid as i32, &mut status, 0, usage.as_mut_ptr()) };
    if found < 0 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: all zeros is a valid `rusage`, and wait4 filled it.
    let usage = unsafe { usage.assume_init() };
    // Linux counts kilobytes, the BSDs and macOS count bytes.
    let unit = if cfg!(target_os = "linux") { 1024 } else { 1 };
    Ok((status, usage.ru_maxrss as u64 * unit))
}

/// The most bytes of each kind of memory that a process had until it ended.
fn peaks(pid: u32, ended: &AtomicBool) -> ProcessMemory {
    let mut peaks = ProcessMemory::default();
    while !ended.load(Ordering::Relaxed) {
        let now = process_memory(Some(pid));
        peaks.peak = peaks.peak.max(now.peak);
        peaks.anonymous = peaks.anonymous.max(now.anonymous);
        thread::park_timeout(LOOK);
    }
    peaks
}

/// Keeps a core busy until dropped, with a spinning thread that is pinned to the core.
pub struct BusyCore {
    stop: Arc<AtomicBool>,
    spinner: Option<JoinHandle<()>>,
}

impl BusyCore {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread can't be pinned: there is no such core, or the system is not Linux.
    pub fn take(core: usize) -> Result<BusyCore> {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, pinned) = std::sync::mpsc::channel();
        let spinner = {
            let stop = stop.clone();
            thread::spawn(move || {
                let _ = told.send(pin(core));
                while !stop.load(Ordering::Relaxed) {
                    std::hint::black_box(0);
                }
            })
        };
        let busy = BusyCore {
            stop,
            spinner: Some(spinner),
        };
        pinned.recv()??;
        Ok(busy)
    }
}

impl Drop for BusyCore {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(spinner) = self.spinner.take() {
            let _ = spinner.join();
        }
    }
}

#[cfg(target_os = "linux")]
fn pin(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the core is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the set is valid and has the size told; 0 is this thread.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn pin(_: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_timed_and_its_memory_seen() {
        let own = std::hint::black_box(vec![1_u8; 64 << 20]);
        let done = run(Command::new("sh").args(["-c", "sleep 0.1; echo done"])).unwrap();
        assert_eq!(done.stdout, "done\n");
        assert!(done.seconds >= 0.1 && done.peak_rss > 100_000, "{done:?}");
        if cfg!(target_os = "linux") {
            assert!(done.peak_anonymous.unwrap() < done.peak_rss);
            assert!(done.peak_rss < own.len() as u64, "{done:?}");
        }
    }

    #[test]
    fn a_failure_tells_what_the_program_said() {
        let failed = run(Command::new("sh").args(["-c", "echo no such model >&2; exit 3"]));
        assert!(failed.unwrap_err().to_string().ends_with("no such model"));
        assert!(run(&mut Command::new("/no/such/program")).is_err());
    }
    #[test]
    #[cfg(target_os = "linux")]
    fn a_core_that_is_not_there_cannot_be_taken() {
        assert!(BusyCore::take(usize::MAX).is_err());
    }
}
