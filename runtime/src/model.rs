//! A model: weights in place, graph, vocabulary, template.

#[cfg(feature = "std")]
use crate::Error;
use crate::Result;
#[cfg(feature = "std")]
use crate::files;
use crate::kernels::vector::simd::SMALL;
use crate::weights::{Bytes, Weights};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
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

/// A loaded model. Cheap to clone; sessions made from it share the weights.
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Loaded>);

/// What a model and its sessions share.
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
