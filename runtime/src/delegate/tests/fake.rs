//! A plug-in in Rust that computes nothing. Tests change its table and its
//! descriptions, and it records how the host treats its handles.

use super::super::ffi::Opaque;
use super::super::*;
use core::cell::Cell;
use core::ffi::c_void;
use core::mem::zeroed;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};
use core::time::Duration;
use std::boxed::Box;
use std::format;
use std::string::String;
use std::sync::Mutex;
use std::time::Instant;
use std::vec;
use std::vec::Vec;

/// The description of a plug-in, and all handles that it has ever made.
pub struct Fake {
    pub api: ffi::Api,
    pub info: ffi::DeviceInfo,
    pub handles: Mutex<Vec<&'static Handle>>,
    pub wrongs: Mutex<Vec<String>>,
}

// SAFETY: the pointers in it are to things that live for ever and are not written.
unsafe impl Sync for Fake {}

/// The object of a handle. It is never really freed, so that a second free is noticed.
pub struct Handle {
    pub fake: &'static Fake,
    pub kind: Kind,
    /// For a buffer: its size in bytes.
    pub bytes: u64,
    /// The handles that must outlive it. For a job the first is its session.
    pub made_of: Vec<&'static Handle>,
    /// For a job: whether the host has received its outcome.
    pub is_over: AtomicBool,
    pub is_freed: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Device,
    Program,
    Session,
    Buffer,
    Job,
}

impl Handle {
    pub fn is_in_use(&self) -> bool {
        match self.kind {
            Kind::Job => !self.is_over.load(SeqCst) && !self.made_of[0].is_freed.load(SeqCst),
            _ => !self.is_freed.load(SeqCst),
        }
    }

    pub fn free(&self) {
        if self.kind == Kind::Job && self.is_in_use() {
            self.fake.wrong("a job was freed that still runs".into());
        }
        if self.is_freed.swap(true, SeqCst) {
            self.fake.wrong(format!("{:?} was freed twice", self.kind));
        }
        for user in self.fake.handles() {
            let uses_it = user.made_of.iter().any(|&of| ptr::eq(of, self));
            if uses_it && user.is_in_use() {
                let wrong = format!("{:?} was freed before {:?}", self.kind, user.kind);
                self.fake.wrong(wrong);
            }
        }
    }
}

impl Fake {
    pub fn handles(&self) -> Vec<&'static Handle> {
        self.handles.lock().unwrap().clone()
    }

    pub fn of_kind(&self, kind: Kind) -> Vec<&'static Handle> {
        let mut handles = self.handles();
        handles.retain(|handle| handle.kind == kind);
        handles
    }

    pub fn wrong(&self, what: String) {
        self.wrongs.lock().unwrap().push(what);
    }

    pub fn make(&'static self, handle: Handle, out: *mut *mut Opaque) -> ffi::Status {
        let handle: &Handle = Box::leak(Box::new(handle));
        self.handles.lock().unwrap().push(handle);
        // SAFETY: the host's pointer lives during the call.
        unsafe { *out = ptr::from_ref(handle).cast_mut().cast() };
        ffi::OK
    }

    /// Checks that everything was freed, once and in order. Another thread may still be
    /// freeing.
    #[track_caller]
    pub fn assert_all_freed(&self) {
        let began = Instant::now();
        let is_freed = |handle: &&Handle| handle.is_freed.load(SeqCst);
        while !self.handles().iter().all(is_freed) && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut left = self.handles();
        left.retain(|handle| !is_freed(handle));
        let left: Vec<Kind> = left.iter().map(|handle| handle.kind).collect();
        assert_eq!(left, [], "never freed");
        assert_eq!(*self.wrongs.lock().unwrap(), [""; 0]);
    }
}

/// Makes a handle of `kind`, made from the handles `made_of`.
pub fn handle(kind: Kind, fake: &'static Fake, made_of: Vec<&'static Handle>) -> Handle {
    Handle {
        fake,
        kind,
        bytes: 0,
        made_of,
        is_over: AtomicBool::new(false),
        is_freed: AtomicBool::new(false),
    }
}

/// The object of a handle.
///
/// # Safety
/// `raw` is a handle of a fake plug-in.
unsafe fn behind(raw: *mut Opaque) -> &'static Handle {
    // SAFETY: it lives for ever.
    unsafe { &*raw.cast() }
}

thread_local! {
    /// The plug-in whose table `get_api` returns on this thread.
    pub static FAKE: Cell<Option<&'static Fake>> = const { Cell::new(None) };
}

pub unsafe extern "C" fn get_api(_: u32, _: u32, out: *mut *const ffi::Api) -> ffi::Status {
    let api = FAKE.get().map_or(ptr::null(), |fake| &raw const fake.api);
    // SAFETY: the host's pointer lives during the call.
    unsafe { *out = api };
    ffi::OK
}

pub unsafe extern "C" fn init(_: *const ffi::Host, _: *mut ffi::Error) -> ffi::Status {
    ffi::OK
}

pub unsafe extern "C" fn one_device() -> u32 {
    1
}

pub unsafe extern "C" fn open(_: u32, out: *mut *mut Opaque, _: *mut ffi::Error) -> ffi::Status {
    let fake = FAKE.get();
    fake.map_or(12, |fake| {
        fake.make(handle(Kind::Device, fake, Vec::new()), out)
    })
}

pub unsafe extern "C" fn free(raw: *mut Opaque) {
    if !raw.is_null() {
        // SAFETY: a handle of this fake.
        unsafe { behind(raw) }.free();
    }
}

pub unsafe extern "C" fn info(
    device: *mut Opaque,
    out: *mut ffi::DeviceInfo,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: a handle of this fake, and the host's struct.
    unsafe { *out = behind(device).fake.info };
    ffi::OK
}

/// A plug-in of version 1.0 writes what its version has, and the rest stays unsaid.
pub unsafe extern "C" fn info_of_1_0(
    device: *mut Opaque,
    out: *mut ffi::DeviceInfo,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: a handle of this fake, and the host's struct, which is larger.
    unsafe {
        let info = &raw const behind(device).fake.info;
        ptr::copy_nonoverlapping(info.cast::<u8>(), out.cast(), ffi::DeviceInfo::SIZE_1_0);
    }
    ffi::OK
}

pub unsafe extern "C" fn claim_all(
    _: *mut Opaque,
    graph: *const ffi::Graph,
    claims: *const *mut ffi::Claim,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: a graph of the host, with as many claims as it has nodes.
    unsafe {
        for node in 0..(*graph).n_nodes as usize {
            (**claims.add(node)).claimed = 1;
        }
    }
    ffi::OK
}

pub unsafe extern "C" fn claim_none(
    _: *mut Opaque,
    _: *const ffi::Graph,
    _: *const *mut ffi::Claim,
    _: *mut ffi::Error,
) -> ffi::Status {
    ffi::OK
}

pub unsafe extern "C" fn compile(
    device: *mut Opaque,
    _: *const ffi::Graph,
    out: *mut *mut Opaque,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: a handle of this fake.
    let device = unsafe { behind(device) };
    let program = handle(Kind::Program, device.fake, vec![device]);
    device.fake.make(program, out)
}

pub unsafe extern "C" fn save(
    _: *mut Opaque,
    _: *mut c_void,
    size: *mut usize,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: the host's number.
    unsafe { *size = 0 };
    ffi::OK
}

pub unsafe extern "C" fn load(
    device: *mut Opaque,
    _: *const c_void,
    _: usize,
    out: *mut *mut Opaque,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: passed on.
    unsafe { compile(device, ptr::null(), out, error) }
}

pub unsafe extern "C" fn session_new(
    programs: *const *mut Opaque,
    n: u32,
    out: *mut *mut Opaque,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: a list of the host's, of handles of this fake.
    let programs = (0..n as usize).map(|i| unsafe { behind(*programs.add(i)) });
    let programs: Vec<&Handle> = programs.collect();
    let fake = programs[0].fake;
    fake.make(handle(Kind::Session, fake, programs), out)
}

pub unsafe extern "C" fn import(
    device: *mut Opaque,
    memory: *const ffi::Mem,
    out: *mut *mut Opaque,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: a handle of this fake, and the host's struct.
    let (device, bytes) = unsafe { (behind(device), (*memory).size) };
    let buffer = Handle {
        bytes,
        ..handle(Kind::Buffer, device.fake, vec![device])
    };
    device.fake.make(buffer, out)
}

/// Starts a job that leaves the outputs unchanged: new buffers hold zeros.
pub unsafe extern "C" fn submit(
    session: *mut Opaque,
    _: u32,
    bindings: *const *const ffi::Binding,
    n: u32,
    _: u64,
    out: *mut *mut Opaque,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: handles of this fake, and a list of the host's.
    let made_of = unsafe {
        let buffers = (0..n as usize).map(|i| behind((**bindings.add(i)).buffer));
        [behind(session)].into_iter().chain(buffers).collect()
    };
    // SAFETY: as above.
    let fake = unsafe { behind(session) }.fake;
    fake.make(handle(Kind::Job, fake, made_of), out)
}

pub unsafe extern "C" fn wait(
    job: *mut Opaque,
    _: u64,
    ended: *mut u32,
    _: *mut ffi::Metrics,
    _: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: a handle of this fake, and the host's number.
    unsafe {
        behind(job).is_over.store(true, SeqCst);
        *ended = 1;
    }
    ffi::OK
}

pub unsafe extern "C" fn wait_in_vain(
    _: *mut Opaque,
    timeout: u64,
    ended: *mut u32,
    _: *mut ffi::Metrics,
    _: *mut ffi::Error,
) -> ffi::Status {
    std::thread::sleep(Duration::from_nanos(timeout));
    // SAFETY: the host's number.
    unsafe { *ended = 0 };
    ffi::OK
}

/// Ends only jobs that were cancelled.
pub unsafe extern "C" fn wait_for_cancel(
    job: *mut Opaque,
    timeout: u64,
    ended: *mut u32,
    metrics: *mut ffi::Metrics,
    error: *mut ffi::Error,
) -> ffi::Status {
    // SAFETY: a handle of this fake, and the host's number.
    unsafe {
        if !behind(job).is_over.load(SeqCst) {
            return wait_in_vain(job, timeout, ended, metrics, error);
        }
        *ended = 1;
    }
    Code::Cancelled as ffi::Status
}

pub unsafe extern "C" fn cancel(job: *mut Opaque, _: *mut ffi::Error) -> ffi::Status {
    // SAFETY: a handle of this fake.
    unsafe { behind(job) }.is_over.store(true, SeqCst);
    ffi::OK
}

pub unsafe extern "C" fn ignore_cancel(_: *mut Opaque, _: *mut ffi::Error) -> ffi::Status {
    ffi::OK
}

pub unsafe extern "C" fn fail_to_cancel(_: *mut Opaque, _: *mut ffi::Error) -> ffi::Status {
    Code::Internal as ffi::Status
}

pub unsafe extern "C" fn fail_to_wait(
    _: *mut Opaque,
    _: u64,
    _: *mut u32,
    _: *mut ffi::Metrics,
    _: *mut ffi::Error,
) -> ffi::Status {
    Code::Internal as ffi::Status
}

/// A time longer than the deadlines of several calls.
pub const SLOW: Duration = Duration::from_millis(500);

pub unsafe extern "C" fn free_slowly(raw: *mut Opaque) {
    std::thread::sleep(SLOW);
    // SAFETY: passed on.
    unsafe { free(raw) }
}

pub static ROWS: [u32; 2] = [1, 16];

/// A plug-in that keeps the contract, except that it computes nothing.
pub fn fake() -> Fake {
    // SAFETY: null pointers, entries and numbers may be zero.
    let (mut api, mut device): (ffi::Api, ffi::DeviceInfo) = unsafe { (zeroed(), zeroed()) };
    api.hdr = ffi::Hdr::of::<ffi::Api>();
    api.init = Some(init);
    api.device_count = Some(one_device);
    api.device_open = Some(open);
    api.device_close = Some(free);
    api.device_info = Some(info);
    api.claim = Some(claim_all);
    api.compile = Some(compile);
    api.program_save = Some(save);
    api.program_load = Some(load);
    api.program_free = Some(free);
    api.session_new = Some(session_new);
    api.session_free = Some(free);
    api.buffer_import = Some(import);
    api.buffer_release = Some(free);
    api.submit = Some(submit);
    api.job_wait = Some(wait);
    api.job_cancel = Some(cancel);
    api.job_free = Some(free);
    device.hdr = ffi::Hdr::of::<ffi::DeviceInfo>();
    device.mem_caps = ffi::MEM_HOST;
    device.activations = ffi::F32;
    (device.quants, device.n_quants) = quants(&[raw_quant(ffi::F16)]);
    (device.rows, device.n_rows) = (ROWS.as_ptr(), 2);
    Fake {
        api,
        info: device,
        handles: Mutex::default(),
        wrongs: Mutex::default(),
    }
}

pub fn raw_quant(store: u32) -> ffi::Quant {
    ffi::Quant {
        hdr: ffi::Hdr::of::<ffi::Quant>(),
        store,
        group: 0,
        scale_type: 0,
    }
}

/// A list that lives for ever, and its length.
pub fn quants(list: &[ffi::Quant]) -> (*const *const ffi::Quant, u32) {
    let pointers = list.iter().map(|&quant| {
        let quant: &ffi::Quant = Box::leak(Box::new(quant));
        ptr::from_ref(quant)
    });
    let pointers: Vec<*const ffi::Quant> = pointers.collect();
    (pointers.leak().as_ptr(), list.len() as u32)
}

/// The changed plug-in, and the result of opening it.
pub fn opened(change: impl FnOnce(&mut Fake)) -> (&'static Fake, Result<Delegate, DelegateError>) {
    let mut fake = fake();
    change(&mut fake);
    let fake: &Fake = Box::leak(Box::new(fake));
    FAKE.set(Some(fake));
    // SAFETY: the table is whole, or says how far it goes.
    (fake, unsafe { Delegate::open(get_api) })
}

pub fn device(change: impl FnOnce(&mut Fake)) -> (&'static Fake, Delegate) {
    let (fake, delegate) = opened(change);
    (fake, delegate.unwrap())
}

/// The error of opening a changed plug-in. Nothing of it may stay open.
#[track_caller]
pub fn refusal(change: impl FnOnce(&mut Fake)) -> DelegateError {
    let (fake, delegate) = opened(change);
    fake.assert_all_freed();
    delegate.unwrap_err()
}

#[track_caller]
pub fn assert_is(error: &DelegateError, stage: Stage, code: Code) {
    assert_eq!((error.stage, error.code), (stage, code), "{error}");
}
