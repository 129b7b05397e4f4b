//! Strings of C.

use core::ffi::{CStr, c_char};
use std::ffi::CString;

/// Copies a C string; null gives an empty one.
///
/// # Safety
/// `raw` is null, or points to a string that ends in zero.
pub unsafe fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: passed on to the caller.
    unsafe { CStr::from_ptr(raw) }
        .to_string_lossy()
        .into_owned()
}

/// A text as a C string; a zero in it becomes a space.
pub fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}
