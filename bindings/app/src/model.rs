//! A loaded model, and the engine that its conversations share.

use crate::conversation::{ChatMessage, Conversation};
use crate::error::{AppError, Result};
use crate::options::{ConversationOptions, DelegateOptions, LoadOptions, Progress, Source, Stage};
use ondol::delegate::{Delegate, Offload, OffloadOptions};
use ondol::models::tokenizer::EncodeOptions;
use ondol::store::{Event, Store, StoreOptions};
use ondol::trial::{Split, SplitFile};
use ondol::{CancelToken, Engine, Governor, Memory, Message, SessionOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a user's text is tokenized without a chat template.
const USER_TEXT: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};

/// A loaded model. Clones refer to the same model; it is freed when its last clone and its
/// last conversation are dropped.
#[derive(Clone)]
pub struct Model(Arc<Loaded>);

struct Loaded {
    model: ondol::Model,
    options: SessionOptions,
    packed_copy: Option<PathBuf>,
    no_copy: Option<String>,
    /// Made with the first conversation, so that loading takes no memory for a context.
    engine: Mutex<Option<Engine>>,
}

/// Properties of a model.
#[derive(Debug, Clone, PartialEq)]
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
    /// Whether the file has a chat template of its own; otherwise the library chooses one
    /// from the vocabulary.
    pub has_chat_template: bool,
    /// The packed copy that it runs from.
    pub packed_copy: Option<String>,
    /// Why it runs from its own file although a packed copy was asked for and would be
    /// faster.
    pub no_packed_copy: Option<String>,
    /// Faults of the file that were repaired, and how.
    pub warnings: Vec<String>,
}

impl Model {
    /// Loads a model. See [`Model::load_with`] for progress and cancelling.
    ///
    /// # Errors
    /// Those of [`Model::load_with`].
    pub fn load(source: Source, options: &LoadOptions) -> Result<Model> {
        Model::load_with(source, options, &CancelToken::new(), &mut |_| ())
    }

    /// Loads a model: maps its file, and, as the options ask, makes or checks its packed
    /// copy and compiles the programs of a delegate. `progress` is called on this thread,
    /// often, while a packed copy is made or programs are compiled; `cancel` ends the work.
    /// A packed copy that can't be made is no error: [`ModelInfo::no_packed_copy`] then has
    /// the reason.
    ///
    /// No other program may truncate or rewrite the file while the model exists.
    ///
    /// # Errors
    /// One of the error codes 10 to 23 if the file can't be used;
    /// [`ondol::ErrorCode::Cancelled`]; [`ondol::ErrorCode::Delegate`];
    /// [`ondol::ErrorCode::InvalidArgument`]; [`ondol::ErrorCode::UnsupportedKernels`] and
    /// [`ondol::ErrorCode::UnsupportedKvType`].
    pub fn load_with(
        source: Source,
        options: &LoadOptions,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Model> {
        let mut session = options.session()?;
        let opened = open(source, options, cancel, progress)?;
        if let Some(delegate) = &options.delegate {
            session.offload = offload(&opened.model, delegate, &session, cancel, progress)?;
        }
        // This finds wrong options now, and not with the first conversation. It does not
        // compare with the memory limit: a conversation may still fit with a shorter
        // context, or when other conversations are closed.
        opened.model.memory(&session)?;
        Ok(Model(Arc::new(Loaded {
            model: opened.model,
            options: session,
            packed_copy: opened.copy,
            no_copy: opened.reason.map(|reason| reason.to_string()),
            engine: Mutex::new(None),
        })))
    }

    /// The exact memory that a model's first conversation would take with these options,
    /// before it is loaded. Only the file's header is read.
    ///
    /// # Errors
    /// Those of [`Model::load_with`]; [`ondol::ErrorCode::DoesNotFit`] if the memory is
    /// more than the options' memory limit.
    pub fn memory_before_load(source: Source, options: &LoadOptions) -> Result<Memory> {
        let session = options.session()?;
        let plain = LoadOptions {
            packed_folder: None,
            ..options.clone()
        };
        let opened = open(source, &plain, &CancelToken::new(), &mut |_| ())?;
        within_limit(opened.model.memory(&session)?, &session)
    }

    /// The exact memory of the model, its engine and one conversation with a context of
    /// `context` tokens; `None` is the context that the model was loaded with. Nothing is
    /// allocated.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::DoesNotFit`] if the memory is more than the memory limit that
    /// the model was loaded with.
    pub fn memory(&self, context: Option<usize>) -> Result<Memory> {
        let options = SessionOptions {
            context: context.or(self.0.options.context),
            ..self.0.options.clone()
        };
        within_limit(self.0.model.memory(&options)?, &options)
    }

    /// Properties of the model.
    pub fn info(&self) -> ModelInfo {
        use ondol::models::template::TemplateOrigin;
        let (model, graph) = (&self.0.model, self.0.model.graph());
        let longest = graph.trained_context.min(4096);
        ModelInfo {
            name: model.name().to_owned(),
            architecture: graph.architecture.to_string(),
            trained_context: graph.trained_context as u64,
            context: self.0.options.context.unwrap_or(longest) as u64,
            vocabulary: graph.vocabulary as u64,
            file_bytes: model.file_bytes(),
            has_chat_template: model.chat_template().origin() == TemplateOrigin::File,
            packed_copy: self.0.packed_copy.as_deref().map(text_of),
            no_packed_copy: self.0.no_copy.clone(),
            warnings: model.warnings().map(ToString::to_string).collect(),
        }
    }

    /// The number of tokens of a user's text: control tokens that the text spells count as
    /// text.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.encode(text).len()
    }

    /// The number of tokens of these messages with the chat template around them: the
    /// length of the prompt for an answer to them.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::Template`].
    pub fn count_chat_tokens(&self, messages: &[ChatMessage]) -> Result<usize> {
        let messages: Vec<Message> = messages.iter().map(ChatMessage::to_runtime).collect();
        Ok(self.0.model.encode_chat(&messages)?.len())
    }

    /// The ids of a text's tokens; control tokens that the text spells are encoded as text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.0.model.tokenizer().encode(text, USER_TEXT)
    }

    /// The text of token ids. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.0.model.tokenizer().decode(ids)
    }

    /// Makes the engine and reads all weights once, so that the first answer does not wait
    /// for the disk. This takes as long as reading the file; call it in the background.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::DoesNotFit`], [`ondol::ErrorCode::MemoryPressure`],
    /// [`ondol::ErrorCode::Cancelled`].
    pub fn prewarm(&self, cancel: &CancelToken) -> Result<()> {
        let mut session = self.session()?;
        session.prefill(&[self.first_token()], cancel)?;
        Ok(())
    }

    /// A new conversation. The first one makes the engine; each further one takes only
    /// [`Memory::further_session`] bytes.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::DoesNotFit`], [`ondol::ErrorCode::MemoryPressure`].
    pub fn conversation(&self, options: &ConversationOptions) -> Result<Conversation> {
        Conversation::new(self.clone(), self.session()?, options)
    }

    /// The governor that the model was loaded with.
    pub fn governor(&self) -> &Governor {
        &self.0.options.governor
    }

    /// Releases memory that no answer needs at this moment to the system.
    pub fn release_unused(&self) {
        let engine = self.0.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            engine.release_unused();
        }
    }

    /// Panics, for the tests of the bindings.
    #[cfg(feature = "testing")]
    pub fn panic(&self) {
        panic!("on purpose");
    }

    /// A token that any text may begin with.
    pub(crate) fn first_token(&self) -> u32 {
        self.0.model.tokenizer().bos().unwrap_or(0)
    }

    pub(crate) fn runtime(&self) -> &ondol::Model {
        &self.0.model
    }

    pub(crate) fn session(&self) -> Result<ondol::Session> {
        let mut engine = self.0.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = match &mut *engine {
            Some(engine) => engine,
            none => none.insert(self.0.model.engine(&self.0.options)?),
        };
        Ok(engine.session()?)
    }
}

/// Fails with [`ondol::Error::DoesNotFit`] if the memory is more than the options' limit.
fn within_limit(memory: Memory, options: &SessionOptions) -> Result<Memory> {
    match options.memory_limit {
        Some(allowed) if memory.total > allowed => Err(ondol::Error::DoesNotFit {
            needed: memory.total,
            allowed,
        }
        .into()),
        _ => Ok(memory),
    }
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn open(
    source: Source,
    options: &LoadOptions,
    cancel: &CancelToken,
    progress: &mut dyn FnMut(Progress),
) -> Result<ondol::store::Opened> {
    let plain = |model| ondol::store::Opened {
        model,
        copy: None,
        reason: None,
    };
    let model = match (source, &options.packed_folder) {
        (Source::Path(path), Some(folder)) => {
            let store = StoreOptions {
                limit: options.packed_limit,
                ..StoreOptions::default()
            };
            let mut report = Report::new(progress);
            let store = Store::new(folder, store);
            return Ok(store.open(path, cancel, &mut |event| report.event(event))?);
        }
        (Source::Path(path), None) => ondol::Model::open(path)?,
        (
            Source::File {
                file,
                offset,
                length,
            },
            _,
        ) => ondol::Model::from_file(&file, offset, length)?,
        (Source::Hello, _) => ondol::Model::hello()?,
    };
    Ok(plain(model))
}

/// Adds up the bytes that a store reports, and passes the sums on as progress.
struct Report<'a> {
    progress: &'a mut dyn FnMut(Progress),
    stage: Stage,
    done: u64,
    total: u64,
}

impl<'a> Report<'a> {
    fn new(progress: &'a mut dyn FnMut(Progress)) -> Report<'a> {
        Report {
            progress,
            stage: Stage::Waiting,
            done: 0,
            total: 0,
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Waiting => self.begin(Stage::Waiting, 0),
            Event::Verifying { bytes, .. } => self.begin(Stage::Verifying, bytes),
            Event::Packing { work, .. } => self.begin(Stage::Packing, work),
            Event::Advanced { bytes } => self.done += bytes,
            _ => return,
        }
        (self.progress)(Progress {
            stage: self.stage,
            done: self.done,
            total: self.total,
        });
    }

    fn begin(&mut self, stage: Stage, total: u64) {
        (self.stage, self.done, self.total) = (stage, 0, total);
    }
}

/// Compiles the spans that the delegate's device shall run; `None` if `ondol bench --auto`
/// found the CPU faster in both stages.
#[allow(unsafe_code)] // A plug-in's code.
fn offload(
    model: &ondol::Model,
    options: &DelegateOptions,
    session: &SessionOptions,
    cancel: &CancelToken,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Offload>> {
    if options.deadline_ms == 0 {
        return Err(AppError::argument(
            "deadline_ms is 0; it must be at least 1",
        ));
    }
    // SAFETY: that the plug-in keeps the contract of `ondol_npu.h` is a documented
    // condition of the option.
    let delegate = unsafe { Delegate::load(&options.path) }.map_err(ondol::Error::from)?;
    let defaults = OffloadOptions::default();
    let mut offload = OffloadOptions {
        rows: options.rows,
        prefill: true,
        decode: options.decode.unwrap_or(defaults.decode),
        strict: options.strict,
        deadline: Duration::from_millis(options.deadline_ms),
        cache: options.cache.clone(),
    };
    if options.decode.is_none()
        && let Some(split) = kept_split(model, &delegate, &offload, session)?
    {
        (offload.prefill, offload.decode) = (split.prefill, split.decode);
    }
    if !offload.prefill && !offload.decode {
        return Ok(None);
    }
    let report = |done: usize, total: usize| {
        progress(Progress {
            stage: Stage::Compiling,
            done: done as u64,
            total: total as u64,
        });
    };
    Ok(Some(Offload::new(
        model, &delegate, &offload, cancel, report,
    )?))
}

/// The split that `ondol bench --auto` stored in the folder of programs; `None` if there
/// is none or it can't be read.
fn kept_split(
    model: &ondol::Model,
    delegate: &Delegate,
    options: &OffloadOptions,
    session: &SessionOptions,
) -> Result<Option<Split>> {
    let file = SplitFile::find(model, delegate, options, session)?;
    let read = file.map_or(Ok(None), |file| file.read());
    Ok(read.unwrap_or_else(|damaged| {
        log::warn!("{damaged}; `ondol bench --auto` measures again");
        None
    }))
}
