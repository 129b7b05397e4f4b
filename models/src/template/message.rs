use serde::{Deserialize, Deserializer, Serialize};

/// One message of a conversation, in the form of OpenAI's chat API.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or what the template knows besides.
    pub role: String,
    /// What is said; empty where a message only calls tools (JSON may say `null`).
    #[serde(default, deserialize_with = "text_or_null")]
    pub content: String,
    /// Tools that the assistant calls.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "calls_or_null"
    )]
    pub tool_calls: Vec<ToolCall>,
    /// Name of the tool that answers, or of the speaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// [`ToolCall::id`] of the call that this message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// What the model thought before its answer. Templates call it `reasoning_content`.
    #[serde(
        default,
        rename = "reasoning_content",
        alias = "reasoning",
        skip_serializing_if = "Option::is_none"
    )]
    pub reasoning: Option<String>,
}

/// A call of a tool by the assistant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Names the call, so that the answer can refer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The kind of tool; so far always `function`.
    #[serde(rename = "type", default = "function_kind")]
    pub kind: String,
    /// What is called.
    pub function: FunctionCall,
}

/// A function and what it is called with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// Arguments by name. Templates expect an object; OpenAI's API sends it as
    /// JSON in a string, which is parsed.
    #[serde(default, deserialize_with = "parsed_arguments")]
    pub arguments: serde_json::Value,
}

impl Message {
    /// A message with this role and content.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message {
            role: role.into(),
            content: content.into(),
            ..Message::default()
        }
    }

    /// Instructions for the whole conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Message::new("system", content)
    }

    /// What the user says.
    pub fn user(content: impl Into<String>) -> Self {
        Message::new("user", content)
    }

    /// What the model answered.
    pub fn assistant(content: impl Into<String>) -> Self {
        Message::new("assistant", content)
    }
}

impl ToolCall {
    /// A call of the function `name`.
    pub fn new(name: impl Into<String>, arguments: serde_json::Value) -> Self {
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

fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn calls_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ToolCall>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn parsed_arguments<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<serde_json::Value, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let parsed = value
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok());
    Ok(parsed.unwrap_or(value))
}
