use serde_json::json;

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
    template.tool_use = Some(super::super::Source::new("{{ tools|length }}"));
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
    assert_eq!(messages[1].content, Content::Null);
    assert_eq!(
        messages[1].tool_calls[0].function.arguments,
        json!("{\"도시\": 1}")
    );
    let source = "{% for m in messages %}{{ m|tojson }}\n{% endfor %}";
    assert_eq!(
        render(source, &RenderInput::chat(&messages)).unwrap(),
        "{\"role\": \"user\", \"content\": \"안녕\", \"name\": \"철수\"}\
             {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"c1\", \"type\": \"function\", \
             \"function\": {\"name\": \"f\", \"arguments\": \"{\\\"도시\\\": 1}\"}}]}\
             {\"role\": \"tool\", \"content\": \"ok\", \"tool_call_id\": \"c1\"}\
             {\"role\": \"assistant\", \"content\": \"네\", \"reasoning_content\": \"음\"}"
            .replace("}{\"role\"", "}\n{\"role\"")
            + "\n"
    );
}
