//! A plug-in and its device: every call through the C table, made safe.
//!
//! What SAFETY lines here lean on is the contract of `ondol_npu.h`: what is passed
//! in lives during the call, handles are freed once and after all that they were
//! made for (each Rust handle holds what it needs alive), and functions may be
//! called from any thread.

use super::error::{Code, DelegateError, Stage, text};
use super::ffi::{self, Opaque};
use super::quant::Quant;
use super::segment::Segment;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use core::time::Duration;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::path::Path;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec::Vec;
use std::{format, mem};

type Result<T> = core::result::Result<T, DelegateError>;

/// No device has so many forms of weights, or numbers of rows.
const MAX_LISTED: usize = 64;

/// The alignment of memory that is handed to a device: a page.
const ALIGN: usize = 4096;

/// Calls an entry of the table, which was looked at when the plug-in was loaded.
macro_rules! call {
    ($api:expr, $entry:ident ( $($argument:expr),* )) => {
        match $api.$entry {
            Some(entry) => entry($($argument),*),
            None => unreachable!(concat!("no ", stringify!($entry))),
        }
    };
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// Name, version and licence (SPDX) of the plug-in.
    pub plugin: [String; 3],
    /// Who made the device.
    pub vendor: String,
    /// Its name.
    pub device: String,
    /// The architecture that programs are compiled for.
    pub arch: String,
    /// Version of the driver.
    pub driver: String,
    /// Version of the firmware.
    pub firmware: String,
    /// What is behind it.
    pub label: Label,
    /// What a matmul rounds its inputs to.
    pub activations: Activations,
    /// Forms of weights that it takes and the host can make.
    pub quants: Vec<Quant>,
    /// Numbers of rows that programs can have, ascending.
    pub rows: Vec<usize>,
    /// Bytes of its memory; 0 where it does not tell.
    pub memory: u64,
    /// Whether it makes faults on request.
    pub injects_faults: bool,
}

/// What is behind a delegate. Times of anything but hardware are no performance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A device.
    Hardware,
    /// A program that does what a device would.
    Emulator,
    /// A stand-in that was made to try the contract.
    ContractStub,
}

impl core::fmt::Display for Label {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Label::Hardware => "hardware",
            Label::Emulator => "emulator",
            Label::ContractStub => "contract stub",
        })
    }
}

/// What a matmul's inputs are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// Nothing.
    F32,
    /// 11 bits.
    F16,
    /// 8 bits.
    Bf16,
    /// 16-bit integers.
    I16,
    /// 8-bit integers.
    I8,
}

impl core::fmt::Display for Activations {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Activations::F32 => "f32",
            Activations::F16 => "f16",
            Activations::Bf16 => "bf16",
            Activations::I16 => "i16",
            Activations::I8 => "i8",
        })
    }
}

/// A device that was opened. Cheap to clone; closed with the last clone and all
/// that was made of it.
#[derive(Clone)]
pub struct Delegate(Arc<Device>);

struct Device {
    api: ffi::Api,
    raw: *mut Opaque,
    info: DeviceInfo,
}

// SAFETY: the contract lets any thread call for a device.
unsafe impl Send for Device {}
// SAFETY: and several at the same time.
unsafe impl Sync for Device {}

impl core::fmt::Debug for Delegate {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.info.fmt(f)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: opened once, and nothing that was made of it is left.
        unsafe { call!(self.api, device_close(self.raw)) }
    }
}

impl Delegate {
    /// Loads a plug-in and opens its first device. The library stays loaded until
    /// the process ends.
    ///
    /// # Safety
    /// The library is code that is trusted to keep the contract of `ondol_npu.h`.
    ///
    /// # Errors
    /// Of the stages [`Stage::Load`] and [`Stage::Open`].
    pub unsafe fn load(path: &Path) -> Result<Delegate> {
        let refused = |e: libloading::Error| {
            let message = format!("{}: {e}", path.display());
            DelegateError::found(Stage::Load, Code::Invalid, message)
        };
        // SAFETY: the caller trusts the library.
        let library = unsafe { libloading::Library::new(path) }.map_err(refused)?;
        // SAFETY: the symbol has this type, by the contract.
        let get_api = unsafe { library.get::<ffi::GetApi>(ffi::GET_API) };
        let get_api = *get_api.map_err(refused)?;
        // Drivers start threads and keep state: none of them is made to be unloaded.
        mem::forget(library);
        // SAFETY: passed on to the caller.
        unsafe { Delegate::open(get_api) }
    }

    /// Opens the first device of a plug-in that is linked into the program.
    ///
    /// # Safety
    /// It is `ondol_npu_get_api` of a plug-in that keeps the contract.
    ///
    /// # Errors
    /// As for [`Delegate::load`].
    pub unsafe fn open(get_api: ffi::GetApi) -> Result<Delegate> {
        // SAFETY: passed on to the caller.
        let api = unsafe { table(get_api)? };
        let mut raw = ptr::null_mut();
        // SAFETY: the host's table and all pointers are as the contract wants them.
        unsafe {
            check(Stage::Load, |error| call!(api, init(&HOST.0, error)))?;
            if call!(api, device_count()) == 0 {
                let message = "the plug-in sees no device";
                return Err(DelegateError::found(
                    Stage::Open,
                    Code::Unsupported,
                    message,
                ));
            }
            check(Stage::Open, |error| {
                call!(api, device_open(0, &mut raw, error))
            })?;
        }
        let mut device = Device {
            api,
            raw: not_null(Stage::Open, raw)?,
            info: empty_info(),
        };
        device.info = device.read_info()?;
        Ok(Delegate(Arc::new(device)))
    }

    /// What the device says of itself.
    pub fn info(&self) -> &DeviceInfo {
        &self.0.info
    }

    /// Which nodes of a segment the device takes: for each nothing, or why not.
    ///
    /// # Errors
    /// Of the stage [`Stage::Claim`].
    pub fn claim(&self, segment: &Segment) -> Result<Vec<Option<String>>> {
        let refused = ffi::Claim {
            hdr: ffi::Hdr::of::<ffi::Claim>(),
            claimed: 0,
            reason: [0; 120],
        };
        let mut claims = std::vec![refused; segment.nodes.len()];
        let list: Vec<*mut ffi::Claim> = claims.iter_mut().map(ptr::from_mut).collect();
        segment.with_raw(|graph| {
            // SAFETY: graph and claims live during the call.
            check(Stage::Claim, |error| unsafe {
                call!(self.0.api, claim(self.0.raw, graph, list.as_ptr(), error))
            })
        })?;
        let reason = |claim: &ffi::Claim| match (claim.claimed, text(&claim.reason)) {
            (0, silent) if silent.is_empty() => Some("no reason given".to_string()),
            (0, reason) => Some(reason),
            _ => None,
        };
        Ok(claims.iter().map(reason).collect())
    }

    /// Compiles a segment.
    ///
    /// # Errors
    /// Of the stage [`Stage::Compile`].
    pub fn compile(&self, segment: &Segment) -> Result<Program> {
        self.program(Stage::Compile, |out, error| {
            // SAFETY: the graph lives during the call.
            segment.with_raw(|graph| unsafe {
                call!(self.0.api, compile(self.0.raw, graph, out, error))
            })
        })
    }

    /// Loads what [`Program::save`] gave.
    ///
    /// # Errors
    /// Of the stage [`Stage::LoadProgram`]: [`Code::Corrupt`] and
    /// [`Code::Incompatible`] for what is not, or no more, a program of this device.
    pub fn load_program(&self, blob: &[u8]) -> Result<Program> {
        // SAFETY: the bytes live during the call.
        self.program(Stage::LoadProgram, |out, error| unsafe {
            let (blob, size) = (blob.as_ptr().cast(), blob.len());
            call!(self.0.api, program_load(self.0.raw, blob, size, out, error))
        })
    }

    fn program(
        &self,
        stage: Stage,
        make: impl FnOnce(*mut *mut Opaque, *mut ffi::Error) -> ffi::Status,
    ) -> Result<Program> {
        let mut raw = ptr::null_mut();
        check(stage, |error| make(&mut raw, error))?;
        let raw = not_null(stage, raw)?;
        let device = self.clone();
        Ok(Program(Arc::new(ProgramHandle { device, raw })))
    }

    /// Asks for a fault: the call that comes after so many submits, or what else
    /// it says, goes wrong. `docs/add-a-delegate.md` names them; "none" ends all.
    ///
    /// # Errors
    /// Of the stage [`Stage::Inject`]: [`Code::Unsupported`] for what it has not.
    pub fn inject(&self, fault: &CStr, after: u32) -> Result<()> {
        let Some(inject) = self.0.api.inject else {
            let message = "the plug-in makes no faults";
            return Err(DelegateError::found(
                Stage::Inject,
                Code::Unsupported,
                message,
            ));
        };
        // SAFETY: the name lives during the call.
        check(Stage::Inject, |error| unsafe {
            inject(self.0.raw, fault.as_ptr(), after, error)
        })
    }
}

impl Device {
    fn read_info(&self) -> Result<DeviceInfo> {
        // SAFETY: all its fields may be zero.
        let mut raw: ffi::DeviceInfo = unsafe { mem::zeroed() };
        raw.hdr = ffi::Hdr::of::<ffi::DeviceInfo>();
        // SAFETY: the struct lives during the call.
        check(Stage::Open, |error| unsafe {
            call!(self.api, device_info(self.raw, &mut raw, error))
        })?;
        let activations = match raw.activations {
            ffi::F32 => Activations::F32,
            ffi::F16 => Activations::F16,
            ffi::BF16 => Activations::Bf16,
            ffi::I16 => Activations::I16,
            ffi::I8 => Activations::I8,
            other => return Err(odd(format!("activations of the type {other}"))),
        };
        if raw.mem_caps & ffi::MEM_HOST == 0 {
            return Err(odd("a device that can't use the host's memory"));
        }
        let label = match raw.flags {
            flags if flags & ffi::DEVICE_STUB != 0 => Label::ContractStub,
            flags if flags & ffi::DEVICE_EMULATED != 0 => Label::Emulator,
            _ => Label::Hardware,
        };
        // SAFETY: lists and names live as long as the device and the plug-in.
        let (quants, mut rows, plugin) = unsafe {
            let quants = listed(raw.quants, raw.n_quants)?;
            let quants = quants.iter().filter_map(|quant| quant.as_ref());
            let quants: Vec<Quant> = quants.filter_map(Quant::from_raw).collect();
            let names = [self.api.name, self.api.version, self.api.licence];
            (
                quants,
                listed(raw.rows, raw.n_rows)?.to_vec(),
                names.map(|name| string(name)),
            )
        };
        rows.retain(|&rows| rows > 0);
        rows.sort_unstable();
        rows.dedup();
        if rows.is_empty() {
            return Err(odd("a device without a number of rows for its programs"));
        }
        Ok(DeviceInfo {
            plugin,
            vendor: text(&raw.vendor),
            device: text(&raw.device),
            arch: text(&raw.arch),
            driver: text(&raw.driver),
            firmware: text(&raw.firmware),
            label,
            activations,
            quants,
            rows: rows.into_iter().map(|rows| rows as usize).collect(),
            memory: raw.mem_total,
            injects_faults: self.api.inject.is_some(),
        })
    }
}

/// The plug-in's table, as far as it reaches, with every entry that must be there.
///
/// # Safety
/// `get_api` keeps the contract.
unsafe fn table(get_api: ffi::GetApi) -> Result<ffi::Api> {
    let mut found: *const ffi::Api = ptr::null();
    let (major, minor) = (u32::from(ffi::ABI_MAJOR), u32::from(ffi::ABI_MINOR));
    // SAFETY: the pointer lives during the call.
    let status = unsafe { get_api(major, minor, &mut found) };
    if status != ffi::OK || found.is_null() {
        let message = format!("it does not speak version {major}.{minor} of the ABI");
        return Err(DelegateError::found(
            Stage::Load,
            Code::Incompatible,
            message,
        ));
    }
    // SAFETY: every table begins with a header, and has the size that it says.
    let api = unsafe {
        let hdr = (*found).hdr;
        if hdr.abi_major != ffi::ABI_MAJOR {
            let message = format!(
                "its table is of version {}.{}",
                hdr.abi_major, hdr.abi_minor
            );
            return Err(DelegateError::found(
                Stage::Load,
                Code::Incompatible,
                message,
            ));
        }
        // What it does not have stays null, and of an entry that is cut it has nothing.
        let mut api: ffi::Api = mem::zeroed();
        let bytes = size_of::<ffi::Api>().min(hdr.struct_size as usize);
        let bytes = bytes - bytes % size_of::<usize>();
        ptr::copy_nonoverlapping(found.cast::<u8>(), ptr::from_mut(&mut api).cast(), bytes);
        api
    };
    let entries = [
        ("init", api.init.is_some()),
        ("device_count", api.device_count.is_some()),
        ("device_open", api.device_open.is_some()),
        ("device_close", api.device_close.is_some()),
        ("device_info", api.device_info.is_some()),
        ("claim", api.claim.is_some()),
        ("compile", api.compile.is_some()),
        ("program_save", api.program_save.is_some()),
        ("program_load", api.program_load.is_some()),
        ("program_free", api.program_free.is_some()),
        ("session_new", api.session_new.is_some()),
        ("session_free", api.session_free.is_some()),
        ("buffer_import", api.buffer_import.is_some()),
        ("buffer_release", api.buffer_release.is_some()),
        ("submit", api.submit.is_some()),
        ("job_wait", api.job_wait.is_some()),
        ("job_cancel", api.job_cancel.is_some()),
        ("job_free", api.job_free.is_some()),
    ];
    match entries.into_iter().find(|(_, there)| !there) {
        None => Ok(api),
        Some((name, _)) => {
            let message = format!("its table has no `{name}`");
            Err(DelegateError::found(Stage::Load, Code::Invalid, message))
        }
    }
}

/// Calls with an error to fill in, and reads it where the call failed.
fn check(stage: Stage, call: impl FnOnce(*mut ffi::Error) -> ffi::Status) -> Result<()> {
    let mut error = ffi::Error {
        hdr: ffi::Hdr::of::<ffi::Error>(),
        code: 0,
        vendor_code: 0,
        flags: 0,
        message: [0; 236],
    };
    match call(&mut error) {
        ffi::OK => Ok(()),
        status => Err(DelegateError::told(stage, status, &error)),
    }
}

fn not_null(stage: Stage, raw: *mut Opaque) -> Result<*mut Opaque> {
    match raw.is_null() {
        false => Ok(raw),
        true => Err(DelegateError::found(
            stage,
            Code::Internal,
            "success, but no handle",
        )),
    }
}

fn odd(what: impl Into<String>) -> DelegateError {
    DelegateError::found(Stage::Open, Code::Unsupported, what)
}

/// What a plug-in lists.
///
/// # Safety
/// The list has that many elements and lives long enough.
unsafe fn listed<'l, T>(list: *const T, len: u32) -> Result<&'l [T]> {
    match len as usize {
        0 => Ok(&[]),
        _ if list.is_null() => Err(odd("a list that is not there")),
        len if len > MAX_LISTED => Err(odd(format!("a list of {len}"))),
        // SAFETY: passed on to the caller.
        len => Ok(unsafe { core::slice::from_raw_parts(list, len) }),
    }
}

/// # Safety
/// Null, or a string that ends in zero.
unsafe fn string(name: *const c_char) -> String {
    if name.is_null() {
        return String::new();
    }
    // SAFETY: passed on to the caller.
    unsafe { CStr::from_ptr(name) }
        .to_string_lossy()
        .into_owned()
}

/// What stands for a device that was not asked yet.
fn empty_info() -> DeviceInfo {
    DeviceInfo {
        plugin: [const { String::new() }; 3],
        vendor: String::new(),
        device: String::new(),
        arch: String::new(),
        driver: String::new(),
        firmware: String::new(),
        label: Label::Hardware,
        activations: Activations::F32,
        quants: Vec::new(),
        rows: Vec::new(),
        memory: 0,
        injects_faults: false,
    }
}

/// What the host gives to plug-ins.
static HOST: HostTable = HostTable(ffi::Host {
    hdr: ffi::Hdr::of::<ffi::Host>(),
    context: ptr::null_mut(),
    log,
});

struct HostTable(ffi::Host);

// SAFETY: nothing in it is ever written.
unsafe impl Sync for HostTable {}

/// Errors and warnings go where a program's own do; the rest is nobody's business.
unsafe extern "C" fn log(_context: *mut c_void, level: c_int, message: *const c_char) {
    if level <= 1 {
        // SAFETY: a string that ends in zero, by the contract.
        let message = unsafe { string(message) };
        std::eprintln!("delegate: {message}");
    }
}

/// A compiled segment. Cheap to clone.
#[derive(Clone)]
pub struct Program(Arc<ProgramHandle>);

struct ProgramHandle {
    device: Delegate,
    raw: *mut Opaque,
}

// SAFETY: the contract lets any thread use a program.
unsafe impl Send for ProgramHandle {}
// SAFETY: and several at the same time.
unsafe impl Sync for ProgramHandle {}

impl Drop for ProgramHandle {
    fn drop(&mut self) {
        // SAFETY: made once, and no session holds it any more.
        unsafe { call!(self.device.0.api, program_free(self.raw)) }
    }
}

impl Program {
    /// The program as bytes, for [`Delegate::load_program`].
    ///
    /// # Errors
    /// Of the stage [`Stage::Save`].
    pub fn save(&self) -> Result<Vec<u8>> {
        let api = &self.0.device.0.api;
        let mut size = 0;
        // SAFETY: without a blob only the length is written.
        check(Stage::Save, |error| unsafe {
            call!(
                api,
                program_save(self.0.raw, ptr::null_mut(), &mut size, error)
            )
        })?;
        let mut blob = Vec::new();
        if blob.try_reserve_exact(size).is_err() {
            let message = format!("{size} bytes for a program");
            return Err(DelegateError::found(Stage::Save, Code::NoMemory, message));
        }
        blob.resize(size, 0);
        // SAFETY: the blob has that many bytes.
        check(Stage::Save, |error| unsafe {
            call!(
                api,
                program_save(self.0.raw, blob.as_mut_ptr().cast(), &mut size, error)
            )
        })?;
        blob.truncate(size);
        Ok(blob)
    }
}

/// Memory that a device may use, and the device's name for it.
pub struct Buffer {
    device: Delegate,
    raw: *mut Opaque,
    start: *mut u8,
    layout: Layout,
}

// SAFETY: it owns its memory, and the contract lets any thread use the handle.
unsafe impl Send for Buffer {}

impl Buffer {
    /// `floats` zeros that the device can read and write.
    ///
    /// # Errors
    /// Of the stage [`Stage::Session`].
    pub fn new(device: &Delegate, floats: usize) -> Result<Buffer> {
        let bytes = floats.max(1).checked_mul(4);
        let layout = bytes.and_then(|bytes| Layout::from_size_align(bytes, ALIGN).ok());
        let refused = || {
            let message = format!("{floats} floats between host and device");
            DelegateError::found(Stage::Session, Code::NoMemory, message)
        };
        let layout = layout.ok_or_else(refused)?;
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(refused());
        }
        let mut buffer = Buffer {
            device: device.clone(),
            raw: ptr::null_mut(),
            start,
            layout,
        };
        let memory = ffi::Mem {
            hdr: ffi::Hdr::of::<ffi::Mem>(),
            kind: ffi::MEM_HOST,
            access: ffi::HOST_READ | ffi::HOST_WRITE | ffi::DEVICE_READ | ffi::DEVICE_WRITE,
            ptr: start.cast(),
            fd: -1,
            offset: 0,
            size: layout.size() as u64,
            align: ALIGN as u64,
        };
        // SAFETY: the memory lives until the buffer is released.
        check(Stage::Session, |error| unsafe {
            call!(
                device.0.api,
                buffer_import(device.0.raw, &memory, &mut buffer.raw, error)
            )
        })?;
        not_null(Stage::Session, buffer.raw)?;
        Ok(buffer)
    }

    /// The floats. While a job uses them they may change: read them when it is over.
    pub fn floats(&self) -> &[f32] {
        // SAFETY: that many floats lie there, and jobs are waited for before they are looked at.
        unsafe { core::slice::from_raw_parts(self.start.cast(), self.layout.size() / 4) }
    }

    /// The floats, to write while no job uses them.
    pub fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.start.cast(), self.layout.size() / 4) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: null, or imported once; after its release the memory is ours alone.
        unsafe {
            call!(self.device.0.api, buffer_release(self.raw));
            dealloc(self.start, self.layout);
        }
    }
}

/// Where a tensor of a program lies: from float `offset` of a buffer on.
pub struct Place<'b> {
    /// Index of the input or output in the segment.
    pub tensor: usize,
    /// Its memory.
    pub buffer: &'b Buffer,
    /// In floats.
    pub offset: usize,
}

/// What a device measured of a job; what it did not is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Metrics {
    /// Time on the device.
    pub time: Option<Duration>,
    /// Microjoules.
    pub energy_uj: Option<u64>,
    /// Thousandths of a degree Celsius.
    pub temperature_mc: Option<i32>,
    /// Whether it ran slower for heat.
    pub throttled: Option<bool>,
}

/// Programs that run one after the other.
pub struct DeviceSession {
    programs: Vec<Program>,
    raw: *mut Opaque,
    /// Of the call at hand; kept so that a submit allocates nothing.
    bindings: Vec<ffi::Binding>,
    binding_list: Vec<*const ffi::Binding>,
}

/// Values of a program that a session has room for without allocating.
const VALUES: usize = 16;

// SAFETY: the contract lets any thread use a session, one at a time.
unsafe impl Send for DeviceSession {}

impl DeviceSession {
    /// A session of these programs, which are of one device and at least one.
    ///
    /// # Errors
    /// Of the stage [`Stage::Session`].
    pub fn new(programs: Vec<Program>) -> Result<DeviceSession> {
        let Some(first) = programs.first() else {
            let message = "a session needs a program";
            return Err(DelegateError::found(Stage::Session, Code::Invalid, message));
        };
        let list: Vec<*mut Opaque> = programs.iter().map(|program| program.0.raw).collect();
        let mut raw = ptr::null_mut();
        // SAFETY: the list lives during the call; the session keeps the programs.
        check(Stage::Session, |error| unsafe {
            let api = &first.0.device.0.api;
            call!(
                api,
                session_new(list.as_ptr(), list.len() as u32, &mut raw, error)
            )
        })?;
        Ok(DeviceSession {
            raw: not_null(Stage::Session, raw)?,
            programs,
            bindings: Vec::with_capacity(VALUES),
            binding_list: Vec::with_capacity(VALUES),
        })
    }

    fn api(&self) -> &ffi::Api {
        &self.programs[0].0.device.0.api
    }

    /// Starts a program; the device is to give up after `deadline`.
    ///
    /// # Safety
    /// The buffers live, and nobody looks at them, until [`Job::wait`] tells an
    /// outcome or the session is gone.
    ///
    /// # Errors
    /// Of the stage [`Stage::Submit`].
    pub unsafe fn submit<'b>(
        &mut self,
        program: usize,
        places: impl Iterator<Item = Place<'b>>,
        deadline: Duration,
    ) -> Result<Job> {
        self.bind(places);
        let (list, len) = (self.binding_list.as_ptr(), self.binding_list.len() as u32);
        let (program, deadline) = (program as u32, nanoseconds(deadline));
        let mut raw = ptr::null_mut();
        // SAFETY: the bindings live during the call, the buffers by the caller.
        check(Stage::Submit, |error| unsafe {
            call!(
                self.api(),
                submit(self.raw, program, list, len, deadline, &mut raw, error)
            )
        })?;
        let raw = not_null(Stage::Submit, raw)?;
        let device = self.programs[0].0.device.clone();
        Ok(Job { device, raw })
    }

    fn bind<'b>(&mut self, places: impl Iterator<Item = Place<'b>>) {
        self.bindings.clear();
        self.bindings.extend(places.map(|place| ffi::Binding {
            hdr: ffi::Hdr::of::<ffi::Binding>(),
            tensor: place.tensor as u32,
            buffer: place.buffer.raw,
            offset: place.offset as u64 * 4,
        }));
        self.binding_list.clear();
        self.binding_list
            .extend(self.bindings.iter().map(ptr::from_ref));
    }
}

impl Drop for DeviceSession {
    fn drop(&mut self) {
        // SAFETY: made once.
        unsafe { call!(self.api(), session_free(self.raw)) }
    }
}

/// A program that was started. It must be over, or its session gone, when it is dropped.
pub struct Job {
    device: Delegate,
    raw: *mut Opaque,
}

// SAFETY: the contract lets any thread wait for a job.
unsafe impl Send for Job {}

/// Whether a job is over, and how it ended.
pub enum Outcome {
    /// It did all that it was to do.
    Done(Metrics),
    /// It ended without.
    Failed(DelegateError),
    /// It still runs.
    Running,
    /// It can't be told: the wait itself failed.
    Stuck(DelegateError),
}

impl Job {
    /// Waits for the outcome, no longer than `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Outcome {
        let mut metrics = ffi::Metrics {
            hdr: ffi::Hdr::of::<ffi::Metrics>(),
            measured: 0,
            throttled: 0,
            exec_ns: 0,
            energy_uj: 0,
            temperature_mc: 0,
        };
        let (timeout, mut over) = (nanoseconds(timeout), 0);
        // SAFETY: number and struct live during the call.
        let status = check(Stage::Wait, |error| unsafe {
            let api = &self.device.0.api;
            call!(
                api,
                job_wait(self.raw, timeout, &mut over, &mut metrics, error)
            )
        });
        match status {
            Ok(()) if over == 0 => Outcome::Running,
            Ok(()) => Outcome::Done(Metrics::from_raw(&metrics)),
            Err(error) if over == 0 => Outcome::Stuck(error),
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Asks it to end soon. [`Job::wait`] tells when it has.
    ///
    /// # Errors
    /// Of the stage [`Stage::Wait`].
    pub fn cancel(&mut self) -> Result<()> {
        // SAFETY: the job is not freed.
        check(Stage::Wait, |error| unsafe {
            call!(self.device.0.api, job_cancel(self.raw, error))
        })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: started once.
        unsafe { call!(self.device.0.api, job_free(self.raw)) }
    }
}

impl Metrics {
    fn from_raw(raw: &ffi::Metrics) -> Metrics {
        let has = |what: u32| raw.measured & what != 0;
        Metrics {
            time: has(ffi::MEASURED_TIME).then(|| Duration::from_nanos(raw.exec_ns)),
            energy_uj: has(ffi::MEASURED_ENERGY).then_some(raw.energy_uj),
            temperature_mc: has(ffi::MEASURED_TEMPERATURE).then_some(raw.temperature_mc),
            throttled: has(ffi::MEASURED_THROTTLING).then_some(raw.throttled != 0),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
