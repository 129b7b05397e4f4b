//! The library's log, passed to a function of the program.

use crate::call::{Failure, call};
use crate::info::c_string;
use crate::status::{ondol_error, ondol_status};
use core::cell::Cell;
use core::ffi::{c_char, c_void};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::{OnceLock, PoisonError, RwLock};

/// How serious a line of the log is.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_log_level {
    /// This version logs no errors: functions return them as statuses.
    Error = 1,
    /// Warnings: a fault of a model's file that was repaired, a missing or damaged packed
    /// copy, a device that failed.
    Warn = 2,
    /// An engine that was made, with its kernels, threads, context and bytes; a packed copy
    /// that was made.
    Info = 3,
    /// Changes of a governor.
    Debug = 4,
}

/// Is called with a line of the log: English, `length` bytes of UTF-8 and a terminating
/// zero, without a line break, valid during the call. Any thread that uses the library
/// may call it, and several at the same time. It must return normally (no exception and
/// no `longjmp` may leave it), and must call no function of this header.
pub type ondol_log_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        level: ondol_log_level,
        text: *const c_char,
        length: usize,
    ),
>;

/// The program's function.
struct Sink {
    callback: unsafe extern "C" fn(*mut c_void, ondol_log_level, *const c_char, usize),
    user: *mut c_void,
    max: Level,
}

// SAFETY: `ondol_log_set` demands a function and a pointer that any thread may use.
unsafe impl Send for Sink {}
// SAFETY: as above; several threads may call the function at the same time.
unsafe impl Sync for Sink {}

/// Where the log goes. It is read during each call of the function, so that no call of
/// an old function runs after it was replaced.
static SINK: RwLock<Option<Sink>> = RwLock::new(None);

/// Whether [`Forward`] is the process's logger; the first call with a callback decides it.
static IS_LOGGER: OnceLock<bool> = OnceLock::new();

std::thread_local! {
    /// Whether this thread is in a call of the program's function.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// The logger of the crate `log`.
struct Forward;

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        // A second read of the lock on this thread could wait for ever.
        if IN_CALL.get() {
            return;
        }
        let sink = SINK.read().unwrap_or_else(PoisonError::into_inner);
        // The level may have changed since the crate `log` compared the record with it.
        let sink = sink.as_ref().filter(|sink| record.level() <= sink.max);
        if let Some(sink) = sink {
            sink.tell(record);
        }
    }

    fn flush(&self) {}
}

impl Sink {
    fn tell(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => ondol_log_level::Error,
            Level::Warn => ondol_log_level::Warn,
            Level::Info => ondol_log_level::Info,
            Level::Debug | Level::Trace => ondol_log_level::Debug,
        };
        let text = record.args().to_string().replace(['\n', '\r'], " ");
        let text = c_string(&text);
        IN_CALL.set(true);
        // SAFETY: the callback gets what its type says; its behavior is the caller's.
        unsafe { (self.callback)(self.user, level, text.as_ptr(), text.count_bytes()) };
        IN_CALL.set(false);
    }
}

/// Passes the library's log to `callback`, from `ONDOL_LOG_LEVEL_ERROR` up to
/// `max_level`, a value of `ondol_log_level`. It replaces the previous callback. NULL
/// switches the log off; at the start it is off. Lines that are not passed on are not
/// formatted. Prefill and decode on the CPU log nothing.
///
/// It may be called at any time, from any thread, but not in a log callback. It waits for
/// running calls of the previous callback: when it returns, the `user` of that callback is
/// not used any more. So hold no lock that the callback takes.
///
/// There is one log for the process. If the library was linked into a program in Rust that
/// already has a logger, that logger stays, and the status is `ONDOL_STATUS_OTHER`.
/// Not in firmware builds.
///
/// # Safety
/// Any thread may call `callback` with `user` until it is replaced; `error` is NULL or
/// points to what its type says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_log_set(
    callback: ondol_log_fn,
    user: *mut c_void,
    max_level: i32,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        if IN_CALL.get() {
            return Err(Failure::Argument("ondol_log_set in a log callback"));
        }
        match callback {
            None => replace(None),
            Some(callback) => {
                let max = level(max_level)?;
                if !IS_LOGGER.get_or_init(|| log::set_logger(&Forward).is_ok()) {
                    return Err(Failure::OtherLogger);
                }
                let sink = Sink {
                    callback,
                    user,
                    max,
                };
                replace(Some(sink));
            }
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

fn level(number: i32) -> Result<Level, Failure> {
    match number {
        1 => Ok(Level::Error),
        2 => Ok(Level::Warn),
        3 => Ok(Level::Info),
        4 => Ok(Level::Debug),
        _ => Err(Failure::Argument(
            "max_level is not a value of ondol_log_level",
        )),
    }
}

fn replace(sink: Option<Sink>) {
    let mut place = SINK.write().unwrap_or_else(PoisonError::into_inner);
    // The level belongs to the process's logger: it changes only if that is `Forward`.
    if IS_LOGGER.get() == Some(&true) {
        let max = sink.as_ref().map(|sink| sink.max.to_level_filter());
        log::set_max_level(max.unwrap_or(LevelFilter::Off));
    }
    *place = sink;
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr::null_mut;
    use core::sync::atomic::{AtomicBool, Ordering};
    use runtime::{Model, SessionOptions};
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    /// There is one log, so these tests run one after another.
    static ONE: Mutex<()> = Mutex::new(());

    type Lines = Vec<(ondol_log_level, String)>;

    /// Where a test collects the lines of its own thread: other tests log too.
    struct Collected {
        thread: thread::ThreadId,
        lines: Mutex<Lines>,
    }

    unsafe extern "C" fn collect(
        user: *mut c_void,
        level: ondol_log_level,
        text: *const c_char,
        length: usize,
    ) {
        // SAFETY: `set` passed it.
        let to = unsafe { &*user.cast::<Collected>() };
        // SAFETY: the text ends with a zero.
        let text = unsafe { core::ffi::CStr::from_ptr(text) };
        assert_eq!(text.count_bytes(), length);
        if thread::current().id() == to.thread {
            let text = text.to_str().unwrap().to_owned();
            to.lines.lock().unwrap().push((level, text));
        }
        // SAFETY: there is no error struct.
        let status = unsafe { ondol_log_set(None, null_mut(), 0, null_mut()) };
        assert_eq!(status, ondol_status::InvalidArgument);
        log::error!("a line of a callback");
    }

    fn set(callback: ondol_log_fn, user: *mut c_void, max: i32) -> ondol_status {
        // SAFETY: `user` fits the callback, and there is no error struct.
        unsafe { ondol_log_set(callback, user, max, null_mut()) }
    }

    /// The lines of `work` up to a level.
    fn lines(max: ondol_log_level, work: impl FnOnce()) -> Lines {
        let collected = Collected {
            thread: thread::current().id(),
            lines: Mutex::default(),
        };
        let user = (&raw const collected).cast_mut().cast();
        assert_eq!(set(Some(collect), user, max as i32), ondol_status::Ok);
        work();
        assert_eq!(set(None, null_mut(), 0), ondol_status::Ok);
        collected.lines.into_inner().unwrap()
    }

    /// Loads a file that does not name its pre-tokenizer, and makes an engine.
    fn load() {
        let key = b"tokenizer.ggml.pre";
        let mut bytes = Model::hello_bytes().to_vec();
        let at = bytes.windows(key.len()).position(|bytes| bytes == key);
        let last = at.unwrap() + key.len() - 1;
        bytes[last] = b'x';
        let model = Model::from_bytes(bytes).unwrap();
        let options = SessionOptions {
            threads: Some(1),
            context: Some(32),
            ..SessionOptions::default()
        };
        drop(model.engine(&options).unwrap());
        options.governor.pause();
    }

    #[test]
    fn a_callback_gets_the_lines_up_to_its_level() {
        use ondol_log_level::{Debug, Error, Info, Warn};
        let _one = ONE.lock().unwrap();
        let all = lines(Debug, load);
        let levels: Vec<_> = all.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Warn, Info, Debug], "{all:?}");
        assert!(all[0].1.contains("tokenizer.ggml.pre"), "{all:?}");
        assert!(all[1].1.starts_with("engine: kernels"), "{all:?}");
        assert!(all[2].1.contains("paused"), "{all:?}");
        assert_eq!(lines(Info, load), all[..2]);
        assert_eq!(lines(Warn, load), all[..1]);
        assert_eq!(lines(Error, load), []);
    }

    #[test]
    fn null_ends_it_and_unknown_levels_are_refused() {
        let _one = ONE.lock().unwrap();
        let after = lines(ondol_log_level::Debug, || {
            assert_eq!(set(None, null_mut(), 9), ondol_status::Ok);
            load();
        });
        assert_eq!(after, []);
        assert_eq!(log::max_level(), LevelFilter::Off);
        for max in [-1, 0, 5] {
            let status = set(Some(collect), null_mut(), max);
            assert_eq!(status, ondol_status::InvalidArgument);
        }
    }

    /// The level changes while another thread is on its way to the callback.
    #[test]
    fn a_late_record_above_the_level_is_dropped() {
        let _one = ONE.lock().unwrap();
        let record = |level| {
            Record::builder()
                .level(level)
                .args(format_args!("late"))
                .build()
        };
        let got = lines(ondol_log_level::Warn, || {
            Forward.log(&record(Level::Info));
            Forward.log(&record(Level::Warn));
        });
        assert_eq!(got, [(ondol_log_level::Warn, "late".to_owned())]);
    }

    #[test]
    fn a_line_has_no_zeros_and_no_line_breaks() {
        let _one = ONE.lock().unwrap();
        let got = lines(ondol_log_level::Warn, || log::warn!("a\0온\nb"));
        assert_eq!(got, [(ondol_log_level::Warn, "a온 b".to_owned())]);
    }

    /// What a slow callback did so far.
    #[derive(Default)]
    struct Slow {
        began: AtomicBool,
        ended: AtomicBool,
    }

    unsafe extern "C" fn slow(user: *mut c_void, _: ondol_log_level, _: *const c_char, _: usize) {
        // SAFETY: the test passed it.
        let slow = unsafe { &*user.cast::<Slow>() };
        slow.began.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        slow.ended.store(true, Ordering::SeqCst);
    }

    #[test]
    fn a_callback_is_not_used_after_it_was_replaced() {
        let _one = ONE.lock().unwrap();
        let progress = Slow::default();
        let user = (&raw const progress).cast_mut().cast();
        assert_eq!(set(Some(slow), user, 1), ondol_status::Ok);
        thread::scope(|scope| {
            scope.spawn(|| log::error!("slow"));
            while !progress.began.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            set(None, null_mut(), 0);
            assert!(progress.ended.load(Ordering::SeqCst));
        });
    }
}
