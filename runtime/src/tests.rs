//! What the library tells the crate `log`.

use crate::files::testing::folder;
use crate::store::{Store, StoreOptions};
use crate::{CancelToken, Governor, MemoryPressure, Model, SessionOptions, ThermalState};
use log::{LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;
use std::fs;
use std::string::{String, ToString};
use std::vec::Vec;

std::thread_local! {
    /// The lines of this thread while it collects them. Tests run in threads, and the
    /// library logs on the thread that calls it.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// The logger of all tests.
struct Collector;

impl Log for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = std::format!("{} {}", record.level(), record.args());
        LINES.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.push(line.clone())));
    }

    fn flush(&self) {}
}

/// The lines that `work` logs.
pub fn logged(work: impl FnOnce()) -> Vec<String> {
    // Another test may have set it.
    let _ = log::set_logger(&Collector);
    log::set_max_level(LevelFilter::Debug);
    LINES.set(Some(Vec::new()));
    work();
    LINES.take().unwrap_or_default()
}

/// The model `hello` in a file that does not name its pre-tokenizer.
fn faulty() -> Vec<u8> {
    let key = b"tokenizer.ggml.pre";
    let mut bytes = Model::hello_bytes().to_vec();
    let at = bytes.windows(key.len()).position(|bytes| bytes == key);
    let last = at.unwrap() + key.len() - 1;
    bytes[last] = b'x';
    bytes
}

#[test]
fn a_repaired_file_is_logged_once() {
    let folder = folder("log");
    let (path, store) = (folder.join("model.gguf"), folder.join("packed"));
    fs::write(&path, faulty()).unwrap();
    let store = Store::new(store, StoreOptions::default());
    let open = |what: &dyn Fn()| {
        let lines = logged(what);
        let warnings = lines.iter().filter(|line| line.starts_with("WARN model"));
        assert_eq!(warnings.count(), 1, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("tokenizer.ggml.pre")));
    };
    open(&|| drop(Model::from_bytes(faulty()).unwrap()));
    open(&|| drop(Model::open(&path).unwrap()));
    // The store also loads the model and the copy to check them.
    open(&|| drop(store.open(&path, &CancelToken::new(), &mut |_| ()).unwrap()));
}

#[test]
fn an_engine_says_what_it_is() {
    let options = SessionOptions {
        threads: Some(1),
        context: Some(64),
        ..SessionOptions::default()
    };
    let model = Model::hello().unwrap();
    let bytes = model.memory(&options).unwrap().total.to_string();
    let lines = logged(|| drop(model.engine(&options).unwrap()));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("INFO engine: kernels "), "{lines:#?}");
    assert!(lines[0].contains("1 threads, context 64"), "{lines:#?}");
    assert!(lines[0].contains(&bytes), "{lines:#?}");
}

#[test]
fn a_pass_logs_nothing() {
    let mut session = Model::hello()
        .unwrap()
        .session(&SessionOptions::default())
        .unwrap();
    let lines = logged(|| {
        session.prefill(&[1, 2, 3], &CancelToken::new()).unwrap();
        session.decode(4).unwrap();
    });
    assert!(lines.is_empty(), "{lines:#?}");
}

#[test]
fn a_governor_logs_changes_alone() {
    let governor = Governor::new();
    let lines = logged(|| {
        for _ in 0..2 {
            governor.set_thermal(ThermalState::Fair);
            governor.set_memory_pressure(MemoryPressure::Low);
        }
        for _ in 0..2 {
            governor.pause();
        }
        for _ in 0..2 {
            governor.resume();
        }
    });
    let changes = [
        "DEBUG governor: thermal state Fair",
        "DEBUG governor: memory pressure Low",
        "DEBUG governor: paused",
        "DEBUG governor: resumed",
    ];
    assert_eq!(lines, changes);
}
