//! Runs the plug-in of an NPU in a process of its own, so that no fault of the plug-in ends
//! the app: a crash, an abort, a call that does not return, or a write beyond an output is an
//! error of the delegate, and the CPU takes over.
//!
//! [`open`] starts a *helper*, a program that calls [`serve`], and gives a [`Delegate`]
//! like any other. Its table of functions sends each call to the helper, which calls the
//! plug-in. Weights, saved programs and values travel in shared memory. In the helper
//! each value ends just before a page that can't be read or written.
//!
//! ```no_run
//! # use std::{path::Path, process::Command};
//! // The app's own program that calls `serve`, or `ondol delegate-host`.
//! let mut helper = Command::new("ondol");
//! helper.arg("delegate-host");
//! let delegate = ondol_delegate_isolated::open(Path::new("/opt/libvendor.so"), helper)?;
//! # Ok::<(), ondol::delegate::DelegateError>(())
//! ```

#[cfg(target_os = "linux")]
mod linux;

use ondol::delegate::{Delegate, DelegateError};
use std::io;
use std::path::Path;
use std::process::Command;

/// Starts `helper`, loads a plug-in there and opens its first device. The helper's
/// standard input is the connection; what the helper and the plug-in print is copied to standard
/// error. The helper ends when the delegate, and everything that was made from it, is dropped.
///
/// The plug-in's programs are stored with a header, so programs that were stored by
/// [`Delegate::load`] are compiled again, and the other way round.
///
/// # Errors
/// Those of [`Delegate::load`], at [`ondol::delegate::Stage::Load`]; [`ondol::delegate::Code::DeviceLost`] if the helper does
/// not start or ends; [`ondol::delegate::Code::Unsupported`] on systems other than Linux.
pub fn open(plugin: &Path, helper: Command) -> Result<Delegate, DelegateError> {
    open_device(plugin, 0, helper)
}

/// As [`open`], but opens the device `index` of several, from 0.
///
/// # Errors
/// As for [`open`], and those of [`Delegate::load_device`].
pub fn open_device(plugin: &Path, index: u32, helper: Command) -> Result<Delegate, DelegateError> {
    #[cfg(target_os = "linux")]
    return linux::open_device(plugin, index, helper);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (plugin, index, helper);
        Err(DelegateError {
            stage: ondol::delegate::Stage::Load,
            code: ondol::delegate::Code::Unsupported,
            vendor_code: 0,
            retryable: false,
            needs_reset: false,
            message: "plug-ins in a process of their own are not supported on this system".into(),
        })
    }
}

/// Serves a host: a helper does nothing else. Ends the process when the host is gone.
/// Returns only after an error: standard input is not the socket of [`open`], the system has no
/// thread for a connection, or the system is not Linux.
pub fn serve() -> io::Error {
    #[cfg(target_os = "linux")]
    return linux::serve();
    #[cfg(not(target_os = "linux"))]
    io::ErrorKind::Unsupported.into()
}
