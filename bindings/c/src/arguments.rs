//! Converts pointers of C to references of Rust, or fails with a text that names the
//! argument.

use crate::call::Failure;
use core::ffi::{CStr, c_char};

/// The value that a handle or an argument points to.
///
/// # Errors
/// [`Failure::Argument`] with the text `null` for a null pointer.
///
/// # Safety
/// `pointer` is null or valid for reads for `'a`.
pub unsafe fn reference<'a, T>(pointer: *const T, null: &'static str) -> Result<&'a T, Failure> {
    // SAFETY: passed on to the caller.
    unsafe { pointer.as_ref() }.ok_or(Failure::Argument(null))
}

/// The place at which a result is stored.
///
/// # Errors
/// As for [`reference`].
///
/// # Safety
/// `pointer` is null or valid for writes for `'a`.
pub unsafe fn output<'a, T>(pointer: *mut T, null: &'static str) -> Result<&'a mut T, Failure> {
    // SAFETY: passed on to the caller.
    unsafe { pointer.as_mut() }.ok_or(Failure::Argument(null))
}

/// The `length` elements at `start`; an empty slice if the length is zero, whatever the
/// pointer.
///
/// # Errors
/// As for [`reference`]; also if the length is impossible.
///
/// # Safety
/// `start` is null or points to `length` elements that live for `'a`.
pub unsafe fn slice<'a, T>(
    start: *const T,
    length: usize,
    null: &'static str,
) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if start.is_null() || length > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::Argument(null));
    }
    // SAFETY: passed on to the caller; the length was checked.
    Ok(unsafe { core::slice::from_raw_parts(start, length) })
}

/// The text of `length` bytes at `start`.
///
/// # Errors
/// [`Failure::Argument`] with the text `wrong` for a null pointer or text that is not UTF-8.
///
/// # Safety
/// As for [`slice`].
pub unsafe fn text<'a>(
    start: *const c_char,
    length: usize,
    wrong: &'static str,
) -> Result<&'a str, Failure> {
    // SAFETY: passed on to the caller.
    let bytes = unsafe { slice(start.cast::<u8>(), length, wrong) }?;
    core::str::from_utf8(bytes).map_err(|_| Failure::Argument(wrong))
}

/// The text at `start`, which ends with a zero.
///
/// # Errors
/// As for [`text`].
///
/// # Safety
/// `start` is null or points to a string that ends with a zero and lives for `'a`.
pub unsafe fn string<'a>(start: *const c_char, wrong: &'static str) -> Result<&'a str, Failure> {
    if start.is_null() {
        return Err(Failure::Argument(wrong));
    }
    // SAFETY: passed on to the caller.
    let text = unsafe { CStr::from_ptr(start) };
    text.to_str().map_err(|_| Failure::Argument(wrong))
}

/// Copies elements to the caller's buffer and stores their number, even if they do not fit.
///
/// # Errors
/// [`Failure::BufferTooSmall`] if they do not fit.
///
/// # Safety
/// `to` is null or has room for `capacity` elements; `length` is null or valid for a write.
pub unsafe fn copy<T: Copy>(
    from: &[T],
    to: *mut T,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: passed on to the caller.
    if let Some(length) = unsafe { length.as_mut() } {
        *length = from.len();
    }
    let capacity = if to.is_null() { 0 } else { capacity };
    if from.len() > capacity {
        let needed = from.len();
        return Err(Failure::BufferTooSmall { needed, capacity });
    }
    // SAFETY: there is room, and the caller's buffer does not overlap memory of the library.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
    Ok(())
}

/// Copies text and a terminating zero, and stores the number of bytes without the zero.
///
/// # Errors
/// As for [`copy`].
///
/// # Safety
/// As for [`copy`].
#[cfg(feature = "std")]
pub unsafe fn copy_text(
    from: &str,
    to: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    let with_zero = [from.as_bytes(), &[0]].concat();
    // SAFETY: passed on to the caller.
    unsafe {
        let copied = copy(&with_zero, to.cast::<u8>(), capacity, length);
        if let Some(length) = length.as_mut() {
            *length -= 1;
        }
        copied
    }
}
