//! The boundary to a plug-in: its table of functions, the host's table, and how
//! functions are called.
//!
//! The SAFETY comments of this folder rely on the contract of `ondol_npu.h`: arguments
//! live during the call, handles are freed once and after everything that was made from
//! them (each Rust handle keeps the handles that it needs alive), and functions may be
//! called from any thread.

use super::error::{Code, DelegateError, Stage};
use super::ffi::{self, Opaque};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use std::io::Write;
use std::string::String;
use std::{format, mem};

pub(super) type Result<T> = core::result::Result<T, DelegateError>;

/// Calls a function of the table. [`table`] has checked that it is there.
macro_rules! call {
    ($api:expr, $entry:ident ( $($argument:expr),* )) => {
        match $api.$entry {
            Some(entry) => entry($($argument),*),
            None => unreachable!(concat!("no ", stringify!($entry))),
        }
    };
}
pub(super) use call;

/// Copies the plug-in's table, up to its size, and checks that it has every required
/// function.
///
/// # Safety
/// `get_api` keeps the contract.
pub(super) unsafe fn table(get_api: ffi::GetApi) -> Result<ffi::Api> {
    let mut found: *const ffi::Api = ptr::null();
    let (major, minor) = (u32::from(ffi::ABI_MAJOR), u32::from(ffi::ABI_MINOR));
    // SAFETY: the pointer lives during the call.
    let status = unsafe { get_api(major, minor, &mut found) };
    if status != ffi::OK || found.is_null() {
        let message = format!("the plug-in does not support version {major}.{minor} of the ABI");
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
                "the plug-in's table has version {}.{} of the ABI",
                hdr.abi_major, hdr.abi_minor
            );
            return Err(DelegateError::found(
                Stage::Load,
                Code::Incompatible,
                message,
            ));
        }
        // Functions beyond the end of the plug-in's table stay null, and so does one of
        // which the table has only a part.
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
            let message = format!("the plug-in's table has no `{name}`");
            Err(DelegateError::found(Stage::Load, Code::Invalid, message))
        }
    }
}

/// Calls a function with an error to fill in, and returns that error if the call
/// failed.
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
            "the plug-in reported success, but returned no handle",
        )),
    }
}

/// Copies a C string; null gives an empty one.
///
/// # Safety
/// `name` is null, or points to a string that ends in zero.
pub(super) unsafe fn string(name: *const c_char) -> String {
    if name.is_null() {
        return String::new();
    }
    // SAFETY: passed on to the caller.
    unsafe { CStr::from_ptr(name) }
        .to_string_lossy()
        .into_owned()
}

/// The table that the host gives to plug-ins.
static HOST: HostTable = HostTable(ffi::Host {
    hdr: ffi::Hdr::of::<ffi::Host>(),
    context: ptr::null_mut(),
    log,
});

struct HostTable(ffi::Host);

// SAFETY: it is never written.
unsafe impl Sync for HostTable {}

/// Writes errors and warnings to standard error, and ignores other messages.
unsafe extern "C" fn log(_context: *mut c_void, level: c_int, message: *const c_char) {
    if level <= 1 {
        // SAFETY: a string that ends in zero, by the contract.
        let message = unsafe { string(message) };
        // Standard error may be closed or full, which is no reason to panic in a
        // plug-in's call.
        let _ = writeln!(std::io::stderr(), "delegate: {message}");
    }
}

/// The host's table, for [`ffi::Api::init`].
pub(super) fn host() -> *const ffi::Host {
    &HOST.0
}
