//! The error of all calls.

use ondol_app::{AppError, ErrorCode};

macro_rules! errors {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Why a call failed: one variant for each kind, with the same names and numbers in
        /// every language. `detail` says in English what was wrong, where, and what to do.
        /// `needed` and `allowed` are bytes or tokens for `DoesNotFit` and `ContextFull`,
        /// and 0 for others.
        #[derive(Debug, Clone, PartialEq, thiserror::Error, uniffi::Error)]
        pub enum OndolError {
            $(
                $(#[doc = $doc])*
                #[error("{detail}")]
                $name {
                    /// What was wrong.
                    detail: String,
                    /// Bytes or tokens that were needed, or 0.
                    needed: u64,
                    /// Bytes or tokens that are allowed, or 0.
                    allowed: u64,
                },
            )*
        }

        impl From<AppError> for OndolError {
            fn from(error: AppError) -> OndolError {
                let AppError { code, message: detail, needed, allowed } = error;
                match code {
                    $(ErrorCode::$name => OndolError::$name { detail, needed, allowed },)*
                    _ => OndolError::Other { detail, needed, allowed },
                }
            }
        }

        impl OndolError {
            fn number(&self) -> i32 {
                match self {
                    $(OndolError::$name { .. } => ErrorCode::$name as i32,)*
                }
            }
        }
    };
}

errors! {
    /// An argument is missing, not UTF-8, out of range or unknown.
    InvalidArgument,
    /// Another call or an answer uses the object at this moment.
    Busy,
    /// The library panicked: a bug in Ondol.
    Panicked,
    /// Another error; the message says which.
    Other,
    /// The object was closed.
    Closed,
    /// The operating system refused the file.
    Io,
    /// The file is not a GGUF file.
    NotGguf,
    /// The file is shorter than its header says.
    Truncated,
    /// The version or byte order of GGUF is not supported.
    UnsupportedVersion,
    /// A quantization type is not supported by this build.
    UnsupportedType,
    /// The file was packed in another version of the packed layout.
    UnsupportedPacking,
    /// This build does not support the architecture.
    UnknownArchitecture,
    /// A metadata key is missing.
    MissingKey,
    /// A metadata key has a value of the wrong type or out of range.
    BadValue,
    /// A tensor is missing.
    MissingTensor,
    /// A tensor has the wrong dimensions.
    BadShape,
    /// The file breaks the rules of its format.
    Malformed,
    /// The vocabulary can't be used.
    Tokenizer,
    /// The chat template can't be compiled or rendered.
    Template,
    /// More memory is needed than is allowed, or than the system provides.
    DoesNotFit,
    /// The tokens do not fit in the context.
    ContextFull,
    /// A token is outside the vocabulary.
    BadToken,
    /// The prompt has no tokens.
    EmptyPrompt,
    /// The caller cancelled.
    Cancelled,
    /// The kernels that were asked for can't run on this CPU, or have no such name.
    UnsupportedKernels,
    /// An option of the sampler is out of range, or no token can be chosen.
    Sampler,
    /// This build or this model does not support this type of KV cache.
    UnsupportedKvType,
    /// A session can't be saved or restored.
    Snapshot,
    /// The governor reports critical memory pressure: no session can be made.
    MemoryPressure,
    /// More sessions than the batch allows.
    BatchFull,
    /// The session belongs to another engine, or the offload to another model.
    OtherOwner,
    /// A delegate failed, or can't run the model.
    Delegate,
    /// A packed copy of the model can't be made.
    Store,
}

/// The number of an error, the same in every language.
#[uniffi::export]
pub fn error_code(error: OndolError) -> i32 {
    error.number()
}
