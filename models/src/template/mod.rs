//! Chat templates: messages to the tokens of a prompt.
//!
//! [`ChatTemplate::encode`] makes prompts for a model. Control tokens in its result
//! come only from the template; text of the caller that spells one stays text.
//! [`ChatTemplate::render`] returns the text, for display only: tokenizing it would let
//! a user's text become control tokens, and so pose as the system.
//!
//! A file carries its template as Jinja source (`tokenizer.chat_template`),
//! written for the environment that Hugging Face's `transformers` sets up:
//! `trim_blocks`, `lstrip_blocks`, `break` and `continue`, Python's string
//! methods, `raise_exception`, `strftime_now` and its own `tojson`. The same
//! environment is built here on minijinja. A file without a template gets one
//! that fits its vocabulary ([`ChatTemplate::from_gguf_or_fallback`]).
//!
//! The template is part of the file and so is hostile input. It runs on its own stack,
//! with limits on source, steps, recursion, values and output; the submodule `guard`
//! lists them.
//!
//! | file | job |
//! | --- | --- |
//! | `message` | the input: messages and tool calls |
//! | `variables` | messages, tools and other variables of a template |
//! | `forms` | detects the form in which a template accepts messages, and what it leaves out |
//! | `marks` | keeps control tokens out of the caller's text |
//! | `prompt` | the rendered conversation, and its tokens |
//! | `engine` | the environment, and one bounded run of a template |
//! | `source` | rewrites the source, tag by tag |
//! | `blocks` | the blocks that are open, and the jumps out of them |
//! | `tokens`, `literal`, `expression` | reads jinja2's expressions, writes minijinja's |
//! | `guard` | limits, and the checks that keep values within them |
//! | `python` | `str`, `repr`, order and other properties of values in Python |
//! | `objects` | ranges, groups, bound methods |
//! | `operators`, `methods`, `filters`, `checks`, `globals` | operations of templates, with Python's meaning, within the limits |
//! | `each` | `map`, `select` and similar filters |
//! | `arguments`, `format` | shared by these: arguments; `%` and `format` |
//! | `json` | `tojson` as `transformers` defines it |
//! | `clock` | `strftime_now` |
//! | `fallback` | templates for files that have none |

mod arguments;
mod blocks;
mod checks;
mod clock;
mod each;
mod engine;
mod expression;
mod fallback;
mod filters;
mod format;
mod forms;
mod globals;
mod guard;
mod json;
mod literal;
mod marks;
mod message;
mod methods;
mod objects;
mod operators;
mod prompt;
mod python;
mod source;
#[cfg(test)]
mod tests;
mod tokens;
mod variables;

use crate::Result;
use crate::gguf::Gguf;
use crate::tokenizer::Tokenizer;
use forms::{Source, Use};
pub use message::{Content, FunctionCall, Message, ToolCall};
use prompt::Prompt;

/// The key of the template, and the prefix of the keys of named templates.
const TEMPLATE_KEY: &str = "tokenizer.chat_template";
/// The named template that replaces a missing unnamed one.
const DEFAULT: &str = "default";
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

/// Turns messages into the tokens of a prompt.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    origin: TemplateOrigin,
    default: Source,
    tool_use: Option<Source>,
    bos: String,
    eos: String,
}

/// The input of a template.
#[derive(Debug, Clone, Default)]
pub struct RenderInput<'a> {
    /// The conversation, oldest first.
    pub messages: &'a [Message],
    /// Tools that the model may call, each a JSON object in OpenAI's form.
    pub tools: &'a [serde_json::Value],
    /// Whether the prompt ends with the header of the model's answer.
    pub add_generation_prompt: bool,
    /// Text of the BOS token; `None` uses the file's.
    pub bos: Option<&'a str>,
    /// Text of the EOS token; `None` uses the file's.
    pub eos: Option<&'a str>,
    /// The time for `strftime_now`: seconds since 1970 plus the offset of the user's
    /// time zone. `None` uses the system's clock and zone.
    pub local_seconds: Option<i64>,
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
}

impl ChatTemplate {
    /// A template from its source, without a file.
    pub fn new(source: impl Into<String>) -> Self {
        ChatTemplate {
            origin: TemplateOrigin::File,
            default: Source::new(source),
            tool_use: None,
            bos: String::new(),
            eos: String::new(),
        }
    }

    /// The file's own template; `None` if it has none or a blank one. The source is
    /// compiled when it is rendered, so that a broken template does not prevent
    /// completing plain text.
    ///
    /// # Errors
    /// [`crate::Error::BadValue`] where a key does not hold text.
    pub fn from_gguf(gguf: &Gguf) -> Result<Option<ChatTemplate>> {
        let default = match template(gguf, TEMPLATE_KEY)? {
            None => named(gguf, DEFAULT)?,
            some => some,
        };
        match default {
            Some(source) => ChatTemplate::of_file(gguf, TemplateOrigin::File, source).map(Some),
            None => Ok(None),
        }
    }

    fn of_file(gguf: &Gguf, origin: TemplateOrigin, source: &str) -> Result<ChatTemplate> {
        Ok(ChatTemplate {
            origin,
            default: Source::new(source),
            tool_use: named(gguf, TOOL_USE)?.map(Source::new),
            bos: token_text(gguf, "tokenizer.ggml.bos_token_id")?,
            eos: token_text(gguf, "tokenizer.ggml.eos_token_id")?,
        })
    }

    /// The file's own template, or else one that fits its vocabulary.
    ///
    /// It is the template of the first family in this list whose control tokens are all
    /// in the vocabulary:
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
    /// If there is none, the model is assumed to be a base model and gets the plain
    /// format. A single user message is rendered unchanged, so that the model continues
    /// it. Otherwise a system message is a separate paragraph, each further message a
    /// line `User: …` or `Assistant: …`, and the prompt ends with `Assistant:`.
    ///
    /// # Errors
    /// As for [`ChatTemplate::from_gguf`].
    pub fn from_gguf_or_fallback(gguf: &Gguf) -> Result<ChatTemplate> {
        if let Some(template) = ChatTemplate::from_gguf(gguf)? {
            return Ok(template);
        }
        let (origin, source) = fallback::guess(gguf)?;
        ChatTemplate::of_file(gguf, origin, source)
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let tool_use = self.tool_use.as_ref().map_or(0, |t| t.text.capacity());
        self.default.text.capacity() + tool_use + self.bos.capacity() + self.eos.capacity()
    }

    /// Where the template comes from. If it is not the file's, it is a guess, and an
    /// app should tell its user.
    pub fn origin(&self) -> TemplateOrigin {
        self.origin
    }

    /// The Jinja source.
    pub fn source(&self) -> &str {
        &self.default.text
    }

    /// The token ids of the prompt. BOS is added if the file asks for it and the
    /// template does not write it. With tools, the file's template `tool_use` is used
    /// if there is one.
    ///
    /// Control tokens are recognized only in the template's own text; user-defined
    /// tokens, such as `<think>` in many files, are recognized everywhere. A role
    /// counts as the template's own text if the template has it between quotes, or if
    /// it is `system`, `user`, `assistant`, `tool` or `developer`.
    ///
    /// # Errors
    /// [`crate::Error::Template`] with the line where the template fails to compile,
    /// raises an exception, or reaches a limit; [`crate::Error::LeftOut`] if it leaves
    /// out a system message, or the last user message or a later one.
    pub fn encode(&self, input: &RenderInput, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        let template = self.used_for(input);
        let messages = template.fitted()?;
        let prompt = Prompt::new(&template, &messages, tokenizer)?;
        template.check(&messages, &prompt.text)?;
        Ok(prompt.encode(tokenizer))
    }

    /// The text of the prompt, for display. It no longer shows which parts are the
    /// caller's and which are the template's.
    ///
    /// # Errors
    /// As for [`ChatTemplate::encode`].
    pub fn render(&self, input: &RenderInput) -> Result<String> {
        let template = self.used_for(input);
        let messages = template.fitted()?;
        let text = template.text(&messages)?;
        template.check(&messages, &text)?;
        Ok(text)
    }

    fn used_for<'a>(&'a self, input: &'a RenderInput<'a>) -> Use<'a> {
        let source = match &self.tool_use {
            Some(tool_use) if !input.tools.is_empty() => tool_use,
            _ => &self.default,
        };
        Use {
            source,
            input,
            bos: input.bos.unwrap_or(&self.bos),
            eos: input.eos.unwrap_or(&self.eos),
        }
    }
}

/// A template of the file; `None` if it is blank.
fn template<'g>(gguf: &Gguf<'g>, key: &str) -> Result<Option<&'g str>> {
    let source = gguf.opt_str(key)?;
    Ok(source.filter(|source| !source.trim().is_empty()))
}

/// The file's template of this name.
fn named<'g>(gguf: &Gguf<'g>, name: &str) -> Result<Option<&'g str>> {
    template(gguf, &format!("{TEMPLATE_KEY}.{name}"))
}

/// The text of the token whose id `key` holds; empty where the file names none. The
/// tokenizer reports invalid ids.
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
