//! The boundary to a plug-in: its table, the host's, and how an entry is called.
//!
//! What SAFETY lines of this folder lean on is the contract of `ondol_npu.h`: what
//! is passed in lives during the call, handles are freed once and after all that
//! they were made for (each Rust handle holds what it needs alive), and functions
//! may be called from any thread.

use super::error::{Code, DelegateError, Stage};
use super::ffi::{self, Opaque};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use std::io::Write;
use std::string::String;
use std::{format, mem};

pub(super) type Result<T> = core::result::Result<T, DelegateError>;

/// Calls an entry of the table, which was looked at when the plug-in was loaded.
macro_rules! call {
    ($api:expr, $entry:ident ( $($argument:expr),* )) => {
        match $api.$entry {
            Some(entry) => entry($($argument),*),
            None => unreachable!(concat!("no ", stringify!($entry))),
        }
    };
}
pub(super) use call;

/// The plug-in's table, as far as it reaches, with every entry that must be there.
///
/// # Safety
/// `get_api` keeps the contract.
pub(super) unsafe fn table(get_api: ffi::GetApi) -> Result<ffi::Api> {
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
pub(super) fn check(stage: Stage, call: impl FnOnce(*mut ffi::Error) -> ffi::Status) -> Result<()> {
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

pub(super) fn not_null(stage: Stage, raw: *mut Opaque) -> Result<*mut Opaque> {
    match raw.is_null() {
        false => Ok(raw),
        true => Err(DelegateError::found(
            stage,
            Code::Internal,
            "success, but no handle",
        )),
    }
}

/// # Safety
/// Null, or a string that ends in zero.
pub(super) unsafe fn string(name: *const c_char) -> String {
    if name.is_null() {
        return String::new();
    }
    // SAFETY: passed on to the caller.
    unsafe { CStr::from_ptr(name) }
        .to_string_lossy()
        .into_owned()
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
        // Standard error may be closed or full: no reason to panic in a plug-in's call.
        let _ = writeln!(std::io::stderr(), "delegate: {message}");
    }
}

/// The host's table, for [`ffi::Api::init`].
pub(super) fn host() -> *const ffi::Host {
    &HOST.0
}
