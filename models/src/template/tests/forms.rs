//! A template gets messages in the caller's form, or in another one only where it does not
//! accept the caller's. A content that it leaves out is an error.

use serde_json::{Value, json};

use super::*;

fn checked(source: &str, messages: &[Message]) -> Result<String> {
    ChatTemplate::new(source).render(&RenderInput::chat(messages))
}

fn parts(texts: &[&str]) -> Content {
    let part = |text: &&str| json!({"type": "text", "text": text});
    Content::Parts(texts.iter().map(part).collect())
}

const AS_TEXT: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content + '' }}{% endfor %}";
const AS_PARTS: &str = "{% for m in messages %}[{{ m.role }}]\
    {% for p in m['content'] %}{{ p['text'] }}{% endfor %}{% endfor %}";
const FIRST_PART: &str =
    "{% for m in messages %}[{{ m.role }}]{{ m['content'][0]['text'] }}{% endfor %}";
const EITHER: &str = "{% for m in messages %}[{{ m.role }}]{% if m.content is string %}\
    {{ m.content }}{% else %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}";
/// The user's content as parts, the others' as text.
const MIXED: &str = "{% for m in messages %}[{{ m.role }}]{% if m.role == 'user' %}\
    {{ m.content[0].text }}{% else %}{{ m.content + '' }}{% endif %}{% endfor %}";

#[test]
fn contents_come_as_text_or_as_parts() {
    let text = [
        Message::system("S"),
        Message::user("U"),
        Message::assistant("A"),
        Message::user("V"),
    ];
    let as_parts = text.clone().map(|m| Message {
        content: parts(&[&m.content.text().unwrap()]),
        ..m
    });
    for source in [AS_TEXT, AS_PARTS, FIRST_PART, MIXED] {
        for messages in [&text, &as_parts] {
            let rendered = checked(source, messages).unwrap();
            assert_eq!(rendered, "[system]S[user]U[assistant]A[user]V", "{source}");
        }
    }
    assert_eq!(checked(EITHER, &text[1..2]).unwrap(), "[user]U");
    assert_eq!(checked(EITHER, &as_parts[1..2]).unwrap(), "[user]<U>");
    let two = [Message::user(parts(&["U", "V"]))];
    assert_eq!(checked(AS_TEXT, &two).unwrap(), "[user]U\nV");
}

/// The test words are found in any case. A template that prints the list of parts does not
/// accept parts.
#[test]
fn templates_may_change_the_case() {
    let messages = [Message::system("be Kind"), Message::user("hello World")];
    let in_parts = messages.clone().map(|m| Message {
        content: parts(&[&m.content.text().unwrap()]),
        ..m
    });
    for (change, expected) in [
        ("|capitalize", "Be kind.Hello world."),
        ("|title", "Be Kind.Hello World."),
        ("|upper", "BE KIND.HELLO WORLD."),
        ("|lower", "be kind.hello world."),
        (".swapcase()", "BE kIND.HELLO wORLD."),
        ("", "be Kind.hello World."),
    ] {
        let source =
            format!("{{% for m in messages %}}{{{{ m['content']{change} }}}}.{{% endfor %}}");
        for messages in [&messages, &in_parts] {
            assert_eq!(checked(&source, messages).unwrap(), expected, "{source}");
        }
    }
}

#[test]
fn what_a_template_leaves_out_is_an_error() {
    let left_out = |source: &str, messages: &[Message]| match checked(source, messages) {
        Err(Error::LeftOut { index, role }) => (index, role),
        other => panic!("{source}: {other:?}"),
    };
    let user = [Message::user("a")];
    for source in [
        "assistant:",
        "{{ messages[0].text }}",
        "{{ messages[0].content.body }}a",
    ] {
        assert_eq!(left_out(source, &user), (0, "user".to_owned()), "{source}");
    }
    let only_users = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
    assert_eq!(checked(only_users, &user).unwrap(), "a");
    let instructed = [Message::system("user"), Message::user("user")];
    assert_eq!(left_out(only_users, &instructed), (0, "system".to_owned()));
    // An exception that the template raises itself is reported first.
    let raises =
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}";
    let error = checked(&(raises.to_owned() + only_users), &instructed).unwrap_err();
    assert_eq!(error.to_string(), "chat template: line 1: no system");
    // A template may leave out old answers, and cut commands out of a message.
    let cuts = "{{ messages[-1].content.replace('/no_think', '') }}";
    let messages = [
        Message::user("a"),
        Message::assistant("b"),
        Message::user("c /no_think"),
    ];
    assert_eq!(checked(cuts, &messages).unwrap(), "c ");
    assert_eq!(checked(AS_TEXT, &[Message::user("")]).unwrap(), "[user]");
}

#[test]
fn tools_need_a_place() {
    let tools = [json!({"type": "function", "function": {"name": "lookup"}})];
    let messages = [Message::user("a")];
    let input = RenderInput {
        tools: &tools,
        ..RenderInput::chat(&messages)
    };
    let error = ChatTemplate::new(AS_TEXT).render(&input).unwrap_err();
    assert_eq!(error.to_string(), "chat template: it does not use `tools`");
    let knows = format!("{AS_TEXT}{{{{ tools|tojson }}}}");
    assert!(ChatTemplate::new(knows).render(&input).is_ok());
    let error = checked(AS_TEXT, &call("".into(), json!({}))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "chat template: it does not use `tool_calls`"
    );
}

fn call(content: Content, arguments: Value) -> [Message; 2] {
    [
        Message::user("q"),
        Message {
            tool_calls: vec![ToolCall::new("f", arguments)],
            ..Message::assistant(content)
        },
    ]
}

#[test]
fn arguments_come_in_the_form_that_is_shown() {
    let calls = |argument: &str| {
        format!(
            "{{% for m in messages %}}{{{{ m.content or '' }}}}{{% for c in m.tool_calls %}}{argument}{{% endfor %}}{{% endfor %}}"
        )
    };
    let (string, object) = (json!(r#"{"a":1}"#), json!({"a": 1}));
    let cases = [
        (
            "{{ c.function.arguments|tojson }}",
            r#"q{"a": 1}"#,
            r#"q{"a": 1}"#,
        ),
        (
            "{{ '' + c.function.arguments }}",
            r#"q{"a":1}"#,
            r#"q{"a": 1}"#,
        ),
        (
            "{{ c.function.arguments if c.function.arguments is string else c.function.arguments|tojson }}",
            r#"q{"a":1}"#,
            r#"q{"a": 1}"#,
        ),
        (
            "{% for k, v in c.function.arguments|items %}{{ k }}={{ v }}{% endfor %}",
            "qa=1",
            "qa=1",
        ),
        ("{{ c.function.arguments }}", r#"q{"a":1}"#, r#"q{"a": 1}"#),
    ];
    for (argument, of_string, of_object) in cases {
        for (given, expected) in [(&string, of_string), (&object, of_object)] {
            let messages = call(Content::Null, given.clone());
            let rendered = checked(&calls(argument), &messages).unwrap();
            assert_eq!(rendered, expected, "{argument} of {given}");
        }
    }
    // JSON that is not an object stays unchanged.
    let messages = call(Content::Null, json!("no json"));
    let rendered = checked(&calls("{{ c.function.arguments|tojson }}"), &messages);
    assert_eq!(rendered.unwrap(), r#"q"no json""#);
}

#[test]
fn a_content_is_null_or_missing_as_the_caller_gave_it() {
    let source =
        "{% for m in messages %}{{ m.content is none }},{{ m.content is defined }};{% endfor %}";
    let json = r#"[{"role": "assistant", "content": null}, {"role": "assistant"}, {"role": "assistant", "content": ""}]"#;
    let messages: Vec<Message> = serde_json::from_str(json).unwrap();
    assert_eq!(
        render(source, &RenderInput::chat(&messages)).unwrap(),
        "True,True;False,False;False,True;"
    );
    assert_eq!(
        serde_json::to_value(&messages).unwrap(),
        serde_json::from_str::<Value>(json).unwrap()
    );
}

#[test]
fn reasoning_has_the_name_that_the_template_reads() {
    let json = r#"[{"role": "assistant", "content": "", "reasoning": "r", "reasoning_content": "r", "tool_plan": "p"}]"#;
    let messages: Vec<Message> = serde_json::from_str(json).unwrap();
    for (source, expected) in [
        ("{{ messages[0].reasoning_content }}", "r"),
        ("{{ messages[0].thinking }}", "r"),
        (
            "{% if 'thinking' in messages[0] %}{{ messages[0]['thinking'] }}{% endif %}",
            "r",
        ),
        (
            "{{ messages[0].reasoning }}{{ messages[0].tool_plan }}",
            "rp",
        ),
        (
            "{{ messages[0].thinking_budget }}{{ messages[0].reasoning_content }}",
            "r",
        ),
    ] {
        let rendered = render(source, &RenderInput::chat(&messages)).unwrap();
        assert_eq!(rendered, expected, "{source}");
    }
    let thinks: Message =
        serde_json::from_str(r#"{"role": "assistant", "thinking": "r"}"#).unwrap();
    assert_eq!(thinks.reasoning.as_deref(), Some("r"));
}
