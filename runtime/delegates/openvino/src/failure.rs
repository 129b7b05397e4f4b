//! What goes wrong, in the words and codes of `ondol_npu.h`.

use core::ffi::c_char;
use ondol::delegate::{Code, ffi};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure it is.
    pub code: Code,
    /// OpenVINO's own code; 0 if it told none.
    pub vendor_code: i32,
    /// In words.
    pub message: String,
}

/// A result whose error is a [`Failure`].
pub type Result<T> = core::result::Result<T, Failure>;

impl Failure {
    /// A failure that the plug-in found.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure {
            code,
            vendor_code: 0,
            message: message.into(),
        }
    }

    fn flags(&self) -> u32 {
        match self.code {
            Code::Busy | Code::Thermal => ffi::ERROR_RETRYABLE,
            Code::DeviceLost => ffi::ERROR_NEEDS_RESET,
            _ => 0,
        }
    }

    /// Fills in the host's struct, if there is one, and gives the code to return.
    ///
    /// # Safety
    /// `error` is null, or a struct as large as its header says.
    pub unsafe fn tell(&self, error: *mut ffi::Error) -> ffi::Status {
        // SAFETY: passed on to the caller.
        if unsafe { complete::<ffi::Error>(error) } {
            // SAFETY: it is as large as this build knows it.
            let error = unsafe { &mut *error };
            error.code = self.code as ffi::Status;
            error.vendor_code = self.vendor_code;
            error.flags = self.flags();
            write_text(&mut error.message, &self.message);
        }
        self.code as ffi::Status
    }
}

/// A bug of the caller.
pub fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::Invalid, message)
}

/// Right, but not for this device.
pub fn unsupported(message: impl Into<String>) -> Failure {
    Failure::new(Code::Unsupported, message)
}

/// Runs an entry of the table: a failure is told, a panic is one too.
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

/// Makes a failure of a panic: none may unwind into the host.
pub fn no_panic<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        let message = format!("a panic: {}", words.unwrap_or("without a message"));
        Err(Failure::new(Code::Internal, message))
    })
}

/// Whether a struct of the host is there, and as large as this build knows it.
///
/// # Safety
/// `T` begins with a [`ffi::Hdr`]; `raw` is null or such a struct.
pub unsafe fn complete<T>(raw: *const T) -> bool {
    // SAFETY: every struct begins with its header.
    let header = unsafe { raw.cast::<ffi::Hdr>().as_ref() };
    header.is_some_and(|header| header.struct_size as usize >= size_of::<T>())
}

/// Writes as much of a text as fits, of whole characters, and a zero.
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
