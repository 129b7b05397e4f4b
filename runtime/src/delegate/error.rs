//! Errors of delegates.

use super::ffi;
use core::ffi::c_char;
use std::string::String;

/// The request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Loading the plug-in.
    Load,
    /// Opening the device, or reading its description.
    Open,
    /// Asking which operations of a segment the device takes.
    Claim,
    /// Compiling a program.
    Compile,
    /// Saving a program.
    Save,
    /// Loading a saved program.
    LoadProgram,
    /// Making a session, or allocating and importing memory.
    Session,
    /// Starting a job.
    Submit,
    /// Waiting for a job.
    Wait,
    /// Checking the outputs of a job.
    Output,
    /// Injecting a fault.
    Inject,
    /// Resetting the device.
    Reset,
}

impl core::fmt::Display for Stage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Stage::Load => "loading the plug-in",
            Stage::Open => "opening the device",
            Stage::Claim => "asking what the device takes",
            Stage::Compile => "compiling",
            Stage::Save => "saving a program",
            Stage::LoadProgram => "loading a program",
            Stage::Session => "making a session",
            Stage::Submit => "starting a job",
            Stage::Wait => "waiting for a job",
            Stage::Output => "checking the output",
            Stage::Inject => "asking for a fault",
            Stage::Reset => "resetting the device",
        })
    }
}

/// The kind of a failure: the codes of `ondol_npu.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    /// An argument is wrong: a bug of the caller.
    Invalid = 1,
    /// The request is valid, but this device can't do it.
    Unsupported = 2,
    /// The device has too little memory.
    NoMemory = 3,
    /// The device is gone, or must be reset.
    DeviceLost = 4,
    /// The job was not done in time.
    Timeout = 5,
    /// The job ended because it was cancelled.
    Cancelled = 6,
    /// The program belongs to another device, driver, compiler or version.
    Incompatible = 7,
    /// The program or the output is damaged.
    Corrupt = 8,
    /// Other programs use the device.
    Busy = 9,
    /// The device is too hot.
    Thermal = 10,
    /// The system does not allow it.
    Permission = 11,
    /// A bug of the plug-in, or an unknown code.
    Internal = 12,
}

impl Code {
    const ALL: [Code; 12] = [
        Code::Invalid,
        Code::Unsupported,
        Code::NoMemory,
        Code::DeviceLost,
        Code::Timeout,
        Code::Cancelled,
        Code::Incompatible,
        Code::Corrupt,
        Code::Busy,
        Code::Thermal,
        Code::Permission,
        Code::Internal,
    ];

    /// The code of a status that is no success; [`Code::Internal`] if it is unknown.
    pub fn from_status(status: ffi::Status) -> Code {
        let known = Code::ALL.into_iter().find(|&code| code as i32 == status);
        known.unwrap_or(Code::Internal)
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Code::Invalid => "invalid",
            Code::Unsupported => "unsupported",
            Code::NoMemory => "no memory",
            Code::DeviceLost => "device lost",
            Code::Timeout => "timeout",
            Code::Cancelled => "cancelled",
            Code::Incompatible => "incompatible",
            Code::Corrupt => "corrupt",
            Code::Busy => "busy",
            Code::Thermal => "too hot",
            Code::Permission => "permission",
            Code::Internal => "internal",
        })
    }
}

/// Why a request to a delegate failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{stage}: {code}: {message}{}", vendor(*.vendor_code))]
pub struct DelegateError {
    /// The request.
    pub stage: Stage,
    /// The kind of the failure.
    pub code: Code,
    /// The driver's own code; 0 if there is none.
    pub vendor_code: i32,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether the device must be reset before it can be used again.
    pub needs_reset: bool,
    /// Message of the plug-in, or of the host if the host found the failure.
    pub message: String,
}

fn vendor(code: i32) -> String {
    match code {
        0 => String::new(),
        code => std::format!(" (vendor code {code})"),
    }
}

impl DelegateError {
    /// Makes an error for a failure that the host found.
    pub(super) fn found(stage: Stage, code: Code, message: impl Into<String>) -> DelegateError {
        DelegateError {
            stage,
            code,
            vendor_code: 0,
            retryable: false,
            needs_reset: false,
            message: message.into(),
        }
    }

    /// Makes an error for a failure that the plug-in reported.
    pub(super) fn told(stage: Stage, status: ffi::Status, error: &ffi::Error) -> DelegateError {
        let message = match text(&error.message) {
            told if told.is_empty() => std::format!("status {status}, without a message"),
            told => told,
        };
        DelegateError {
            stage,
            code: Code::from_status(status),
            vendor_code: error.vendor_code,
            retryable: error.flags & ffi::ERROR_RETRYABLE != 0,
            needs_reset: error.flags & ffi::ERROR_NEEDS_RESET != 0,
            message,
        }
    }
}

/// The characters up to the first zero or the end. Invalid UTF-8 is replaced.
pub(super) fn text(chars: &[c_char]) -> String {
    let bytes = chars.iter().take_while(|&&c| c != 0);
    let bytes: Vec<u8> = bytes.map(|&c| c.to_ne_bytes()[0]).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plug_in_tells_is_taken_with_care() {
        let mut error = ffi::Error {
            hdr: ffi::Hdr::of::<ffi::Error>(),
            code: 5,
            vendor_code: -7,
            flags: ffi::ERROR_RETRYABLE,
            // Never ends, and is no UTF-8.
            message: [!0; 236],
        };
        let told = DelegateError::told(Stage::Wait, 5, &error);
        assert_eq!(
            (told.code, told.retryable, told.needs_reset),
            (Code::Timeout, true, false)
        );
        assert_eq!(told.message.chars().count(), 236);
        assert!(std::format!("{told}").ends_with("(vendor code -7)"));

        error.message[0] = 0;
        let silent = DelegateError::told(Stage::Wait, 77, &error);
        assert_eq!(silent.code, Code::Internal);
        assert_eq!(silent.message, "status 77, without a message");
    }
}
