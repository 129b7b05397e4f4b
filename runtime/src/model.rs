//! A model: weights in place, graph, vocabulary, template.

use crate::cpu::logits::Logits;
use crate::cpu::pool::Affinity;
use crate::governor::Governor;
use crate::kernels::attention::KvType;
use crate::kernels::vector::simd::SMALL;
use crate::kernels::{FINE_TOKENS, Isa, Kernels};
use crate::plan::{Memory, Plan, PlanOptions, Span};
use crate::screen::ScreenOptions;
use crate::session::Session;
#[cfg(feature = "std")]
use crate::store::files;
use crate::weights::{Bytes, Weights};
use crate::{Engine, Error, Result};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use ondol_models::Warning;
use ondol_models::arch;
use ondol_models::gguf::Gguf;
use ondol_models::graph::{Graph, State};
use ondol_models::quant::Layout;
use ondol_models::screen::Screen;
#[cfg(feature = "std")]
use ondol_models::template::{ChatTemplate, Message, RenderInput};
use ondol_models::tokenizer::{EncodeOptions, Tokenizer};

/// Tokens of context where neither the options nor the model say less.
const DEFAULT_CONTEXT: usize = 4096;
/// Tokens of one prefill pass: enough to pay for unpacking each panel of
/// weights, few enough for the activations to stay in cache.
const DEFAULT_CHUNK: usize = 256;

/// Tokens of one decode pass beside the one that is certain. Without a clock
/// nothing tells whether they pay.
const DEFAULT_DRAFTS: usize = if cfg!(feature = "std") { 7 } else { 0 };

/// More threads than this are a slip of the hand; each costs scratch.
const MAX_THREADS: usize = 256;

/// The built-in model: about a million parameters, Korean and English.
static HELLO: &[u8] = include_bytes!("../../models/hello/hello.gguf");

/// How an engine and its sessions run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads, at most 256; `None` takes as many as there are big cores.
    pub threads: Option<usize>,
    /// Kernel level; `None` takes `ONDOL_KERNELS` or else the best the CPU can run.
    pub kernels: Option<Isa>,
    /// Tokens of context; `None` takes what the model was trained for, at most 4096.
    pub context: Option<usize>,
    /// What keys and values are kept as: f16, or q8_0 in little more than half the
    /// bytes.
    pub kv_type: KvType,
    /// Tokens of one prefill pass, at most.
    pub prefill_chunk: usize,
    /// Rows of logits that [`Session::score`] computes at a time. More rows are
    /// faster and cost `vocabulary * 4` bytes each.
    pub score_rows: usize,
    /// Tokens that are guessed ahead by prompt lookup and checked in one pass, at
    /// most; 0 is off. The tokens are the same with any number: guesses only save
    /// time, and are left out while they do not. Each costs a row of logits and
    /// attention's partial results.
    pub drafts: usize,
    /// Sessions of one engine that are decoded in one pass, at most 32
    /// ([`crate::Batch`]). Each but the first costs attention's partial results.
    pub batch: usize,
    /// How a screen of the head is used where the file has one; `None` leaves it
    /// alone, and every token reads the whole head.
    pub screen: Option<ScreenOptions>,
    /// Refuse an engine and its sessions where they take more bytes than this in all,
    /// the model's own included.
    pub memory_limit: Option<u64>,
    /// Where the threads run.
    pub affinity: Affinity,
    /// Tells the session how the device is doing, from any thread; one for all
    /// sessions of an app.
    pub governor: Governor,
    /// Runs parts of the model on a device. It must have been made for this model.
    #[cfg(feature = "delegate")]
    pub offload: Option<crate::delegate::Offload>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: None,
            kernels: None,
            context: None,
            kv_type: KvType::default(),
            prefill_chunk: DEFAULT_CHUNK,
            score_rows: 1,
            drafts: DEFAULT_DRAFTS,
            batch: 1,
            screen: Some(ScreenOptions::default()),
            memory_limit: None,
            affinity: Affinity::default(),
            governor: Governor::default(),
            #[cfg(feature = "delegate")]
            offload: None,
        }
    }
}

/// A loaded model. Cheap to clone; sessions made from it share the weights.
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Loaded>);

/// What a model and its sessions share.
pub(crate) struct Loaded {
    pub weights: Weights,
    pub graph: Graph,
    screen: Option<Screen>,
    pub tokenizer: Tokenizer,
    name: String,
    packed: bool,
    #[cfg(feature = "std")]
    template: ChatTemplate,
}

impl Loaded {
    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize {
        #[cfg(feature = "std")]
        let template = self.template.heap_bytes();
        #[cfg(not(feature = "std"))]
        let template = 0;
        let text = self.tokenizer.heap_bytes() + self.name.capacity() + template;
        size_of::<Loaded>() + self.weights.heap_bytes() + self.graph.heap_bytes() + text
    }
}

impl Model {
    /// Opens a GGUF file and maps it; nothing is copied. A split file is opened
    /// by the name of its first part (`-00001-of-0000N.gguf`), the others are
    /// expected beside it.
    ///
    /// The file must not be truncated by another program while the model lives:
    /// the system then ends the process on the next read.
    #[cfg(feature = "std")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Model> {
        let path = path.as_ref();
        let paths = files::parts(path);
        let mut shards = Vec::new();
        for path in &paths {
            let io = |source| Error::Io {
                path: path.clone(),
                source,
            };
            let file = files::regular::open_model(path).map_err(io)?;
            // SAFETY: the map is read-only; that no other program truncates or
            // rewrites the file meanwhile is a documented condition of `open`.
            let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
            shards.push(Bytes::Mapped(map));
        }
        Model::load(shards).map_err(|error| named(error, &paths))
    }

    /// A model from bytes on the heap.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Model> {
        Model::load(vec![Bytes::Owned(bytes)])
    }

    /// A model from bytes that live as long as the program: flash, or `include_bytes!`.
    pub fn from_static(bytes: &'static [u8]) -> Result<Model> {
        Model::load(vec![Bytes::Static(bytes)])
    }

    /// The built-in model `hello`: tiny, Korean and English, for tests and first steps.
    pub fn hello() -> Result<Model> {
        Model::from_static(HELLO)
    }

    /// The GGUF file of [`Model::hello`].
    pub fn hello_bytes() -> &'static [u8] {
        HELLO
    }

    fn load(shards: Vec<Bytes>) -> Result<Model> {
        Model::load_as(shards, arch::build)
    }

    /// A model whose graph is what `build` makes of the file.
    #[cfg(test)]
    pub(crate) fn with_graph(
        bytes: Vec<u8>,
        build: impl Fn(&Gguf) -> ondol_models::Result<Graph>,
    ) -> Result<Model> {
        Model::load_as(vec![Bytes::Owned(bytes)], build)
    }

    fn load_as(
        shards: Vec<Bytes>,
        build: impl Fn(&Gguf) -> ondol_models::Result<Graph>,
    ) -> Result<Model> {
        let views: Vec<&[u8]> = shards.iter().map(|s| &**s).collect();
        let gguf = Gguf::parse_shards(&views)?;
        let graph = build(&gguf)?;
        // A screen is code too: it is left out where code is dear.
        let screen = match SMALL {
            true => None,
            false => Screen::find(&gguf, &graph)?,
        };
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        if tokenizer.vocab_size() > graph.vocabulary {
            let reason = alloc::format!(
                "{} tokens in the vocabulary, {} rows in the head",
                tokenizer.vocab_size(),
                graph.vocabulary
            );
            return Err(ondol_models::Error::Tokenizer { reason }.into());
        }
        let name = gguf
            .opt_str("general.name")
            .ok()
            .flatten()
            .unwrap_or("unnamed")
            .to_string();
        #[cfg(feature = "std")]
        let template = ChatTemplate::from_gguf_or_fallback(&gguf)?;
        let places = Weights::places(&gguf);
        let packed = gguf.tensors().iter().any(|t| t.layout == Layout::Packed);
        drop(gguf);
        drop(views);
        let weights = Weights::new(shards, places);
        Ok(Model(Arc::new(Loaded {
            weights,
            graph,
            screen,
            tokenizer,
            name,
            packed,
            #[cfg(feature = "std")]
            template,
        })))
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    /// The graph of one forward pass.
    pub fn graph(&self) -> &Graph {
        &self.0.graph
    }

    /// `general.name`, or "unnamed".
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Size of the model's files in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.0.weights.file_bytes()
    }

    /// Whether rows of its matrices lie interleaved, as in a packed file.
    pub fn is_packed(&self) -> bool {
        self.0.packed
    }

    /// Whether its file has a screen of the head: see [`ScreenOptions`].
    pub fn has_screen(&self) -> bool {
        self.0.screen.is_some()
    }

    /// The template that [`Model::encode_chat`] uses. Where its origin is not the
    /// file, it is a guess from the vocabulary. It encodes conversations with tools
    /// and other variables, too.
    #[cfg(feature = "std")]
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.0.template
    }

    /// The token ids of a conversation, ready for the model's answer, by the file's
    /// template or the fallback that fits its vocabulary. Control tokens are those
    /// of the template: what a user wrote is text, whatever it spells. An earlier
    /// answer that carries its [`Message::ids`] is found again in a session's cache.
    ///
    /// # Errors
    /// Those of [`ChatTemplate::encode`].
    #[cfg(feature = "std")]
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let input = RenderInput::chat(messages);
        Ok(self.0.template.encode(&input, &self.0.tokenizer)?)
    }

    /// The conversation as text, to show it. It is no prompt: control tokens that
    /// a user spelled can't be told from the template's any more.
    ///
    /// # Errors
    /// Those of [`ChatTemplate::render`].
    #[cfg(feature = "std")]
    pub fn render_chat(&self, messages: &[Message]) -> Result<String> {
        Ok(self.0.template.render(&RenderInput::chat(messages))?)
    }

    /// What was wrong with the model's file where its meaning is plain, and what
    /// was done instead: for a program to tell its user once.
    pub fn warnings(&self) -> impl Iterator<Item = &Warning> {
        self.0.tokenizer.warnings().iter()
    }

    /// Token ids of raw text: control tokens that it spells are parsed, and BOS is
    /// added as the file says unless the text already starts with it. EOS is not,
    /// even if the file asks for it: the model is to continue the text. For what
    /// users wrote there is [`Model::encode_chat`].
    pub fn encode_prompt(&self, prompt: &str) -> Vec<u32> {
        let tokenizer = &self.0.tokenizer;
        let options = EncodeOptions {
            add_special: false,
            parse_special: true,
        };
        let mut ids = tokenizer.encode(prompt, options);
        if let Some(bos) = tokenizer.added_bos()
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        ids
    }

    /// The exact memory that a session with these options takes with its engine, before
    /// any of it is allocated, what the model itself holds, and what a further session of
    /// the engine takes.
    ///
    /// # Errors
    /// [`Error::UnsupportedIsa`], [`Error::UnsupportedKvType`],
    /// [`Error::PartKvBlock`].
    pub fn memory(&self, options: &Options) -> Result<Memory> {
        let kernels = kernels(options)?;
        let plan = self.plan(options, &kernels)?;
        Ok(self.memory_with(&plan, options))
    }

    fn memory_with(&self, plan: &Plan, options: &Options) -> Memory {
        let sizes = self.plan_options(options);
        let arena = plan.layout.memory();
        let kv_cache = plan.cache.bytes;
        let logits = Logits::bytes(sizes.session_rows, plan.logits.width);
        let ids = sizes.context.saturating_add(sizes.draft_rows);
        let ids = ids.saturating_mul(size_of::<u32>());
        let lists = ids.saturating_add(plan.cache.list_bytes());
        let further_session = kv_cache.saturating_add(logits).saturating_add(lists);
        let steps = plan.heap_bytes();
        let model = self.0.heap_bytes();
        let delegate = staging_bytes(options, sizes.chunk);
        let shared = plan
            .layout
            .total
            .saturating_add(steps)
            .saturating_add(model);
        let total = shared.saturating_add(further_session) as u64;
        Memory {
            weights_mapped: self.0.weights.mapped_bytes(),
            kv_cache: kv_cache as u64,
            logits: logits as u64,
            steps: steps.saturating_add(lists) as u64,
            model: model as u64,
            delegate,
            total: total.saturating_add(delegate),
            further_session: further_session as u64,
            ..arena
        }
    }

    /// An engine, which runs any number of sessions with these options.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] where the options' limit is less than [`Model::memory`]
    /// says, [`Error::OutOfMemory`] where the system has less;
    /// [`Error::UnsupportedIsa`];
    /// [`Error::UnsupportedKvType`]; [`Error::PartKvBlock`]; [`Error::BadMargin`];
    /// [`Error::MemoryPressure`] while the options' governor says so.
    pub fn engine(&self, options: &Options) -> Result<Engine> {
        let kernels = kernels(options)?;
        let screen = options.screen.filter(|_| !SMALL && self.has_screen());
        screen.iter().try_for_each(ScreenOptions::check)?;
        let plan = self.plan(options, &kernels)?;
        let sizes = self.plan_options(options);
        let memory = self.memory_with(&plan, options);
        Engine::new(self.clone(), kernels, plan, sizes, memory, options)
    }

    /// The only session of an engine of its own. Nothing is allocated after this.
    ///
    /// # Errors
    /// As for [`Model::engine`] and [`Engine::session`].
    pub fn session(&self, options: &Options) -> Result<Session> {
        self.engine(options)?.session()
    }

    fn plan(&self, options: &Options, kernels: &Kernels) -> Result<Plan> {
        self.check_kv_type(options.kv_type)?;
        let screen = options.screen.and(self.0.screen.as_ref());
        let screen = screen.filter(|_| !SMALL);
        let sizes = self.plan_options(options);
        let spans = self.spans(options)?;
        Ok(Plan::new(&self.0.graph, screen, kernels, sizes, spans))
    }

    /// The parts that run on the options' delegate.
    #[cfg(feature = "delegate")]
    fn spans<'o>(&self, options: &'o Options) -> Result<&'o [Span]> {
        match &options.offload {
            Some(offload) if !Arc::ptr_eq(&offload.0.model.0, &self.0) => Err(Error::OtherModel),
            Some(offload) => Ok(&offload.0.spans),
            None => Ok(&[]),
        }
    }

    /// None, without delegates.
    #[cfg(not(feature = "delegate"))]
    fn spans<'o>(&self, _options: &'o Options) -> Result<&'o [Span]> {
        Ok(&[])
    }

    /// Whether the model's keys and values can be kept so.
    fn check_kv_type(&self, kv_type: KvType) -> Result<()> {
        if !kv_type.in_build() {
            return Err(Error::UnsupportedKvType(kv_type));
        }
        let head_dims = self.0.graph.states().filter_map(|state| match state {
            State::KeysValues { head_dim, .. } => Some(head_dim),
            State::Conv { .. } | State::Recurrent { .. } => None,
        });
        let mut parts = head_dims.filter(|dim| !dim.is_multiple_of(kv_type.cell_len()));
        parts.next().map_or(Ok(()), |head_dim| {
            Err(Error::PartKvBlock { kv_type, head_dim })
        })
    }

    fn plan_options(&self, options: &Options) -> PlanOptions {
        let context = options
            .context
            .unwrap_or(self.0.graph.trained_context.min(DEFAULT_CONTEXT))
            .max(1);
        let chunk = options.prefill_chunk.clamp(1, context);
        // With more tokens activations are coarser: not what decoding one gives.
        let most = FINE_TOKENS.min(chunk);
        let can_step_back = self
            .0
            .graph
            .states()
            .all(|state| matches!(state, State::KeysValues { .. }));
        let drafts = if can_step_back { options.drafts } else { 0 };
        let draft_rows = drafts.min(most - 1) + 1;
        let decode_rows = options.batch.min(FINE_TOKENS).max(draft_rows);
        PlanOptions {
            context,
            chunk: chunk.max(decode_rows),
            logit_rows: options.score_rows.max(decode_rows),
            session_rows: options.score_rows.max(draft_rows),
            draft_rows,
            decode_rows,
            threads: options
                .threads
                .unwrap_or_else(default_threads)
                .clamp(1, MAX_THREADS),
            kv_type: options.kv_type,
        }
    }
}

fn kernels(options: &Options) -> Result<Kernels> {
    Ok(match options.kernels {
        Some(level) => Kernels::with_isa(level)?,
        #[cfg(feature = "std")]
        None => Kernels::from_env()?,
        #[cfg(not(feature = "std"))]
        None => Kernels::detect(),
    })
}

#[cfg(feature = "std")]
fn default_threads() -> usize {
    crate::cpu::topology::default_threads()
}

#[cfg(not(feature = "std"))]
fn default_threads() -> usize {
    1
}

/// Bytes between a session and its delegate, for passes of so many tokens.
#[cfg(feature = "delegate")]
fn staging_bytes(options: &Options, chunk: usize) -> u64 {
    let offload = options.offload.as_ref();
    offload.map_or(0, |offload| offload.0.session_bytes(chunk))
}

/// None, without delegates.
#[cfg(not(feature = "delegate"))]
fn staging_bytes(_options: &Options, _chunk: usize) -> u64 {
    0
}

/// An error of one part of a split model, by the path of that part.
#[cfg(feature = "std")]
fn named(error: Error, paths: &[std::path::PathBuf]) -> Error {
    match error {
        Error::Model(ondol_models::Error::Shard { index, source }) => match paths.get(index) {
            Some(path) => Error::Part {
                path: path.clone(),
                source: *source,
            },
            None => Error::Model(*source),
        },
        error => error,
    }
}
