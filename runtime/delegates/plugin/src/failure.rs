//! Failures, with the codes of `ondol_npu.h`.

use core::ffi::c_char;
use ondol::delegate::{Code, ffi};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind of the failure.
    pub code: Code,
    /// The driver's own code; 0 if there is none.
    pub vendor_code: i32,
    /// `ERROR_*` of [`ffi`]: what the host may do about it.
    pub flags: u32,
    /// Message for people.
    pub message: String,
}

/// A result whose error is a [`Failure`].
pub type Result<T> = core::result::Result<T, Failure>;

impl Failure {
    /// Makes a failure that the plug-in found, without a code of the driver.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure {
            code,
            vendor_code: 0,
            flags: match code {
                Code::Busy | Code::Thermal => ffi::ERROR_RETRYABLE,
                Code::DeviceLost => ffi::ERROR_NEEDS_RESET,
                _ => 0,
            },
            message: message.into(),
        }
    }

    /// Fills in the host's error struct, if there is one. Returns the status for the
    /// host.
    ///
    /// # Safety
    /// `error` is null, or points to a struct as large as its header says.
    pub unsafe fn tell(&self, error: *mut ffi::Error) -> ffi::Status {
        // SAFETY: passed on to the caller.
        if unsafe { complete::<ffi::Error>(error) } {
            // SAFETY: it is as large as this build knows it.
            let error = unsafe { &mut *error };
            error.code = self.code as ffi::Status;
            error.vendor_code = self.vendor_code;
            error.flags = self.flags;
            write_text(&mut error.message, &self.message);
        }
        self.code as ffi::Status
    }
}

/// A failure because of a wrong argument: a bug of the caller.
pub fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::Invalid, message)
}

/// A failure because the request is valid, but this device can't do it.
pub fn unsupported(message: impl Into<String>) -> Failure {
    Failure::new(Code::Unsupported, message)
}

/// Runs a function of the table. Reports a failure to the host; a panic is a failure
/// too.
///
/// # Safety
/// As for [`Failure::tell`].
pub unsafe fn entry(error: *mut ffi::Error, call: impl FnOnce() -> Result<()>) -> ffi::Status {
    match no_panic(call) {
        Ok(()) => ffi::OK,
        // SAFETY: passed on to the caller.
        Err(failure) => unsafe { failure.tell(error) },
    }
}

/// Turns a panic into a failure, because no panic may unwind into the host.
pub fn no_panic<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        let message = format!("a panic: {}", words.unwrap_or("without a message"));
        Err(Failure::new(Code::Internal, message))
    })
}

/// Whether a struct of the host exists and is as large as this build knows it.
///
/// # Safety
/// `T` begins with a [`ffi::Hdr`]; `raw` is null or points to such a struct.
pub unsafe fn complete<T>(raw: *const T) -> bool {
    // SAFETY: every struct begins with its header.
    let header = unsafe { raw.cast::<ffi::Hdr>().as_ref() };
    header.is_some_and(|header| header.struct_size as usize >= size_of::<T>())
}

/// Writes as many whole characters of a text as fit, and a zero.
pub fn write_text(to: &mut [c_char], text: &str) {
    let mut end = text.len().min(to.len().saturating_sub(1));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    to.fill(0);
    for (to, byte) in to.iter_mut().zip(text[..end].bytes()) {
        *to = c_char::from_ne_bytes([byte]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let mut chars = [1; 6];
        write_text(&mut chars, "온돌");
        let bytes = chars.map(|c| c.to_ne_bytes()[0]);
        assert_eq!(&bytes, "온\0\0\0".as_bytes());
    }

    #[test]
    fn a_panic_is_a_failure() {
        let failure = no_panic::<()>(|| panic!("{}", 7)).unwrap_err();
        assert_eq!(
            (failure.code, failure.message.as_str()),
            (Code::Internal, "a panic: 7")
        );
    }
}
