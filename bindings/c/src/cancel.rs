//! Cancelling from another thread.

use crate::call::quietly;
use alloc::boxed::Box;
use runtime::CancelToken;

/// Cancels generations, prefill, and the work of a store or a delegate, from any thread.
pub struct ondol_cancel {
    pub(crate) token: CancelToken,
}

/// The token of a caller's handle; for NULL, a token that is never cancelled.
///
/// # Safety
/// `cancel` is NULL or was made by this library.
pub unsafe fn token(cancel: *const ondol_cancel) -> CancelToken {
    // SAFETY: passed on to the caller.
    let cancel = unsafe { cancel.as_ref() };
    cancel.map(|c| c.token.clone()).unwrap_or_default()
}

/// Makes a handle to cancel with; NULL after a panic.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_cancel_new() -> *mut ondol_cancel {
    let mut made = core::ptr::null_mut();
    quietly(|| {
        let token = CancelToken::new();
        made = Box::into_raw(Box::new(ondol_cancel { token }));
    });
    made
}

/// Asks all calls that use this handle to stop, from any thread, at any time. A
/// generation ends before its next token, or before the next layer of its prompt, with
/// `ONDOL_FINISH_CANCELLED`; any other call returns `ONDOL_STATUS_CANCELLED`.
///
/// Must not be called from a signal handler: it may take a lock to wake a paused
/// session. In firmware builds it is one atomic store, and an interrupt may call it.
///
/// # Safety
/// `cancel` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_cancel_request(cancel: *const ondol_cancel) {
    // SAFETY: the header asks it of the caller.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        cancel.token.cancel();
    }
}

/// Clears the request, so that the handle can be used again.
///
/// # Safety
/// `cancel` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_cancel_reset(cancel: *const ondol_cancel) {
    // SAFETY: the header asks it of the caller.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        cancel.token.reset();
    }
}

/// Frees the handle, or does nothing for NULL.
///
/// # Safety
/// The handle was made by this library and no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_cancel_free(cancel: *mut ondol_cancel) {
    if !cancel.is_null() {
        // SAFETY: `ondol_cancel_new` made it; by contract the caller has no other use of it.
        quietly(|| drop(unsafe { Box::from_raw(cancel) }));
    }
}
