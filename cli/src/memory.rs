//! Out of memory: the command reports it and exits with code 1.
//!
//! Allocations whose size depends on a model's file use `try_reserve`, and a refusal
//! becomes an error with a hint. For other allocations the standard library aborts. So
//! the command's allocator ends the process itself when a small allocation fails, and
//! handles the abort signal when a large one without `try_reserve` fails. Neither needs
//! memory or a lock: the message is written directly to the file descriptor, and the
//! file that was being written is removed through a path that was prepared before.

#![allow(unsafe_code)] // An allocator and a signal handler.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The smallest allocation in bytes whose failure is returned to the caller. Smaller
/// ones end the process.
const LARGE: usize = 64 << 10;

/// The message where the bytes that were asked for are not known.
const OUT_OF_MEMORY: &[u8] = b"error: out of memory\n";

/// Bytes of the last large allocation that was refused.
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with an "out of memory" message.
pub struct Allocator;

// SAFETY: all memory is the system allocator's, whose contract is the same.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on to the caller.
        check(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on to the caller.
        check(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: passed on to the caller.
        check(unsafe { System.realloc(old, layout, size) }, size)
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: passed on to the caller.
        unsafe { System.dealloc(old, layout) }
    }
}

fn check(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() {
        if bytes < LARGE {
            end(bytes);
        }
        REFUSED.store(bytes, Relaxed);
    }
    memory
}

/// Ends the process after an allocation of `bytes` failed.
fn end(bytes: usize) -> ! {
    let mut digits = [0; 20];
    system::end(&[
        b"error: out of memory: ",
        decimal(bytes, &mut digits),
        b" bytes\n",
    ])
}

/// A number in decimal, without an allocation.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

/// Installs the handlers of the abort signal and of panics. Call it once, at start.
///
/// A new thread of the standard library panics if the system has no memory for its
/// signal stack; that is out of memory as well, and no fault of the program.
pub fn install_handlers() {
    system::handle_abort();
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if system::memory_is_short() {
            system::end(&[OUT_OF_MEMORY]);
        }
        report(panic);
    }));
}

/// A file that is removed if the process ends here: one at a time.
pub struct UnlinkOnExit(());

impl UnlinkOnExit {
    /// Keeps the path ready until the value is dropped.
    pub fn new(path: &Path) -> UnlinkOnExit {
        system::keep(Some(path));
        UnlinkOnExit(())
    }
}

impl Drop for UnlinkOnExit {
    fn drop(&mut self) {
        system::keep(None);
    }
}

#[cfg(unix)]
mod system {
    use super::{OUT_OF_MEMORY, REFUSED, end as end_refused};
    use libc::{c_char, c_int};
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed, Ordering::SeqCst};

    /// Bytes that are allocated to test whether memory is available.
    const PROBE: usize = 128 << 10;

    static ENDING: AtomicBool = AtomicBool::new(false);

    /// The path of the file to remove, with a terminating zero.
    static FILE: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

    pub fn keep(path: Option<&Path>) {
        let path = path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
        let path = path.map_or(null_mut(), CString::into_raw);
        // The old one is not freed: another thread may be about to read it, and
        // a command keeps a handful in all.
        FILE.store(path, SeqCst);
    }

    pub fn end(message: &[&[u8]]) -> ! {
        // Only the first thread that comes here writes its message.
        if ENDING.swap(true, SeqCst) {
            loop {
                // SAFETY: waits for the process to end.
                unsafe { libc::pause() };
            }
        }
        for part in message {
            // SAFETY: the pointer and the length are those of a slice.
            unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
        }
        unlink();
        // SAFETY: ends the process; nothing of it is used after.
        unsafe { libc::_exit(1) }
    }

    /// Whether the system has no memory left. The C library also aborts if it finds
    /// none for thread-local data.
    pub fn memory_is_short() -> bool {
        let (read_write, private) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: asks for new memory, which nothing else uses.
        let memory = unsafe { libc::mmap(null_mut(), PROBE, read_write, private, -1, 0) };
        if memory == libc::MAP_FAILED {
            return true;
        }
        // SAFETY: the mapping that was just made, and nothing else.
        unsafe { libc::munmap(memory, PROBE) };
        false
    }

    fn unlink() {
        let file = FILE.swap(null_mut(), SeqCst);
        if !file.is_null() {
            // SAFETY: a string that was made in `keep` and is never freed.
            unsafe { libc::unlink(file) };
        }
    }

    pub fn handle_abort() {
        let handler: extern "C" fn(c_int) = aborted;
        // SAFETY: the handler calls nothing but what a signal handler may call.
        unsafe { libc::signal(libc::SIGABRT, handler as libc::sighandler_t) };
    }

    extern "C" fn aborted(_signal: c_int) {
        let refused = REFUSED.load(Relaxed);
        if refused > 0 {
            end_refused(refused);
        }
        if memory_is_short() {
            end(&[OUT_OF_MEMORY]);
        }
        // Any other abort ends the process: after this, `abort` raises the signal once more.
        unlink();
    }
}

#[cfg(not(unix))]
mod system {
    use std::io::Write;
    use std::path::Path;

    /// A file that stays is removed by the next command that writes there.
    pub fn keep(_path: Option<&Path>) {}

    pub fn end(message: &[&[u8]]) -> ! {
        for part in message {
            let _ = std::io::stderr().write_all(part);
        }
        std::process::exit(1)
    }

    pub fn memory_is_short() -> bool {
        false
    }

    pub fn handle_abort() {}
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_are_written_without_memory() {
        for number in [0, 7, 10, 65_536, usize::MAX] {
            let mut digits = [0; 20];
            assert_eq!(decimal(number, &mut digits), number.to_string().as_bytes());
        }
    }
}
