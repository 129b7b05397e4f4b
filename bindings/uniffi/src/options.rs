//! Options. `None` is the runtime's default.

use ondol_app as app;
use std::path::PathBuf;

/// Where a model's bytes are.
#[derive(Debug, Clone, uniffi::Enum)]
pub enum Source {
    /// A GGUF file; of a split model the first part.
    Path {
        /// The file.
        path: String,
    },
    /// A range of bytes of a file; the range holds a whole GGUF file.
    Part {
        /// The file.
        path: String,
        /// The first byte of the range.
        offset: u64,
        /// Bytes of the range; `None` is the rest of the file.
        length: Option<u64>,
    },
    /// The built-in model, for tests and first steps.
    Hello,
}

impl Source {
    pub(crate) fn open(self) -> app::Result<app::Source> {
        Ok(match self {
            Source::Path { path } => app::Source::Path(path.into()),
            Source::Part {
                path,
                offset,
                length,
            } => app::Source::part(&path, offset, length)?,
            Source::Hello => app::Source::Hello,
        })
    }
}

/// The type of a KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum KvType {
    /// Half floats.
    F16,
    /// 8-bit blocks: 34 bytes where f16 takes 64.
    Q80,
    /// Floats: twice the memory of f16, nothing is rounded. For comparisons.
    F32,
}

impl From<KvType> for app::KvType {
    fn from(kv_type: KvType) -> app::KvType {
        match kv_type {
            KvType::F16 => app::KvType::F16,
            KvType::Q80 => app::KvType::Q8_0,
            KvType::F32 => app::KvType::F32,
        }
    }
}

/// How a model is loaded and run.
#[derive(Debug, Clone, Default, uniffi::Record)]
pub struct LoadOptions {
    /// The number of threads that compute, the calling thread included.
    #[uniffi(default = None)]
    pub threads: Option<u32>,
    /// Context in tokens.
    #[uniffi(default = None)]
    pub context: Option<u32>,
    /// The type of the KV cache.
    #[uniffi(default = None)]
    pub kv_type: Option<KvType>,
    /// The largest number of tokens in one prefill pass.
    #[uniffi(default = None)]
    pub prefill_chunk: Option<u32>,
    /// The largest number of drafts in one decode pass; 0 switches drafts off.
    #[uniffi(default = None)]
    pub drafts: Option<u32>,
    /// The most bytes that all conversations and the model's own heap may take together.
    #[uniffi(default = None)]
    pub memory_limit: Option<u64>,
    /// The name of the kernels.
    #[uniffi(default = None)]
    pub kernels: Option<String>,
    /// Whether the threads run on the big cores alone, where the system allows it.
    #[uniffi(default = None)]
    pub big_cores: Option<bool>,
    /// A folder for the packed copy, which decodes faster and takes about as many bytes as
    /// the file.
    #[uniffi(default = None)]
    pub packed_folder: Option<String>,
    /// The most bytes of all packed copies in the folder.
    #[uniffi(default = None)]
    pub packed_limit: Option<u64>,
    /// A plug-in that runs parts of the model on an NPU.
    #[uniffi(default = None)]
    pub delegate: Option<DelegateOptions>,
}

/// An NPU's plug-in, and how it is used.
#[derive(Debug, Clone, uniffi::Record)]
pub struct DelegateOptions {
    /// The plug-in: a library that keeps the contract of `ondol_npu.h`. Its code is trusted.
    pub path: String,
    /// The largest number of rows of a prefill program.
    #[uniffi(default = None)]
    pub rows: Option<u32>,
    /// Whether decode runs on the device, as prefill does. If it is not given, the stages run
    /// on the device that `ondol bench --auto` found faster on it, where that was stored in
    /// `cache`, or else prefill alone.
    #[uniffi(default = None)]
    pub decode: Option<bool>,
    /// Whether a failure of the device is an error; otherwise the CPU computes the span.
    #[uniffi(default = None)]
    pub strict: Option<bool>,
    /// The time limit of one call of the device, in milliseconds.
    #[uniffi(default = None)]
    pub deadline_ms: Option<u64>,
    /// A folder in which compiled programs are stored for later runs, or a bundle: the file
    /// that `ondol compile` wrote, from which all programs come.
    #[uniffi(default = None)]
    pub cache: Option<String>,
}

impl LoadOptions {
    pub(crate) fn to_app(&self, governor: &app::Governor) -> app::LoadOptions {
        let defaults = app::LoadOptions::default();
        app::LoadOptions {
            threads: self.threads.map(|n| n as usize).or(defaults.threads),
            context: self.context.map(|n| n as usize).or(defaults.context),
            kv_type: self.kv_type.map_or(defaults.kv_type, Into::into),
            prefill_chunk: or(self.prefill_chunk, defaults.prefill_chunk),
            drafts: or(self.drafts, defaults.drafts),
            memory_limit: self.memory_limit.or(defaults.memory_limit),
            kernels: self.kernels.clone(),
            affinity: match self.big_cores {
                None => defaults.affinity,
                Some(true) => app::Affinity::BigCores,
                Some(false) => app::Affinity::Free,
            },
            governor: governor.clone(),
            packed_folder: self.packed_folder.clone().map(PathBuf::from),
            packed_limit: self.packed_limit,
            delegate: self.delegate.as_ref().map(DelegateOptions::to_app),
        }
    }
}

impl DelegateOptions {
    fn to_app(&self) -> app::DelegateOptions {
        let defaults = app::DelegateOptions::new(&self.path);
        app::DelegateOptions {
            rows: or(self.rows, defaults.rows),
            decode: self.decode,
            strict: self.strict.unwrap_or(defaults.strict),
            deadline_ms: self.deadline_ms.unwrap_or(defaults.deadline_ms),
            cache: self.cache.clone().map(PathBuf::from),
            ..defaults
        }
    }
}

/// How a conversation begins.
#[derive(Debug, Clone, Default, uniffi::Record)]
pub struct ConversationOptions {
    /// The system message: instructions for the whole conversation.
    #[uniffi(default = None)]
    pub system: Option<String>,
    /// Messages that were exchanged before.
    #[uniffi(default = [])]
    pub messages: Vec<crate::ChatMessage>,
}

/// How an answer is generated.
#[derive(Debug, Clone, Default, uniffi::Record)]
pub struct AnswerOptions {
    /// Divides the logits: 0 always takes the likeliest token; higher values vary more.
    #[uniffi(default = None)]
    pub temperature: Option<f32>,
    /// Samples from this many of the likeliest tokens; 0 is all.
    #[uniffi(default = None)]
    pub top_k: Option<u32>,
    /// Samples from the likeliest tokens whose probabilities add up to this; 1 is all.
    #[uniffi(default = None)]
    pub top_p: Option<f32>,
    /// Leaves out tokens whose probability is less than this share of the likeliest
    /// token's; 0 leaves out none.
    #[uniffi(default = None)]
    pub min_p: Option<f32>,
    /// Divides positive and multiplies negative logits of recent tokens; 1 is off.
    #[uniffi(default = None)]
    pub repetition_penalty: Option<f32>,
    /// Is subtracted from a recent token's logit for each time the token occurs; 0 is off.
    #[uniffi(default = None)]
    pub frequency_penalty: Option<f32>,
    /// Is subtracted once from the logit of each recent token; 0 is off.
    #[uniffi(default = None)]
    pub presence_penalty: Option<f32>,
    /// How many of the last tokens count as recent for the penalties.
    #[uniffi(default = None)]
    pub penalty_window: Option<u32>,
    /// The same seed gives the same answer; `None` takes a new seed for each answer.
    #[uniffi(default = None)]
    pub seed: Option<u64>,
    /// The most tokens of an answer; `None` sets no limit.
    #[uniffi(default = None)]
    pub max_tokens: Option<u32>,
    /// The text ends before the first of these strings.
    #[uniffi(default = [])]
    pub stop: Vec<String>,
}

impl AnswerOptions {
    pub(crate) fn to_app(&self) -> app::AnswerOptions {
        let defaults = app::AnswerOptions::default();
        app::AnswerOptions {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: or(self.top_k, defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: self
                .repetition_penalty
                .unwrap_or(defaults.repetition_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(defaults.frequency_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(defaults.presence_penalty),
            penalty_window: or(self.penalty_window, defaults.penalty_window),
            seed: self.seed,
            max_tokens: self.max_tokens.map(|n| n as usize),
            stop: self.stop.clone(),
        }
    }
}

fn or(value: Option<u32>, default: usize) -> usize {
    value.map_or(default, |n| n as usize)
}

/// The default options of an answer; `seed` and `max_tokens` have no default and are `None`.
#[uniffi::export]
pub fn default_answer_options() -> AnswerOptions {
    let app = app::AnswerOptions::default();
    AnswerOptions {
        temperature: Some(app.temperature),
        top_k: Some(app.top_k as u32),
        top_p: Some(app.top_p),
        min_p: Some(app.min_p),
        repetition_penalty: Some(app.repetition_penalty),
        frequency_penalty: Some(app.frequency_penalty),
        presence_penalty: Some(app.presence_penalty),
        penalty_window: Some(app.penalty_window as u32),
        seed: app.seed,
        max_tokens: app.max_tokens.map(|n| n as u32),
        stop: app.stop,
    }
}
