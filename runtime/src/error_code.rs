//! One code for each kind of error, the same in every language that reaches Ondol.

use crate::Error;
use ondol_models::Error as ModelError;

/// The kind of an error, as a number. `ondol.h` and the libraries for Kotlin, Java,
/// Swift and Python use the same numbers; [`ErrorCode::Busy`], [`ErrorCode::Closed`] and
/// [`ErrorCode::BufferTooSmall`] are theirs alone.
///
/// ```
/// use ondol::{ErrorCode, Model};
///
/// let error = Model::from_bytes(b"no model".to_vec()).err();
/// assert_eq!(error.map(|error| error.code()), Some(ErrorCode::NotGguf));
/// ```
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// An argument is missing, not UTF-8, out of range or unknown.
    InvalidArgument = 1,
    /// The caller's buffer is too short.
    BufferTooSmall = 2,
    /// Another call or an answer uses the object at this moment.
    Busy = 3,
    /// The library panicked: a bug in Ondol.
    Panicked = 4,
    /// Another error; the message says which.
    Other = 5,
    /// The object was closed.
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
    /// More memory is needed than is allowed, or than the system provides.
    DoesNotFit = 30,
    /// The tokens do not fit in the context.
    ContextFull = 31,
    /// A token is outside the vocabulary.
    BadToken = 32,
    /// The prompt has no tokens.
    EmptyPrompt = 33,
    /// The caller cancelled.
    Cancelled = 34,
    /// The kernels that were asked for can't run on this CPU, or have no such name.
    UnsupportedKernels = 35,
    /// An option of the sampler is out of range, or no token can be chosen.
    Sampler = 36,
    /// This build or this model does not support this type of KV cache.
    UnsupportedKvType = 37,
    /// A session can't be saved or restored.
    Snapshot = 38,
    /// The governor reports critical memory pressure: no session can be made.
    MemoryPressure = 39,
    /// More sessions than the batch allows.
    BatchFull = 40,
    /// The session belongs to another engine, or the offload to another model.
    OtherOwner = 41,
    /// A delegate failed, or can't run the model.
    Delegate = 42,
    /// There can be no packed copy of the model.
    Store = 43,
}

impl Error {
    /// The kind of the error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Error::Model(error) => of_model(error),
            #[cfg(feature = "std")]
            Error::Part { source, .. } => of_model(source),
            #[cfg(feature = "std")]
            Error::Io { .. } => ErrorCode::Io,
            Error::DoesNotFit { .. } | Error::OutOfMemory { .. } => ErrorCode::DoesNotFit,
            Error::ContextFull { .. } => ErrorCode::ContextFull,
            Error::BadToken { .. } => ErrorCode::BadToken,
            Error::EmptyPrompt => ErrorCode::EmptyPrompt,
            Error::Cancelled => ErrorCode::Cancelled,
            Error::MemoryPressure => ErrorCode::MemoryPressure,
            Error::UnsupportedIsa(_) | Error::UnknownIsa(_) => ErrorCode::UnsupportedKernels,
            Error::Sampler(_) => ErrorCode::Sampler,
            Error::UnsupportedKvType(_) | Error::UnknownKvType(_) | Error::PartKvBlock { .. } => {
                ErrorCode::UnsupportedKvType
            }
            Error::BadMargin(_) => ErrorCode::InvalidArgument,
            Error::Panicked => ErrorCode::Panicked,
            #[cfg(feature = "std")]
            Error::Snapshot(_) => ErrorCode::Snapshot,
            #[cfg(feature = "std")]
            Error::BadVectors { .. } => ErrorCode::InvalidArgument,
            #[cfg(feature = "std")]
            Error::BatchFull { .. } => ErrorCode::BatchFull,
            #[cfg(feature = "std")]
            Error::OtherEngine => ErrorCode::OtherOwner,
            #[cfg(feature = "delegate")]
            Error::OtherModel => ErrorCode::OtherOwner,
            #[cfg(feature = "delegate")]
            Error::Delegate(_) => ErrorCode::Delegate,
        }
    }

    /// What was needed and what is allowed, for the kinds that have both: bytes
    /// ([`ErrorCode::DoesNotFit`]; 0 allowed if the system has none), tokens
    /// ([`ErrorCode::ContextFull`]) or sessions ([`ErrorCode::BatchFull`]).
    pub fn amounts(&self) -> Option<(u64, u64)> {
        match self {
            Error::DoesNotFit { needed, allowed } => Some((*needed, *allowed)),
            Error::OutOfMemory { needed } => Some((*needed, 0)),
            Error::ContextFull { needed, context } => Some((*needed as u64, *context as u64)),
            #[cfg(feature = "std")]
            Error::BatchFull { sessions, rows } => Some((*sessions as u64, *rows as u64)),
            _ => None,
        }
    }
}

fn of_model(error: &ModelError) -> ErrorCode {
    match error {
        ModelError::NotGguf { .. } => ErrorCode::NotGguf,
        ModelError::Truncated { .. } => ErrorCode::Truncated,
        ModelError::UnsupportedVersion { .. } => ErrorCode::UnsupportedVersion,
        ModelError::UnsupportedDType { .. } => ErrorCode::UnsupportedType,
        ModelError::UnsupportedPacking { .. } => ErrorCode::UnsupportedPacking,
        ModelError::UnknownArchitecture { .. } | ModelError::UnusedTensors { .. } => {
            ErrorCode::UnknownArchitecture
        }
        ModelError::MissingKey { .. } => ErrorCode::MissingKey,
        ModelError::BadValue { .. } => ErrorCode::BadValue,
        ModelError::MissingTensor { .. } => ErrorCode::MissingTensor,
        ModelError::BadShape { .. } => ErrorCode::BadShape,
        ModelError::Malformed { .. } | ModelError::Parts { .. } => ErrorCode::Malformed,
        ModelError::Shard { source, .. } => of_model(source),
        ModelError::Tokenizer { .. } => ErrorCode::Tokenizer,
        ModelError::Template { .. } => ErrorCode::Template,
        #[cfg(feature = "std")]
        ModelError::LeftOut { .. } => ErrorCode::Template,
        ModelError::OutOfMemory { .. } => ErrorCode::DoesNotFit,
        _ => ErrorCode::Other,
    }
}
