//! Templates whose output is another in minijinja alone. The expected output is that of
//! jinja2 3.1, set up as by `transformers`; `cargo xtask templates` compares many more.

use super::*;

/// The variables of the templates.
const VARIABLES: &str = r##"{
    "text": "Hello, World",
    "korean": "안녕 세상",
    "empty": "",
    "nothing": null,
    "yes": true,
    "no": false,
    "seven": 7,
    "minus": -7,
    "half": 0.5,
    "large": 1e+22,
    "numbers": [
     3,
     1,
     2
    ],
    "words": [
     "b",
     "A",
     "c"
    ],
    "mixed": [
     1,
     "a",
     null,
     true,
     2.5
    ],
    "map": {
     "b": 1,
     "a": {
      "items": [
       1,
       2
      ],
      "x": null
     },
     "C": "d"
    },
    "people": [
     {
      "name": "Kim",
      "age": 30,
      "city": {
       "name": "서울"
      }
     },
     {
      "name": "lee",
      "age": 25,
      "city": {
       "name": "부산"
      }
     },
     {
      "name": "Park",
      "age": 30
     }
    ],
    "lines": "one\ntwo\n\n  three\n",
    "windows": "one\r\ntwo\rthree",
    "quotes": "it's \"x\"",
    "html": "<a href='x'>b & c</a>",
    "tree": [
     {
      "n": 1,
      "kids": [
       {
        "n": 2,
        "kids": []
       },
       {
        "n": 3,
        "kids": [
         {
          "n": 4,
          "kids": []
         }
        ]
       }
      ]
     }
    ]
}"##;

fn with_variables(source: &str) -> Result<String> {
    let input = RenderInput {
        extra: serde_json::from_str(VARIABLES).unwrap(),
        ..RenderInput::default()
    };
    render(source, &input)
}

#[test]
fn texts_are_jinja2s() {
    let cases = [
        ("{{ none is iterable }}", "False"),
        ("{{ nothing is iterable }}", "False"),
        ("{{ map is sequence }}", "True"),
        ("{{ 'a' is sequence }}", "True"),
        ("{{ range(3) is sequence }}", "True"),
        ("{{ range is callable }}", "True"),
        ("{{ 'a' is callable }}", "False"),
        ("{{ text.upper is callable }}", "True"),
        ("{{ namespace is callable }}", "True"),
        ("{{ '' | int }}", "0"),
        ("{{ ' 12 ' | int }}", "12"),
        ("{{ '12abc' | int }}", "0"),
        ("{{ numbers | int }}", "0"),
        ("{{ '1_000' | int }}", "1000"),
        ("{{ '' | float }}", "0.0"),
        ("{{ 'nan' | float }}", "nan"),
        ("{{ '%s' % text }}", "Hello, World"),
        ("{{ '%s' % 7 }}", "7"),
        ("{{ '%s' % none }}", "None"),
        ("{{ '%s' % true }}", "True"),
        ("{{ '%s' % 1.5 }}", "1.5"),
        (
            "{{ '%s' % map }}",
            "{'b': 1, 'a': {'items': [1, 2], 'x': None}, 'C': 'd'}",
        ),
        ("{{ '%s' % numbers }}", "[3, 1, 2]"),
        ("{{ '%s and %s' % ('a', 2) }}", "a and 2"),
        ("{{ '%d' % 7 }}", "7"),
        ("{{ '%d' % 7.9 }}", "7"),
        ("{{ '%d' % true }}", "1"),
        (
            "{{ '%5d|%-5d|%05d|%+d' % (7, 7, 7, 7) }}",
            "    7|7    |00007|+7",
        ),
        ("{{ '% d' % 7 }}", " 7"),
        (
            "{{ '%x %X %o %#x %#o' % (255, 255, 8, 255, 8) }}",
            "ff FF 10 0xff 0o10",
        ),
        ("{{ '%x' % -255 }}", "-ff"),
        ("{{ '%f' % 1.5 }}", "1.500000"),
        ("{{ '%.2f' % 3.14159 }}", "3.14"),
        ("{{ '%8.3f|' % 3.14159 }}", "   3.142|"),
        ("{{ '%e' % 12345.678 }}", "1.234568e+04"),
        ("{{ '%E' % 12345.678 }}", "1.234568E+04"),
        ("{{ '%g' % 12345.678 }}", "12345.7"),
        ("{{ '%g' % 0.00001234 }}", "1.234e-05"),
        ("{{ '%g' % 1e20 }}", "1e+20"),
        ("{{ '%G' % 1e-10 }}", "1E-10"),
        ("{{ '%r' % text }}", "'Hello, World'"),
        ("{{ '%r' % quotes }}", "'it\\'s \"x\"'"),
        ("{{ '%a' % korean }}", "'\\uc548\\ub155 \\uc138\\uc0c1'"),
        ("{{ '%c' % 'x' }}", "x"),
        ("{{ '%c' % 65 }}", "A"),
        ("{{ '%%' % () }}", "%"),
        ("{{ '%(a)s-%(b)d' % {'a': 'x', 'b': 3} }}", "x-3"),
        (
            "{{ '%10s|%-10s|%.2s' % ('abc', 'abc', 'abc') }}",
            "       abc|abc       |ab",
        ),
        ("{{ '%*d' % (5, 7) }}", "    7"),
        ("{{ '%i' % 7 }}", "7"),
        ("{{ '%s' % (numbers,) }}", "[3, 1, 2]"),
        ("{{ 1e16 }}", "1e+16"),
        ("{{ 1e22 }}", "1e+22"),
        ("{{ 1e-5 }}", "1e-05"),
        ("{{ 1.5e300 }}", "1.5e+300"),
        ("{{ large }}", "1e+22"),
        ("{{ large + 1 }}", "1e+22"),
        ("{{ 1e308 * 10 - 1e308 * 10 }}", "nan"),
        ("{{ -true }}", "-1"),
        ("{{ +7 }}", "7"),
        ("{{ [1, 'x'] * 2 }}", "[1, 'x', 1, 'x']"),
        ("{{ 2 * [1] }}", "[1, 1]"),
        ("{{ [1] * 0 }}", "[]"),
        ("{{ (1, 2) * 2 }}", "(1, 2, 1, 2)"),
        (
            "{{ ['a\\nb', 'tab\\t', 'back\\\\slash', '\\x00\\x1f\\x7f', '\\u200b', '한글', '🔥', '\\xa0'] }}",
            "['a\\nb', 'tab\\t', 'back\\\\slash', '\\x00\\x1f\\x7f', '\\u200b', '한글', '🔥', '\\xa0']",
        ),
        (
            "{{ ['\\u0300', '\\ud55c', '\\U0001F525', '\\x41', '\\101', '\\a\\b\\f\\v'] }}",
            "['̀', '한', '🔥', 'A', 'A', '\\x07\\x08\\x0c\\x0b']",
        ),
        ("{{ [missing] }}", "[Undefined]"),
        (
            "{{ [1e22, 1e16, 0.1, -0.0, 100000.0] }}",
            "[1e+22, 1e+16, 0.1, -0.0, 100000.0]",
        ),
        ("{{ [range(3)] }}", "[range(0, 3)]"),
        ("{{ range(3) }}", "range(0, 3)"),
        ("{{ range(1, 10, 3) }}", "range(1, 10, 3)"),
        ("{{ range(5, 0, -2) }}", "range(5, 0, -2)"),
        ("{{ range(0) }}", "range(0, 0)"),
        ("{{ none[1:] }}", ""),
        (
            "{{ map.copy() }}",
            "{'b': 1, 'a': {'items': [1, 2], 'x': None}, 'C': 'd'}",
        ),
        ("{{ numbers.index(1) }}", "1"),
        ("{{ numbers.copy() }}", "[3, 1, 2]"),
        ("{{ text.swapcase() }}", "hELLO, wORLD"),
        ("{{ text.casefold() }}", "hello, world"),
        ("{{ 'straße'.casefold() }}", "strasse"),
        ("{{ \"they're bill's\".title() }}", "They'Re Bill'S"),
        ("{{ '\\x1ca\\x1f'.strip() ~ '|' }}", "a|"),
        ("{{ text.split('l', maxsplit=1) }}", "['He', 'lo, World']"),
        ("{{ text.split(sep=', ') }}", "['Hello', 'World']"),
        (
            "{{ text.split(sep='l', maxsplit=2) }}",
            "['He', '', 'o, World']",
        ),
        ("{{ '  a  b c '.rsplit(none, 1) }}", "['  a  b', 'c']"),
        ("{{ 'a,b,c'.rsplit(',') }}", "['a', 'b', 'c']"),
        ("{{ 'a,b,c'.rsplit(',', 1) }}", "['a,b', 'c']"),
        ("{{ 'a,b,c'.rsplit(',', maxsplit=1) }}", "['a,b', 'c']"),
        ("{{ text.partition(', ') }}", "('Hello', ', ', 'World')"),
        ("{{ text.partition('zz') }}", "('Hello, World', '', '')"),
        ("{{ text.rpartition('l') }}", "('Hello, Wor', 'l', 'd')"),
        ("{{ text.rpartition('zz') }}", "('', '', 'Hello, World')"),
        ("{{ text.partition('l')[2] }}", "lo, World"),
        ("{{ text.removeprefix('Hello') }}", ", World"),
        ("{{ text.removeprefix('x') }}", "Hello, World"),
        ("{{ text.removesuffix('World') }}", "Hello, "),
        ("{{ text.removesuffix('') }}", "Hello, World"),
        ("{{ text.startswith('ello', 1) }}", "True"),
        ("{{ text.startswith('ello', 1, 3) }}", "False"),
        ("{{ text.endswith('Worl', 0, -1) }}", "True"),
        ("{{ text.find('o', 5) }}", "8"),
        ("{{ text.find('o', 5, 7) }}", "-1"),
        ("{{ text.index('o') }}", "4"),
        ("{{ text.rindex('o') }}", "8"),
        ("{{ text.count('l', 3) }}", "2"),
        ("{{ korean.index('상') }}", "4"),
        (
            "{{ lines.splitlines(keepends=true) }}",
            "['one\\n', 'two\\n', '\\n', '  three\\n']",
        ),
        ("{{ windows.splitlines() }}", "['one', 'two', 'three']"),
        (
            "{{ 'a\\x0bb\\x0cc\\x1cd\\u2028e\\x85f'.splitlines() }}",
            "['a', 'b', 'c', 'd', 'e', 'f']",
        ),
        ("{{ '²'.isdecimal() }}", "False"),
        ("{{ 'Abc Def'.istitle() }}", "True"),
        ("{{ 'a_1'.isidentifier() }}", "True"),
        ("{{ 'a\\n'.isprintable() }}", "False"),
        ("{{ '7'.zfill(3) }}", "007"),
        ("{{ '-7'.zfill(4) }}", "-007"),
        ("{{ '+7'.zfill(4) }}", "+007"),
        ("{{ 'abc'.zfill(2) }}", "abc"),
        ("{{ 'a'.ljust(3) ~ '|' }}", "a  |"),
        ("{{ 'a'.rjust(3) }}", "  a"),
        ("{{ 'a'.center(4) ~ '|' }}", " a  |"),
        ("{{ 'ab'.center(5) ~ '|' }}", "  ab |"),
        ("{{ 'a'.ljust(3, '*') }}", "a**"),
        ("{{ 'a'.center(6, '*') }}", "**a***"),
        ("{{ 'a\\tb'.expandtabs() }}", "a       b"),
        ("{{ 'a\\tb'.expandtabs(4) }}", "a   b"),
        (
            "{{ '{:.2f} {:.1%} {:e} {:g}'.format(3.14159, 0.256, 12345.678, 0.00001) }}",
            "3.14 25.6% 1.234568e+04 1e-05",
        ),
        ("{{ '{!r}'.format('a') }}", "'a'"),
        ("{{ '{!s}'.format(none) }}", "None"),
        ("{{ '{:{}}'.format('a', 5) ~ '|' }}", "a    |"),
        ("{{ '{:=+5d}'.format(7) }}", "+   7"),
        ("{{ 0 | default('x', boolean=true) }}", "x"),
        (
            "{{ people | map(attribute='zzz') | list }}",
            "[Undefined, Undefined, Undefined]",
        ),
        ("{{ words | sort(true) }}", "['c', 'b', 'A']"),
        (
            "{{ map | dictsort(true) }}",
            "[('C', 'd'), ('a', {'items': [1, 2], 'x': None}), ('b', 1)]",
        ),
        (
            "{{ map | dictsort(false, 'key', true) }}",
            "[('C', 'd'), ('b', 1), ('a', {'items': [1, 2], 'x': None})]",
        ),
        ("{{ 'xxaxx' | trim(chars='x') }}", "a"),
        ("{{ text | wordcount }}", "2"),
        ("{{ korean | wordcount }}", "2"),
        ("{{ 'one_two three-four' | wordcount }}", "3"),
        ("{{ 'foo bar baz qux' | truncate(9) }}", "foo..."),
        ("{{ 'foo bar baz qux' | truncate(9, true) }}", "foo ba..."),
        ("{{ 'foo bar baz qux' | truncate(11) }}", "foo bar baz qux"),
        (
            "{{ 'foo bar baz qux' | truncate(11, false, '...', 0) }}",
            "foo bar...",
        ),
        (
            "{{ 'foo bar baz qux' | truncate(length=5, killwords=true, end='~', leeway=0) }}",
            "foo ~",
        ),
        ("{{ 'short' | truncate }}", "short"),
        ("{{ 'a' | center(5) ~ '|' }}", "  a  |"),
        ("{{ 'ab' | center(5) ~ '|' }}", "  ab |"),
        (
            "{{ 'a' | center }}",
            "                                       a                                        ",
        ),
        ("{{ text | center(width=3) }}", "Hello, World"),
        ("{{ 1e22 | string }}", "1e+22"),
        ("{{ true | abs }}", "1"),
        (
            "{{ html | escape }}",
            "&lt;a href=&#39;x&#39;&gt;b &amp; c&lt;/a&gt;",
        ),
        (
            "{{ html | e }}",
            "&lt;a href=&#39;x&#39;&gt;b &amp; c&lt;/a&gt;",
        ),
        (
            "{{ html | forceescape }}",
            "&lt;a href=&#39;x&#39;&gt;b &amp; c&lt;/a&gt;",
        ),
        ("{{ quotes | escape }}", "it&#39;s &#34;x&#34;"),
        ("{{ numbers | pprint }}", "[3, 1, 2]"),
        ("{{ text | attr('upper') is callable }}", "True"),
        ("{{ map | attr('b') }}", ""),
        ("{{ lines | indent }}", "one\n    two\n\n      three\n"),
        ("{{ lines | indent(2) }}", "one\n  two\n\n    three\n"),
        (
            "{{ lines | indent(2, true) }}",
            "  one\n  two\n\n    three\n",
        ),
        (
            "{{ lines | indent(2, first=true) }}",
            "  one\n  two\n\n    three\n",
        ),
        (
            "{{ lines | indent(2, true, true) }}",
            "  one\n  two\n  \n    three\n  ",
        ),
        (
            "{{ lines | indent(2, blank=true) }}",
            "one\n  two\n  \n    three\n  ",
        ),
        ("{{ lines | indent(width=1) }}", "one\n two\n\n   three\n"),
        ("{{ lines | indent('> ') }}", "one\n> two\n\n>   three\n"),
        ("{{ 'a\\n' | indent(2) ~ '|' }}", "a\n|"),
        ("{{ 'a\\n\\n' | indent(2) ~ '|' }}", "a\n\n|"),
        ("{{ '' | indent(2, true) ~ '|' }}", "  |"),
        ("{{ windows | indent(2) }}", "one\n  two\n  three"),
        (
            "{{ people | groupby('age') | map(attribute='grouper') | list }}",
            "[25, 30]",
        ),
        (
            "{{ people | groupby('age') }}",
            "[(25, [{'name': 'lee', 'age': 25, 'city': {'name': '부산'}}]), (30, [{'name': 'Kim', 'age': 30, 'city': {'name': '서울'}}, {'name': 'Park', 'age': 30}])]",
        ),
        ("{{ dict([('a', 1), ('b', 2)]) }}", "{'a': 1, 'b': 2}"),
        ("{{ dict([['a', 1]], c=3) }}", "{'a': 1, 'c': 3}"),
        (
            "{{ dict(map.items()) }}",
            "{'b': 1, 'a': {'items': [1, 2], 'x': None}, 'C': 'd'}",
        ),
        ("{{ namespace(map, z=1).b }}", "1"),
        ("{{ namespace(a=1) }}", "<Namespace {'a': 1}>"),
        ("{{ 가 }}", ""),
        ("{{ 1, 2 }}", "(1, 2)"),
        (
            "{{ ['\\x85\\xad\\u2028\\ufeff\\ue000'] | string }}",
            "['\\x85\\xad\\u2028\\ufeff\\ue000']",
        ),
        ("{{ 1e100 }}", "1e+100"),
        ("{{ 123456789012345680.0 }}", "1.2345678901234568e+17"),
        ("{{ 1e-10 }}", "1e-10"),
        ("{{ 5e-324 }}", "5e-324"),
        ("{{ 1.7976931348623157e308 }}", "1.7976931348623157e+308"),
        ("a\r\nb\rc\n", "a\nb\nc"),
        ("{{ 'a\r\nb' }}", "a\nb"),
        ("{{ 'a\rb' }}", "a\nb"),
        ("a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n", "a\nb\nc"),
        ("{% raw %}\r\na\r\n{% endraw %}\r\nb", "\na\nb"),
        ("{% raw %}\nx{% endraw %}", "\nx"),
        ("a\r\n\r\n", "a\n"),
        (
            "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
            "21",
        ),
        ("{% for x in 1, 2, 3 %}{{ x }}{% endfor %}", "123"),
        ("{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}", "1"),
        (
            "{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}",
            "5",
        ),
        (
            "{% for g in people|groupby('age') %}{{ g.grouper }}:{% for p in g.list %}{{ p.name }},{% endfor %}{% endfor %}",
            "25:lee,30:Kim,Park,",
        ),
        ("{% set a, b = 'xy' %}{{ a }}{{ b }}", "xy"),
        ("{% set 가 = 1 %}{{ 가 }}", "1"),
        ("{% set été = 1 %}{{ été }}", "1"),
        ("{% if map.items %}a{% endif %}", "a"),
        (
            "{% if tools is iterable and tools|length > 0 %}a{% else %}b{% endif %}",
            "b",
        ),
        (
            "{% if nothing is iterable and nothing|length > 0 %}a{% else %}b{% endif %}",
            "b",
        ),
        (
            "{% set x = 1 %}{% set y %}{% set x = 2 %}{{ x }}{% endset %}{{ y }}{{ x }}",
            "21",
        ),
        (
            "{% set x = 1 %}{% filter upper %}{% set x = 2 %}{{ x }}{% endfilter %}{{ x }}",
            "21",
        ),
        (
            "{% for i in [1,2] %}{% filter trim %}{% set x = i %}{% endfilter %}{{ x is defined }}{% endfor %}",
            "FalseFalse",
        ),
        (
            "a\n  {%- set x | upper -%}  \n b {{ loop }} \n  {%- endset %}\n  {% set ns = namespace() %}\n  {% set ns.y %}\n  {{ x }}\n  {% endset %}\n[{{ ns.y }}]",
            "a[  B \n]",
        ),
        (
            "{% for i in [1,2] %}{% continue %}{% else %}e{% endfor %}",
            "e",
        ),
        (
            "{% for i in [1,2] %}{% if i == 2 %}{% break %}{% endif %}{% else %}e{% endfor %}",
            "",
        ),
        (
            "{% for i in [1,2] %}\n  {% for j in [i] -%}  \n j {% if i == 1 %}{% continue %}{% endif %}x\n {%- else %}\n e {% if i == 2 %}{% break %}{% endif %}\n {%- endfor %}\n-\n {%- else %}E{% endfor %}.",
            "j  e -j x-.",
        ),
        (
            "{% for i in [1,2,3] %}{% for j in [] %}{% else %}{% if i == 2 %}{% break %}{% endif %}{% endfor %}{{ i }}{% endfor %}",
            "1",
        ),
        (
            "{% with a = 1 %}{% for i in [1,2,3] %}{% if i == a %}{% continue %}{% endif %}{{ i }}{% endfor %}{% endwith %}",
            "23",
        ),
        ("{{ ['1','x']|map('int', default=9)|list }}", "[1, 9]"),
        (
            "{{ [none,'x']|map('default','q',boolean=true)|list }}",
            "['q', 'x']",
        ),
        (
            "{{ ['a']|map('indent', width=2, first=true)|list }}",
            "['  a']",
        ),
        ("{{ [[1,2],[3]]|map('sum', start=1)|list }}", "[4, 4]"),
        (
            "{{ [1.7, 2.2]|map('round', method='floor')|list }}",
            "[1.0, 2.0]",
        ),
        (
            "{{ [{'a': 1}]|map('tojson', indent=2)|first }}",
            "{\n  \"a\": 1\n}",
        ),
        (
            "{{ [[1,2],[3,4]]|map('map', 'string')|map('join', ',')|list }}",
            "['1,2', '3,4']",
        ),
        (
            "{{ [[1,2],[3]]|map(attribute='1', default=none)|list }}",
            "[2, Undefined]",
        ),
        (
            "{{ people|map(attribute='city.name', default='?')|list }}",
            "['서울', '부산', '?']",
        ),
        ("{{ []|map('zzz')|list }}", "[]"),
        ("{{ 'aBc'|select('upper')|list }}", "['B']"),
        ("{{ map|map('upper')|list }}", "['B', 'A', 'C']"),
        ("{{ [1,2,3]|select('divisibleby', num=3)|list }}", "[3]"),
        ("{{ numbers|select('in', seq=[1])|list }}", "[1]"),
        (
            "{{ people|selectattr('age', 'divisibleby', num=25)|map(attribute='name')|list }}",
            "['lee']",
        ),
        (
            "{{ people|rejectattr('city')|map(attribute='name')|list }}",
            "['Park']",
        ),
        ("{{ (false)|map(attribute='a')|list }}", "[]"),
        ("{{ 0|select|list }}", "[]"),
        ("{{ none|selectattr('a')|list }}", "[]"),
        ("{{ missing|rejectattr('a')|list }}", "[]"),
        ("{{ strftime_now(format='%Y')|length }}", "4"),
        ("{% filter indent(2) %}a\nb\n{% endfilter %}|", "a\n  b\n|"),
        ("{{ range(100000) | length }}", "100000"),
        ("{% set u = text.upper %}{{ u() }}", "HELLO, WORLD"),
        ("{% set f = map.get %}{{ f('b') }}", "1"),
        (
            "{{ '%02d' % 3 }}{{ '%s: %s' % ('a', 'b') }}{{ 'x%sy' % seven }}",
            "03a: bx7y",
        ),
    ];
    for (source, expected) in cases {
        let rendered = with_variables(source).map_err(|error| error.to_string());
        assert_eq!(rendered.as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn what_fails_in_jinja2_fails() {
    let cases = [
        "{% break %}",
        "{% for i in [1] %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
        "{% for i in [1] %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}",
        "{% for i in [1] %}{% else %}{% break %}{% endfor %}",
        "{{ people|map(attribute='name', x=1)|list }}",
        "{{ people|map('upper', attribute='name')|list }}",
        "{{ people|map|list }}",
        "{{ people|map('zzz')|list }}",
        "{{ numbers|map(7)|list }}",
        "{{ numbers|select('zzz')|list }}",
        "{{ numbers|selectattr|list }}",
        "{{ true|map('upper')|list }}",
        "{{ 7|select|list }}",
        "{{ people|selectattr('city.name', 'eq', '서울')|list }}",
        "{{ strftime_now() }}",
        "{{ strftime_now(7) }}",
        "{{ missing | int }}",
        "{{ 1 < 'a' }}",
        "{{ 'a' < 1 }}",
        "{{ none < 1 }}",
        "{{ missing < 1 }}",
        "{{ [1] < ['a'] }}",
        "{{ {'a': 1} < {'a': 2} }}",
        "{{ 1 in 'a1' }}",
        "{{ none in 'a' }}",
        "{{ [1] in map }}",
        "{{ missing[1:] }}",
        "{{ text.split('') }}",
        "{{ text.startswith(['x', 'H']) }}",
        "{{ ','.join(numbers) }}",
        "{{ ','.join(none) }}",
        "{{ '{:>5}'.format(none) }}",
        "{{ mixed | sort }}",
        "{{ none | sort }}",
        "{{ [[1], [1]] | unique | list }}",
        "{{ map | dictsort(by='value') }}",
        "{{ {2: 'b', 'a': 1} | dictsort }}",
        "{{ none | join }}",
        "{{ [1, 'a'] | max }}",
        "{{ none | sum }}",
        "{{ missing | tojson }}",
        "{{ [missing] | tojson }}",
        "{{ range(3) | tojson }}",
        "{{ text.upper | tojson }}",
        "{{ namespace(a=1) | tojson }}",
        "{{ text | lines }}",
        "{{ text | split(', ') }}",
        "{{ text | bool }}",
        "{{ numbers | zip(words) | list }}",
        "{{ numbers | chain(words) | list }}",
        "{{ {[1]: 2} }}",
        "{{ 1. }}",
        "{{ 1__0 }}",
        "{{ 007 }}",
        "{{ 1 is odd is false }}",
        "{{ ''.join(['a', 1]) }}",
        "{{ ''.join(['a', none]) }}",
        "{{ none > none }}",
        "a\n  {{+ 1 +}}\n  b",
        "{% for x in none %}a{% else %}b{% endfor %}",
        "{% for x in nothing %}a{% endfor %}",
        "{% set ns = namespace(a=1) %}{{ 'a' in ns }}",
        "{% set ns = namespace(a=1) %}{% for k in ns %}{{ k }}{% endfor %}",
    ];
    for source in cases {
        let rendered = with_variables(source);
        assert!(rendered.is_err(), "{source}: {rendered:?}");
    }
}

/// minijinja would leave a scope, or the text gathered so far, on its stack.
#[test]
fn jumps_out_of_a_scope_are_refused() {
    for [open, close] in [
        ["with a = 1", "endwith"],
        ["set x", "endset"],
        ["filter upper", "endfilter"],
    ] {
        for jump in ["break", "continue"] {
            let block = format!(
                "{{% {open} %}}{{% if i == 1 %}}{{% {jump} %}}{{% endif %}}x{{% {close} %}}"
            );
            let source = format!("{{% for i in [3,1,2] %}}\n{block}{{% endfor %}}");
            let error = with_variables(&source).unwrap_err().to_string();
            let tag = open.split(' ').next().unwrap();
            assert_eq!(
                error,
                format!(
                    "chat template: line 2: syntax error: `{jump}` can't leave a `{tag}` block \
                     here; close the block before it"
                )
            );
        }
    }
}

/// minijinja would run the `else` for the outermost list alone.
#[test]
fn else_of_a_recursive_loop_is_refused() {
    let source = "{% for n in tree recursive %}{{ loop(n.kids) }}{% else %}e{% endfor %}";
    let error = with_variables(source).unwrap_err().to_string();
    assert!(
        error.contains("line 1") && error.contains("recursive"),
        "{error}"
    );
}
