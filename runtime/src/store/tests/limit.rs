//! The bytes that all copies may take.

use super::Setup;
use crate::CancelToken;
use crate::store::{Store, StoreOptions};
use crate::tests::logged;
use std::path::{Path, PathBuf};
use std::string::String;
use std::time::Duration;
use std::vec::Vec;
use std::{fs, thread};

/// Three models, the copies of which have so many bytes each.
fn three(test: &str) -> (Setup, [PathBuf; 3], u64) {
    let setup = Setup::new(test);
    let models = ["a", "b", "c"].map(|name| {
        let path = setup.folder.join(name).with_extension("gguf");
        fs::copy(&setup.model, &path).unwrap();
        path
    });
    let copy = setup.open().copy.unwrap();
    let bytes = fs::metadata(copy).unwrap().len();
    let (cancel, mut events) = (CancelToken::new(), |_: crate::store::Event<'_>| {});
    setup
        .store
        .remove(&setup.model, &cancel, &mut events)
        .unwrap();
    (setup, models, bytes)
}

fn limited(setup: &mut Setup, limit: u64) {
    let options = StoreOptions {
        limit: Some(limit),
        ..StoreOptions::default()
    };
    setup.store = Store::new(setup.store.folder(), options);
}

/// The models that have copies, by name, and the bytes of these.
fn kept(setup: &Setup) -> (String, u64) {
    let copies = setup.store.list().unwrap();
    let bytes = copies.iter().map(|copy| copy.bytes).sum();
    let stems = copies
        .iter()
        .filter_map(|copy| copy.source.as_deref()?.file_stem());
    let names: Vec<_> = stems.map(|stem| stem.to_string_lossy()).collect();
    (names.concat(), bytes)
}

/// Opens a model, later than what was opened before.
fn open(setup: &Setup, model: &Path) -> Result<PathBuf, String> {
    thread::sleep(Duration::from_millis(20));
    setup.open_file(model).copy
}

#[test]
fn the_copy_that_was_not_used_for_longest_goes() {
    let (mut setup, [a, b, c], bytes) = three("oldest");
    limited(&mut setup, 2 * bytes);
    for model in [&a, &b, &a, &c] {
        open(&setup, model).unwrap();
        assert!(kept(&setup).1 <= 2 * bytes);
    }
    assert_eq!(kept(&setup).0, "ac");
    open(&setup, &b).unwrap();
    assert_eq!(kept(&setup).0, "bc");
}

#[test]
fn a_limit_is_held_to_the_byte() {
    let (mut setup, [a, b, _], bytes) = three("byte");
    limited(&mut setup, 2 * bytes - 1);
    open(&setup, &a).unwrap();
    open(&setup, &b).unwrap();
    assert_eq!(kept(&setup), ("b".into(), bytes));
}

#[test]
fn a_copy_larger_than_the_limit_is_not_made() {
    let (mut setup, [a, b, _], bytes) = three("larger");
    limited(&mut setup, bytes);
    open(&setup, &a).unwrap();
    // One more byte in the name, and so in the copy.
    let larger = fs::read(&b).unwrap();
    let gguf = ondol_models::gguf::Gguf::parse(&larger).unwrap();
    let mut writer = ondol_models::gguf::Writer::with_metadata_of(&gguf);
    writer.set("general.description", "x".repeat(100).as_str());
    for t in gguf.tensors() {
        writer.add_tensor(t.name, t.dtype, t.dims()).unwrap();
    }
    let data: Vec<&[u8]> = gguf.tensors().iter().map(|t| t.data).collect();
    fs::write(&b, writer.to_vec(&data).unwrap()).unwrap();
    let mut why = String::new();
    let lines = logged(|| why = open(&setup, &b).unwrap_err());
    assert!(why.contains("all copies together may take"), "{why}");
    assert!(lines[0].contains("without a packed copy") && lines[0].ends_with(&why));
    assert_eq!(kept(&setup), ("a".into(), bytes), "nothing goes for it");
}

#[test]
fn a_limit_that_was_lowered_holds_from_the_next_use_on() {
    let (mut setup, [a, b, c], bytes) = three("lowered");
    for model in [&a, &b, &c] {
        open(&setup, model).unwrap();
    }
    limited(&mut setup, 2 * bytes);
    open(&setup, &a).unwrap();
    assert_eq!(kept(&setup).0, "ac");
    limited(&mut setup, bytes);
    let pruned = setup.store.prune(&CancelToken::new(), &mut |_| {}).unwrap();
    assert_eq!(kept(&setup).0, "a");
    assert_eq!(pruned.removed.len(), 1);
    limited(&mut setup, bytes - 1);
    assert!(open(&setup, &a).is_err());
    assert_eq!(kept(&setup), (String::new(), 0));
}
