"""Where Ondol's answer is not jinja2's, on purpose.

Each group has a reason, and the cases with our answer: the text, or `None` for an error. A case that
gets another answer, or that no longer differs, fails the comparison.
"""

GROUPS = [
    (
        "Views and methods print as Python's objects with an address; ours print as lists and `<built-in method>`.",
        {
            'map.items': '<built-in method>',
            'map.a.items': '<built-in method>',
            'map.get': '<built-in method>',
            'text.upper': '<built-in method>',
            "{{ text.upper ~ '' }}": '<built-in method>',
            'map.a.items()': "[('items', [1, 2]), ('x', None)]",
            'map.items()': "[('b', 1), ('a', {'items': [1, 2], 'x': None}), ('C', 'd')]",
            'map.keys()': "['b', 'a', 'C']",
            'map.values()': "[1, {'items': [1, 2], 'x': None}, 'd']",
        },
    ),
    (
        "`items()` and its like are lists with us: they can be indexed and written as JSON.",
        {
            'map.items()[0]': "('b', 1)",
            'map.keys()[0]': 'b',
            'map.items() | tojson': '[["b", 1], ["a", {"items": [1, 2], "x": null}], ["C", "d"]]',
        },
    ),
    (
        "Generators are lists with us.",
        {
            'people | selectattr': None,
            "words | map('upper')": "['B', 'A', 'C']",
            'numbers | batch(2)': '[[3, 1], [2]]',
            'numbers | reverse': '[2, 1, 3]',
        },
    ),
    (
        "Not supported, with an error: escapes by name, numbers past 128 bits, attributes in `format`, bytes.",
        {
            "'\\N{BULLET}'": None,
            '10 ** 40': None,
            "'{a.b}'.format(a={'b': 1})": None,
            "'abc'.encode()": None,
        },
    ),
    (
        "Methods that no template needs, with an error.",
        {
            'half.is_integer()': None,
            'seven.bit_length()': None,
            "map.fromkeys(['a'])": None,
            "'abc'.translate({})": None,
            "'abc'.maketrans('a', 'b')": None,
        },
    ),
    (
        "Attributes of numbers, and methods that are neither called nor common, are undefined.",
        {
            'seven.real': '',
            'text.format': '',
        },
    ),
    (
        "Filters and functions for web pages and by chance, with an error.",
        {
            "'a b&c=d/é?' | urlencode": None,
            "{'a': 1, 'b': 'x y'} | urlencode": None,
            "[('a', 1)] | urlencode": None,
            '7 | urlencode': None,
            "'<p>a  <b>b</b>\\n c</p> &amp; &lt;' | striptags": None,
            '{\'a\': 1, \'b\': none, \'c\': \'x"y\'} | xmlattr': None,
            '7 | filesizeformat': None,
            '1000000 | filesizeformat': None,
            '1048576 | filesizeformat(true)': None,
            'text | wordwrap(6)': None,
            "'http://a.b' | urlize": None,
            'numbers | random | string | length': None,
            '[1, 2, 3] | random is number': None,
            "cycler('a', 'b').next()": None,
            "joiner(', ')()": None,
        },
    ),
    (
        "Names of the engine that no template asks for.",
        {
            'lipsum is defined': 'False',
            'self is defined': 'False',
        },
    ),
    (
        "`pprint` does not sort.",
        {
            'map | pprint': "{'b': 1, 'a': {'items': [1, 2], 'x': None}, 'C': 'd'}",
        },
    ),
    (
        "We are lax: a width before `%%`, a float as an index, a missing attribute of a text, `+` at a raw tag, halves of characters as in JSON, `is defined if`.",
        {
            "'%5%' % ()": '%',
            'text[1.0]': 'e',
            "words | groupby('zzz')": "[(Undefined, ['b', 'A', 'c'])]",
            'a {%+ raw +%} b {%+ endraw +%}\n c': 'a  b \n c',
            "{{ '\\ud83d\\udd25' == '🔥' }}": 'True',
            "{{ a.b is defined if a is defined else 'q' }}": 'q',
        },
    ),
    (
        "`-` at a tag takes away what Unicode calls white space; Python also four control characters.",
        {
            'a\x1c{%- if true %}b{% endif %}': 'a\x1cb',
        },
    ),
    (
        "An open raw block is an error; jinja2 drops it.",
        {
            '{% raw %}': None,
        },
    ),
    (
        "Tags that no chat template needs, with an error.",
        {
            '{% print 1 %}': None,
            '{% block a %}b{% endblock %}': None,
            '{% autoescape true %}{{ html }}{% endautoescape %}': None,
            '{% set loop = 1 %}{{ loop }}': None,
        },
    ),
    (
        "A loop does not take letters apart, with an error.",
        {
            "{% for a, b in ['xy', 'zw'] %}{{ a }}-{{ b }};{% endfor %}": None,
        },
    ),
    (
        "Macros have no `varargs` and `kwargs`, and no defaults that refer to parameters: an error where they would matter.",
        {
            '{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}': None,
            '{% macro f(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ f(1, 2, 3) }}': None,
            '{% macro f(a) %}{{ a }}{{ kwargs }}{% endmacro %}{{ f(1, b=2) }}': None,
            '{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f() }}': '',
        },
    ),
    (
        "Loops and macros print otherwise, and have fewer attributes.",
        {
            '{% for x in numbers %}{{ loop }}{% endfor %}': '<loop 0/3><loop 1/3><loop 2/3>',
            '{% macro f() %}a{% endmacro %}{{ f }}': '<macro f>',
            '{% macro f() %}a{% endmacro %}{{ f.name }}{{ f.arguments }}': 'f[]',
            '{% macro f(a, b) %}a{% endmacro %}{{ f.arguments }}{{ f.catch_kwargs }}{{ f.catch_varargs }}{{ f.caller }}': "['a', 'b']False",
        },
    ),
]

# Published templates that jinja2 itself fails on: the file, jinja2's error, and why we don't.
LAX = {
    "llama-cpp-deepseek-r1": (
        "Object of type generator is not JSON serializable",
        "It writes the result of `map` as JSON, which is a list with us.",
    ),
}
