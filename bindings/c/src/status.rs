//! The status of a call, and the struct with details of an error.

use crate::call::Failure;
use crate::sized::{self, Sized32};
use core::ffi::c_char;
use core::fmt::{self, Write};
use runtime::ErrorCode;

/// The result of a call: 0 is success, and every kind of error has its own number.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "std"), allow(dead_code))]
pub enum ondol_status {
    /// Success.
    Ok = 0,
    /// A required pointer is NULL, text is not UTF-8, or an option is unknown.
    InvalidArgument = 1,
    /// The buffer is too short; the needed length was stored.
    BufferTooSmall = 2,
    /// Another call or a generation uses the handle at this moment, or a call on it
    /// panicked.
    Busy = 3,
    /// The library panicked: a bug in Ondol. Handles that the call used can only be freed.
    Panicked = 4,
    /// Another error; the message says which.
    Other = 5,
    /// The object was closed. No function of this header returns it; the libraries for
    /// other languages do.
    Closed = 6,

    /// The operating system refused the file.
    Io = 10,
    /// The file is not a GGUF file.
    NotGguf = 11,
    /// The file is shorter than its header says.
    Truncated = 12,
    /// The version or byte order of GGUF is not supported.
    UnsupportedVersion = 13,
    /// A quantization type is not supported by this build.
    UnsupportedType = 14,
    /// The file was packed in another version of the packed layout.
    UnsupportedPacking = 15,
    /// This build does not support the architecture.
    UnknownArchitecture = 16,
    /// A metadata key is missing.
    MissingKey = 17,
    /// A metadata key has a value of the wrong type or out of range.
    BadValue = 18,
    /// A tensor is missing.
    MissingTensor = 19,
    /// A tensor has the wrong dimensions.
    BadShape = 20,
    /// The file breaks the rules of its format.
    Malformed = 21,
    /// The vocabulary can't be used.
    Tokenizer = 22,
    /// The chat template can't be compiled or rendered.
    Template = 23,

    /// The engine, session or model needs more memory than is allowed: `needed` and
    /// `allowed` bytes. `allowed` is 0 if the system does not provide the memory.
    DoesNotFit = 30,
    /// The tokens do not fit in the context: `needed` and `allowed` tokens.
    ContextFull = 31,
    /// A token is outside the vocabulary.
    BadToken = 32,
    /// The prompt has no tokens.
    EmptyPrompt = 33,
    /// The call was cancelled. Tokens of completed passes stay in the session.
    Cancelled = 34,
    /// The kernels that were asked for can't run on this CPU, or have no such name.
    UnsupportedKernels = 35,
    /// An option of the sampler is out of range, or no token can be chosen.
    Sampler = 36,
    /// This build or this model does not support this type of KV cache, or there is no
    /// such type.
    UnsupportedKvType = 37,
    /// A session can't be saved or restored; the message gives the reason.
    Snapshot = 38,
    /// The governor reports critical memory pressure: no session can be made.
    MemoryPressure = 39,
    /// More sessions than the batch allows: `needed` and `allowed` sessions.
    BatchFull = 40,
    /// The session belongs to another engine than the batch, or the offload to another model.
    OtherOwner = 41,
    /// A delegate failed, or can't run the model.
    Delegate = 42,
    /// There can be no packed copy of the model; the message gives the reason.
    Store = 43,
}

/// Bytes of the message in `ondol_error`.
pub const ONDOL_MESSAGE_BYTES: usize = 256;

/// Details of an error, in a struct that the caller owns. Set `struct_size` before the
/// call; a call that fails fills in the rest. Every function that takes one accepts
/// NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ondol_error {
    /// `sizeof(ondol_error)`.
    pub struct_size: u32,
    /// What the call returned.
    pub status: ondol_status,
    /// What is needed, for statuses that say so: bytes, tokens or sessions.
    pub needed: u64,
    /// What is allowed, for statuses that say so: bytes, tokens or sessions.
    pub allowed: u64,
    /// The error in English, UTF-8, with a terminating zero.
    pub message: [c_char; ONDOL_MESSAGE_BYTES],
}

// SAFETY: repr(C), starts with a u32, and status zero is `Ok`.
unsafe impl Sized32 for ondol_error {}

impl ondol_status {
    /// The status of a failure.
    pub fn of(failure: &Failure) -> ondol_status {
        match failure {
            Failure::Argument(_) => ondol_status::InvalidArgument,
            Failure::BufferTooSmall { .. } => ondol_status::BufferTooSmall,
            Failure::Busy => ondol_status::Busy,
            #[cfg(feature = "std")]
            Failure::OtherLogger => ondol_status::Other,
            #[cfg(feature = "std")]
            Failure::Panicked => ondol_status::Panicked,
            #[cfg(feature = "std")]
            Failure::Store(error) => of_code(error.code()),
            Failure::Runtime(error) => of_code(error.code()),
        }
    }
}

fn of_code(code: ErrorCode) -> ondol_status {
    match code {
        ErrorCode::InvalidArgument => ondol_status::InvalidArgument,
        ErrorCode::BufferTooSmall => ondol_status::BufferTooSmall,
        ErrorCode::Busy => ondol_status::Busy,
        ErrorCode::Panicked => ondol_status::Panicked,
        ErrorCode::Closed => ondol_status::Closed,
        ErrorCode::Io => ondol_status::Io,
        ErrorCode::NotGguf => ondol_status::NotGguf,
        ErrorCode::Truncated => ondol_status::Truncated,
        ErrorCode::UnsupportedVersion => ondol_status::UnsupportedVersion,
        ErrorCode::UnsupportedType => ondol_status::UnsupportedType,
        ErrorCode::UnsupportedPacking => ondol_status::UnsupportedPacking,
        ErrorCode::UnknownArchitecture => ondol_status::UnknownArchitecture,
        ErrorCode::MissingKey => ondol_status::MissingKey,
        ErrorCode::BadValue => ondol_status::BadValue,
        ErrorCode::MissingTensor => ondol_status::MissingTensor,
        ErrorCode::BadShape => ondol_status::BadShape,
        ErrorCode::Malformed => ondol_status::Malformed,
        ErrorCode::Tokenizer => ondol_status::Tokenizer,
        ErrorCode::Template => ondol_status::Template,
        ErrorCode::DoesNotFit => ondol_status::DoesNotFit,
        ErrorCode::ContextFull => ondol_status::ContextFull,
        ErrorCode::BadToken => ondol_status::BadToken,
        ErrorCode::EmptyPrompt => ondol_status::EmptyPrompt,
        ErrorCode::Cancelled => ondol_status::Cancelled,
        ErrorCode::UnsupportedKernels => ondol_status::UnsupportedKernels,
        ErrorCode::Sampler => ondol_status::Sampler,
        ErrorCode::UnsupportedKvType => ondol_status::UnsupportedKvType,
        ErrorCode::Snapshot => ondol_status::Snapshot,
        ErrorCode::MemoryPressure => ondol_status::MemoryPressure,
        ErrorCode::BatchFull => ondol_status::BatchFull,
        ErrorCode::OtherOwner => ondol_status::OtherOwner,
        ErrorCode::Delegate => ondol_status::Delegate,
        ErrorCode::Store => ondol_status::Store,
        _ => ondol_status::Other,
    }
}

/// Fills in the caller's error struct, if there is one.
///
/// # Safety
/// As for [`sized::write`].
pub unsafe fn report(failure: &Failure, to: *mut ondol_error) {
    if to.is_null() {
        return;
    }
    let (needed, allowed) = match failure {
        Failure::Runtime(error) => error.amounts().unwrap_or_default(),
        #[cfg(feature = "std")]
        Failure::Store(error) => error.amounts().unwrap_or_default(),
        Failure::BufferTooSmall { needed, capacity } => (*needed as u64, *capacity as u64),
        _ => (0, 0),
    };
    let mut message = Message::default();
    // A message that is too long is cut.
    let _ = write!(message, "{failure}");
    let error = ondol_error {
        struct_size: 0,
        status: ondol_status::of(failure),
        needed,
        allowed,
        message: message.text,
    };
    // SAFETY: passed on to the caller.
    unsafe { sized::write(&error, to) };
}

/// Text in a buffer of fixed length, cut between characters, ended by a zero.
pub struct Message {
    text: [c_char; ONDOL_MESSAGE_BYTES],
    length: usize,
}

impl Default for Message {
    fn default() -> Message {
        Message {
            text: [0; ONDOL_MESSAGE_BYTES],
            length: 0,
        }
    }
}

#[cfg(feature = "std")]
impl Message {
    /// What `value` says, as far as there is room.
    pub fn of(value: impl fmt::Display) -> [c_char; ONDOL_MESSAGE_BYTES] {
        let mut message = Message::default();
        // A message that is too long is cut.
        let _ = write!(message, "{value}");
        message.text
    }
}

#[cfg(target_os = "none")]
impl Message {
    /// The text, for C.
    pub fn text(&self) -> *const c_char {
        self.text.as_ptr()
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = ONDOL_MESSAGE_BYTES - 1 - self.length;
        let cut = text.floor_char_boundary(room);
        let place = &mut self.text[self.length..self.length + cut];
        for (to, from) in place.iter_mut().zip(text.bytes()) {
            *to = from as c_char;
        }
        self.length += cut;
        if cut == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::CStr;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut message = Message::default();
        assert!(write!(message, "a{}", "온".repeat(100)).is_err());
        // SAFETY: the buffer ends with a zero.
        let text = unsafe { CStr::from_ptr(message.text.as_ptr()) };
        assert_eq!(text.to_str().unwrap(), format!("a{}", "온".repeat(84)));
    }

    #[test]
    fn sizes_and_limits_are_numbers_too() {
        let mut error = ondol_error {
            struct_size: size_of::<ondol_error>() as u32,
            status: ondol_status::Ok,
            needed: 0,
            allowed: 0,
            message: [0; ONDOL_MESSAGE_BYTES],
        };
        let failure = Failure::Runtime(runtime::Error::DoesNotFit {
            needed: 9,
            allowed: 4,
        });
        // SAFETY: the struct has the size that it says.
        unsafe { report(&failure, &mut error) };
        assert_eq!(error.status, ondol_status::DoesNotFit);
        assert_eq!((error.needed, error.allowed), (9, 4));
        assert_eq!(error.struct_size as usize, size_of::<ondol_error>());
    }
}
