//! Detects the form in which a template accepts messages.
//!
//! Some templates expect a content as a list of parts, and leave out or refuse a text;
//! others the other way round. The same holds for a call's arguments, as an object or
//! as JSON in a string. A template is tested with unique words that can be found in its
//! output, once, when it is first needed. The caller's form is used if the template
//! shows it.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::message::part_text;
use super::variables::{Variables, variables};
use super::{Content, Message, RenderInput, ToolCall, engine, python};
use crate::{Error, Result};

/// A template's source, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) text: String,
    /// Whether contents are shown as text, and as parts.
    as_text: OnceLock<Shown>,
    as_parts: OnceLock<Shown>,
    /// Whether arguments are shown as JSON in a string, and as an object.
    arguments: OnceLock<[bool; 2]>,
}

/// By role, whether a template writes the content.
#[derive(Debug, Clone, Copy)]
struct Shown {
    system: bool,
    user: bool,
    assistant: bool,
}

impl Shown {
    fn role(self, role: &str) -> bool {
        match role {
            "system" | "developer" => self.system,
            "assistant" => self.assistant,
            _ => self.user,
        }
    }
}

impl Source {
    pub(super) fn new(text: impl Into<String>) -> Source {
        Source {
            text: text.into(),
            as_text: OnceLock::new(),
            as_parts: OnceLock::new(),
            arguments: OnceLock::new(),
        }
    }
}

/// One use of a template.
#[derive(Clone, Copy)]
pub(super) struct Use<'a> {
    pub(super) source: &'a Source,
    pub(super) input: &'a RenderInput<'a>,
    pub(super) bos: &'a str,
    pub(super) eos: &'a str,
}

impl Use<'_> {
    /// The variables, with these messages in place of the input's.
    pub(super) fn variables(&self, messages: &[Message]) -> Result<Variables> {
        let tokens = [self.bos, self.eos];
        variables(&self.source.text, self.input, messages, tokens)
    }

    /// Renders the template with these variables.
    pub(super) fn render(&self, variables: &Variables) -> Result<String> {
        engine::render(&self.source.text, self.input, variables)
    }

    /// Renders these messages unchanged.
    pub(super) fn text(&self, messages: &[Message]) -> Result<String> {
        self.render(&self.variables(messages)?)
    }

    /// The input's messages in the forms that the template takes.
    pub(super) fn fitted(&self) -> Result<Vec<Message>> {
        let mut messages = self.input.messages.to_vec();
        for message in &mut messages {
            self.fit_content(message);
            for call in &mut message.tool_calls {
                self.fit_arguments(&mut call.function.arguments)?;
            }
        }
        Ok(messages)
    }

    fn fit_content(&self, message: &mut Message) {
        let role = message.role.as_str();
        match &message.content {
            Content::Text(text) if !self.as_text().role(role) && self.as_parts().role(role) => {
                message.content = part(text);
            }
            Content::Parts(_) if !self.as_parts().role(role) && self.as_text().role(role) => {
                if let Some(text) = message.content.text() {
                    message.content = Content::Text(text);
                }
            }
            _ => {}
        }
    }

    fn fit_arguments(&self, arguments: &mut Value) -> Result<()> {
        match &*arguments {
            Value::String(text) if self.arguments() == [false, true] => {
                if let Ok(object @ Value::Object(_)) = serde_json::from_str(text) {
                    *arguments = object;
                }
            }
            Value::Object(_) if self.arguments() == [true, false] => {
                // As Python writes it, which is what models were trained on.
                let variables = [("arguments".to_owned(), arguments.take())];
                let variables = Variables::from_iter(variables);
                let text = engine::render("{{ arguments|tojson }}", self.input, &variables)?;
                *arguments = Value::String(text);
            }
            _ => {}
        }
        Ok(())
    }

    /// Fails if the template leaves out tools and their calls, a system message, or the
    /// last user message and messages after it. The assistant's text may be left out,
    /// as reasoning often is.
    ///
    /// # Errors
    /// [`Error::LeftOut`]; [`Error::Template`] for tools.
    pub(super) fn check(&self, messages: &[Message], prompt: &str) -> Result<()> {
        self.check_tools(messages, prompt)?;
        let last = messages.iter().rposition(|m| m.role == "user");
        let heard = |&(index, message): &(usize, &Message)| match message.role.as_str() {
            "system" | "developer" => true,
            "assistant" => false,
            _ => Some(index) >= last,
        };
        let doubtful = messages.iter().enumerate().filter(heard);
        let doubtful: Vec<(usize, &Message)> = doubtful
            .filter(|(_, message)| !self.is_shown(message, prompt))
            .collect();
        if doubtful.is_empty() {
            return Ok(());
        }
        // A template may change a text, for example cut `/no_think` out of it. So the contents
        // in doubt are replaced by words that can be found: if the output has these, the
        // template writes the contents.
        let mut words = messages.to_vec();
        for (index, message) in &doubtful {
            words[*index].content = replaced(&message.content, &word(*index));
        }
        let Ok(text) = self.text(&words) else {
            return Ok(());
        };
        let text = text.to_lowercase();
        match doubtful
            .iter()
            .find(|(index, _)| !says(&text, &word(*index)))
        {
            None => Ok(()),
            Some((index, message)) => Err(Error::LeftOut {
                index: *index,
                role: message.role.clone(),
            }),
        }
    }

    /// Fails where the names of tools or of called functions are missing from the prompt, and
    /// the template does not name the variable that holds them. The prompt is looked at
    /// because a template that writes whole messages as JSON need not name the variable.
    fn check_tools(&self, messages: &[Message], prompt: &str) -> Result<()> {
        let tools = self.input.tools.iter().filter_map(|tool| {
            let function = tool.get("function").unwrap_or(tool);
            function.get("name")?.as_str()
        });
        let calls = messages.iter().flat_map(|message| &message.tool_calls);
        let calls = calls.map(|call| call.function.name.as_str());
        let unknown = |variable, names: Vec<&str>| {
            let missing = names.iter().any(|name| !prompt.contains(name));
            missing && !self.source.text.contains(variable)
        };
        let variable = if unknown("tools", tools.collect()) {
            "tools"
        } else if unknown("tool_calls", calls.collect()) {
            "tool_calls"
        } else {
            return Ok(());
        };
        Err(Error::Template {
            reason: format!("it does not use `{variable}`"),
        })
    }

    /// Whether a message's text is certainly in the prompt.
    fn is_shown(&self, message: &Message, prompt: &str) -> bool {
        let shows = match &message.content {
            Content::Absent | Content::Null => return true,
            Content::Text(text) if python::strip(text).is_empty() => return true,
            Content::Text(_) => self.as_text(),
            Content::Parts(_) => self.as_parts(),
        };
        let here = |text: &str| prompt.contains(python::strip(text));
        shows.role(&message.role)
            && match &message.content {
                Content::Parts(parts) => parts.iter().filter_map(part_text).all(here),
                content => content.text().is_none_or(|text| here(&text)),
            }
    }

    fn as_text(&self) -> Shown {
        let shown = || self.try_contents([text, part]);
        *self.source.as_text.get_or_init(shown)
    }

    fn as_parts(&self) -> Shown {
        let shown = || self.try_contents([part, text]);
        *self.source.as_parts.get_or_init(shown)
    }

    /// Tries the first form for all roles in one conversation. Where that fails, tries the
    /// roles one by one; user messages are then in the second form if the template does not
    /// show the first one.
    fn try_contents(&self, [form, other]: [fn(&str) -> Content; 2]) -> Shown {
        let say = |role, place| Message::new(role, form(&word(place)));
        let shows = |messages: &[Message]| {
            self.text(messages).is_ok_and(|text| {
                let text = text.to_lowercase();
                let mut words = (0..4)
                    .map(word)
                    .zip(["system", "user", "assistant", "user"]);
                words.all(|(word, role)| {
                    let said = |m: &Message| m.content == form(&word) && m.role == role;
                    says(&text, &word) || !messages.iter().any(said)
                })
            })
        };
        let [system, user, assistant, again] = [
            say("system", 0),
            say("user", 1),
            say("assistant", 2),
            say("user", 3),
        ];
        if shows(&[
            system.clone(),
            user.clone(),
            assistant.clone(),
            again.clone(),
        ]) {
            return Shown {
                system: true,
                user: true,
                assistant: true,
            };
        }
        let user_is_shown = shows(std::slice::from_ref(&user));
        let [user, again] = [user, again].map(|message| match user_is_shown {
            true => message,
            false => Message {
                content: other(&message.content.text().unwrap_or_default()),
                ..message
            },
        });
        Shown {
            system: shows(&[system, user.clone()]),
            user: user_is_shown,
            assistant: shows(&[user, assistant, again]),
        }
    }

    /// Whether arguments are shown as JSON in a string, and as an object.
    fn arguments(&self) -> [bool; 2] {
        let shown = || {
            const TEXT: &str = r#"{"ondolkey": "ondolvalue"}"#;
            let as_string = |text: &str| text.contains(TEXT);
            let as_object = |text: &str| {
                let python = text.contains("'ondolkey'");
                text.contains("ondolkey") && text.contains("ondolvalue") && !python
            };
            let object = json!({"ondolkey": "ondolvalue"});
            [
                self.try_arguments(&Value::from(TEXT), as_string),
                self.try_arguments(&object, as_object),
            ]
        };
        *self.source.arguments.get_or_init(shown)
    }

    /// Tries a call with these arguments, without a content and with an empty one.
    fn try_arguments(&self, arguments: &Value, shows: fn(&str) -> bool) -> bool {
        let call = ToolCall {
            // Mistral's templates insist on nine letters and digits.
            id: Some("ondol0001".to_owned()),
            ..ToolCall::new("ondolcall", arguments.clone())
        };
        let user = match self.as_text().user {
            true => Content::from(word(1)),
            false => part(&word(1)),
        };
        [Content::Null, Content::from("")]
            .into_iter()
            .any(|content| {
                let messages = [
                    Message::user(user.clone()),
                    Message {
                        tool_calls: vec![call.clone()],
                        ..Message::assistant(content)
                    },
                    Message {
                        name: Some("ondolcall".to_owned()),
                        tool_call_id: call.id.clone(),
                        ..Message::new("tool", word(2))
                    },
                ];
                self.text(&messages).is_ok_and(|text| shows(&text))
            })
    }
}

/// A word that stands for the content of the message in this place.
fn word(place: usize) -> String {
    format!("ondol{place}word")
}

/// Whether a prompt in lower case has this word. A list of parts that was printed as Python
/// prints it does not count: the template took the list for text.
fn says(lower: &str, word: &str) -> bool {
    lower.contains(word) && !lower.contains(&format!("'text': '{word}'"))
}

/// A content as text.
fn text(text: &str) -> Content {
    Content::from(text)
}

/// Text as a list of one part.
fn part(text: &str) -> Content {
    Content::Parts(vec![json!({"type": "text", "text": text})])
}

/// A content of the same form that says `word`.
fn replaced(content: &Content, word: &str) -> Content {
    match content {
        Content::Parts(_) => part(word),
        _ => Content::from(word),
    }
}
