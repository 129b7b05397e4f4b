//! What the store's tests share, and those of trust: what is found before a copy answers.

mod faults;
mod limit;

pub use crate::files::testing::{Folder, folder, names, with_refused};

use super::{Check, CopyState, Event, Seal, Store, StoreOptions};
use crate::tests::logged;
use crate::{CancelToken, Model};
use ondol_models::gguf::Gguf;
use ondol_models::pack::SOURCE_SHA256;
use std::fs;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::time::{Duration, SystemTime};
use std::vec::Vec;

/// Bytes of a page.
const PAGE: usize = 4096;

/// A store in a folder, and the small model beside it.
struct Setup {
    folder: Folder,
    model: PathBuf,
    store: Store,
}

/// What an `open` did.
struct Done {
    /// The path of the copy, or why there is none.
    copy: Result<PathBuf, String>,
    events: String,
}

impl Setup {
    fn new(test: &str) -> Setup {
        Setup::with(test, StoreOptions::default())
    }

    fn with(test: &str, options: StoreOptions) -> Setup {
        let folder = folder(test);
        let model = folder.join("model.gguf");
        fs::write(&model, Model::hello_bytes()).unwrap();
        Setup {
            store: Store::new(folder.join("packed"), options),
            model,
            folder,
        }
    }

    fn open(&self) -> Done {
        self.open_file(&self.model)
    }

    fn open_file(&self, path: &Path) -> Done {
        let mut events = String::new();
        let opened = self.store.open(path, &CancelToken::new(), &mut |event| {
            if !matches!(event, Event::Advanced { .. }) {
                events += &std::format!("{event:?}\n");
            }
        });
        let opened = opened.unwrap();
        assert_eq!(opened.model.is_packed(), opened.copy.is_some());
        let reason = opened.reason.map_or(String::new(), |e| e.to_string());
        let copy = opened.copy.ok_or(reason);
        Done { copy, events }
    }

    /// Makes the copy.
    fn made(test: &str) -> (Setup, PathBuf) {
        let setup = Setup::new(test);
        let copy = setup.open().copy.unwrap();
        (setup, copy)
    }

    /// All that is in the store but for its lock, by name.
    fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let folder = self.store.folder();
        let mut names = names(folder);
        names.retain(|name| name != ".lock");
        let read = |name: String| (name.clone(), fs::read(folder.join(name)).unwrap());
        names.into_iter().map(read).collect()
    }
}

/// Puts the time of change of a file into the past: always the same.
pub fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    file.set_modified(time).unwrap();
}

/// Changes a file's bytes, and gives it a time that says nothing.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    age(path);
}

#[test]
fn a_copy_is_made_once_and_names_its_source() {
    let setup = Setup::new("once");
    let mut first = None;
    let lines = logged(|| first = Some(setup.open()));
    assert!(lines.concat().contains("INFO the packed copy"), "{lines:?}");
    let first = first.unwrap();
    assert!(first.events.contains("Packing"), "{}", first.events);
    let copy = first.copy.unwrap();
    assert_eq!(setup.store.find(&setup.model), Some(copy.clone()));
    let bytes = fs::read(&copy).unwrap();
    let files = [setup.model.clone()];
    let seal = Seal::of(&files, &CancelToken::new(), &mut |_| {}).unwrap();
    let gguf = Gguf::parse(&bytes).unwrap();
    assert_eq!(gguf.str(SOURCE_SHA256), Ok(seal.sha256()));

    let again = setup.open();
    assert_eq!((again.copy, again.events.as_str()), (Ok(copy), ""));
    let listed = setup.store.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].bytes, bytes.len() as u64);
    assert_eq!(listed[0].state, CopyState::Current);
    let source = setup.model.canonicalize().unwrap();
    assert_eq!(listed[0].source.as_deref(), Some(source.as_path()));
}

/// With the size and the time that the copy had.
#[test]
fn forty_zeroed_pages_are_found_wherever_they_are() {
    let (setup, copy) = Setup::made("zeroed");
    let whole = fs::read(&copy).unwrap();
    let zeroed = 40 * PAGE;
    assert!(whole.len() > 3 * zeroed, "the model is too small to tell");
    for start in [0, PAGE, whole.len() / 2 / PAGE * PAGE, whole.len() - zeroed] {
        change(&copy, |bytes| bytes[start..start + zeroed].fill(0));
        let mut done = None;
        let lines = logged(|| done = Some(setup.open()));
        assert!(lines[0].starts_with("WARN the packed copy"), "{lines:?}");
        let done = done.unwrap();
        assert!(done.events.contains("Damaged"), "{start}: {}", done.events);
        assert_eq!(done.copy.as_ref(), Ok(&copy));
        assert!(fs::read(&copy).unwrap() == whole, "{start}");
    }
}

#[test]
fn a_whole_check_sees_what_no_seal_sees() {
    let (setup, copy) = Setup::made("whole");
    // As if a disk gave other bytes: the record has the damaged file's looks.
    let record = copy.with_extension("json");
    let mut known = super::record::Record::read(&record).unwrap().unwrap();
    let whole = fs::read(&copy).unwrap();
    change(&copy, |bytes| bytes[whole.len() / 2] ^= 1);
    known.pretend_nothing_changed(&copy);
    known.write(&record).unwrap();
    assert_eq!(setup.open().events, "");
    let options = StoreOptions {
        check: Check::Whole,
        ..StoreOptions::default()
    };
    let strict = Store::new(setup.store.folder(), options);
    let mut damaged = 0;
    let made = strict.prepare(&setup.model, &CancelToken::new(), &mut |event| {
        damaged += usize::from(matches!(event, Event::Damaged { .. }));
    });
    assert_eq!((made.unwrap(), damaged), (Some(copy.clone()), 1));
    assert!(fs::read(&copy).unwrap() == whole);
}

#[test]
fn a_model_with_other_bytes_gets_another_copy() {
    let (setup, copy) = Setup::made("other");
    age(&setup.model);
    let touched = setup.open();
    assert!(touched.events.contains("Verifying") && !touched.events.contains("Packing"));
    let before = fs::read(&copy).unwrap();
    // A weight of the last tensor.
    change(&setup.model, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let done = setup.open();
    assert!(done.events.contains("Packing") && !done.events.contains("Damaged"));
    assert_eq!(done.copy, Ok(copy.clone()));
    assert!(fs::read(&copy).unwrap() != before);
}

#[test]
fn the_copy_of_another_model_is_not_this_ones() {
    let (setup, copy) = Setup::made("swapped");
    let other = setup.folder.join("other.gguf");
    fs::copy(&setup.model, &other).unwrap();
    change(&other, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let others = setup.open_file(&other).copy.unwrap();
    assert_ne!(others, copy);
    let right = fs::read(&copy).unwrap();
    // With its record, too.
    for end in ["gguf", "json"] {
        fs::copy(others.with_extension(end), copy.with_extension(end)).unwrap();
    }
    assert_eq!(setup.open().copy, Ok(copy.clone()));
    assert!(fs::read(&copy).unwrap() == right);
}

#[test]
fn a_copy_without_a_record_is_none() {
    let (setup, copy) = Setup::made("record");
    let right = fs::read(&copy).unwrap();
    for record in [None, Some(""), Some("{}"), Some("[1, 2]")] {
        fs::write(&copy, "whatever was written by then").unwrap();
        let path = copy.with_extension("json");
        match record {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        assert_eq!(setup.store.list().unwrap()[0].state, CopyState::Stale);
        let done = setup.open();
        assert_eq!(done.copy.as_ref(), Ok(&copy), "{record:?}");
        assert!(fs::read(&copy).unwrap() == right, "{record:?}");
    }
}

#[test]
fn models_of_one_name_have_a_copy_each() {
    let (setup, copy) = Setup::made("names");
    let other = setup.folder.join("folder/model.gguf");
    fs::create_dir(setup.folder.join("folder")).unwrap();
    fs::copy(&setup.model, &other).unwrap();
    assert_ne!(setup.open_file(&other).copy.unwrap(), copy);
    assert_eq!(setup.store.list().unwrap().len(), 2);
    let (cancel, mut events) = (CancelToken::new(), |_: Event<'_>| {});
    let bytes = fs::metadata(&copy).unwrap().len();
    let removed = setup.store.remove(&setup.model, &cancel, &mut events);
    assert!(removed.unwrap() > Some(bytes), "the record counts too");
    assert_eq!(setup.store.list().unwrap().len(), 1);
    let none = setup.store.remove(&setup.model, &cancel, &mut events);
    assert_eq!(none.unwrap(), None);
}
