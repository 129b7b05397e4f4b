//! Every call runs in [`call`], which turns failures and panics into a status.

use crate::status::{self, ondol_error, ondol_status};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An invalid argument.
    #[error("{0}")]
    Argument(&'static str),
    /// The caller's buffer is too short.
    #[error("the buffer has room for {capacity} elements, but {needed} are needed")]
    BufferTooSmall {
        /// Elements needed.
        needed: usize,
        /// Elements that fit in the buffer.
        capacity: usize,
    },
    /// The handle is in use.
    #[error("another call or a generation is using the handle, or an earlier call on it panicked")]
    Busy,
    /// The program's own Rust code has a logger.
    #[cfg(feature = "std")]
    #[error("the process already has a logger of the Rust crate `log`")]
    OtherLogger,
    /// The library panicked.
    #[cfg(feature = "std")]
    #[error("Ondol panicked, which is a bug in Ondol; free the handles of this call")]
    Panicked,
    /// The store's error.
    #[cfg(feature = "std")]
    #[error(transparent)]
    Store(#[from] runtime::store::StoreError),
    /// The runtime's error.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
}

/// Runs the body of a call, and fills in `error` where it fails.
///
/// # Safety
/// `error` is null or points to a struct of as many bytes as its first field says.
pub unsafe fn call(
    error: *mut ondol_error,
    body: impl FnOnce() -> Result<(), Failure>,
) -> ondol_status {
    match unless_panicked(body) {
        Ok(()) => ondol_status::Ok,
        Err(failure) => {
            // SAFETY: passed on to the caller.
            unsafe { status::report(&failure, error) };
            ondol_status::of(&failure)
        }
    }
}

/// Runs `free`, which can't report an error.
pub fn quietly(free: impl FnOnce()) {
    let _ = unless_panicked(|| {
        free();
        Ok(())
    });
}

#[cfg(feature = "std")]
fn unless_panicked(body: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    // No later call sees a value that a panic left half changed: its slot stays claimed.
    let body = std::panic::AssertUnwindSafe(body);
    std::panic::catch_unwind(body).unwrap_or(Err(Failure::Panicked))
}

#[cfg(not(feature = "std"))]
fn unless_panicked(body: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    body()
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        // SAFETY: there is no error struct.
        let status = unsafe { call(core::ptr::null_mut(), || panic!("on purpose")) };
        std::panic::set_hook(hook);
        assert_eq!(status, ondol_status::Panicked);
    }
}
