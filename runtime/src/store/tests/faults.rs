//! What is no damage removes nothing, and what was not finished does not answer.

use super::{Done, Setup, age, change, names, with_refused};
use crate::CancelToken;
use crate::store::{CopyState, Event, Store, StoreError, StoreOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::vec::Vec;
use std::{env, fs};

/// What a system says of a file that is whole.
const NO_DAMAGE: [ErrorKind; 3] = [
    ErrorKind::PermissionDenied,
    ErrorKind::OutOfMemory,
    ErrorKind::Other,
];

#[test]
fn no_rights_and_no_memory_remove_nothing() {
    let (setup, copy) = Setup::made("no-damage");
    let source = setup.model.canonicalize().unwrap();
    let record = copy.with_extension("json");
    for sealed in [true, false] {
        if !sealed {
            // So that both are to be hashed.
            age(&copy);
            age(&source);
        }
        let before = setup.contents();
        for kind in NO_DAMAGE {
            for file in [&copy, &source, &record] {
                let Done { copy, events } = with_refused(file, kind, || setup.open());
                let what = std::format!("{file:?} {kind:?} {copy:?} {events}");
                assert!(copy.is_err_and(|why| why.contains("cannot read")), "{what}");
                assert!(!events.contains("Damaged"), "{what}");
                assert!(setup.contents() == before, "{what}");
            }
        }
    }
    assert_eq!(setup.open().copy, Ok(copy));
}

#[test]
fn prune_leaves_what_it_can_not_judge() {
    let (setup, copy) = Setup::made("no-verdict");
    let source = setup.model.canonicalize().unwrap();
    age(&source);
    let before = setup.contents();
    let prune = || setup.store.prune(&CancelToken::new(), &mut |_| {}).unwrap();
    for file in [&source, &copy.with_extension("json")] {
        for kind in NO_DAMAGE {
            let state = || setup.store.list().unwrap()[0].state;
            assert_eq!(with_refused(file, kind, state), CopyState::Unreadable);
            let pruned = with_refused(file, kind, prune);
            assert_eq!(pruned.removed, [], "{file:?} {kind:?}");
            assert_eq!(pruned.kept[0].0, copy);
            assert!(setup.contents() == before, "{file:?} {kind:?}");
        }
    }
    fs::remove_file(&source).unwrap();
    assert_eq!(prune().removed[0].0, copy);
    assert!(setup.contents().is_empty());
}

/// A model whose folder can't be looked into may be there.
#[cfg(unix)]
#[test]
fn a_source_behind_a_broken_way_is_not_gone() {
    let (setup, _) = Setup::made("no-way");
    let (real, loops) = (setup.model.canonicalize().unwrap(), setup.folder.join("x"));
    fs::rename(&real, &loops).unwrap();
    std::os::unix::fs::symlink(&real, &real).unwrap();
    let pruned = setup.store.prune(&CancelToken::new(), &mut |_| {}).unwrap();
    assert_eq!((pruned.removed.len(), pruned.kept.len()), (0, 1));
    assert_eq!(setup.store.list().unwrap()[0].state, CopyState::Unreadable);
}

#[test]
fn a_full_disk_makes_no_copy_and_removes_none() {
    let (setup, copy) = Setup::made("full");
    let other = setup.folder.join("other.gguf");
    fs::copy(&setup.model, &other).unwrap();
    let options = StoreOptions {
        limit: Some(fs::metadata(copy).unwrap().len()),
        reserve: u64::MAX / 2,
        ..StoreOptions::default()
    };
    let store = Store::new(setup.store.folder(), options);
    let before = setup.contents();
    let made = store.prepare(&other, &CancelToken::new(), &mut |_| {});
    assert!(
        matches!(made, Err(StoreError::DiskShort { .. })),
        "{made:?}"
    );
    assert!(setup.contents() == before);
}

#[test]
fn a_cancel_ends_the_work_and_leaves_nothing() {
    let setup = Setup::new("cancel");
    let prepare = |at: usize| {
        let (cancel, mut events) = (CancelToken::new(), 0);
        setup.store.prepare(&setup.model, &cancel, &mut |_| {
            events += 1;
            if events > at {
                cancel.cancel();
            }
        })
    };
    for at in 0..5 {
        let made = prepare(at);
        assert!(matches!(made, Err(StoreError::Cancelled)), "{at} {made:?}");
        assert!(setup.contents().is_empty(), "{at}");
    }
    // While another one has the lock.
    let lock = fs::File::open(setup.store.folder().join(".lock")).unwrap();
    lock.lock().unwrap();
    let (cancel, mut told) = (CancelToken::new(), false);
    let opened = setup.store.open(&setup.model, &cancel, &mut |event| {
        told |= matches!(event, Event::Waiting);
        cancel.cancel();
    });
    assert!(matches!(opened, Err(crate::Error::Cancelled)) && told);
}

/// Says to [`dies_in_mid_write`] where and when.
const KILL: &str = "ONDOL_STORE_TEST_KILL";

/// Not a test of itself: the process that the next test starts.
#[test]
fn dies_in_mid_write() {
    let Some(how) = env::var_os(KILL) else {
        return;
    };
    let how = how.into_string().unwrap();
    let (at, folder) = how.split_once(' ').unwrap();
    let (at, folder): (usize, &Path) = (at.parse().unwrap(), folder.as_ref());
    let store = Store::new(folder.join("packed"), StoreOptions::default());
    let (model, mut events) = (folder.join("model.gguf"), 0);
    let made = store.prepare(model, &CancelToken::new(), &mut |_| {
        events += 1;
        if events > at {
            std::process::abort();
        }
    });
    made.unwrap();
}

#[test]
fn a_kill_in_mid_write_leaves_nothing_that_answers() {
    let setup = Setup::new("killed");
    let killed = |at: usize| {
        let mut child = Command::new(env::current_exe().unwrap());
        let test = "store::tests::faults::dies_in_mid_write";
        let how = std::format!("{at} {}", setup.folder.display());
        let output = child.args(["--exact", test]).env(KILL, how).output();
        !output.unwrap().status.success()
    };
    let mut kills = 0;
    while killed(kills) {
        kills += 1;
        assert_eq!(setup.store.find(&setup.model), None, "{kills}");
        assert!(setup.store.list().unwrap().is_empty(), "{kills}");
        assert_eq!(
            names(setup.store.folder()).len(),
            2,
            "{kills}: a lock, a part"
        );
        assert!(kills < 1000);
    }
    assert!(kills > 5, "the work has too few pieces to tell");
    let copies: Vec<PathBuf> = setup
        .store
        .list()
        .unwrap()
        .into_iter()
        .map(|c| c.path)
        .collect();
    assert_eq!(copies, [setup.open().copy.unwrap()]);
    assert_eq!(names(setup.store.folder()).len(), 3, "the parts are gone");
}

/// The file is whole, and the process dies before it has a record.
#[test]
fn a_kill_between_a_copy_and_its_record_costs_the_work_alone() {
    let (setup, copy) = Setup::made("no-record");
    fs::remove_file(copy.with_extension("json")).unwrap();
    change(&copy, |bytes| bytes.truncate(bytes.len() / 2));
    assert_eq!(setup.store.find(&setup.model), None);
    let done = setup.open();
    assert!(done.events.contains("Packing"));
    assert_eq!(done.copy, Ok(copy));
}
