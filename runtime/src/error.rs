use crate::kernels::Isa;
use crate::kernels::attention::KvType;
use alloc::string::String;
use ondol_models::Float;

/// What can go wrong between a file and its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model file can't be used.
    #[error(transparent)]
    Model(#[from] ondol_models::Error),
    /// One of the files that a model is split over can't be used.
    #[cfg(feature = "std")]
    #[error("{path}: {source}")]
    Part {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: ondol_models::Error,
    },
    /// The operating system refused a file.
    #[cfg(feature = "std")]
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The session needs more memory than it may take.
    #[error(
        "the session needs {needed} bytes, {allowed} are allowed; a shorter context (`context`, `--ctx`) needs less"
    )]
    DoesNotFit {
        /// Bytes asked for.
        needed: u64,
        /// Bytes allowed by [`crate::Options::memory_limit`].
        allowed: u64,
    },
    /// The session needs more memory than the system gives.
    #[error(
        "out of memory: the session needs {needed} bytes, and the system does not give them; a shorter context (`context`, `--ctx`) needs less"
    )]
    OutOfMemory {
        /// Bytes asked for.
        needed: u64,
    },
    /// The tokens do not fit in the context.
    #[error("{needed} tokens do not fit in a context of {context}")]
    ContextFull {
        /// Tokens that would be in the context.
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
    /// A saved session can't be taken up.
    #[cfg(feature = "std")]
    #[error(transparent)]
    Snapshot(#[from] crate::SnapshotError),
    /// Vectors of another width than the model's embeddings.
    #[cfg(feature = "std")]
    #[error("{floats} numbers are no rows of {width}, the width of the model's embeddings")]
    BadVectors {
        /// Numbers that were given.
        floats: usize,
        /// Numbers of a row.
        width: usize,
    },
    /// More sessions than a batch has room for.
    #[cfg(feature = "std")]
    #[error("{sessions} sessions in a batch of {rows}; `Options::batch` sets the most")]
    BatchFull {
        /// Sessions that were given.
        sessions: usize,
        /// Sessions that there is room for.
        rows: usize,
    },
    /// A session of another engine than the batch.
    #[cfg(feature = "std")]
    #[error("the session belongs to another engine than the batch")]
    OtherEngine,
    /// The caller cancelled; what was computed before stays in the cache.
    #[error("cancelled")]
    Cancelled,
    /// The host said that memory is short: no session can be made until it says otherwise.
    #[error(
        "memory is critically short; no session is made until the host says that there is more"
    )]
    MemoryPressure,
    /// This CPU, or this build, does not have the kernels asked for.
    #[error("the `{0}` kernels can't run on this CPU or in this build")]
    UnsupportedIsa(Isa),
    /// A level name that does not exist.
    #[error("`{0}` is no kernel level; there are {names}", names = Names(Isa::ALL))]
    UnknownIsa(String),
    /// This build does not have the cache asked for.
    #[error("this build has no {0} KV cache; take another type for it (`kv_type`, `--kv-type`)")]
    UnsupportedKvType(KvType),
    /// The name of a type of cache that does not exist.
    #[error("`{0}` is no type of KV cache; there are {names}", names = Names(KvType::ALL))]
    UnknownKvType(String),
    /// The model's heads are not made of whole blocks of the cache asked for.
    #[error(
        "a {kv_type} KV cache has blocks of {} numbers, and heads of this model have {head_dim}; take f16 for it (`kv_type`, `--kv-type f16`)",
        kv_type.cell_len()
    )]
    PartKvBlock {
        /// The type of cache.
        kv_type: KvType,
        /// Numbers of a head's key, and of its value.
        head_dim: usize,
    },
    /// An option of the sampler is out of range, or no token can be chosen.
    #[error(transparent)]
    Sampler(#[from] crate::generate::SamplerError),
    /// A margin of the screened head that means nothing.
    #[error("the screen's margin can't be {}", Float(*.0))]
    BadMargin(f32),
    /// A delegate failed, and the CPU was not to take over.
    #[cfg(feature = "delegate")]
    #[error("delegate: {0}")]
    Delegate(#[from] crate::delegate::DelegateError),
    /// An offload of another model.
    #[cfg(feature = "delegate")]
    #[error("the offload was made for another model")]
    OtherModel,
    /// A worker thread panicked: a bug in Ondol. The session can't be used any more.
    #[error("a worker panicked; this is a bug in Ondol")]
    Panicked,
}

/// Names in one line.
struct Names<T, const N: usize>([T; N]);

impl<T: core::fmt::Display, const N: usize> core::fmt::Display for Names<T, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;
