//! The input of a chat template: messages and tool calls.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One message of a conversation, in the form of OpenAI's chat API. A template gets the
/// fields unchanged; fields that are empty by default are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Fields")]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or another role that the
    /// template supports.
    pub role: String,
    /// The content.
    #[serde(skip_serializing_if = "Content::is_absent")]
    pub content: Content,
    /// Tools that the assistant calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Name of the tool that answers, or of the speaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// [`ToolCall::id`] of the call that this message answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The model's reasoning before its answer. JSON and templates call it
    /// `reasoning_content`, `reasoning` or `thinking`; a template gets it under the
    /// name that it reads.
    #[serde(rename = "reasoning_content", skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Further fields that templates of some families read, such as `tool_plan`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    /// The token ids of an assistant's message, as the model generated them. The prompt
    /// has them in place of the text's tokens, so that a session finds its answer in
    /// its cache. They are ignored if their text neither ends nor begins with the content.
    /// JSON and templates do not contain them.
    #[serde(skip)]
    pub ids: Vec<u32>,
}

/// The content of a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// The message has no field `content`.
    #[default]
    #[serde(skip)]
    Absent,
    /// `null`, where a message only calls tools.
    Null,
    /// Text.
    Text(String),
    /// A list of parts, each an object such as `{"type": "text", "text": "…"}`.
    Parts(Vec<Value>),
}

/// A call of a tool by the assistant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id of the call, to which the answer refers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The kind of tool; so far always `function`.
    #[serde(rename = "type", default = "function_kind")]
    pub kind: String,
    /// The function and its arguments.
    pub function: FunctionCall,
}

/// A function and its arguments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// Arguments: an object, or JSON in a string as in OpenAI's API. A template gets
    /// the form given here, unless it accepts only the other one.
    #[serde(default)]
    pub arguments: Value,
}

impl Message {
    /// A message with this role and content.
    pub fn new(role: impl Into<String>, content: impl Into<Content>) -> Self {
        Message {
            role: role.into(),
            content: content.into(),
            ..Message::default()
        }
    }

    /// Instructions for the whole conversation.
    pub fn system(content: impl Into<Content>) -> Self {
        Message::new("system", content)
    }

    /// A message of the user.
    pub fn user(content: impl Into<Content>) -> Self {
        Message::new("user", content)
    }

    /// An answer of the model.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Message::new("assistant", content)
    }

    /// The message with the tokens that the model generated for it; an end token
    /// may be among them.
    #[must_use]
    pub fn with_ids(self, ids: impl Into<Vec<u32>>) -> Self {
        Message {
            ids: ids.into(),
            ..self
        }
    }
}

impl Content {
    /// Whether the message has no such field.
    pub fn is_absent(&self) -> bool {
        matches!(self, Content::Absent)
    }

    /// The text, with text parts on separate lines; `None` if there is no text, or a
    /// part is something else.
    pub fn text(&self) -> Option<String> {
        match self {
            Content::Absent | Content::Null => None,
            Content::Text(text) => Some(text.clone()),
            Content::Parts(parts) => {
                let texts: Option<Vec<&str>> = parts.iter().map(part_text).collect();
                texts.map(|texts| texts.join("\n"))
            }
        }
    }
}

/// The text of a part, if it is one of text.
pub(super) fn part_text(part: &Value) -> Option<&str> {
    let kind = part.get("type").and_then(Value::as_str);
    part.get("text")
        .and_then(Value::as_str)
        .filter(|_| matches!(kind, None | Some("text")))
}

impl From<String> for Content {
    fn from(text: String) -> Content {
        Content::Text(text)
    }
}

impl From<&String> for Content {
    fn from(text: &String) -> Content {
        Content::Text(text.clone())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Content {
        Content::Text(text.to_owned())
    }
}

impl From<Vec<Value>> for Content {
    fn from(parts: Vec<Value>) -> Content {
        Content::Parts(parts)
    }
}

impl ToolCall {
    /// A call of the function `name`.
    pub fn new(name: impl Into<String>, arguments: Value) -> Self {
        let function = FunctionCall {
            name: name.into(),
            arguments,
        };
        ToolCall {
            id: None,
            kind: function_kind(),
            function,
        }
    }
}

fn function_kind() -> String {
    "function".to_owned()
}

/// A message as JSON spells it: servers give reasoning under several names, some under
/// two at once.
#[derive(Deserialize)]
struct Fields {
    role: String,
    #[serde(default)]
    content: Content,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
    name: Option<String>,
    tool_call_id: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    thinking: Option<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl From<Fields> for Message {
    fn from(fields: Fields) -> Message {
        let reasoning = fields.reasoning_content.or(fields.reasoning);
        Message {
            role: fields.role,
            content: fields.content,
            tool_calls: fields.tool_calls.unwrap_or_default(),
            name: fields.name,
            tool_call_id: fields.tool_call_id,
            reasoning: reasoning.or(fields.thinking),
            extra: fields.extra,
            ids: Vec::new(),
        }
    }
}
