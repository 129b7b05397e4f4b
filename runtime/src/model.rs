//! A model: mapped weights, graph, tokenizer, chat template.

use crate::cpu::logits::Logits;
use crate::cpu::pool::Affinity;
use crate::governor::Governor;
use crate::kernels::attention::KvType;
use crate::kernels::vector::simd::SMALL;
use crate::kernels::{FINE_TOKENS, Kernels, Level};
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

/// The default context in tokens, if the model was trained for as many.
const DEFAULT_CONTEXT: usize = 4096;
/// The default chunk, in tokens: large enough that unpacking each panel of weights pays
/// off, small enough that the activations stay in cache.
const DEFAULT_CHUNK: usize = 256;

/// Drafts of one decode pass. Without a clock their benefit can't be measured.
const DEFAULT_DRAFTS: usize = if cfg!(feature = "std") { 7 } else { 0 };

/// The most threads: each needs scratch, and a larger number is probably a mistake.
const MAX_THREADS: usize = 256;

/// The built-in model: about a million parameters, Korean and English.
static HELLO: &[u8] = include_bytes!("../../models/hello/hello.gguf");

/// How an engine and its sessions run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads, the caller's included; at most 256. `None` uses one for each big core.
    pub threads: Option<usize>,
    /// The kernels; `None` uses those that `ONDOL_KERNELS` names, or else the fastest
    /// that the CPU can run.
    pub kernels: Option<Level>,
    /// Context in tokens; `None` uses the context that the model was trained for, at
    /// most 4096.
    pub context: Option<usize>,
    /// The type of the KV cache: f16, or q8_0, which takes 34 bytes where f16 takes 64.
    pub kv_type: KvType,
    /// The largest number of tokens in one prefill pass; 256 by default.
    pub prefill_chunk: usize,
    /// Rows of logits that [`Session::score`] computes at a time. More rows are faster;
    /// each takes `vocabulary * 4` bytes.
    pub score_rows: usize,
    /// The largest number of drafts in one decode pass (speculative decoding by prompt
    /// lookup); 0 switches drafts off. The generated tokens are the same with any
    /// number: drafts only save time, and are left out while they do not. Each takes
    /// memory for a row of logits and for attention's partial results.
    pub drafts: usize,
    /// The largest number of sessions of one engine that a [`crate::Batch`] decodes in
    /// one pass; at most 32. Each beyond the first takes memory for attention's partial
    /// results.
    pub batch: usize,
    /// How the screen of the output head is used if the file has one. `None` does not
    /// use it: every token then reads the whole output head.
    pub screen: Option<ScreenOptions>,
    /// The most bytes that an engine, its sessions and the model's own heap may take
    /// together ([`Memory::total`]); more is refused with [`Error::DoesNotFit`]. `None`
    /// sets no limit.
    pub memory_limit: Option<u64>,
    /// Where the threads run.
    pub affinity: Affinity,
    /// Through it the app reports thermal state and memory pressure, and pauses
    /// sessions. Use one for all sessions of an app.
    pub governor: Governor,
    /// Runs parts of the model on a delegate's device. It must have been made for this
    /// model.
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

/// A loaded model. Clones are cheap and share the weights, and so do its engines and
/// sessions.
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Loaded>);

/// What all clones of a model share.
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
    /// Opens a GGUF file and maps it; nothing is copied. For a split model give the
    /// first part (`-00001-of-0000N.gguf`); the others must be in the same folder.
    ///
    /// No other program may truncate or rewrite the file while the model exists: after
    /// a truncation the system ends the process on the next read.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Model`] for a file that can't be used, and [`Error::Part`]
    /// for such a part of a split model.
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

    /// A model from the bytes of a GGUF file on the heap.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Model> {
        Model::load(vec![Bytes::Owned(bytes)])
    }

    /// A model from the bytes of a GGUF file that stay in place as long as the program
    /// runs: flash, or `include_bytes!`.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn from_static(bytes: &'static [u8]) -> Result<Model> {
        Model::load(vec![Bytes::Static(bytes)])
    }

    /// The built-in model `hello`: about a million weights, Korean and English, for
    /// tests and first steps.
    ///
    /// # Errors
    /// [`Error::Model`] if the build leaves out what `hello` needs.
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

    /// A model whose graph `build` makes from the file.
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
        // Builds without `std` leave the screen out to save code.
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

    /// The tokenizer, with the vocabulary.
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

    /// Whether the rows of its matrices are interleaved: the file is a packed copy.
    pub fn is_packed(&self) -> bool {
        self.0.packed
    }

    /// Whether its file has a screen of the output head: see [`ScreenOptions`].
    pub fn has_screen(&self) -> bool {
        self.0.screen.is_some()
    }

    /// The template that [`Model::encode_chat`] uses. Its origin says whether it is
    /// from the file or a guess from the vocabulary. It can also encode conversations
    /// with tools and other variables.
    #[cfg(feature = "std")]
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.0.template
    }

    /// The token ids of a conversation as a prompt for the model's next answer, by the
    /// file's template or else a fallback that fits the vocabulary. Only the template
    /// writes control tokens: text of a user stays text, even if it spells a control
    /// token. An earlier answer that has its [`Message::ids`] is found in a session's
    /// cache and not computed again.
    ///
    /// # Errors
    /// Those of [`ChatTemplate::encode`].
    #[cfg(feature = "std")]
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let input = RenderInput::chat(messages);
        Ok(self.0.template.encode(&input, &self.0.tokenizer)?)
    }

    /// The conversation as text, for display. Do not tokenize it as a prompt: the text
    /// no longer shows which control tokens are the template's and which ones a user
    /// wrote.
    ///
    /// # Errors
    /// Those of [`ChatTemplate::render`].
    #[cfg(feature = "std")]
    pub fn render_chat(&self, messages: &[Message]) -> Result<String> {
        Ok(self.0.template.render(&RenderInput::chat(messages))?)
    }

    /// Faults of the model's file that were repaired when it was loaded, and how. A
    /// program should show them to its user once.
    pub fn warnings(&self) -> impl Iterator<Item = &Warning> {
        self.0.tokenizer.warnings().iter()
    }

    /// Token ids of raw text. Control tokens that the text spells are parsed. BOS is
    /// added if the file asks for it and the text does not start with it. EOS is never
    /// added, because the model is to continue the text. For text from users use
    /// [`Model::encode_chat`].
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

    /// The exact bytes of an engine with one session and these options, of the model
    /// itself, and of each further session. Nothing is allocated.
    ///
    /// # Errors
    /// [`Error::UnsupportedLevel`], [`Error::UnsupportedKvType`],
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

    /// An engine with these options, for any number of sessions.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] if [`Model::memory`] exceeds the options' limit,
    /// [`Error::OutOfMemory`] if the system does not provide the memory;
    /// [`Error::UnsupportedLevel`]; [`Error::UnsupportedKvType`];
    /// [`Error::PartKvBlock`]; [`Error::BadMargin`]; [`Error::MemoryPressure`] while
    /// the options' governor reports critical memory pressure.
    pub fn engine(&self, options: &Options) -> Result<Engine> {
        let kernels = kernels(options)?;
        let screen = options.screen.filter(|_| !SMALL && self.has_screen());
        screen.iter().try_for_each(ScreenOptions::check)?;
        let plan = self.plan(options, &kernels)?;
        let sizes = self.plan_options(options);
        let memory = self.memory_with(&plan, options);
        Engine::new(self.clone(), kernels, plan, sizes, memory, options)
    }

    /// An engine with one session. Prefill and decode allocate nothing after this.
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

    /// The spans that run on the options' delegate.
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

    /// Whether the model's keys and values can be stored in this type.
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
        // With more rows activations have 8 bits, and a row's result would differ from
        // decode.
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
        Some(level) => Kernels::with_level(level)?,
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

/// Bytes of the buffers between an engine and its delegate, for passes of `chunk`
/// tokens.
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

/// Adds the path of the part to an error of a split model.
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
