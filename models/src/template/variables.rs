//! The variables of a template, as JSON.

use serde_json::{Map, Value};

use super::{Message, RenderInput};
use crate::{Error, Result};

/// Variables by name.
pub(super) type Variables = Map<String, Value>;

/// The variables whose text comes from the model's file, not from the caller.
pub(super) const OF_THE_FILE: [&str; 2] = ["bos_token", "eos_token"];

/// The names under which templates read a message's reasoning.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The variables for the template `source`, with these messages in place of the input's.
pub(super) fn variables(
    source: &str,
    input: &RenderInput,
    messages: &[Message],
    [bos, eos]: [&str; 2],
) -> Result<Variables> {
    let mut messages = serde_json::to_value(messages).map_err(|e| Error::Template {
        reason: e.to_string(),
    })?;
    let reasoning = REASONING.into_iter().find(|name| reads(source, name));
    if let Some(name) = reasoning.filter(|name| *name != REASONING[0]) {
        let fields = messages.as_array_mut().into_iter().flatten();
        for fields in fields.filter_map(Value::as_object_mut) {
            if let Some(text) = fields.remove(REASONING[0]) {
                fields.insert(name.to_owned(), text);
            }
        }
    }
    let tools = match input.tools {
        [] => Value::Null,
        tools => Value::from(tools.to_vec()),
    };
    let mut variables = input.extra.clone();
    variables.extend([
        ("messages".to_owned(), messages),
        ("tools".to_owned(), tools),
        ("documents".to_owned(), Value::Null),
        (
            "add_generation_prompt".to_owned(),
            input.add_generation_prompt.into(),
        ),
        (OF_THE_FILE[0].to_owned(), bos.into()),
        (OF_THE_FILE[1].to_owned(), eos.into()),
    ]);
    Ok(variables)
}

/// Whether a template reads a field `name` of any value.
fn reads(source: &str, name: &str) -> bool {
    quotes(source, name)
        || source.match_indices(&format!(".{name}")).any(|(at, dot)| {
            let next = source[at + dot.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
}

/// Whether a template has `word` between quotes.
pub(super) fn quotes(source: &str, word: &str) -> bool {
    source.contains(&format!("'{word}'")) || source.contains(&format!("\"{word}\""))
}
