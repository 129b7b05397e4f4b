//! Handles, and the other arguments that a function of the table gets from the host.
//!
//! Handles are boxes. The SAFETY comments here rely on the contract of `ondol_npu.h`:
//! arguments are null or what the header says, and live during the call.

use crate::failure::{Failure, Result, complete, invalid, no_panic};
use ondol::delegate::ffi::Opaque;

/// Makes an object and gives its handle to the host.
///
/// # Safety
/// `out` is null, or a valid place for a pointer.
///
/// # Errors
/// INVALID if `out` is null; errors of `make`.
pub unsafe fn give<T>(out: *mut *mut Opaque, make: impl FnOnce() -> Result<T>) -> Result<()> {
    if out.is_null() {
        return Err(invalid("`out` is NULL"));
    }
    let handle = Box::into_raw(Box::new(make()?));
    // SAFETY: `out` is a valid place for a pointer, by the contract.
    unsafe { put(out, handle.cast()) }
}

/// Writes a value to a place of the host; fails if the place is null.
///
/// # Safety
/// `out` is null, or a valid place for a value.
///
/// # Errors
/// INVALID.
pub unsafe fn put<T>(out: *mut T, value: T) -> Result<()> {
    // SAFETY: null, or a valid place for a value, by the contract.
    match unsafe { out.as_mut() } {
        Some(out) => {
            *out = value;
            Ok(())
        }
        None => Err(invalid("`out` is NULL")),
    }
}

/// The object of a handle; fails if the handle is null.
///
/// # Safety
/// `handle` is null, or was made by [`give`] for a `T` and not freed in `'h`.
///
/// # Errors
/// INVALID.
pub unsafe fn of<'h, T>(handle: *mut Opaque) -> Result<&'h T> {
    // SAFETY: null or a handle of this kind, by the contract.
    let object = unsafe { handle.cast::<T>().as_ref() };
    object.ok_or_else(|| invalid("a handle is missing"))
}

/// A struct of the host; fails if it is null or too small.
///
/// # Safety
/// `T` begins with a `ffi::Hdr`; `raw` is null, or points to such a struct that lives
/// for `'h`.
///
/// # Errors
/// INVALID.
pub unsafe fn given<'h, T>(raw: *const T) -> Result<&'h T> {
    // SAFETY: null or such a struct, by the contract.
    match unsafe { complete(raw) } {
        // SAFETY: as above.
        true => Ok(unsafe { &*raw }),
        false => Err(too_small()),
    }
}

/// A failure because of a struct of the host.
pub fn too_small() -> Failure {
    invalid("a struct is missing or too small")
}

/// A list of the host; fails if it is null and not empty.
///
/// # Safety
/// `raw` is null, or points to `len` elements that live for `'h`.
///
/// # Errors
/// INVALID.
pub unsafe fn list<'h, T>(raw: *const T, len: u32) -> Result<&'h [T]> {
    match len {
        0 => Ok(&[]),
        _ if raw.is_null() => Err(invalid("a list is missing")),
        // SAFETY: it has `len` elements, by the contract.
        len => Ok(unsafe { core::slice::from_raw_parts(raw, len as usize) }),
    }
}

/// Drops the object of a handle; null does nothing.
///
/// # Safety
/// `handle` is null, or was made by [`give`] for a `T` and is not used afterwards.
pub unsafe fn free<T>(handle: *mut Opaque) {
    if !handle.is_null() {
        // SAFETY: the handle was made by `give`, and is freed once.
        let object = unsafe { Box::from_raw(handle.cast::<T>()) };
        // A panic can't be reported here.
        let _ = no_panic(|| {
            drop(object);
            Ok(())
        });
    }
}
