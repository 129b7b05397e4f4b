//! Packed copies of models, in a folder.

use crate::arguments::{output, reference, string};
use crate::call::{Failure, call, quietly};
use crate::cancel::{self, ondol_cancel};
use crate::model::{new_model, ondol_model};
use crate::sized::{self, Sized32};
use crate::status::{Message, ONDOL_MESSAGE_BYTES, ondol_error, ondol_status};
use core::ffi::{c_char, c_void};
use core::ptr::null;
use runtime::store::{Check, CopyState, Event, PackedCopy, Store, StoreOptions};
use std::ffi::CString;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// A folder of packed copies, which decode faster than their models and give the same
/// results. It keeps no file open. Any number of threads may use a store, and any
/// number of processes the folder. Not in firmware builds.
pub struct ondol_store {
    store: Store,
}

/// Options of a store. Fill them in with `ondol_store_defaults`; NULL in place of the
/// struct means the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_store_options {
    /// `sizeof(ondol_store_options)`.
    pub struct_size: u32,
    /// 1 hashes all files before a copy is used; 0, the default, only files that do not
    /// match their seal.
    pub check_all: u32,
    /// The most bytes that all copies together may take; 0, the default, sets no limit.
    /// The copies that were unused for the longest time are removed to keep it.
    pub limit: u64,
    /// Bytes of the disk that stay free when a copy is made; by default 256 MiB.
    pub reserve: u64,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_store_options {}

/// The kind of an event: an operation of a store that takes time or disk space.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_store_event_kind {
    /// An event that this version has no name for.
    Other = 0,
    /// Another process or thread is changing the store's folder; the store waits for it.
    Waiting = 1,
    /// The files of `path` are hashed: `work` bytes.
    Verifying = 2,
    /// The copy `path` is damaged and will be made again.
    Damaged = 3,
    /// The copy `path` of `bytes` bytes will be written: `work` bytes are read and written.
    Packing = 4,
    /// `bytes` more bytes are done of the work that was reported last.
    Advanced = 5,
    /// The copy `path` of `bytes` bytes was removed, to keep the limit.
    Evicted = 6,
}

/// An event of a store, valid during the callback.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_store_event {
    /// `sizeof(ondol_store_event)` of the library.
    pub struct_size: u32,
    /// Its kind.
    pub kind: ondol_store_event_kind,
    /// A file, or NULL.
    pub path: *const c_char,
    /// Bytes, where the kind says so.
    pub bytes: u64,
    /// Bytes of work, where the kind says so.
    pub work: u64,
}

/// Is called with the events of a store. It must return normally.
pub type ondol_store_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, event: *const ondol_store_event)>;

/// How a store opened a model.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_opened {
    /// `sizeof(ondol_opened)`.
    pub struct_size: u32,
    /// 1 if the model runs from a packed copy, 0 if it runs from its own file.
    pub from_copy: u32,
    /// Why it runs from its own file although a copy would decode faster; empty if
    /// there is no such reason.
    pub reason: [c_char; ONDOL_MESSAGE_BYTES],
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_opened {}

/// Whether a copy can still be used, judged without hashing.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_copy_state {
    /// Its record or its source can't be read.
    Unreadable = 0,
    /// Its source exists and seems unchanged.
    Current = 1,
    /// Its source has other bytes now, or another version of Ondol made it.
    Stale = 2,
    /// Its source does not exist any more.
    Orphaned = 3,
}

/// A copy in a store, valid during the callback.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_copy {
    /// `sizeof(ondol_copy)` of the library.
    pub struct_size: u32,
    /// Whether it can still be used.
    pub state: ondol_copy_state,
    /// Its file.
    pub path: *const c_char,
    /// The first file of the model that it was made from, or NULL.
    pub source: *const c_char,
    /// Bytes of its file.
    pub bytes: u64,
    /// When it was made or last used, in seconds since 1970; 0 if not known.
    pub used_s: u64,
}

/// Is called with a copy. It must return normally.
pub type ondol_copy_fn = Option<unsafe extern "C" fn(user: *mut c_void, copy: *const ondol_copy)>;

/// The result of `ondol_store_prune`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_pruned {
    /// `sizeof(ondol_pruned)`.
    pub struct_size: u32,
    /// Files that were removed.
    pub removed: u32,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Files that were kept because they could not be checked or removed.
    pub kept: u32,
}

// SAFETY: repr(C), starts with a u32, zeros are a value.
unsafe impl Sized32 for ondol_pruned {}

impl ondol_store_options {
    /// What [`StoreOptions::default`] says.
    fn defaults() -> ondol_store_options {
        let rust = StoreOptions::default();
        ondol_store_options {
            struct_size: size_of::<ondol_store_options>() as u32,
            check_all: (rust.check == Check::Whole).into(),
            limit: rust.limit.unwrap_or(0),
            reserve: rust.reserve,
        }
    }
}

/// Fills in the defaults, up to the end of the caller's struct. Before the call set
/// `struct_size`, and all other bytes to zero.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_store_defaults(
    options: *mut ondol_store_options,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        unsafe {
            output(options, "options is NULL")?;
            sized::write(&ondol_store_options::defaults(), options);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Makes a store for a folder, which is created with the first copy. Not in firmware builds.
///
/// # Safety
/// `folder` is a string; the other pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_store_new(
    folder: *const c_char,
    options: *const ondol_store_options,
    store: *mut *mut ondol_store,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (folder, from, out) = unsafe {
            let folder = string(folder, "folder is NULL or not UTF-8")?;
            let from = sized::read_or(options, ondol_store_options::defaults())?;
            (folder, from, output(store, "store is NULL")?)
        };
        let options = StoreOptions {
            limit: (from.limit != 0).then_some(from.limit),
            reserve: from.reserve,
            check: match from.check_all {
                0 => Check::Seals,
                _ => Check::Whole,
            },
        };
        let store = Store::new(folder, options);
        *out = Box::into_raw(Box::new(ondol_store { store }));
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Frees the handle, or does nothing for NULL. The folder and its models stay.
///
/// # Safety
/// The store was made by this library and no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_store_free(store: *mut ondol_store) {
    if !store.is_null() {
        // SAFETY: `ondol_store_new` made it; by contract the caller has no other use of it.
        quietly(|| drop(unsafe { Box::from_raw(store) }));
    }
}

/// Opens a model from its packed copy. The copy is made first if it does not exist, is
/// damaged, or was made from other bytes; this reads and writes the whole model, and
/// `on_event` is called during this work. If a copy can't be made, the model's own file is
/// opened, and `opened` says why. `cancel`, `on_event` and `opened` may be NULL. The
/// conditions of `ondol_model_open` apply to both files.
///
/// # Safety
/// `path` is a string; the other pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_store_open(
    store: *const ondol_store,
    path: *const c_char,
    cancel: *const ondol_cancel,
    on_event: ondol_store_fn,
    user: *mut c_void,
    model: *mut *mut ondol_model,
    opened: *mut ondol_opened,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (store, path, cancel, out) = unsafe {
            let store = reference(store, "store is NULL")?;
            let path = string(path, "path is NULL or not UTF-8")?;
            let out = output(model, "model is NULL")?;
            (store, path, cancel::token(cancel), out)
        };
        let mut tell = |event: Event<'_>| tell(on_event, user, &event);
        let found = store.store.open(path, &cancel, &mut tell)?;
        let how = ondol_opened {
            struct_size: 0,
            from_copy: found.copy.is_some().into(),
            reason: found.reason.map_or([0; ONDOL_MESSAGE_BYTES], Message::of),
        };
        // SAFETY: as above.
        unsafe { sized::write(&how, opened) };
        *out = new_model(found.model);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Calls `on_copy` with every copy, ordered by name.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_store_list(
    store: *const ondol_store,
    on_copy: ondol_copy_fn,
    user: *mut c_void,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let store = unsafe { reference(store, "store is NULL") }?;
        let on_copy = on_copy.ok_or(Failure::Argument("on_copy is NULL"))?;
        for copy in store.store.list()? {
            let (path, source) = (c_path(&copy.path), copy.source.as_deref().map(c_path));
            let shown = shown(&copy, &path, source.as_ref());
            // SAFETY: the callback gets what its type says; its behavior is the caller's.
            unsafe { on_copy(user, &shown) };
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

fn shown(copy: &PackedCopy, path: &CString, source: Option<&CString>) -> ondol_copy {
    let used = copy.used.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    ondol_copy {
        struct_size: size_of::<ondol_copy>() as u32,
        state: match copy.state {
            CopyState::Current => ondol_copy_state::Current,
            CopyState::Stale => ondol_copy_state::Stale,
            CopyState::Orphaned => ondol_copy_state::Orphaned,
            _ => ondol_copy_state::Unreadable,
        },
        path: path.as_ptr(),
        source: source.map_or(null(), |source| source.as_ptr()),
        bytes: copy.bytes,
        used_s: used.map_or(0, |since| since.as_secs()),
    }
}

/// Removes the copy of the model at `path`, which may no longer exist, or the copy at
/// `path`. `freed` gets its bytes, 0 if there was no copy, and may be NULL. Waits for
/// another process that is changing the folder; `cancel`, which may be NULL, ends the
/// wait.
///
/// # Safety
/// `path` is a string; the other pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_store_remove(
    store: *const ondol_store,
    path: *const c_char,
    cancel: *const ondol_cancel,
    freed: *mut u64,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (store, path, cancel) = unsafe {
            let store = reference(store, "store is NULL")?;
            let path = string(path, "path is NULL or not UTF-8")?;
            (store, path, cancel::token(cancel))
        };
        let bytes = store.store.remove(path, &cancel, &mut |_| ())?;
        // SAFETY: as above.
        if let Some(freed) = unsafe { freed.as_mut() } {
            *freed = bytes.unwrap_or(0);
        }
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Removes copies whose source is gone or has other bytes, files that older versions
/// and killed processes left, and copies beyond the limit. `cancel`, `on_event` and
/// `pruned` may be NULL.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_store_prune(
    store: *const ondol_store,
    cancel: *const ondol_cancel,
    on_event: ondol_store_fn,
    user: *mut c_void,
    pruned: *mut ondol_pruned,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        // SAFETY: the header asks it of the caller.
        let (store, cancel) =
            unsafe { (reference(store, "store is NULL")?, cancel::token(cancel)) };
        let mut tell = |event: Event<'_>| tell(on_event, user, &event);
        let done = store.store.prune(&cancel, &mut tell)?;
        let summary = ondol_pruned {
            struct_size: 0,
            removed: done.removed.len() as u32,
            removed_bytes: done.removed.iter().map(|(_, bytes)| bytes).sum(),
            kept: done.kept.len() as u32,
        };
        // SAFETY: as above.
        unsafe { sized::write(&summary, pruned) };
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// Calls the caller's function, if there is one.
fn tell(on_event: ondol_store_fn, user: *mut c_void, event: &Event<'_>) {
    use ondol_store_event_kind as Kind;
    let Some(on_event) = on_event else { return };
    let (kind, path, bytes, work) = match *event {
        Event::Waiting => (Kind::Waiting, None, 0, 0),
        Event::Verifying { path, bytes } => (Kind::Verifying, Some(path), 0, bytes),
        Event::Damaged { copy } => (Kind::Damaged, Some(copy), 0, 0),
        Event::Packing {
            copy, bytes, work, ..
        } => (Kind::Packing, Some(copy), bytes, work),
        Event::Advanced { bytes } => (Kind::Advanced, None, bytes, 0),
        Event::Evicted { copy, bytes } => (Kind::Evicted, Some(copy), bytes, 0),
        _ => (Kind::Other, None, 0, 0),
    };
    let path = path.map(c_path);
    let event = ondol_store_event {
        struct_size: size_of::<ondol_store_event>() as u32,
        kind,
        path: path.as_ref().map_or(null(), |path| path.as_ptr()),
        bytes,
        work,
    };
    // SAFETY: the callback gets what its type says; its behavior is the caller's.
    unsafe { on_event(user, &event) };
}

/// A path for C; paths of the system have no zeros.
fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default()
}
