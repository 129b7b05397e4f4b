//! Options of models, conversations and answers, with the runtime's names and defaults.

use crate::conversation::ChatMessage;
use crate::error::{AppError, Result};
use ondol::files::regular;
use ondol::{Affinity, GenerateOptions, Governor, KvType, SamplerOptions, SessionOptions};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

/// Where a model's bytes are.
#[derive(Debug)]
pub enum Source {
    /// A GGUF file; of a split model the first part.
    Path(PathBuf),
    /// A range of bytes of an open file that holds a whole GGUF file: an asset in an app's
    /// package, or a document picker's file. Such a model can have no packed copy.
    File {
        /// The open file. It is closed after loading.
        file: File,
        /// The first byte of the range.
        offset: u64,
        /// Bytes of the range; `None` is the rest of the file.
        length: Option<u64>,
    },
    /// The built-in model, for tests and first steps.
    Hello,
}

impl Source {
    /// A range of bytes of the file with this path, as in [`Source::File`].
    ///
    /// # Errors
    /// [`ondol::ErrorCode::Io`] if the file can't be opened.
    pub fn part(path: impl AsRef<Path>, offset: u64, length: Option<u64>) -> Result<Source> {
        let path = path.as_ref();
        let file = regular::open(path).map_err(|source| ondol::Error::Io {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Source::File {
            file,
            offset,
            length,
        })
    }
}

/// How a model is loaded and run. All its conversations share this.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The number of threads that compute, the calling thread included; `None` uses one
    /// for each big core.
    pub threads: Option<usize>,
    /// Context in tokens; `None` uses the context that the model was trained for, at
    /// most 4096.
    pub context: Option<usize>,
    /// The type of the KV cache.
    pub kv_type: KvType,
    /// The largest number of tokens in one prefill pass.
    pub prefill_chunk: usize,
    /// The largest number of drafts in one decode pass; 0 switches drafts off.
    pub drafts: usize,
    /// The most bytes that all conversations and the model's own heap may take together,
    /// without the mapped weights; `None` sets no limit.
    pub memory_limit: Option<u64>,
    /// The name of the kernels, "avx2" or "exact" for example; `None` uses the fastest that
    /// the CPU can run.
    pub kernels: Option<String>,
    /// The cores on which the threads run.
    pub affinity: Affinity,
    /// The governor through which the app reports thermal state and memory pressure, and
    /// pauses answers.
    pub governor: Governor,
    /// A folder for the packed copy, which decodes faster and takes about as many bytes as
    /// the file; `None` makes no packed copy.
    pub packed_folder: Option<PathBuf>,
    /// The most bytes of all packed copies in the folder; `None` sets no limit.
    pub packed_limit: Option<u64>,
    /// A plug-in that runs parts of the model on an NPU; `None` runs all on the CPU.
    pub delegate: Option<DelegateOptions>,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        let runtime = SessionOptions::default();
        LoadOptions {
            threads: runtime.threads,
            context: runtime.context,
            kv_type: runtime.kv_type,
            prefill_chunk: runtime.prefill_chunk,
            drafts: runtime.drafts,
            memory_limit: runtime.memory_limit,
            kernels: None,
            affinity: runtime.affinity,
            governor: runtime.governor,
            packed_folder: None,
            packed_limit: None,
            delegate: None,
        }
    }
}

impl LoadOptions {
    pub(crate) fn session(&self) -> Result<SessionOptions> {
        if self.prefill_chunk == 0 {
            return Err(AppError::argument(
                "prefill_chunk is 0; it must be at least 1",
            ));
        }
        let kernels = self.kernels.as_deref().map(str::parse).transpose();
        let kernels = kernels.map_err(ondol::Error::from)?;
        Ok(SessionOptions {
            threads: self.threads,
            context: self.context,
            kv_type: self.kv_type,
            prefill_chunk: self.prefill_chunk,
            drafts: self.drafts,
            memory_limit: self.memory_limit,
            kernels,
            affinity: self.affinity,
            governor: self.governor.clone(),
            ..SessionOptions::default()
        })
    }
}

/// An NPU's plug-in, and how it is used.
#[derive(Debug, Clone)]
pub struct DelegateOptions {
    /// The plug-in: a library that keeps the contract of `ondol_npu.h`. Its code is trusted.
    pub path: PathBuf,
    /// The largest number of rows of a prefill program.
    pub rows: usize,
    /// Whether decode runs on the device, as prefill does. `None` runs the stages on the
    /// device that `ondol bench --auto` found faster on it, where that was stored in `cache`,
    /// or else prefill alone.
    pub decode: Option<bool>,
    /// Whether a failure of the device is an error; otherwise the CPU computes the span.
    pub strict: bool,
    /// The time limit of one call of the device, in milliseconds.
    pub deadline_ms: u64,
    /// A folder in which compiled programs are kept for later runs, and the split that
    /// `ondol bench --auto` found fastest; or a bundle, the file that `ondol compile` wrote,
    /// from which all programs come.
    pub cache: Option<PathBuf>,
}

impl DelegateOptions {
    /// The runtime's defaults, with the plug-in at `path`.
    pub fn new(path: impl Into<PathBuf>) -> DelegateOptions {
        let runtime = ondol::delegate::OffloadOptions::default();
        DelegateOptions {
            path: path.into(),
            rows: runtime.rows,
            decode: None,
            strict: runtime.strict,
            deadline_ms: runtime.deadline.as_millis() as u64,
            cache: runtime.cache,
        }
    }
}

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes that are done; in [`Stage::Compiling`], programs.
    pub done: u64,
    /// All bytes of the stage, or all programs; 0 in [`Stage::Waiting`].
    pub total: u64,
}

/// A stage of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Another process makes a packed copy in the folder.
    Waiting,
    /// The file and its packed copy are hashed.
    Verifying,
    /// The packed copy is written.
    Packing,
    /// Programs for the NPU are compiled.
    Compiling,
}

impl Stage {
    /// The name in every language.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Waiting => "waiting",
            Stage::Verifying => "verifying",
            Stage::Packing => "packing",
            Stage::Compiling => "compiling",
        }
    }
}

/// How a conversation begins.
#[derive(Debug, Clone, Default)]
pub struct ConversationOptions {
    /// The system message: instructions for the whole conversation.
    pub system: Option<String>,
    /// Messages that were exchanged before, after the system message.
    pub messages: Vec<ChatMessage>,
}

/// How an answer is generated.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerOptions {
    /// Divides the logits: 0 always takes the likeliest token; higher values vary more.
    pub temperature: f32,
    /// Samples from this many of the likeliest tokens; 0 is all.
    pub top_k: usize,
    /// Samples from the likeliest tokens whose probabilities add up to this; 1 is all.
    pub top_p: f32,
    /// Leaves out tokens whose probability is less than this share of the likeliest
    /// token's; 0 leaves out none.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of recent tokens; 1 is off.
    pub repetition_penalty: f32,
    /// Is subtracted from a recent token's logit for each time the token occurs; 0 is off.
    pub frequency_penalty: f32,
    /// Is subtracted once from the logit of each recent token; 0 is off.
    pub presence_penalty: f32,
    /// How many of the last tokens count as recent for the penalties.
    pub penalty_window: usize,
    /// Seed of the random draws: the same seed gives the same answer; `None` takes a new
    /// seed for each answer.
    pub seed: Option<u64>,
    /// The most tokens of an answer; `None` sets no limit.
    pub max_tokens: Option<usize>,
    /// The text ends before the first of these strings.
    pub stop: Vec<String>,
}

impl Default for AnswerOptions {
    fn default() -> AnswerOptions {
        let sampler = SamplerOptions::default();
        AnswerOptions {
            temperature: sampler.temperature,
            top_k: sampler.top_k,
            top_p: sampler.top_p,
            min_p: sampler.min_p,
            repetition_penalty: sampler.repetition_penalty,
            frequency_penalty: sampler.frequency_penalty,
            presence_penalty: sampler.presence_penalty,
            penalty_window: sampler.penalty_window,
            seed: None,
            max_tokens: None,
            stop: Vec::new(),
        }
    }
}

impl AnswerOptions {
    pub(crate) fn generate(&self) -> GenerateOptions {
        // `RandomState` has random keys, so the hash of nothing is a random number.
        let random = || RandomState::new().build_hasher().finish();
        GenerateOptions {
            sampler: SamplerOptions {
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
                repetition_penalty: self.repetition_penalty,
                frequency_penalty: self.frequency_penalty,
                presence_penalty: self.presence_penalty,
                penalty_window: self.penalty_window,
                seed: self.seed.unwrap_or_else(random),
            },
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            ..GenerateOptions::default()
        }
    }
}
