//! Models.

use crate::error::OndolError;
use crate::governor::Governor;
use crate::options::{ConversationOptions, LoadOptions, Source};
use crate::{ChatMessage, Conversation};
use ondol_app as app;
use std::sync::Arc;

/// Cancels the calls that it was passed to: a load or a prewarm.
#[derive(Debug, Default, uniffi::Object)]
pub struct CancelToken(pub(crate) app::CancelToken);

#[uniffi::export]
impl CancelToken {
    /// A token that is not cancelled.
    #[uniffi::constructor]
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Asks the work to end, from any thread.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// Receives the progress of a load, on the thread that loads. An error that it throws is
/// ignored.
#[uniffi::export(foreign)]
pub trait LoadListener: Send + Sync {
    /// `stage` is "waiting", "verifying", "packing" or "compiling"; `done` and `total` are
    /// bytes, or programs in the stage "compiling".
    fn progress(&self, stage: String, done: u64, total: u64) -> Result<(), crate::ListenerError>;
}

/// A loaded model. It may be used from any thread. Its memory is freed when this object and
/// its last conversation are freed.
#[derive(uniffi::Object)]
pub struct Model(pub(crate) app::Model);

/// The exact memory of a model with one conversation, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Memory {
    /// Everything except `weights_mapped`.
    pub total: u64,
    /// Bytes of the file that are read in place, and that the system can drop.
    pub weights_mapped: u64,
    /// The cache of one conversation.
    pub kv_cache: u64,
    /// The memory of each further conversation.
    pub further_conversation: u64,
}

impl From<app::Memory> for Memory {
    fn from(memory: app::Memory) -> Memory {
        Memory {
            total: memory.total,
            weights_mapped: memory.weights_mapped,
            kv_cache: memory.kv_cache,
            further_conversation: memory.further_session,
        }
    }
}

/// Properties of a model.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ModelInfo {
    /// Its name in the file, or "unnamed".
    pub name: String,
    /// The architecture's name.
    pub architecture: String,
    /// The context that it was trained for, in tokens.
    pub trained_context: u64,
    /// The context of its conversations, in tokens.
    pub context: u64,
    /// Tokens of the vocabulary.
    pub vocabulary: u64,
    /// Bytes of its files.
    pub file_bytes: u64,
    /// Whether the file has a chat template of its own; otherwise the library chooses one.
    pub has_chat_template: bool,
    /// The path of the packed copy that the model runs from.
    pub packed_copy: Option<String>,
    /// Why there is no packed copy, although one was asked for and would be faster.
    pub no_packed_copy: Option<String>,
    /// Faults of the file that were repaired, and how.
    pub warnings: Vec<String>,
}

impl From<app::ModelInfo> for ModelInfo {
    fn from(info: app::ModelInfo) -> ModelInfo {
        ModelInfo {
            name: info.name,
            architecture: info.architecture,
            trained_context: info.trained_context,
            context: info.context,
            vocabulary: info.vocabulary,
            file_bytes: info.file_bytes,
            has_chat_template: info.has_chat_template,
            packed_copy: info.packed_copy,
            no_packed_copy: info.no_packed_copy,
            warnings: info.warnings,
        }
    }
}

#[uniffi::export]
impl Model {
    /// Loads a model; blocks the calling thread while a packed copy is made or programs
    /// are compiled. No other program may truncate or rewrite the file during the load or
    /// while the model exists.
    ///
    /// # Errors
    /// One of the error codes 10 to 23 if the file can't be used; `Cancelled`, `Delegate`,
    /// `InvalidArgument`, `UnsupportedKernels`, `UnsupportedKvType`.
    #[uniffi::constructor(default(governor = None, listener = None, cancel = None))]
    pub fn load(
        source: Source,
        options: LoadOptions,
        governor: Option<Arc<Governor>>,
        listener: Option<Arc<dyn LoadListener>>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Model, OndolError> {
        let governor = governor
            .map(|governor| governor.0.clone())
            .unwrap_or_default();
        let cancel = cancel.map(|cancel| cancel.0.clone()).unwrap_or_default();
        let mut progress = |progress: app::Progress| {
            if let Some(listener) = &listener {
                let stage = progress.stage.name().to_owned();
                let _ = listener.progress(stage, progress.done, progress.total);
            }
        };
        let options = options.to_app(&governor);
        let model = app::Model::load_with(source.open()?, &options, &cancel, &mut progress)?;
        Ok(Model(model))
    }

    /// The exact memory of the model and one conversation with a context of `context`
    /// tokens; `None` is the context that the model was loaded with. Nothing is allocated.
    ///
    /// # Errors
    /// `DoesNotFit` if the memory is more than the memory limit.
    #[uniffi::method(default(context = None))]
    pub fn memory(&self, context: Option<u32>) -> Result<Memory, OndolError> {
        Ok(self.0.memory(context.map(|n| n as usize))?.into())
    }

    /// Properties of the model.
    pub fn info(&self) -> ModelInfo {
        self.0.info().into()
    }

    // `count_tokens`, `encode` and `decode` can't fail. They return a `Result` because
    // Swift gets a panic as an error only from functions that can fail.

    /// The number of tokens of a user's text.
    pub fn count_tokens(&self, text: String) -> Result<u64, OndolError> {
        Ok(self.0.count_tokens(&text) as u64)
    }

    /// The number of tokens of these messages with the chat template around them.
    ///
    /// # Errors
    /// `Template`.
    pub fn count_chat_tokens(&self, messages: Vec<ChatMessage>) -> Result<u64, OndolError> {
        let messages: Vec<_> = messages.into_iter().map(Into::into).collect();
        Ok(self.0.count_chat_tokens(&messages)? as u64)
    }

    /// The ids of a text's tokens; control tokens that the text spells are encoded as text.
    pub fn encode(&self, text: String) -> Result<Vec<u32>, OndolError> {
        Ok(self.0.encode(&text))
    }

    /// The text of token ids. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: Vec<u32>) -> Result<String, OndolError> {
        Ok(self.0.decode(&ids))
    }

    /// Makes the engine and reads all weights once, so that the first answer does not wait
    /// for the disk. Blocks the calling thread as long as reading the file takes.
    ///
    /// # Errors
    /// `DoesNotFit`, `MemoryPressure`, `Cancelled`.
    #[uniffi::method(default(cancel = None))]
    pub fn prewarm(&self, cancel: Option<Arc<CancelToken>>) -> Result<(), OndolError> {
        let cancel = cancel.map(|cancel| cancel.0.clone()).unwrap_or_default();
        Ok(self.0.prewarm(&cancel)?)
    }

    /// A new conversation.
    ///
    /// # Errors
    /// `DoesNotFit`, `MemoryPressure`.
    pub fn conversation(&self, options: ConversationOptions) -> Result<Conversation, OndolError> {
        Ok(Conversation(self.0.conversation(&options.into())?))
    }

    /// A conversation from a file that `save` wrote, with its KV cache.
    ///
    /// # Errors
    /// `Snapshot` if the file is not a saved conversation of this model or is damaged;
    /// `Io`, `DoesNotFit`, `MemoryPressure`.
    pub fn restore(&self, path: String) -> Result<Conversation, OndolError> {
        Ok(Conversation(app::Conversation::restore(&self.0, path)?))
    }

    /// Releases memory that no answer needs at this moment to the system.
    pub fn release_unused(&self) {
        self.0.release_unused();
    }
}

/// The exact memory of a model with its first conversation, before the model is loaded.
///
/// # Errors
/// Those of `Model.load`; `DoesNotFit` if the memory is more than the memory limit.
#[uniffi::export]
pub fn memory_before_load(source: Source, options: LoadOptions) -> Result<Memory, OndolError> {
    let options = options.to_app(&app::Governor::new());
    Ok(app::Model::memory_before_load(source.open()?, &options)?.into())
}

#[cfg(feature = "testing")]
#[uniffi::export]
impl Model {
    /// Panics.
    pub fn panic(&self) -> Result<(), OndolError> {
        self.0.panic();
        Ok(())
    }
}
