use crate::cache::KvType;
use alloc::string::String;
use ondol_kernels::{Isa, UnknownIsa};
use ondol_models::Float;

/// Errors of models, engines, sessions and generations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model file can't be used.
    #[error(transparent)]
    Model(#[from] ondol_models::Error),
    /// One part of a split model can't be used.
    #[cfg(feature = "std")]
    #[error("{path}: {source}")]
    Part {
        /// The file.
        path: std::path::PathBuf,
        /// The error in it.
        source: ondol_models::Error,
    },
    /// The operating system refused a file.
    #[cfg(feature = "std")]
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The engine and its sessions need more memory than
    /// [`crate::SessionOptions::memory_limit`] allows.
    #[error(
        "the session needs {needed} bytes, {allowed} are allowed; a shorter context (`context`, `--ctx`) needs less"
    )]
    DoesNotFit {
        /// Bytes asked for.
        needed: u64,
        /// Bytes allowed by [`crate::SessionOptions::memory_limit`].
        allowed: u64,
    },
    /// The system does not provide the memory that was asked for.
    #[error(
        "out of memory: {needed} bytes are needed, and the system does not provide them; a shorter \
         context (`context`, `--ctx`) needs less"
    )]
    OutOfMemory {
        /// Bytes asked for.
        needed: u64,
    },
    /// The tokens do not fit in the context.
    #[error("{needed} tokens do not fit in a context of {context}")]
    ContextFull {
        /// Tokens that the sequence would have.
        needed: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// A token id outside the vocabulary.
    #[error("token {token} is outside the vocabulary of {vocabulary}")]
    BadToken {
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// There is nothing to run: no token was given.
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// A session can't be saved or restored.
    #[cfg(feature = "std")]
    #[error(transparent)]
    Snapshot(#[from] crate::SnapshotError),
    /// The length of the vectors is not a multiple of the width of the model's
    /// embeddings.
    #[cfg(feature = "std")]
    #[error("{floats} numbers are not whole rows of {width}, the width of the model's embeddings")]
    BadVectors {
        /// Numbers that were given.
        floats: usize,
        /// Numbers of a row.
        width: usize,
    },
    /// More sessions than a batch has room for.
    #[cfg(feature = "std")]
    #[error(
        "{sessions} sessions do not fit in a batch of {rows}; `SessionOptions::batch` sets the most"
    )]
    BatchFull {
        /// Sessions that were given.
        sessions: usize,
        /// The largest number of sessions in the batch.
        rows: usize,
    },
    /// A session of another engine than the batch.
    #[cfg(feature = "std")]
    #[error("the session belongs to another engine than the batch")]
    OtherEngine,
    /// The caller cancelled. The session has the tokens of the passes that were
    /// completed.
    #[error("cancelled")]
    Cancelled,
    /// The governor reports critical memory pressure: no session can be made until that
    /// changes.
    #[error(
        "memory is critically short; no session can be made until the app reports that it is not"
    )]
    MemoryPressure,
    /// This CPU, or this build, does not have the kernels asked for.
    #[error("the `{0}` kernels can't run on this CPU or in this build")]
    UnsupportedIsa(Isa),
    /// A name of kernels that does not exist.
    #[error(transparent)]
    UnknownIsa(#[from] UnknownIsa),
    /// This build does not support this type of KV cache.
    #[error("this build has no {0} KV cache; use another type (`kv_type`, `--kv-type`)")]
    UnsupportedKvType(KvType),
    /// The name of a type of KV cache that does not exist.
    #[error(
        "there is no KV cache of type `{0}`; the known names are {names}",
        names = KvType::ALL.map(KvType::name).join(", ")
    )]
    UnknownKvType(String),
    /// The model's head dimension is not a multiple of the block length of this type of
    /// KV cache.
    #[error(
        "a {kv_type} KV cache has blocks of {} numbers, and heads of this model have {head_dim}; use f16 (`kv_type`, `--kv-type f16`)",
        kv_type.cell_len()
    )]
    PartKvBlock {
        /// The type of cache.
        kv_type: KvType,
        /// The head dimension: the length of one head's key, and of its value.
        head_dim: usize,
    },
    /// An option of the sampler is out of range, or no token can be chosen.
    #[error(transparent)]
    Sampler(#[from] crate::generate::SamplerError),
    /// The margin of the screen is negative or not finite.
    #[error("the screen's margin can't be {}", Float(*.0))]
    BadMargin(f32),
    /// A delegate can't run the model, or failed while fallback to the CPU is switched
    /// off.
    #[cfg(feature = "delegate")]
    #[error("delegate: {0}")]
    Delegate(#[from] crate::delegate::DelegateError),
    /// The offload was made for another model.
    #[cfg(feature = "delegate")]
    #[error("the offload was made for another model")]
    OtherModel,
    /// A worker thread panicked: a bug in Ondol. The engine can't be used any more.
    #[error("a worker thread panicked; this is a bug in Ondol")]
    Panicked,
}

/// A result with [`enum@Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;
