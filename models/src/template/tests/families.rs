use serde_json::json;

use super::*;

#[test]
fn smollm2_adds_its_system_message() {
    let messages = [Message::user("안녕하세요")];
    assert_eq!(
        render(SMOLLM2, &RenderInput::chat(&messages)).unwrap(),
        "<|im_start|>system\n기본 지시<|im_end|>\n<|im_start|>user\n안녕하세요<|im_end|>\n<|im_start|>assistant\n"
    );
    let text = render(
        SMOLLM2,
        &RenderInput {
            messages: &conversation(),
            ..Default::default()
        },
    )
    .unwrap();
    assert_eq!(
        text,
        "<|im_start|>system\n짧게 답해 주세요.<|im_end|>\n<|im_start|>user\n온돌이 뭐예요?<|im_end|>\n\
             <|im_start|>assistant\n바닥 난방이에요. 🔥<|im_end|>\n<|im_start|>user\n고마워요!<|im_end|>\n"
    );
}

/// In the style of Llama 3.1: a date, a system header built from parts, tools in the user's turn.
#[test]
fn llama3_style() {
    let source = "\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now('%d %b %Y') %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{{- 'Today: ' + date_string + '\\n' + system_message + '<|eot_id|>' }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception('one call at a time') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '{\"name\": \"' + call.name + '\", \"parameters\": ' }}{{ call.arguments | tojson }}{{ '}<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
";
    let mut messages = conversation();
    messages.push(Message {
        tool_calls: vec![ToolCall::new("weather", json!({"도시": "서울", "days": 2}))],
        ..Message::assistant("")
    });
    let input = RenderInput {
        bos: Some("<s>"),
        local_seconds: Some(1_735_689_599),
        ..RenderInput::chat(&messages)
    };
    assert_eq!(
        render(source, &input).unwrap(),
        "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 31 Dec 2024\n짧게 답해 주세요.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\n온돌이 뭐예요?<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n바닥 난방이에요. 🔥<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\n고마워요!<|eot_id|>\
             {\"name\": \"weather\", \"parameters\": {\"도시\": \"서울\", \"days\": 2}}<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n"
    );
    messages[4].tool_calls.clear();
    messages[4].role = "assistant".into();
    messages[4].tool_calls = vec![ToolCall::default(), ToolCall::default()];
    let error = render(source, &RenderInput::chat(&messages)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "chat template: line 18: one call at a time"
    );
}

/// In the style of Qwen 3: tools as JSON lines, thoughts cut from history, reversed search.
#[test]
fn qwen3_style() {
    let source = "\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- \"\\n\" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == 'user' and not(message.content.startswith('<tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
            {%- set reasoning = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and reasoning)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}";
    let messages = [
        Message::user("1+1은?"),
        Message::assistant("<think>\n더하면 2\n</think>\n\n2입니다"),
        Message::user("왜?"),
        Message {
            reasoning: Some("산수".into()),
            ..Message::assistant("덧셈이니까요")
        },
    ];
    let tools =
        [json!({"type": "function", "function": {"name": "계산", "a": [1, 2.5, null, true]}})];
    let mut input = RenderInput {
        tools: &tools,
        ..RenderInput::chat(&messages)
    };
    input.extra.insert("enable_thinking".into(), false.into());
    assert_eq!(
        render(source, &input).unwrap(),
        "<|im_start|>system\n\n{\"type\": \"function\", \"function\": {\"name\": \"계산\", \"a\": [1, 2.5, null, true]}}\
             <|im_end|>\n<|im_start|>user\n1+1은?<|im_end|>\n<|im_start|>assistant\n2입니다<|im_end|>\n\
             <|im_start|>user\n왜?<|im_end|>\n\
             <|im_start|>assistant\n<think>\n산수\n</think>\n\n덧셈이니까요<|im_end|>\n\
             <|im_start|>assistant\n<think>\n\n</think>\n\n"
    );
}

/// In the style of EXAONE, with `break`, `continue` and a macro.
#[test]
fn exaone_style() {
    let source = "\
{%- macro turn(role, text='') -%}
{{ '[|' ~ role ~ '|]' ~ text ~ ('\\n' if role == 'user' else '[|endofturn|]\\n') }}
{%- endmacro -%}
{%- for message in messages -%}
    {%- if loop.first and message.role != 'system' %}{{ turn('system') }}{% endif -%}
    {%- if message.role == 'tool' %}{% continue %}{% endif -%}
    {%- if message.content == '' %}{% break %}{% endif -%}
    {{- turn(message.role, text=message['content']) -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}";
    let messages = [
        Message::user("안녕"),
        Message::new("tool", "무시"),
        Message::assistant("네!"),
        Message::user(""),
        Message::user("끝"),
    ];
    assert_eq!(
        render(source, &RenderInput::chat(&messages)).unwrap(),
        "[|system|][|endofturn|]\n[|user|]안녕\n[|assistant|]네![|endofturn|]\n[|assistant|]"
    );
}

/// In the style of Gemma: alternation is checked, the system message joins the first turn.
#[test]
fn gemma_style() {
    let source = "\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = \"\" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception(\"roles must alternate\") }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else \"\") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{{ item['text'] | trim }}{%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}";
    let messages = conversation();
    let input = RenderInput {
        bos: Some("<bos>"),
        ..RenderInput::chat(&messages)
    };
    assert_eq!(
        render(source, &input).unwrap(),
        "<bos><start_of_turn>user\n짧게 답해 주세요.\n\n온돌이 뭐예요?<end_of_turn>\n\
             <start_of_turn>model\n바닥 난방이에요. 🔥<end_of_turn>\n<start_of_turn>user\n고마워요!<end_of_turn>\n\
             <start_of_turn>model\n"
    );
    let error = render(source, &RenderInput::chat(&messages[2..])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "chat template: line 11: roles must alternate"
    );
}

/// In the style of Phi 3: blocks on lines of their own, which `trim_blocks` and `lstrip_blocks` swallow.
#[test]
fn phi3_style() {
    let source = "\
{% for message in messages %}
    {% if message['role'] == 'assistant' %}
        {% generation %}
{{ '<|assistant|>\\n' + message['content'] + '<|end|>\\n' -}}
        {% endgeneration %}
    {% else %}
{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' -}}
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}
";
    let messages = conversation();
    let input = RenderInput {
        messages: &messages,
        eos: Some("<eos>"),
        ..Default::default()
    };
    assert_eq!(
        render(source, &input).unwrap(),
        "<|system|>\n짧게 답해 주세요.<|end|>\n<|user|>\n온돌이 뭐예요?<|end|>\n\
             <|assistant|>\n바닥 난방이에요. 🔥<|end|>\n<|user|>\n고마워요!<|end|>\n<eos>"
    );
}

/// In the style of Mistral: filters over messages, counters in a namespace, id checks.
#[test]
fn mistral_style() {
    let source = "\
{%- set user_messages = messages | selectattr('role', 'equalto', 'user') | list %}
{%- set ns = namespace(index=0) %}
{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- '[AVAILABLE_TOOLS] [' }}
            {%- for tool in tools %}
                {%- for key, val in tool.function.items() if key != 'return' %}
                    {{- '\"' + key + '\": ' + val|tojson }}{{ ', ' if not loop.last }}
                {%- endfor %}
            {%- endfor %}
            {{- '][/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
        {{- '[INST] ' + message['content'] + '[/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] | trim + eos_token }}
    {%- endif %}
{%- endfor %}
{{- '#%d' | format(ns.index) }}";
    let messages = conversation();
    let tools =
        [json!({"type": "function", "function": {"name": "f", "return": 1, "parameters": {}}})];
    let input = RenderInput {
        tools: &tools,
        bos: Some("<s>"),
        eos: Some("</s>"),
        ..RenderInput::chat(&messages)
    };
    assert_eq!(
        render(source, &input).unwrap(),
        "<s>[INST] 온돌이 뭐예요?[/INST] 바닥 난방이에요. 🔥</s>\
             [AVAILABLE_TOOLS] [\"name\": \"f\", \"parameters\": {}][/AVAILABLE_TOOLS][INST] 고마워요![/INST]#2"
    );
}
