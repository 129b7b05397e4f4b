mod environment;
mod families;
mod files;
mod forms;
mod hostile;
mod jinja;
mod long;
mod words;

use super::{ChatTemplate, Content, Message, RenderInput, ToolCall};
use crate::{Error, Result};

/// In the style of SmolLM2: all on one line, with a system message of its own.
const SMOLLM2: &str = "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}\
    {{ '<|im_start|>system\n기본 지시<|im_end|>\n' }}{% endif %}\
    {{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fn conversation() -> Vec<Message> {
    vec![
        Message::system("짧게 답해 주세요."),
        Message::user("온돌이 뭐예요?"),
        Message::assistant("바닥 난방이에요. 🔥"),
        Message::user("고마워요!"),
    ]
}

/// Renders the input as it is, whatever the template leaves out of it.
fn render(source: &str, input: &RenderInput) -> Result<String> {
    ChatTemplate::new(source)
        .used_for(input)
        .text(input.messages)
}

fn rendered(source: &str) -> String {
    render(source, &RenderInput::default()).unwrap()
}

/// The reason why rendering fails.
fn refused(source: &str) -> String {
    match render(source, &RenderInput::chat(&conversation())) {
        Err(Error::Template { reason }) => reason,
        other => panic!("{source}: {other:?}"),
    }
}
