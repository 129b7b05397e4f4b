//! A model: mapped weights, graph, tokenizer, chat template.

#[cfg(feature = "std")]
use crate::Error;
use crate::Result;
#[cfg(feature = "std")]
use crate::files;
use crate::weights::{FileBytes, Weights};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use ondol_kernels::SMALL;
use ondol_models::Warning;
use ondol_models::arch;
use ondol_models::gguf::Gguf;
use ondol_models::graph::Graph;
use ondol_models::quant::Layout;
use ondol_models::screen::Screen;
#[cfg(feature = "std")]
use ondol_models::template::{ChatTemplate, Message, RenderInput};
use ondol_models::tokenizer::{EncodeOptions, Tokenizer};

/// The built-in model: about a million parameters, Korean and English.
static HELLO: &[u8] = include_bytes!("../../models/hello/hello.gguf");

/// A loaded model. Clones are cheap and share the weights, and so do its engines and
/// sessions.
///
/// ```
/// use ondol::{Message, Model};
///
/// let model = Model::hello()?;
/// let prompt = model.encode_chat(&[Message::user("안녕하세요")])?;
/// assert!(prompt.len() < 40);
/// assert_eq!(model.graph().vocabulary, 1024);
/// # Ok::<(), ondol::Error>(())
/// ```
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Loaded>);

/// What all clones of a model share.
pub(crate) struct Loaded {
    pub weights: Weights,
    pub graph: Graph,
    pub screen: Option<Screen>,
    pub tokenizer: Tokenizer,
    name: String,
    packed: bool,
    #[cfg(feature = "std")]
    template: ChatTemplate,
}

impl Loaded {
    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
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
        Model::checked(path.as_ref()).inspect(Model::log_warnings)
    }

    /// As [`Model::open`], but logs no warnings: for files that are only checked.
    #[cfg(feature = "std")]
    pub(crate) fn checked(path: &std::path::Path) -> Result<Model> {
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
            shards.push(FileBytes::Mapped(map));
        }
        Model::load_as(shards, arch::build).map_err(|error| named(error, &paths))
    }

    /// Maps a part of an open file that holds a whole GGUF file: an asset in an app's
    /// package, or what a document picker hands over as a descriptor. `length` is in
    /// bytes; `None` is the rest of the file. The file may be closed afterwards. A split
    /// model can't be opened in this way.
    ///
    /// The condition of [`Model::open`] applies.
    ///
    /// # Errors
    /// [`Error::Model`]; [`Error::Io`], with the path `(open file)`, for a range that
    /// the file does not have or a file that can't be mapped.
    #[cfg(feature = "std")]
    pub fn from_file(file: &std::fs::File, offset: u64, length: Option<u64>) -> Result<Model> {
        let io = |source| Error::Io {
            path: "(open file)".into(),
            source,
        };
        let length = files::regular::part(file, offset, length).map_err(io)?;
        let mut part = memmap2::MmapOptions::new();
        // SAFETY: as in `open`.
        let map = unsafe { part.offset(offset).len(length).map(file) }.map_err(io)?;
        Model::load(vec![FileBytes::Mapped(map)])
    }

    /// A model from the bytes of a GGUF file on the heap.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Model> {
        Model::load(vec![FileBytes::Owned(bytes)])
    }

    /// A model from the bytes of a GGUF file that stay in place as long as the program
    /// runs: flash, or `include_bytes!`.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn from_static(bytes: &'static [u8]) -> Result<Model> {
        Model::load(vec![FileBytes::Static(bytes)])
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

    fn load(shards: Vec<FileBytes>) -> Result<Model> {
        let loaded = Model::load_as(shards, arch::build);
        #[cfg(feature = "std")]
        loaded.iter().for_each(Model::log_warnings);
        loaded
    }

    #[cfg(feature = "std")]
    fn log_warnings(&self) {
        for warning in self.warnings() {
            log::warn!("model {:?}: {warning}", self.name());
        }
    }

    /// A model whose graph `build` makes from the file.
    #[cfg(test)]
    pub(crate) fn with_graph(
        bytes: Vec<u8>,
        build: impl Fn(&Gguf) -> ondol_models::Result<Graph>,
    ) -> Result<Model> {
        Model::load_as(vec![FileBytes::Owned(bytes)], build)
    }

    fn load_as(
        shards: Vec<FileBytes>,
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
        let weights = Weights::new(shards, places, &graph);
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

    /// Whether its file has a screen of the output head: see
    /// [`ScreenOptions`](crate::ScreenOptions).
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
