//! The table of functions that the host calls: each sends its call to the helper.

use super::device::{Device, Pending, Program};
use super::message::Opened;
use super::session::{Buffer, Job, Session};
use ondol::delegate::{Metrics, ffi};
use ondol_plugin::raw::{Binding, Objects, Optional, api, entry, put};
use ondol_plugin::{Failure, Result, invalid};
use std::cell::RefCell;
use std::ffi::CString;
use std::ptr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

thread_local! {
    /// The device that this thread is opening. It is here because `get_api` and `device_open` take
    /// no argument that could name it.
    pub static PENDING: RefCell<Option<Pending>> = const { RefCell::new(None) };
}

/// Gives the table of the plug-in whose device is pending.
pub unsafe extern "C" fn get_api(
    _major: u32,
    _minor: u32,
    out: *mut *const ffi::Api,
) -> ffi::Status {
    let table = || {
        PENDING.with_borrow(|pending| {
            let pending = pending.as_ref().ok_or_else(no_device)?;
            // SAFETY: by the contract.
            unsafe { put(out, ptr::from_ref(api_of(&pending.opened))) }
        })
    };
    // SAFETY: there is no error to fill in.
    unsafe { entry(ptr::null_mut(), table) }
}

fn no_device() -> Failure {
    invalid("no device is pending on this thread")
}

/// The table for a plug-in of these names. Tables live as long as the process, so each is
/// made once.
fn api_of(opened: &Opened) -> &'static ffi::Api {
    static TABLES: Mutex<Vec<&'static Table>> = Mutex::new(Vec::new());
    let names = opened
        .plugin
        .clone()
        .map(|name| CString::new(name).unwrap_or_default());
    let mut tables = super::helper::lock(&TABLES);
    let has = Optional {
        inject: opened.injects_faults,
        reset: opened.resets,
    };
    let is_it = |table: &&&Table| table.names == names && table.has == has;
    if let Some(table) = tables.iter().find(is_it) {
        return &table.api;
    }
    let table: &Table = Box::leak(Box::new(Table::new(names, has)));
    tables.push(table);
    &table.api
}

struct Table {
    names: [CString; 3],
    has: Optional,
    api: ffi::Api,
}

// SAFETY: it is never written, and its pointers lead to its own names.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

impl Table {
    fn new(names: [CString; 3], has: Optional) -> Table {
        Table {
            api: api::<Isolated>(names.each_ref().map(|name| name.as_ptr()), has),
            names,
            has,
        }
    }
}

/// The objects in the host. Each represents one in the helper.
struct Isolated;

impl Objects for Isolated {
    type Device = Arc<Device>;
    type Program = Arc<Program>;
    type Session = Arc<Session>;
    type Buffer = Buffer;
    type Job = Job;

    /// The helper's host has given its log to the plug-in.
    fn init(_host: &ffi::Host) -> Result<()> {
        Ok(())
    }

    fn device_count() -> u32 {
        1
    }

    fn open(_index: u32) -> Result<Arc<Device>> {
        let pending = PENDING.take().ok_or_else(no_device)?;
        Device::new(pending).map(Arc::new)
    }

    fn info(device: &Arc<Device>) -> Result<ffi::DeviceInfo> {
        device.info()
    }

    fn inject(device: &Arc<Device>, fault: &str, after: u32) -> Result<()> {
        device.inject(fault, after)
    }

    fn reset(device: &Arc<Device>) -> Result<()> {
        device.reset()
    }

    unsafe fn claim(device: &Arc<Device>, graph: *const ffi::Graph) -> Result<Vec<Option<String>>> {
        // SAFETY: passed on to the caller.
        unsafe { device.claim(graph) }
    }

    unsafe fn compile(device: &Arc<Device>, graph: *const ffi::Graph) -> Result<Arc<Program>> {
        // SAFETY: passed on to the caller.
        unsafe { Program::compile(device, graph) }.map(Arc::new)
    }

    fn save(program: &Arc<Program>) -> Result<Vec<u8>> {
        program.save()
    }

    fn load(device: &Arc<Device>, blob: &[u8]) -> Result<Arc<Program>> {
        Program::load(device, blob).map(Arc::new)
    }

    fn session(programs: Vec<Arc<Program>>) -> Result<Arc<Session>> {
        Session::new(&programs).map(Arc::new)
    }

    /// Jobs may outlive the handle.
    fn end(session: &Arc<Session>) {
        session.end();
    }

    /// The plug-in imports the shared memory in place of the host's.
    fn import(_device: &Arc<Device>, memory: &ffi::Mem) -> Result<Buffer> {
        Buffer::import(memory)
    }

    unsafe fn submit(
        session: &Arc<Session>,
        program: u32,
        bindings: &[Binding<Buffer>],
        deadline: Duration,
    ) -> Result<Job> {
        // SAFETY: passed on to the caller.
        unsafe { Job::start(session, program, bindings, deadline) }
    }

    fn wait(job: &Job, timeout: Duration) -> (bool, Result<Metrics>) {
        let outcome = job.wait(timeout).map(Metrics::from);
        (job.has_ended(), outcome)
    }

    fn cancel(job: &Job) -> Result<()> {
        job.cancel()
    }
}
