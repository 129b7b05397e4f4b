//! Long conversations: steps are counted for what a template does, not for the size of the
//! values that it reads.

use serde_json::json;

use super::*;

/// In the style of Qwen 3: searches the last question backwards, slices the
/// conversation, looks at neighbours and asks for its length in each round.
const BACKWARDS: &str = "\
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == 'user' and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or messages[loop.index0 - 1].role == 'user') %}
            {{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + content }}
        {%- else %}
            {{- '<|im_start|>assistant\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or (messages[loop.index0 - 1].role != 'tool') %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n' + message.content }}
        {%- if loop.last or (messages[loop.index0 + 1].role != 'tool') %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
";

/// In the style of DeepSeek: state in a namespace, system messages gathered first.
const GATHERS: &str = "\
{%- set ns = namespace(is_tool=false, is_last_user=false, system_prompt='', is_first_sp=true) %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {%- if ns.is_first_sp %}
            {%- set ns.system_prompt = ns.system_prompt + message['content'] %}
            {%- set ns.is_first_sp = false %}
        {%- else %}
            {%- set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}{{ ns.system_prompt }}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {%- set ns.is_last_user = true %}{{ '<|User|>' + message['content'] }}
    {%- endif %}
    {%- if message['role'] == 'assistant' and message['tool_calls'] is defined and message['tool_calls'] is not none %}
        {%- for tool in message['tool_calls'] %}{{ tool['function']['name'] + tool['function']['arguments']|tojson }}{%- endfor %}
    {%- endif %}
    {%- if message['role'] == 'assistant' and (message['tool_calls'] is not defined or message['tool_calls'] is none) %}
        {%- if ns.is_last_user %}{{ '<|Assistant|>' }}{%- endif %}
        {%- set ns.is_last_user = false %}{{ message['content'] + '<|end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and ns.is_last_user %}{{ '<|Assistant|>' }}{%- endif %}
";

/// In the style of Llama 3: the first message cut off, the role of each checked.
const CUTS: &str = "\
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{{- bos_token }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception('one call') }}{%- endif %}
        {{- message.tool_calls[0].function | tojson }}
    {%- endif %}
{%- endfor %}
";

fn long(count: usize) -> Vec<Message> {
    let mut messages = vec![Message::system("짧게 답해 주세요.")];
    for index in 0..count {
        messages.push(match index % 2 {
            0 => Message::user(format!("질문 {index}")),
            _ => Message::assistant(format!("<think>\n음\n</think>\n\n답 {index}")),
        });
        if index % 8 == 7 {
            messages.push(Message {
                tool_calls: vec![ToolCall::new(
                    "weather",
                    json!({"city": "서울", "days": index}),
                )],
                ..Message::assistant("")
            });
            messages.push(Message {
                role: "tool".to_owned(),
                content: "맑음".into(),
                ..Message::default()
            });
        }
    }
    messages
}

/// The limit on steps grows in proportion to the number of messages. So the steps for one
/// message must not grow with that number, or long conversations would exceed the limit.
#[test]
fn thousands_of_messages() {
    for source in [BACKWARDS, GATHERS, CUTS] {
        let messages = long(5_000);
        let rendered = render(source, &RenderInput::chat(&messages));
        assert!(rendered.is_ok(), "{rendered:?}");
    }
}

#[test]
fn a_long_conversation_ends_as_a_short_one() {
    let messages = long(5_000);
    let text = render(BACKWARDS, &RenderInput::chat(&messages)).unwrap();
    assert!(text.starts_with(
        "<|im_start|>user\n질문 0<|im_end|>\n<|im_start|>assistant\n답 1<|im_end|>\n"
    ));
    assert!(text.contains("<|im_start|>user\n질문 4998<|im_end|>\n"));
    assert!(
        text.ends_with("<|im_start|>user\n맑음<|im_end|>\n"),
        "{}",
        &text[text.len() - 90..]
    );
}

/// A template that walks the whole conversation for each message takes steps in proportion
/// to the square of the number of messages, and is refused.
#[test]
fn squares_end() {
    let messages = long(2_000);
    for walk in [
        "messages|tojson",
        "messages ~ ''",
        "messages == messages[:]",
        "messages|map(attribute='role')|join",
    ] {
        let source =
            format!("{{% for m in messages %}}{{% if {walk} %}}{{% endif %}}{{% endfor %}}");
        let answer = render(&source, &RenderInput::chat(&messages));
        assert!(answer.is_err(), "{walk}");
    }
}
