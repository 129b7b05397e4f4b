//! The two processes on Linux.

mod channel;
mod device;
mod helper;
mod message;
mod server;
mod session;
mod table;
mod zone;

pub use server::serve;

use device::Pending;
use helper::{Helper, LONG};
use message::{Request, VERSION};
use ondol::delegate::{Delegate, DelegateError, Stage, ffi};
use ondol_plugin::Failure;
use std::path::Path;
use std::process::Command;

/// [`crate::open_device`] on Linux.
pub fn open_device(plugin: &Path, device: u32, helper: Command) -> Result<Delegate, DelegateError> {
    let helper = Helper::start(helper).map_err(error)?;
    let request = Request::Open {
        version: VERSION.to_owned(),
        plugin: plugin.to_path_buf(),
        device,
    };
    let (opened, _) = helper.call(&request, None, LONG).map_err(error)?;
    table::PENDING.set(Some(Pending { helper, opened }));
    // SAFETY: the table keeps the contract.
    let delegate = unsafe { Delegate::open_for(table::get_api, plugin) };
    table::PENDING.take();
    delegate
}

fn error(failure: Failure) -> DelegateError {
    DelegateError {
        stage: Stage::Load,
        code: failure.code,
        vendor_code: failure.vendor_code,
        retryable: failure.flags & ffi::ERROR_RETRYABLE != 0,
        needs_reset: failure.flags & ffi::ERROR_NEEDS_RESET != 0,
        message: failure.message,
    }
}
