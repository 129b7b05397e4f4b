//! The errors of this crate.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// Errors of model files.
///
/// The variants distinguish what a user can do: download the file again, use another
/// file, or use a newer build.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: {found}")]
    NotGguf {
        /// What the file looks like instead ("an HTML page", "a ZIP archive", its first bytes).
        found: String,
    },
    /// The file is shorter than its header says.
    #[error("the file is truncated: {what} needs bytes up to {needed}, the file has {have}")]
    Truncated {
        /// What was being read.
        what: String,
        /// End of the needed range, in bytes from the start of the file.
        needed: u64,
        /// Size of the file in bytes.
        have: u64,
    },
    /// A GGUF version or byte order that this build does not read.
    #[error("unsupported GGUF version: {found}")]
    UnsupportedVersion {
        /// The version, and the byte order if that is the problem.
        found: String,
    },
    /// A tensor type that is unknown, or known by name but not supported.
    #[error(
        "tensor `{tensor}` has the quantization type {dtype}, which this build does not support"
    )]
    UnsupportedDType {
        /// The tensor, or where the type was named.
        tensor: String,
        /// Its name if known ("IQ2_XXS"), else its number.
        dtype: String,
    },
    /// A packed file of a version that this build does not read.
    #[error(
        "the file was packed in version {found} of the packed layout, this build reads version \
         {supported}: pack the original file again"
    )]
    UnsupportedPacking {
        /// The file's version.
        found: u32,
        /// The version that this build reads and writes.
        supported: u32,
    },
    /// `general.architecture` names no architecture of [`crate::arch`].
    #[error("unknown architecture `{name}`; this build knows {known}")]
    UnknownArchitecture {
        /// The name in the file.
        name: String,
        /// Names that this build supports, comma-separated.
        known: String,
    },
    /// A required metadata key is missing.
    #[error("metadata key `{key}` is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata key has a value of the wrong type or out of range.
    #[error("metadata key `{key}`: {reason}")]
    BadValue {
        /// The key.
        key: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// A required tensor is missing.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// The file has tensors that its architecture does not use in this build. The file is
    /// of a variant of the architecture, and the result would be wrong.
    #[error(
        "the file has tensors that `{architecture}` does not compute with in this build: {names}; \
         it is a variant of that architecture, or not a language model alone"
    )]
    UnusedTensors {
        /// The architecture.
        architecture: String,
        /// The names of the first three, and how many more there are.
        names: String,
    },
    /// A tensor does not have the dimensions that the architecture or format requires.
    #[error("tensor `{name}`: {reason}")]
    BadShape {
        /// The tensor.
        name: String,
        /// Expected and found dimensions.
        reason: String,
    },
    /// The container breaks the rules of its format (overlaps, duplicates, limits).
    #[error("malformed GGUF: {reason}")]
    Malformed {
        /// The fault and its place.
        reason: String,
    },
    /// A part of a split model is missing, or belongs to another model.
    #[error("the model is split over several files: {reason}")]
    Parts {
        /// The part and its fault.
        reason: String,
    },
    /// One part of a split model can't be used.
    #[error("part {} of the model: {source}", index + 1)]
    Shard {
        /// The index of the file among those that were given, from 0.
        index: usize,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The vocabulary can't be used.
    #[error("tokenizer: {reason}")]
    Tokenizer {
        /// What is wrong.
        reason: String,
    },
    /// The chat template does not write a message's content, neither if it is given as text
    /// nor if it is given as a list of parts.
    #[cfg(feature = "std")]
    #[error(
        "the chat template does not write message {index} ({role}), neither as text nor as \
         parts; put it into the last user message, or use another model file"
    )]
    LeftOut {
        /// The index of the message, from 0.
        index: usize,
        /// Its role.
        role: String,
    },
    /// The system does not provide the memory that the file needs.
    #[error("out of memory: {bytes} bytes could not be allocated")]
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: u64,
    },
    /// The chat template can't be compiled or rendered.
    #[error("chat template: {reason}")]
    Template {
        /// What is wrong.
        reason: String,
    },
}

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// A float in an error message. Without `std` it is printed as "this value", because code
/// that prints floats takes 8 KB.
#[derive(Debug, Clone, Copy)]
pub struct Float<T>(pub T);

impl<T: fmt::Display> fmt::Display for Float<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if cfg!(feature = "std") {
            self.0.fmt(f)
        } else {
            f.write_str("this value")
        }
    }
}
