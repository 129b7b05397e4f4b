//! Chat templates: messages to the text of a prompt.
//!
//! A file carries its template as Jinja source (`tokenizer.chat_template`),
//! written for the environment that Hugging Face's `transformers` sets up:
//! `trim_blocks`, `lstrip_blocks`, `break` and `continue`, Python's string
//! methods, `raise_exception`, `strftime_now` and its own `tojson`. The same
//! environment is built here on minijinja. A file without a template gets one
//! that fits its vocabulary ([`ChatTemplate::from_gguf_or_fallback`]).
//!
//! The template is part of the file and so is hostile. It runs on a stack of
//! its own with limits on source, steps, recursion, values and output; the
//! submodule `guard` says which.
//!
//! | file | job |
//! | --- | --- |
//! | `message` | what goes in: messages and tool calls |
//! | `engine` | the environment, and one bounded run of a template |
//! | `source` | rewrites the source: guards before operators, `generation` tags |
//! | `guard` | limits, and the checks that keep values within them |
//! | `methods` | Python's methods of strings, lists and dicts, within the limits |
//! | `json` | `tojson` as `transformers` defines it |
//! | `clock` | `strftime_now` |
//! | `fallback` | templates for files that have none |

mod clock;
mod engine;
mod fallback;
mod guard;
mod json;
mod message;
mod methods;
mod source;
#[cfg(test)]
mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::gguf::Gguf;
pub use message::{FunctionCall, Message, ToolCall};

/// The key of the template, and the prefix of the keys of named ones.
const TEMPLATE_KEY: &str = "tokenizer.chat_template";
/// The named template that is used when the caller offers tools.
const TOOL_USE: &str = "tool_use";

/// Where a [`ChatTemplate`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateOrigin {
    /// The file's own template.
    File,
    /// The file has none; its vocabulary has the control tokens of this family
    /// ("chatml", "llama3", "gemma", "exaone", "exaone4", "phi3", "mistral").
    Guess(&'static str),
    /// The file has none and no known control tokens: the plain format.
    Plain,
}

/// Turns messages into the text of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatTemplate {
    origin: TemplateOrigin,
    default: String,
    tool_use: Option<String>,
    bos: String,
    eos: String,
}

/// What a template is rendered with.
#[derive(Debug, Clone, Default)]
pub struct RenderInput<'a> {
    /// The conversation, oldest first.
    pub messages: &'a [Message],
    /// Tools that the model may call, each a JSON object in OpenAI's form.
    pub tools: &'a [serde_json::Value],
    /// End with the header of the answer that the model is to write.
    pub add_generation_prompt: bool,
    /// Text of the BOS token; `None` takes the file's.
    pub bos: Option<&'a str>,
    /// Text of the EOS token; `None` takes the file's.
    pub eos: Option<&'a str>,
    /// The time for `strftime_now`: seconds since 1970 plus the offset of the
    /// user's time zone. `None` takes the system's clock in UTC.
    pub now: Option<i64>,
    /// Other variables that templates of some families read, for example
    /// `enable_thinking`. They can't replace the ones above.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl<'a> RenderInput<'a> {
    /// A conversation that the model is to answer, without tools.
    pub fn chat(messages: &'a [Message]) -> Self {
        RenderInput {
            messages,
            add_generation_prompt: true,
            ..RenderInput::default()
        }
    }

    fn now(&self) -> i64 {
        self.now.unwrap_or_else(|| {
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
    }
}

impl ChatTemplate {
    /// A template from its source, for text that no file holds.
    pub fn new(source: impl Into<String>) -> Self {
        ChatTemplate {
            origin: TemplateOrigin::File,
            default: source.into(),
            tool_use: None,
            bos: String::new(),
            eos: String::new(),
        }
    }

    /// The file's own template, or `None` where it has none. The source is
    /// compiled when it is rendered, so that a broken template does not keep a
    /// model from completing plain text.
    ///
    /// # Errors
    /// [`crate::Error::BadValue`] where a key does not hold text.
    pub fn from_gguf(gguf: &Gguf) -> Result<Option<ChatTemplate>> {
        let Some(source) = gguf.opt_str(TEMPLATE_KEY)? else {
            return Ok(None);
        };
        let tool_use = gguf.opt_str(&format!("{TEMPLATE_KEY}.{TOOL_USE}"))?;
        Ok(Some(ChatTemplate {
            origin: TemplateOrigin::File,
            default: source.to_owned(),
            tool_use: tool_use.map(str::to_owned),
            bos: token_text(gguf, "tokenizer.ggml.bos_token_id")?,
            eos: token_text(gguf, "tokenizer.ggml.eos_token_id")?,
        }))
    }

    /// The file's own template, or else one that fits its vocabulary.
    ///
    /// The first family whose control tokens are all in the vocabulary is taken:
    ///
    /// | control tokens | family |
    /// | --- | --- |
    /// | `<\|im_start\|>`, `<\|im_end\|>` | chatml |
    /// | `<\|start_header_id\|>`, `<\|eot_id\|>` | llama3 |
    /// | `<start_of_turn>`, `<end_of_turn>` | gemma |
    /// | `[\|user\|]`, `[\|endofturn\|]` | exaone4 where that is the architecture, else exaone |
    /// | `<\|user\|>`, `<\|assistant\|>`, `<\|end\|>` | phi3 |
    /// | `[INST]`, `[/INST]` | mistral |
    ///
    /// With none of them the model is taken for a base model and gets the plain
    /// format. One user message alone is rendered as it is, so that the model
    /// continues it. Otherwise a system message is a paragraph of its own, each
    /// further message a line `User: …` or `Assistant: …`, and the prompt ends
    /// with `Assistant:`.
    ///
    /// # Errors
    /// As for [`ChatTemplate::from_gguf`].
    pub fn from_gguf_or_fallback(gguf: &Gguf) -> Result<ChatTemplate> {
        if let Some(template) = ChatTemplate::from_gguf(gguf)? {
            return Ok(template);
        }
        let (origin, source) = fallback::guess(gguf)?;
        Ok(ChatTemplate {
            origin,
            default: source.to_owned(),
            tool_use: None,
            bos: token_text(gguf, "tokenizer.ggml.bos_token_id")?,
            eos: token_text(gguf, "tokenizer.ggml.eos_token_id")?,
        })
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let tool_use = self.tool_use.as_ref().map_or(0, String::capacity);
        self.default.capacity() + tool_use + self.bos.capacity() + self.eos.capacity()
    }

    /// Where the template comes from.
    pub fn origin(&self) -> TemplateOrigin {
        self.origin
    }

    /// The Jinja source.
    pub fn source(&self) -> &str {
        &self.default
    }

    /// Renders the prompt. With tools, a file's template named `tool_use` is
    /// taken where there is one.
    ///
    /// # Errors
    /// [`crate::Error::Template`] with the line where the template fails to compile,
    /// raises an exception, or reaches a limit.
    pub fn render(&self, input: &RenderInput) -> Result<String> {
        let source = match &self.tool_use {
            Some(tool_use) if !input.tools.is_empty() => tool_use,
            _ => &self.default,
        };
        let bos = input.bos.unwrap_or(&self.bos);
        let eos = input.eos.unwrap_or(&self.eos);
        engine::render(source, input, bos, eos)
    }
}

/// The text of the token whose id `key` holds; empty where the file names none.
/// The tokenizer tells what is wrong with an id.
fn token_text(gguf: &Gguf, key: &str) -> Result<String> {
    let id = gguf
        .get(key)
        .and_then(|id| usize::try_from(id.as_u64()?).ok());
    let tokens = gguf.opt_array("tokenizer.ggml.tokens")?;
    let text = tokens
        .zip(id)
        .and_then(|(tokens, id)| tokens.texts().nth(id));
    Ok(text.map_or_else(String::new, |text| {
        String::from_utf8_lossy(text).into_owned()
    }))
}
