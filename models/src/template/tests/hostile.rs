//! Each of these would run for ages, take all memory or overflow the stack.

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
        refused("{% macro f(x) %}{{ f([x, x]) }}{% endmacro %}{{ f(1) }}").contains("too large")
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
        // Source that is not refused must compile; what it renders does not matter.
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
    // After these doublings, `x` is about half the limit; a few of them in one list exceed it.
    let half = "{% set ns = namespace(x=range(100)|list) %}\
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
    assert_eq!(
        rendered("{{ [1, 'a'] * 2 }}{{ 2 * (1,) }}"),
        "[1, 'a', 1, 'a'](1, 1)"
    );
    for source in [
        "{{ [1] * 99999999 }}",
        "{{ 99999999 * (1,) }}",
        "{{ [1] * 9223372036854775807 }}",
        "{{ ([[[1] * 9999] * 9999] * 9999) ~ '' }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x * 9 %}{% endfor %}",
        "{{ ('x' * 1000 * [1])|length }}",
    ] {
        refused(source);
    }
    refused("{{ ('a' * 99999999)|length * 'a' }}");
}

/// What a filter, a method or an operator makes is bounded before it is made.
#[test]
fn filters_and_methods_that_explode() {
    let large = "('a' * 9000000)";
    let breaks = "('\\n' * 9000000)";
    for expression in [
        "'%99999999s' % 'a'",
        "'%*s' % (99999999, 'a')",
        "'%.99999999f' % 1.5",
        "('%9999d' * 2000) % ((1,) * 2000)",
        "('{:9999}' * 2000).format(*([1] * 2000))",
        "'{:{}}'.format(1, 99999999)",
        "'{:{:{:{}}}}'.format(1, 2, 3, 4)",
        "'a'.zfill(99999999)",
        "'a'.center(99999999)",
        "'a'.ljust(99999999, '가')",
        "'a'|center(99999999)",
        "('\\t' * 9000).expandtabs(9999)",
        "LARGE.replace('', 'bb')",
        "LARGE|replace('', 'bb')",
        "('<' * 9000000)|escape",
        "LARGE|list",
        "LARGE|sort",
        "LARGE|unique|list",
        "LARGE|join(',')",
        "('a ' * 4000000).split()",
        "LARGE.split('a')",
        "BREAKS.splitlines()",
        "BREAKS|indent",
        "'a'|indent(99999999)",
        "('ŉ' * 6000000).upper()",
        "[1]|batch(99999999, 0)",
        "[1]|slice(99999999)",
        "range(99999)|slice(99999)|map('list')|list ~ ''",
        "[range(99999)] * 99",
        "dict([[1]] * 9999)",
        "range(100001)",
        "2 ** 999999999999",
        "9 * 10 ** 38 * 10 ** 38",
        "('a' * 16000000) + ('a' * 16000000)",
        "('a' * 16000000) ~ ('a' * 16000000)",
        "range(99999)|groupby('x')|list",
    ] {
        let expression = expression.replace("LARGE", large).replace("BREAKS", breaks);
        refused(&format!("{{{{ {expression} }}}}"));
    }
}

/// Values inside of our own objects (methods and groups) are counted too.
#[test]
fn methods_and_groups_that_nest() {
    let grow = |step: &str| {
        format!(
            "{{% set ns = namespace(x=[1]) %}}{{% for i in range(20000) %}}{{% set ns.x = {step} %}}{{% endfor %}}"
        )
    };
    for step in [
        "[ns.x].copy",
        "{'a': ns.x}.items",
        "[[1, ns.x]]|groupby(0)",
        "(ns.x,)",
        "dict(a=ns.x)",
        "[ns.x] * 2",
        "[ns.x]|map('list')|list",
    ] {
        refused(&grow(step));
    }
    refused("{% set ns = namespace() %}{% set ns.x = {'a': ns}.items %}");
    refused("{% set ns = namespace() %}{% set x = namespace(a=ns) %}");
}

/// minijinja would divide by the number of arguments, and a panic may end the process.
#[test]
fn cycle_without_arguments() {
    for source in [
        "{% for x in [1] %}{{ loop.cycle() }}{% endfor %}",
        "{% for x in [1] %}{{ loop.cycle(*[]) }}{% endfor %}",
        "{% for x in [1] %}{% set l = loop %}{{ (l).cycle() }}{% endfor %}",
    ] {
        assert!(
            refused(source).contains("needs an argument"),
            "{source}: {}",
            refused(source)
        );
    }
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
    let large = refused("{{ ('a' * 10000).replace('a', 'b' * 2000)|length }}");
    assert_eq!(large, "line 1: `replace` would make 20010000 bytes");
}

/// Source that is no template must not cause a panic; any result is right.
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
        Just("%"),
        Just("//"),
        Just("**"),
        Just("-"),
        Just("+"),
        Just("~"),
        Just(":"),
        Just("raw"),
        Just("macro f"),
        Just("with "),
        Just("call "),
        Just("loop.cycle"),
        Just(".items"),
        Just("\r"),
    ];
    let source = proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    proptest!(ProptestConfig::with_cases(500), |(source in source)| {
        let messages = [Message::user("안녕")];
        let _ = render(&source, &RenderInput::chat(&messages));
    });
}
