use serde_json::json;

use super::{ChatTemplate, Message, RenderInput, ToolCall};
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

fn render(source: &str, input: &RenderInput) -> Result<String> {
    ChatTemplate::new(source).render(input)
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

mod families {
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
            now: Some(1_735_689_599),
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
}

mod environment {
    use super::*;

    /// Expected texts are those of Python's `json.dumps(x, ensure_ascii=False, …)`.
    #[test]
    fn tojson_is_pythons() {
        let cases = [
            (
                "{{ {'가': [1, 1.0, 1e-7, 1e16, 0.0001, -0.5], 'b': none}|tojson }}",
                r#"{"가": [1, 1.0, 1e-07, 1e+16, 0.0001, -0.5], "b": null}"#,
            ),
            (
                "{{ 'a\"\\\\\\n\\t<&>\\'가'|tojson }}",
                r#""a\"\\\n\t<&>'가""#,
            ),
            (
                "{{ '가🔥'|tojson(ensure_ascii=true) }}",
                r#""\uac00\ud83d\udd25""#,
            ),
            (
                "{{ {'b': 1, 'a': [], 'c': {}}|tojson(sort_keys=true) }}",
                r#"{"a": [], "b": 1, "c": {}}"#,
            ),
            (
                "{{ [1, {'a': true}]|tojson(separators=(',', ':')) }}",
                r#"[1,{"a":true}]"#,
            ),
            (
                "{{ [1, {'a': [2]}, []]|tojson(indent=2) }}",
                "[\n  1,\n  {\n    \"a\": [\n      2\n    ]\n  },\n  []\n]",
            ),
            ("{{ {1: 2, none: 4}|tojson }}", r#"{"1": 2, "null": 4}"#),
        ];
        for (source, expected) in cases {
            assert_eq!(rendered(source), expected, "{source}");
        }
    }

    #[test]
    fn operators_and_filters_survive_the_guards() {
        let cases = [
            ("{{ (2 * 3 + 4) ~ 'x' }}", "10x"),
            (
                "{{ 'ab' * 2 }}{% set n = 2 %}{{ n * 3 }}{{ (n + 1) * n }}{{ 'ab'|length * n }}",
                "abab664",
            ),
            (
                "{% set f = [1, 2] + [3] %}{{ f[1:]|join('-') }}{{ f|length + 1 }}",
                "2-34",
            ),
            (
                "{{ not 1 == 2 }}{{ 1 is not none }}{{ x is not defined }}{{ -1 + 2 }}{{ 1 in [1] }}",
                "TrueTrueTrue1True",
            ),
            (
                "{{ 3 is divisibleby(3) and 2 is even }}{{ 'a' not in ['b'] }}",
                "TrueTrue",
            ),
            ("{% set a, b = 1, 2 %}{{ a }}{{ b }}", "12"),
            (
                "{% set t %}a{{ 1 + 1 }}{% endset %}{{ t|upper|lower }}",
                "a2",
            ),
            ("{% set t|upper %}a{% endset %}{{ t }}", "A"),
            (
                "{% macro f(a, b=2) %}{{ a ~ b }}{% endmacro %}{{ f(1) }}{{ f(1, b=3) }}{{ f(*[5, 6]) }}",
                "121356",
            ),
            (
                "{% for a, b in {'k': 1}.items() if b != 2 %}{{ a ~ b }}{% endfor %}",
                "k1",
            ),
            (
                "{% for x in [3, 1, 2]|sort(reverse=true) %}{{ x }}{{ ',' if not loop.last else '' }}{% endfor %}",
                "3,2,1",
            ),
            (
                "{{ 'a,b'.split(',')[-1] ~ 'x'.upper() ~ ['a', 'b']|join('+') }}",
                "bXa+b",
            ),
            (
                "{{ ('a' if 1 < 2 else 'b') ~ ('%s-%d'|format('c', 3)) }}",
                "ac-3",
            ),
            (
                "{{ {'a': 1 + 1}['a'] }}{{ {'a': {'b': '}}'}}.a.b }}{{ '{%' }}",
                "2}}{%",
            ),
            (
                "{% raw %}{{ a ~ b }}{% endraw %}{# {{ #}{{ 1.5 + 1 }}",
                "{{ a ~ b }}2.5",
            ),
            ("{% with a = 1 + 1, b = 3 %}{{ a ~ b }}{% endwith %}", "23"),
            (
                "{{ namespace(a=1).a }}{{ dict(a=[1]).a }}{{ none }}{{ [none, true, 'x'] }}",
                "1[1]None[None, True, 'x']",
            ),
            (
                "{% set ns = namespace() %}{% for i in range(3) %}{% set ns.x = i %}{% endfor %}{{ ns.x }}",
                "2",
            ),
            (
                "{% for x in [1, 2] %}{{ loop.previtem is defined }}{{ loop.nextitem }}{% endfor %}",
                "False2True",
            ),
            ("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"),
        ];
        for (source, expected) in cases {
            assert_eq!(rendered(source), expected, "{source}");
        }
    }

    #[test]
    fn generation_tags_keep_their_whitespace_control() {
        assert_eq!(
            rendered("a {%- generation -%} b {%- endgeneration %} c"),
            "ab c"
        );
    }

    #[test]
    fn the_tool_use_template_is_taken_for_tools() {
        let mut template = ChatTemplate::new("plain");
        template.tool_use = Some("{{ tools|length }}".into());
        let tools = [json!({})];
        assert_eq!(template.render(&RenderInput::default()).unwrap(), "plain");
        assert_eq!(
            template
                .render(&RenderInput {
                    tools: &tools,
                    ..Default::default()
                })
                .unwrap(),
            "1"
        );
    }

    #[test]
    fn extra_variables_do_not_replace_messages() {
        let mut input = RenderInput::default();
        input.extra.insert("messages".into(), "x".into());
        input.extra.insert("mine".into(), "y".into());
        assert_eq!(render("{{ messages }}{{ mine }}", &input).unwrap(), "[]y");
    }

    #[test]
    fn errors_say_the_line() {
        assert!(
            refused("\n\n{{ x y }}").starts_with("line 3: syntax error"),
            "{}",
            refused("\n\n{{ x y }}")
        );
        assert!(refused("a\n{{ messages.x.y }}").starts_with("line 2: undefined value"));
        assert_eq!(
            refused("a\n\n\n{{ raise_exception('안 돼요') }}"),
            "line 4: 안 돼요"
        );
        assert!(refused("\n{{ 1|no_such_filter }}").starts_with("line 2: unknown filter"));
        assert!(refused("{% for x in y %}\n").starts_with("line 1: syntax error"));
    }

    #[test]
    fn messages_from_openai_json() {
        let text = r#"[{"role":"user","content":"안녕","name":"철수"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",
             "function":{"name":"f","arguments":"{\"도시\": 1}"}}]},
            {"role":"tool","tool_call_id":"c1","content":"ok"},
            {"role":"assistant","content":"네","reasoning":"음","tool_calls":null}]"#;
        let messages: Vec<Message> = serde_json::from_str(text).unwrap();
        assert_eq!(
            messages[1].tool_calls[0].function.arguments,
            json!({"도시": 1})
        );
        let source = "{% for m in messages %}{{ m|tojson }}\n{% endfor %}";
        assert_eq!(
            render(source, &RenderInput::chat(&messages)).unwrap(),
            "{\"role\": \"user\", \"content\": \"안녕\", \"name\": \"철수\"}\
             {\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"c1\", \"type\": \"function\", \
             \"function\": {\"name\": \"f\", \"arguments\": {\"도시\": 1}}}]}\
             {\"role\": \"tool\", \"content\": \"ok\", \"tool_call_id\": \"c1\"}\
             {\"role\": \"assistant\", \"content\": \"네\", \"reasoning_content\": \"음\"}"
                .replace("}{\"role\"", "}\n{\"role\"")
                + "\n"
        );
    }
}

mod files {
    use super::super::TemplateOrigin;
    use super::*;
    use crate::gguf::Gguf;

    fn push_text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    /// A GGUF without tensors: text keys, token ids and a vocabulary.
    fn gguf(texts: &[(&str, &str)], ids: &[(&str, u32)], vocabulary: &[&str]) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend(0_u64.to_le_bytes());
        out.extend((texts.len() as u64 + ids.len() as u64 + 1).to_le_bytes());
        for (key, text) in texts {
            push_text(&mut out, key);
            out.extend(8_u32.to_le_bytes());
            push_text(&mut out, text);
        }
        for (key, id) in ids {
            push_text(&mut out, key);
            out.extend(4_u32.to_le_bytes());
            out.extend(id.to_le_bytes());
        }
        push_text(&mut out, "tokenizer.ggml.tokens");
        out.extend(9_u32.to_le_bytes());
        out.extend(8_u32.to_le_bytes());
        out.extend((vocabulary.len() as u64).to_le_bytes());
        vocabulary
            .iter()
            .for_each(|token| push_text(&mut out, token));
        out
    }

    fn fallback(
        architecture: &str,
        vocabulary: &[&str],
        messages: &[Message],
    ) -> (TemplateOrigin, String) {
        let ids = [
            ("tokenizer.ggml.bos_token_id", 0),
            ("tokenizer.ggml.eos_token_id", 1),
        ];
        let bytes = gguf(&[("general.architecture", architecture)], &ids, vocabulary);
        let template = ChatTemplate::from_gguf_or_fallback(&Gguf::parse(&bytes).unwrap()).unwrap();
        (
            template.origin(),
            template.render(&RenderInput::chat(messages)).unwrap(),
        )
    }

    #[test]
    fn the_files_template_and_tokens() {
        let texts = [
            (
                "tokenizer.chat_template",
                "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
            ),
            ("tokenizer.chat_template.tool_use", "tools"),
        ];
        let ids = [
            ("tokenizer.ggml.bos_token_id", 1),
            ("tokenizer.ggml.eos_token_id", 0),
        ];
        let bytes = gguf(&texts, &ids, &["</s>", "<s>", "<|im_start|>", "<|im_end|>"]);
        let template = ChatTemplate::from_gguf(&Gguf::parse(&bytes).unwrap())
            .unwrap()
            .unwrap();
        let messages = [Message::user("안녕")];
        let mut input = RenderInput::chat(&messages);
        assert_eq!(template.origin(), TemplateOrigin::File);
        assert_eq!(template.render(&input).unwrap(), "<s>안녕</s>");
        input.bos = Some("");
        assert_eq!(template.render(&input).unwrap(), "안녕</s>");
        let tools = [json!({"name": "f"})];
        input.tools = &tools;
        assert_eq!(template.render(&input).unwrap(), "tools");
    }

    #[test]
    fn files_without_a_template() {
        let bytes = gguf(&[], &[], &["a"]);
        assert_eq!(
            ChatTemplate::from_gguf(&Gguf::parse(&bytes).unwrap()).unwrap(),
            None
        );
        let bytes = gguf(
            &[("tokenizer.chat_template", "x")],
            &[("tokenizer.ggml.bos_token_id", 9)],
            &["a"],
        );
        let error = ChatTemplate::from_gguf(&Gguf::parse(&bytes).unwrap()).unwrap_err();
        assert!(matches!(error, Error::BadValue { .. }), "{error}");
    }

    #[test]
    fn fallbacks_by_vocabulary() {
        let messages = &conversation()[..4];
        let cases = [
            (
                "llama",
                &["<s>", "</s>", "<|im_start|>", "<|im_end|>"][..],
                "chatml",
                "<|im_start|>system\n짧게 답해 주세요.<|im_end|>\n<|im_start|>user\n온돌이 뭐예요?<|im_end|>\n\
              <|im_start|>assistant\n바닥 난방이에요. 🔥<|im_end|>\n<|im_start|>user\n고마워요!<|im_end|>\n\
              <|im_start|>assistant\n",
            ),
            (
                "llama",
                &["<s>", "</s>", "<|start_header_id|>", "<|eot_id|>"],
                "llama3",
                "<s><|start_header_id|>system<|end_header_id|>\n\n짧게 답해 주세요.<|eot_id|>\
              <|start_header_id|>user<|end_header_id|>\n\n온돌이 뭐예요?<|eot_id|>\
              <|start_header_id|>assistant<|end_header_id|>\n\n바닥 난방이에요. 🔥<|eot_id|>\
              <|start_header_id|>user<|end_header_id|>\n\n고마워요!<|eot_id|>\
              <|start_header_id|>assistant<|end_header_id|>\n\n",
            ),
            (
                "gemma3",
                &["<s>", "</s>", "<start_of_turn>", "<end_of_turn>"],
                "gemma",
                "<s><start_of_turn>user\n짧게 답해 주세요.\n\n온돌이 뭐예요?<end_of_turn>\n\
              <start_of_turn>model\n바닥 난방이에요. 🔥<end_of_turn>\n<start_of_turn>user\n고마워요!<end_of_turn>\n\
              <start_of_turn>model\n",
            ),
            (
                "exaone",
                &["<s>", "</s>", "[|user|]", "[|endofturn|]"],
                "exaone",
                "[|system|]짧게 답해 주세요.[|endofturn|]\n[|user|]온돌이 뭐예요?\n\
              [|assistant|]바닥 난방이에요. 🔥[|endofturn|]\n[|user|]고마워요!\n[|assistant|]",
            ),
            (
                "exaone4",
                &["<s>", "</s>", "[|user|]", "[|endofturn|]"],
                "exaone4",
                "[|system|]\n짧게 답해 주세요.[|endofturn|]\n[|user|]\n온돌이 뭐예요?[|endofturn|]\n\
              [|assistant|]\n바닥 난방이에요. 🔥[|endofturn|]\n[|user|]\n고마워요![|endofturn|]\n[|assistant|]\n",
            ),
            (
                "phi3",
                &["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"],
                "phi3",
                "<|system|>\n짧게 답해 주세요.<|end|>\n<|user|>\n온돌이 뭐예요?<|end|>\n\
              <|assistant|>\n바닥 난방이에요. 🔥<|end|>\n<|user|>\n고마워요!<|end|>\n<|assistant|>\n",
            ),
            (
                "llama",
                &["<s>", "</s>", "[INST]", "[/INST]"],
                "mistral",
                "<s>[INST] 짧게 답해 주세요.\n\n온돌이 뭐예요?[/INST] 바닥 난방이에요. 🔥</s>[INST] 고마워요![/INST]",
            ),
        ];
        for (architecture, vocabulary, family, expected) in cases {
            let (origin, text) = fallback(architecture, vocabulary, messages);
            assert_eq!(origin, TemplateOrigin::Guess(family));
            assert_eq!(text, expected, "{family}");
        }
    }

    #[test]
    fn base_models_get_the_plain_format() {
        let vocabulary = ["<s>", "</s>", "<|user|>"];
        let (origin, text) = fallback("llama", &vocabulary, &[Message::user("옛날 옛적에")]);
        assert_eq!(
            (origin, text.as_str()),
            (TemplateOrigin::Plain, "옛날 옛적에")
        );
        let (_, text) = fallback("llama", &vocabulary, &conversation());
        assert_eq!(
            text,
            "짧게 답해 주세요.\n\nUser: 온돌이 뭐예요?\nAssistant: 바닥 난방이에요. 🔥\nUser: 고마워요!\nAssistant:"
        );
    }
}

/// Each of these would run for ages, take all memory or overflow the stack.
mod hostile {
    use super::*;

    #[test]
    fn endless_work() {
        let inner = "{% for a in range(9999) %}".repeat(4) + "x" + &"{% endfor %}".repeat(4);
        assert_eq!(
            refused(&inner),
            "line 1: it takes more steps than are allowed"
        );
        assert_eq!(
            refused("\n{{ range(10**9)|length }}"),
            "line 2: range has too many elements"
        );
        refused("{% for a in range(99999) %}{{ ('a' * 99999).find('b') }}{% endfor %}");
        refused("{% for a in range(99999) %}{{ messages|tojson }}{% endfor %}");
    }

    #[test]
    fn recursion() {
        for source in [
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        ] {
            assert!(
                refused(source).contains("recursion limit exceeded"),
                "{}",
                refused(source)
            );
        }
        assert!(
            refused("{% macro f(x) %}{{ f([x, x]) }}{% endmacro %}{{ f(1) }}")
                .contains("too large")
        );
        let deep = "(".repeat(9999) + "1" + &")".repeat(9999);
        refused(&format!("{{{{ {deep} }}}}"));
        refused(&("{% if 1 %}".repeat(9999) + &"{% endif %}".repeat(9999)));
    }

    #[test]
    fn chains_that_the_compiler_recurses_over() {
        for link in [
            "+x",
            ".a",
            "|e",
            "~x",
            " and x",
            " is x",
            "()",
            "[0]",
            "**x",
            " if x else x",
        ] {
            let chain = link.repeat(30_000 / link.len());
            let source = format!("\n{{{{ x{chain} }}}}");
            assert_eq!(refused(&source), "line 2: this tag is too long", "{link}");
            // What is let through must compile, whatever it renders.
            let allowed = link.repeat(650 / link.len().max(2));
            let _ = render(&format!("{{{{ x{allowed} }}}}"), &RenderInput::default());
        }
        refused(&format!("{{{{ {}1 }}}}", "not ".repeat(5000)));
        refused(&format!("{{{{ {}1 }}}}", "- ".repeat(5000)));
        let elifs = format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}".repeat(501));
        assert_eq!(refused(&elifs), "line 1: too many `elif`");
        assert_eq!(rendered(&elifs.replacen("{% elif x %}", "", 1)), "");
        assert!(refused(&"x".repeat(300_000)).contains("bytes of source"));
    }

    #[test]
    fn values_that_hold_themselves_or_grow_without_end() {
        let grow = |step: &str, rest: &str| {
            format!(
                "{{% set ns = namespace(x=[1]) %}}{{% for i in range(20000) %}}{{% set ns.x = {step} %}}{{% endfor %}}{rest}"
            )
        };
        assert_eq!(
            refused("{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}"),
            "line 1: a namespace can't be stored in a namespace"
        );
        assert!(refused(&grow("[ns.x]", "")).contains("nested too deeply"));
        assert!(refused(&grow("{'a': ns.x}", "")).contains("nested too deeply"));
        assert!(refused(&grow("[ns.x, ns.x]", "{{ ns.x == ns.x }}")).contains("too large"));
        assert!(refused(&grow("ns.x + ns.x", "")).contains("too large"));
        assert!(refused(&grow("namespace(x=ns)", "")).contains("namespace"));
        // Chains of lazy slices and sums are made lists at each step.
        assert_eq!(rendered(&grow("ns.x[0:]", "{{ ns.x }}")), "[1]");
        assert_eq!(rendered(&grow("ns.x|reverse", "{{ ns.x }}")), "[1]");
        refused(&grow("ns.x ~ ns.x", ""));
        refused(&grow("ns.x|string ~ ns.x|string", ""));
        refused(&grow("ns.x|batch(1)", "{{ ns.x }}"));
    }

    #[test]
    fn trees_that_share_their_branches() {
        // Doubled ten times it is half the limit; a few of it in one list are past it.
        let half = "{% set ns = namespace(x=range(100)) %}\
            {% for i in range(8) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{% set x = ns.x %}";
        let large = "[x, x, x, x]";
        assert!(
            render(
                &format!("{half}{{{{ x|length }}}}"),
                &RenderInput::default()
            )
            .is_ok()
        );
        for expression in [
            "LARGE",
            "LARGE ~ ''",
            "'' ~ LARGE",
            "LARGE == x",
            "x in LARGE",
            "LARGE + [1]",
            "LARGE|tojson",
            "LARGE|string|length",
            "''|replace('', LARGE)",
            "''.join(LARGE)",
            "'{}'.format(LARGE)",
            "x is eq(LARGE)",
            "'%s'|format(LARGE)",
            "LARGE|unique|list|length",
            "raise_exception(LARGE)",
            "namespace(y=LARGE)",
        ] {
            let reason = refused(&format!(
                "{half}{{{{ {} }}}}",
                expression.replace("LARGE", large)
            ));
            assert!(reason.contains("too large"), "{expression}: {reason}");
        }
        for tags in [
            "{% set y = LARGE %}",
            "{% set ns.y = LARGE if true else 1 %}",
            "{% for y in LARGE %}{% endfor %}",
            "{% with y = LARGE %}{% endwith %}",
            "{% if LARGE ~ '' %}{% endif %}",
            "{% macro f(a) %}{% endmacro %}{{ f(LARGE) }}{{ f(a=LARGE) }}",
        ] {
            let reason = refused(&format!("{half}{}", tags.replace("LARGE", large)));
            assert!(reason.contains("too large"), "{tags}: {reason}");
        }
    }

    #[test]
    fn multiplied_lists() {
        for source in [
            "{{ [1] * 9 }}",
            "{{ 9 * [1] }}",
            "{% set x = [1] %}{{ (9 * x|list) ~ '' }}",
        ] {
            assert!(refused(source).contains("can be multiplied"), "{source}");
        }
        refused("{{ ([[[1] * 9999] * 9999] * 9999) ~ '' }}");
        refused("{{ ('a' * 99999999)|length * 'a' }}");
    }

    #[test]
    fn texts_that_explode() {
        for source in [
            "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
            "{{ ('a' * 100000)|replace('a', 'b' * 100000) }}",
            "{{ ('a' * 100000).join(range(100000)) }}",
            "{{ '{:>999999999}'.format('a') }}",
            "{{ '{:.999999999f}'.format(1.5) }}",
            "{{ '%999999999d'|format(1) }}",
            "{{ ('a' * 10000000).split('') }}",
            "{{ range(100000)|tojson(indent=100000) }}",
            "{{ range(100000)|tojson(separators=('a' * 1000000, 'b')) }}",
            "{{ ('a\n' * 100000)|indent(100000) }}",
            "{{ 'a' * 99999999999 }}",
            "{% for i in range(1000) %}{{ 'a' * 100000 }}{% endfor %}",
            "{% set ns = namespace(x='a' * 99) %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        ] {
            refused(source);
        }
    }

    /// The engine must not fail on what is no template, whatever it answers.
    #[test]
    fn noise() {
        use proptest::prelude::*;
        let piece = prop_oneof![
            Just("{{"),
            Just("}}"),
            Just("{%"),
            Just("%}"),
            Just("{#"),
            Just("-%}"),
            Just(" set "),
            Just(" x"),
            Just("="),
            Just("|"),
            Just("."),
            Just("'"),
            Just("\""),
            Just("\\"),
            Just("["),
            Just("]"),
            Just("("),
            Just(")"),
            Just(" for "),
            Just(" in "),
            Just(" if "),
            Just(" endif "),
            Just(" endfor "),
            Just("*"),
            Just("~"),
            Just("messages"),
            Just("tojson"),
            Just(" raw "),
            Just(" endraw "),
            Just("가"),
            Just("\n"),
            Just("generation"),
            Just(" is "),
            Just(" not "),
            Just("1"),
            Just("}"),
            Just("{"),
            Just(","),
        ];
        let source = proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
        proptest!(ProptestConfig::with_cases(500), |(source in source)| {
            let messages = [Message::user("안녕")];
            let _ = render(&source, &RenderInput::chat(&messages));
        });
    }
}
