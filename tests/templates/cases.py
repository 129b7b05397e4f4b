"""Small templates, each for one habit of jinja2 or Python that chat templates may lean on.

`EXPRESSIONS` are put between `{{` and `}}`, `TEMPLATES` are taken as they are. All see `VARIABLES`.
"""

VARIABLES = {
    "text": "Hello, World",
    "korean": "안녕 세상",
    "empty": "",
    "nothing": None,
    "yes": True,
    "no": False,
    "seven": 7,
    "minus": -7,
    "half": 0.5,
    "large": 1e22,
    "numbers": [3, 1, 2],
    "words": ["b", "A", "c"],
    "mixed": [1, "a", None, True, 2.5],
    "map": {"b": 1, "a": {"items": [1, 2], "x": None}, "C": "d"},
    "people": [
        {"name": "Kim", "age": 30, "city": {"name": "서울"}},
        {"name": "lee", "age": 25, "city": {"name": "부산"}},
        {"name": "Park", "age": 30},
    ],
    "lines": "one\ntwo\n\n  three\n",
    "windows": "one\r\ntwo\rthree",
    "quotes": "it's \"x\"",
    "html": "<a href='x'>b & c</a>",
    "tree": [{"n": 1, "kids": [{"n": 2, "kids": []}, {"n": 3, "kids": [{"n": 4, "kids": []}]}]}],
}

EXPRESSIONS = r"""
none is iterable
nothing is iterable
'' is iterable
text is iterable
7 is iterable
map is iterable
missing is iterable
none is mapping
map is mapping
numbers is mapping
'a' is mapping
none is sequence
map is sequence
'a' is sequence
numbers is sequence
7 is sequence
(1, 2) is sequence
missing is sequence
range(3) is sequence
range(3) is iterable
true is number
1.5 is number
'1' is number
true is integer
7 is integer
7.0 is integer
7 is float
7.0 is float
none is boolean
true is boolean
1 is boolean
true is true
1 is true
0 is false
false is false
none is none
nothing is not none
missing is none
missing is defined
missing is undefined
map.zzz is defined
map.a.x is defined
map.a.x is none
'a' is string
7 is string
none is string
missing is string
'a' is in 'abc'
1 is in [1, 2]
3 is not in [1, 2]
'b' is in map
1 is eq 1
1 is eq(1.0)
true is eq 1
1 is equalto 2
1 is ne 2
1 is lt 2
1 is le 1
2 is gt 1
2 is ge 3
2 is greaterthan 1
2 is lessthan 1
1 is sameas 1
true is sameas true
1 is sameas true
none is sameas none
'a' is sameas 'a'
range is callable
'a' is callable
text.upper is callable
namespace is callable
'ABC' is upper
'abc' is lower
'Abc' is lower
'123' is upper
'' is lower
3 is odd
4 is even
-3 is odd
9 is divisibleby 3
9 is divisibleby(2)
9 is divisibleby 0
'a' is filter
'upper' is filter
'odd' is test
'zzz' is test
html is escaped
1 is zzz
'' | int
'12' | int
' 12 ' | int
'12abc' | int
'12.7' | int
'1e3' | int
12.7 | int
-12.7 | int
'x' | int(5)
'0x1f' | int(0, 16)
'1f' | int(base=16)
'0b11' | int(0, 2)
none | int
none | int(default=3)
true | int
numbers | int
missing | int
'99999999999999999999' | int
'1_000' | int
'' | float
'1.5' | float
'x' | float(2.0)
'inf' | float
'nan' | float
7 | float
none | float
true | float
'1e400' | float
'%s' % text
'%s' % 7
'%s' % none
'%s' % true
'%s' % 1.5
'%s' % map
'%s' % numbers
'%s and %s' % ('a', 2)
'%d' % 7
'%d' % 7.9
'%d' % true
'%d' % '7'
'%5d|%-5d|%05d|%+d' % (7, 7, 7, 7)
'% d' % 7
'%x %X %o %#x %#o' % (255, 255, 8, 255, 8)
'%x' % -255
'%f' % 1.5
'%.2f' % 3.14159
'%8.3f|' % 3.14159
'%e' % 12345.678
'%E' % 12345.678
'%g' % 12345.678
'%g' % 0.00001234
'%g' % 1e20
'%G' % 1e-10
'%r' % text
'%r' % quotes
'%a' % korean
'%c' % 'x'
'%c' % 65
'%%' % ()
'100%' % ()
'%(a)s-%(b)d' % {'a': 'x', 'b': 3}
'%(a)s' % {'b': 1}
'%s' % ()
'%s %s' % 'a'
'%s' % ('a', 'b')
'a' % 'b'
'%10s|%-10s|%.2s' % ('abc', 'abc', 'abc')
'%*d' % (5, 7)
'%i' % 7
'%z' % 7
'%s' % (numbers,)
'%5%' % ()
'%s' | format('x')
'%s-%d' | format('x', 3)
'%(a)s' | format(a='x')
'%s' | format
7 % 3
-7 % 3
7 % -3
7.5 % 2
-7.5 % 2
7 % 0
7 % 2.5
7 / 2
8 / 2
-7 / 2
7 / 0
1 / 3
7 // 2
-7 // 2
7 // -2
7.5 // 2
7 // 0
2 ** 10
2 ** -1
2 ** 0.5
-2 ** 2
2 ** 3 ** 2
0 ** 0
0.1 + 0.2
1e16
1e22
1e15
1.0
100.0
1e-5
0.0001
123456789.123456789
1.5e300
-0.0
large
large + 1
1e308 * 10
1e308 * 10 - 1e308 * 10
12345678901234567890
2 ** 64
2 ** 100
1 + true
true + true
true
false
none
-true
+7
+'a'
-'a'
- numbers
7 + 2.5
'a' + 'b'
'a' + 1
1 + 'a'
'a' + none
none + 1
missing + 'x'
'x' + missing
missing + missing
missing - 1
numbers + [9]
numbers + (9,)
(1,) + (2,)
numbers + 'a'
map + map
numbers - numbers
'a' * 3
3 * 'a'
'a' * 0
'a' * -1
'a' * true
'a' * 1.5
[1, 'x'] * 2
2 * [1]
[1] * 0
(1, 2) * 2
none * 2
map * 2
'a' ~ 1 ~ none ~ true ~ 1.5 ~ missing ~ [1]
1 ~ 2
'a' ~ 'b' | upper
1 + 2 ~ 3
1 ~ 2 * 3
1 < 2 < 3
1 < 3 < 2
1 == 1.0 == true
1 < 'a'
'a' < 'b'
'a' < 1
none < 1
missing < 1
missing == missing
missing == none
missing == ''
none == none
none == false
0 == false
1 == true
1 == '1'
'a' == 'a'
[1, 2] == [1, 2]
[1, 2] == (1, 2)
[1] < [2]
[1] < ['a']
(1, 2) < (1, 3)
{'a': 1} == {'a': 1.0}
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
{'a': 1} < {'a': 2}
1 != 2
none != missing
1 <= 1.5
true < 2
'Z' < 'a'
'가' < '나'
1 in [1, 2]
'1' in [1, 2]
true in [1]
1.0 in [1]
'ell' in text
'' in text
1 in 'a1'
1 in 1
'a' in none
'a' in missing
none in 'a'
none in [none]
missing in [1]
'b' in map
'z' not in map
1 in range(3)
[1] in [[1]]
[1] in map
(1, 2) in [(1, 2)]
not none
not missing
not ''
not []
not {}
not 0
not 0.0
not 'a'
1 and 2
0 and 2
'' or 'x'
none or 'x'
missing or 'x'
missing and 'x'
not 1 == 2
not 1 in [2]
'a' if yes
'a' if no
('a' if no) is defined
'a' if no else 'b'
'a' if yes else 'b' if no else 'c'
[1, 'a', none, true, 1.5, 'it\'s', "q\"q", 'both\'"']
{'a': 1, 2: 'b', none: true}
{'a': [1, {'b': (1,)}]}
(1,)
()
(1, 'a')
[]
{}
['a\nb', 'tab\t', 'back\\slash', '\x00\x1f\x7f', '\u200b', '한글', '🔥', '\xa0']
['\u0300', '\ud55c', '\U0001F525', '\x41', '\101', '\a\b\f\v']
[missing]
[1e22, 1e16, 0.1, -0.0, 100000.0]
[nothing, yes]
map
people
mixed
[range(3)]
range(3)
range(1, 10, 3)
range(5, 0, -2)
range(3)[1]
range(10)[2:5] | list
range(0)
range('a')
range(1, 2, 0)
range()
range(3) | length
'a\nb'
'a\tb\\c'
'\x41\u0042\103'
'\N{BULLET}'
'\q'
'a' 'b'
"it's"
'{# no comment #}'
'{{ x }}'
'{% if %}'
"}}"
'%}'
text[0]
text[-1]
text[99]
text[1:3]
text[::-1]
text[::2]
text[-3:]
text[:-3]
text[5:2]
text[99:]
text[-99:3]
text[3:0:-1]
text['a']
text[none]
text[1.0]
text[::0]
korean[1]
korean[::-1]
korean[1:3]
numbers[0]
numbers[-1]
numbers[3]
numbers[-4]
numbers[1:]
numbers[::-1]
numbers[:-1]
numbers[::2]
numbers[-2:]
numbers[5:]
numbers[2:0:-1]
numbers['a']
numbers[true]
numbers[0:2][1]
numbers.0
numbers.1
(1, 2, 3)[1:]
(1, 2, 3)[::-1]
none[0]
none[1:]
missing[0]
missing[1:]
missing.x
missing.x.y
map.zzz
map.zzz.y
map['zzz']
map['zzz']['y']
map.a.x.y
map.b
map['b']
map[0]
map[[1]]
map.items
map.a['items']
map.a.items
map.a.items()
map.get
text.upper
text.zzz
text.zzz()
none.x
none.x()
7.x
seven.x
seven.real
half.is_integer()
seven.bit_length()
map.items()
map.items() | list
map.keys()
map.keys() | list
map.values() | list
map.values()
map.get('b')
map.get('z')
map.get('z', 5)
map.get('z', default=5)
map.get()
map.pop('b')
map.update({'z': 1})
map.copy()
map.setdefault('z', 1)
map.clear()
map.popitem()
map.fromkeys(['a'])
map.zzz()
map.items()[0]
map.keys()[0]
map.items() | length
map.items() | first
numbers.append(1)
numbers.index(1)
numbers.index(9)
numbers.count(3)
numbers.copy()
numbers.pop()
numbers.sort()
numbers.reverse()
numbers.extend([1])
numbers.insert(0, 1)
numbers.remove(1)
numbers.clear()
numbers.zzz()
text.upper()
text.lower()
text.title()
text.capitalize()
text.swapcase()
text.casefold()
'ß'.upper()
'straße'.casefold()
"they're bill's".title()
"they're bill's" | title
text.strip('Hd')
'  a '.strip() ~ '|'
'  a '.lstrip() ~ '|'
'  a '.rstrip() ~ '|'
'xxaxx'.strip('x')
'xyaxy'.lstrip('xy')
'xyaxy'.rstrip('yx')
'  a '.strip(none) ~ '|'
'\u3000a\u200b'.strip() ~ '|'
'\x1ca\x1f'.strip() ~ '|'
'  a '.strip(' ', 'b')
text.split()
text.split(', ')
text.split('l')
text.split('l', 1)
text.split('l', maxsplit=1)
text.split(sep=', ')
text.split(sep='l', maxsplit=2)
text.split(none)
text.split(none, 1)
text.split('')
'  a  b c '.split()
'  a  b c '.split(' ')
'  a  b c '.split(none, 1)
'  a  b c '.split(none, 0)
'  a  b c '.rsplit(none, 1)
'a,b,c'.rsplit(',')
'a,b,c'.rsplit(',', 1)
'a,b,c'.rsplit(',', maxsplit=1)
''.split()
''.split(',')
'a,b,c'.split(',', -1)
'a,b,c'.split(',', 0)
'a,b'.split(',', 'x')
'a,b'.split(1)
text.partition(', ')
text.partition('zz')
text.partition('')
text.rpartition('l')
text.rpartition('zz')
text.partition('l')[2]
text.removeprefix('Hello')
text.removeprefix('x')
text.removesuffix('World')
text.removesuffix('')
text.startswith('Hell')
text.startswith(('x', 'H'))
text.startswith(['x', 'H'])
text.startswith('ello', 1)
text.startswith('ello', 1, 3)
text.startswith()
text.startswith(1)
text.endswith('World')
text.endswith(('x', 'd'))
text.endswith('Worl', 0, -1)
text.find('o')
text.find('zz')
text.find('o', 5)
text.find('o', 5, 7)
text.rfind('o')
text.index('o')
text.index('zz')
text.rindex('o')
text.count('l')
text.count('')
text.count('l', 3)
'aaa'.count('aa')
korean.find('세')
korean.index('상')
text.replace('l', 'L')
text.replace('l', 'L', 1)
text.replace('', '-')
text.replace('l')
text.replace('l', 'L', -1)
text.replace('l', 'L', count=1)
text.replace('l', 1)
', '.join(words)
','.join('abc')
','.join(numbers)
','.join([])
','.join(map)
','.join(none)
','.join(missing)
lines.splitlines()
lines.splitlines(true)
lines.splitlines(keepends=true)
windows.splitlines()
'a\x0bb\x0cc\x1cd\u2028e\x85f'.splitlines()
''.splitlines()
'a\n'.splitlines()
'123'.isdigit()
'12a'.isdigit()
''.isdigit()
'²'.isdigit()
'²'.isdecimal()
'½'.isnumeric()
'abc'.isalpha()
'가'.isalpha()
'a1'.isalnum()
'a b'.isalnum()
'abc'.islower()
'ABC'.isupper()
'A1'.isupper()
'1'.isupper()
' \n'.isspace()
''.isspace()
'Abc Def'.istitle()
'abc'.isascii()
'가'.isascii()
'a_1'.isidentifier()
'a\n'.isprintable()
'7'.zfill(3)
'-7'.zfill(4)
'+7'.zfill(4)
'abc'.zfill(2)
'a'.ljust(3) ~ '|'
'a'.rjust(3)
'a'.center(4) ~ '|'
'ab'.center(5) ~ '|'
'a'.ljust(3, '*')
'a'.center(6, '*')
'a'.rjust(3, '**')
'a\tb'.expandtabs()
'a\tb'.expandtabs(4)
'abc'.encode()
'abc'.translate({})
'abc'.maketrans('a', 'b')
'{}-{}'.format('a', 1)
'{0}-{1}-{0}'.format('a', 1)
'{a}'.format(a='x')
'{a.b}'.format(a={'b': 1})
'{a[b]}'.format(a={'b': 1})
'{0[1]}'.format([1, 2])
'{:>5}|{:<5}|{:^5}|{:*^5}'.format('a', 'b', 'c', 'd')
'{:5}|{:5}'.format('a', 1)
'{:05d}|{:+d}|{:,}|{:_}'.format(7, 7, 1234567, 1234567)
'{:x} {:X} {:o} {:b} {:#x}'.format(255, 255, 8, 5, 255)
'{:.2f} {:.1%} {:e} {:g}'.format(3.14159, 0.256, 12345.678, 0.00001)
'{:,.2f}'.format(1234567.891)
'{:.3}'.format('abcdef')
'{!r}'.format('a')
'{!s}'.format(none)
'{{}}'.format()
'{'.format()
'{}'.format()
'{} {1}'.format(1, 2)
'{:d}'.format('a')
'{:d}'.format(1.5)
'{:s}'.format(1)
'{:{}}'.format('a', 5) ~ '|'
'{}'.format(1e22)
'{}'.format(none)
'{}'.format([1, 'a'])
'{:>5}'.format(none)
'{:.2f}'.format(7)
'{:c}'.format(65)
'{:=+5d}'.format(7)
'{:5}'.format(true)
missing | default('x')
none | default('x')
none | default('x', true)
'' | default('x', true)
0 | default('x', boolean=true)
missing | default
missing | d('x')
map.zzz | default('x')
map.zzz.y | default('x')
missing.x | default('x')
people | selectattr('age', 'equalto', 30) | map(attribute='name') | list
people | selectattr('age', 'gt', 26) | list | length
people | selectattr('city') | map(attribute='name') | join(',')
people | selectattr('city.name', 'defined') | map(attribute='name') | join(',')
people | rejectattr('city') | map(attribute='name') | list
people | rejectattr('age', 'eq', 30) | map(attribute='name') | list
people | map(attribute='city.name') | list
people | map(attribute='city.name', default='-') | list
people | map(attribute='city', default='-') | list
people | map(attribute='zzz') | list
people | selectattr('zzz', 'eq', 1) | list
people | selectattr
words | map('upper') | list
words | map('upper')
words | map('zzz') | list
words | map('default', 'x') | join
words | map | list
['1', '2'] | map('int') | sum
numbers | map('string') | join('-')
['a-b', 'c'] | map('replace', '-', '+') | list
numbers | select('odd') | list
numbers | reject('odd') | list
numbers | select('gt', 1) | list
mixed | select | list
mixed | reject | list
numbers | select('zzz') | list
numbers | select('equalto', 3) | first
none | select | list
none | map('upper') | list
missing | map('upper') | list
missing | select | list
missing | list
missing | length
none | length
7 | length
map | length
korean | length
'🔥' | length
text | count
numbers | sort
words | sort
words | sort(case_sensitive=true)
words | sort(true)
words | sort(reverse=true)
people | sort(attribute='age') | map(attribute='name') | list
people | sort(attribute='age,name') | map(attribute='name') | list
people | sort(attribute='name', reverse=true) | map(attribute='name') | list
mixed | sort
'bca' | sort
map | sort
[true, 0, 2] | sort
none | sort
[1, 1.0, true, 2, 'a', 'A'] | unique | list
words | unique(case_sensitive=true) | list
people | unique(attribute='age') | map(attribute='name') | list
[[1], [1]] | unique | list
map | dictsort
map | dictsort(true)
map | dictsort(by='value')
map | dictsort(reverse=true)
map | dictsort(false, 'key', true)
{'b': 1, 'a': 2} | dictsort(by='value')
{2: 'b', 'a': 1} | dictsort
numbers | dictsort
map | items | list
none | items | list
missing | items | list
numbers | items | list
map | list
words | join
words | join(', ')
words | join(d='-')
numbers | join('-')
mixed | join('|')
people | join(', ', attribute='name')
people | join(', ', 'age')
none | join
missing | join('x')
'abc' | join('-')
map | join('-')
7 | join
[] | first
[] | last
numbers | first
numbers | last
text | first
text | last
map | first
map | last
none | first
none | last
missing | first
missing | last
numbers | min
numbers | max
words | min
words | max
words | max(case_sensitive=true)
[] | min
[] | max
people | max(attribute='age')
people | min(attribute='name')
[1, 'a'] | max
'abc' | max
numbers | sum
numbers | sum(start=10)
numbers | sum(10)
people | sum(attribute='age')
people | sum('age', 5)
[] | sum
words | sum
[1.5, 2] | sum
[[1], [2]] | sum(start=[])
none | sum
numbers | batch(2)
numbers | batch(2) | list
numbers | batch(2, 'x') | list
range(7) | slice(3) | list
range(7) | slice(3, 'x') | list
text | replace('l', 'L')
text | replace('l', 'L', 2)
text | replace('l', 'L', count=1)
text | replace('', '-')
7 | replace('7', '8')
none | replace('N', 'x')
text | replace(1, 2)
'hello wORLD-foo (bar) [x] {y} <z>' | title
"it's" | title
'hELLO' | capitalize
7 | capitalize
none | upper
true | lower
1.5 | upper
'  a ' | trim ~ '|'
'xxaxx' | trim('x')
'xxaxx' | trim(chars='x')
none | trim
7 | trim
missing | trim
missing | upper
missing | string
text | wordcount
korean | wordcount
'one_two three-four' | wordcount
'foo bar baz qux' | truncate(9)
'foo bar baz qux' | truncate(9, true)
'foo bar baz qux' | truncate(11)
'foo bar baz qux' | truncate(11, false, '...', 0)
'foo bar baz qux' | truncate(length=5, killwords=true, end='~', leeway=0)
'short' | truncate
'a' | center(5) ~ '|'
'ab' | center(5) ~ '|'
'a' | center
text | center(width=3)
7 | string
none | string
1e22 | string
[1, 'a'] | string
text | list
numbers | reverse
numbers | reverse | list
text | reverse
none | reverse
7 | reverse
7.456 | round
7.456 | round(2)
7.5 | round
8.5 | round
-7.5 | round
7.451 | round(1, 'ceil')
7.459 | round(1, 'floor')
7 | round
7.456 | round(precision=1, method='common')
1234 | round(-2)
7.456 | round(1, 'zzz')
0.285 | round(2)
2.675 | round(2)
'7' | round
-7 | abs
-7.5 | abs
'a' | abs
true | abs
map | tojson
people | tojson
mixed | tojson
korean | tojson
html | tojson
'"\\/\b\f\n\r\t\x01\x7f' | tojson
map | tojson(indent=2)
map | tojson(indent=0)
map | tojson(indent='--')
map | tojson(indent=4, ensure_ascii=false)
map | tojson(sort_keys=true)
map | tojson(separators=(',', ':'))
map | tojson(separators=[',', ':'])
korean | tojson(ensure_ascii=true)
korean | tojson(true)
[] | tojson(indent=2)
{} | tojson(indent=2)
(1, 2) | tojson
missing | tojson
[missing] | tojson
map.items() | tojson
range(3) | tojson
large | tojson
[1e16, 1e-7, 0.1, 1.0, -0.0, 1e300] | tojson
{1: 2, 1.5: 3, true: 4, none: 5} | tojson
{(1, 2): 3} | tojson
none | tojson
1e400 | tojson
text.upper | tojson
namespace(a=1) | tojson
html | escape
html | e
html | forceescape
quotes | escape
html | safe
7 | escape
none | escape
'a b&c=d/é?' | urlencode
{'a': 1, 'b': 'x y'} | urlencode
[('a', 1)] | urlencode
7 | urlencode
'<p>a  <b>b</b>\n c</p> &amp; &lt;' | striptags
{'a': 1, 'b': none, 'c': 'x"y'} | xmlattr
map | pprint
text | pprint
numbers | pprint
7 | filesizeformat
1000000 | filesizeformat
1048576 | filesizeformat(true)
text | wordwrap(6)
'http://a.b' | urlize
numbers | random | string | length
text | attr('upper') is callable
map | attr('b')
map | attr('zzz')
lines | indent
lines | indent(2)
lines | indent(2, true)
lines | indent(2, first=true)
lines | indent(2, true, true)
lines | indent(2, blank=true)
lines | indent(width=1)
lines | indent('> ')
'a\n' | indent(2) ~ '|'
'a\n\n' | indent(2) ~ '|'
'' | indent(2, true) ~ '|'
windows | indent(2)
people | groupby('age') | map(attribute='grouper') | list
(people | groupby('age'))[0].list | length
(people | groupby('age'))[1].grouper
people | groupby('age')
people | groupby('city.name', default='-') | map('first') | list
words | groupby('zzz')
text | zzz
text | lines
text | split(', ')
text | bool
numbers | zip(words) | list
numbers | chain(words) | list
dict(a=1, b=2)
dict([('a', 1), ('b', 2)])
dict([['a', 1]], c=3)
dict(map)
dict(map, z=1)
dict(map.items())
dict()
dict(7)
dict(['abc'])
dict(a=1).a
list(numbers)
str(7)
len(numbers)
int('7')
namespace(a=1).a
namespace({'a': 1}).a
namespace(map, z=1).b
namespace().zzz
namespace(a=1)
lipsum is defined
cycler('a', 'b').next()
joiner(', ')()
strftime_now('%Y')
range is defined
dict is defined
debug is defined
raise_exception('x')
raise_exception()
self is defined
loop is defined
loop
'a'.b.c
'a' | upper | lower | title
-7 | abs
- 7 | abs
(-7) | abs
-seven
- -7
not not 1
2 - -1
2 * -1
1 -1
text.upper().lower()
(text ~ 'x').upper()
text | upper ~ 'x'
1 if 2 else
numbers[numbers[1]]
map['a']['items'][0]
{'a': 1}.a
{'a': 1}['a']
[1, 2][0]
'abc'[1]
(1, 2)[0]
{'a': 1, 'a': 2}
{1: 'a', true: 'b', 1.0: 'c'}
{[1]: 2}
[1, 2, ]
(1, 2, )
{'a': 1, }
[1 2]
1_000
0x1F
0b101
0o17
1e3
1.5E-3
1.
.5
1__0
007
'a' is not string
not 'a' is string
1 is odd and 2 is even
1 is odd is false
1 + 1 is even
5 is divisibleby 2 or 1
[] is sequence and [] is iterable
text is defined and text
map.b is number
(map.b) is number
'x' in 'xyz' and 'y' in 'xyz'
'x' ~ ('y' if yes else 'z') ~ 'w'
'a' in 'abc' == true
1 == 1 in [true]
not yes and no
yes or no and no
가
text . upper ()
numbers [0]
text | replace ( 'l' , 'L' )
1, 2
numbers | sum(attribute=0)
[[1, 2], [3, 4]] | map(attribute=1) | list
[[1, 2], [3, 4]] | map(attribute='1') | list
[[1, 2], [3, 4]] | sum(attribute='0')
[(1, 'a')] | map('last') | list
text | map('upper') | join
map | map('upper') | join
people[0].name
people[-1]['name']
people[0].zzz.y
people | length > 2
people | map(attribute='age') | sum / people | length
not missing.x
missing is defined and missing.x
[1, 2, 3] | random is number
text.format
''.join(['a', 1])
''.join(['a', none])
'a'.join('b', 'c')
'' | list
'' | first
{} | first
{} | list
{} | length
[none, 1] | first
text[:5] ~ text[5:]
text[:none]
text[missing:]
numbers[none:2]
numbers[1.5]
numbers[:1.5]
numbers | tojson | length
(1, 2) == [1, 2]
'a' == none
'10' > '9'
10 > 9.5
none > none
[] > []
true and none
none and true
[1] and [2]
{} or []
0 or none or ''
1 is not defined
missing.foo is defined
map['missing'] is defined
map['missing']['x'] is defined
text[100] is defined
numbers[100] is defined
numbers[100]
numbers[100].x
('' | default('a')) ~ 'b'
none | string | upper
[1, [2, [3]]] | string
[[1, 2], (3, 4), {'a': (5,)}] | string
{'k': 'it\'s'} | string
['\''] | string
['"'] | string
['\'"'] | string
['\r\n\t'] | string
['\x85\xad\u2028\ufeff\ue000'] | string
1.0 | int
1e22 | int
3 | float
3.7 | string
10 ** 20
10 ** 40
-10 ** 20
1e100
123456789012345680.0
0.1
0.30000000000000004
1e-10
5e-324
1.7976931348623157e308
""".strip("\n").split("\n")

TEMPLATES = [
    # Line breaks.
    "a\r\nb\rc\n",
    "{{ 'a\r\nb' }}",
    "{{ 'a\rb' }}",
    "{{ 'a\\r\\nb' }}",
    "a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n",
    "{# c #}\r\nx",
    "{%- if true -%}\r\n x \r\n{%- endif %}",
    "{% raw %}\r\na\r\n{% endraw %}\r\nb",
    "{% raw %}\nx{% endraw %}",
    "{% raw -%}\n x {%- endraw %}",
    "a\n",
    "a\n\n",
    "a\r\n\r\n",
    "\n",
    "",
    "a\n{{ 1 }}\n",
    "a\n{% if true %}{% endif %}\n",
    "a\n{# c #}\n",
    "{% raw %}a\n{% endraw %}\n",
    "\n\n{{ 1 }}\n\n",
    "a\x0b\x0c{%- if true -%}\x0c b{% endif %}",
    "a\u2028{%- if true %}b{% endif %}",
    "a\u00a0{%- if true %}b{% endif %}",
    "a\u3000\n\u3000{% if true %}b{% endif %}",
    "a\x85{% if true %}b{% endif %}",
    "a\x1c{%- if true %}b{% endif %}",
    "\ufeffa{{ 1 }}",
    "\ufeff{% if true %}b{% endif %}",
    "a\0b{{ '\0' }}",
    "a\0{% if true %}\0{% endif %}",
    # Whitespace control.
    "a\n  {% if true %}\n  b\n  {% endif %}\nc",
    "a\n  {%+ if true %}\n  b\n  {%+ endif %}\nc",
    "a\n  {%- if true %}\n  b\n  {%- endif %}\nc",
    "a\n  {% if true -%}\n  b\n  {% endif -%}\nc",
    "a\n  {% if true +%}\n  b\n  {% endif +%}\nc",
    "a\n\t {% if true %}\n\tb\n\t{% endif %}\n\tc",
    "a\n  {{ 1 }}\n  b",
    "a\n  {{- 1 -}}\n  b",
    "a\n  {{+ 1 +}}\n  b",
    "a\n  {{+ 1 }}\n  b",
    "a\n  {# c #}\n  b",
    "a\n  {#- c -#}\n  b",
    "a\n  {#+ c +#}\n  b",
    "a  {% if true %}  b  {% endif %}  c",
    "a  {%- if true -%}  b  {%- endif -%}  c",
    "{% if true %}\n\nb{% endif %}",
    "{% if true %} \nb{% endif %}",
    "  {% if true %}b{% endif %}",
    "x{% if true %}\n{% endif %}y",
    "  {% set x = 1 %}  {% set y = 2 %}\nz",
    "  {% raw %} a {% endraw %}\nb",
    "  {%- raw -%} a {%- endraw -%}\nb",
    "a {%+ raw +%} b {%+ endraw +%}\n c",
    "{%raw%}{{ a }}{%endraw%}",
    "{%- raw %}{% x %}{# #}{%- endraw %}",
    "{% raw %}{% raw %}{% endraw %}",
    "{% raw %}",
    "{%- set x -%}\n  a\n{%- endset -%}[{{ x }}]",
    "{% set x %}\n  a\n{% endset %}[{{ x }}]",
    "{%if true%}a{%endif%}",
    "{%\nif true\n%}a{%\nendif\n%}",
    "{{\n1\n}}",
    "{{1}}{{-2-}}",
    "{{ 1 -}} {{- 2 }}",
    "{# a\n b #}x{# c -#}  y",
    "{# {{ 1 }} {% if %} #}x",
    "{# unclosed",
    "{{ 1",
    "{% if true",
    "{{ '{# a #}' }}{# '}}' #}",
    "{{ \"a'b\" }}{{ 'a\"b' }}{{ '\\'' }}",
    "{{ '}}' ~ '%}' }}",
    "{{ {'a': {'b': 1}} }}",
    "{{ {'a': {'b': 1}}}}",
    "{{{'a': 1}}}",
    "{{ [{'a': 1}][0].a }}",
    "{ { 1 } } {% if true %}}{% endif %}{",
    "a # not a comment\n## nor this\n% nor this",
    "{{ 1 }}}",
    "{{}}",
    "{%%}",
    "{{ 'unclosed }}",
    "}} %} #}",
    "{% if true %}a{% else %}b",
    "{% endif %}",
    "{% zzz %}",
    "{% do numbers.append(1) %}",
    "{% print 1 %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% debug %}",
    "{% trans %}a{% endtrans %}",
    "{% block a %}b{% endblock %}",
    "{% autoescape true %}{{ html }}{% endautoescape %}",
    "{% generation %}a{% endgeneration %}",
    "a\n  {% generation %}\n  b\n  {% endgeneration %}\nc",
    "a {%- generation -%} b {%- endgeneration -%} c",
    "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    # Loops.
    "{% for x in numbers %}{{ x }}{% endfor %}",
    "{% for x in [] %}a{% else %}b{% endfor %}",
    "{% for x in none %}a{% else %}b{% endfor %}",
    "{% for x in nothing %}a{% endfor %}",
    "{% for x in missing %}a{% else %}b{% endfor %}",
    "{% for x in 7 %}a{% endfor %}",
    "{% for x in text %}{{ x }}.{% endfor %}",
    "{% for x in korean %}{{ x }}.{% endfor %}",
    "{% for x in map %}{{ x }}{% endfor %}",
    "{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in map|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in map|dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for pair in map.items() %}{{ pair[0] }}={{ pair.1 }}{{ pair }};{% endfor %}",
    "{% for (a, b) in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in ['xy', 'zw'] %}{{ a }}-{{ b }};{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for a, b in [1] %}{{ a }}{% endfor %}",
    "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}",
    "{% for x in numbers if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}",
    "{% for x in numbers if x > 9 %}a{% else %}b{% endfor %}",
    "{% for x in (1, 2) if yes else (3,) %}{{ x }}{% endfor %}",
    "{% for x in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for x in numbers %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}",
    "{% for x in numbers %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in numbers %}{{ loop.nextitem.a if not loop.last }}{% endfor %}",
    "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}",
    "{% for x in numbers %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in numbers %}{{ loop.cycle() }}{% endfor %}",
    "{% for x in numbers %}{{ loop.zzz }}{% endfor %}",
    "{% for x in numbers %}{{ loop }}{% endfor %}",
    "{% for x in numbers %}{{ loop.cycle(*words) }}{% endfor %}",
    "{% for x in tree recursive %}{{ x.n }}[{{ loop(x.kids) }}]{{ loop.depth }}{% endfor %}",
    "{% for x in tree recursive %}{{ x.n }}{% if x.kids %}({{ loop(x.kids) }}){% endif %}{% endfor %}",
    "{% for x in tree %}{{ loop(x.kids) }}{% endfor %}",
    "{% for x in numbers %}{% for y in words %}{{ loop.index }}{{ loop.depth }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in numbers %}{% set outer = loop %}{% for y in words %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for x in numbers %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in numbers %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in numbers %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}e{% endfor %}",
    "{% for x in numbers %}{% for y in words %}{% if y == 'A' %}{% break %}{% endif %}{{ y }}{% endfor %}{{ x }}{% endfor %}",
    "{% break %}",
    "{% for x in numbers %}{{ x }}{% endfor %}{{ x }}",
    "{% set x = 0 %}{% for x in numbers %}{{ x }}{% endfor %}{{ x }}",
    "{% set x = 0 %}{% for y in numbers %}{% set x = x + y %}{{ x }}{% endfor %}{{ x }}",
    "{% for y in numbers %}{% set x = y %}{% endfor %}{{ x is defined }}",
    "{% for y in numbers %}{{ x }}{% set x = y %}{% endfor %}",
    "{% set x = 0 %}{% if true %}{% set x = 1 %}{% endif %}{{ x }}",
    "{% if true %}{% set x = 1 %}{% endif %}{{ x }}",
    "{% if false %}{% set x = 1 %}{% endif %}{{ x is defined }}",
    "{% with x = 1 %}{{ x }}{% endwith %}{{ x }}",
    "{% with %}{% set x = 1 %}{{ x }}{% endwith %}{{ x }}",
    "{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}",
    "{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}",
    "{% for x in range(3) %}{{ x }}{% endfor %}",
    "{% for x in range(3)|reverse %}{{ x }}{% endfor %}",
    "{% for x in numbers[::-1] %}{{ loop.index0 }}{{ x }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in numbers|select('odd') %}{{ x }}{{ loop.last }}{% endfor %}",
    "{% for x in numbers|map('string') %}{{ loop.length }}{% endfor %}",
    "{% for g in people|groupby('age') %}{{ g.grouper }}:{% for p in g.list %}{{ p.name }},{% endfor %}{% endfor %}",
    "{% for age, list in people|groupby('age') %}{{ age }}:{{ list|length }};{% endfor %}",
    "{% for row in numbers|batch(2, '-') %}{{ row|join }};{% endfor %}",
    "{% for row in numbers|slice(2) %}{{ row|join }};{% endfor %}",
    "{% for loop in numbers %}{{ loop }}{% endfor %}",
    "{% for none in numbers %}{% endfor %}",
    "{% for x.y in numbers %}{% endfor %}",
    # Set, namespaces.
    "{% set x = 1 %}{% set x = x + 1 %}{{ x }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a, b = 'xy' %}{{ a }}{{ b }}",
    "{% set (a, b) = (1, 2) %}{{ a }}{{ b }}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set a = b = 1 %}",
    "{% set a.b = 1 %}",
    "{% set map.b = 9 %}{{ map.b }}",
    "{% set map['b'] = 9 %}",
    "{% set ns = namespace(x=0) %}{% for y in numbers %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b }}{{ ns.b is defined }}",
    "{% set ns = namespace(a=1, b=[]) %}{% set ns.b = ns.b + [1] %}{{ ns.b }}{{ ns['a'] }}",
    "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}",
    "{% set ns = namespace() %}{{ ns.zzz.y }}",
    "{% set ns = namespace(a=1) %}{{ 'a' in ns }}",
    "{% set ns = namespace(a=1) %}{% for k in ns %}{{ k }}{% endfor %}",
    "{% set ns = namespace(items=[1]) %}{{ ns.items }}{{ ns.items|length }}",
    "{% set x %}a{{ 1 }}{% endset %}{{ x }}{{ x|length }}",
    "{% set x | upper %}a{{ 1 }}{% endset %}{{ x }}",
    "{% set x | replace('a', 'b') | upper %}a{{ 1 }}{% endset %}{{ x }}",
    "{% set x %}{% endset %}[{{ x }}]{{ x is string }}",
    "{% set true = 1 %}",
    "{% set loop = 1 %}{{ loop }}",
    "{% set messages = numbers %}{{ messages }}",
    "{% set x = none %}{{ x }}{{ x is none }}",
    "{% set x = (1 if no) %}{{ x is defined }}",
    "{% set x = missing %}{{ x is defined }}",
    "{% set 가 = 1 %}{{ 가 }}",
    "{% set été = 1 %}{{ été }}",
    "{% set _x1 = 1 %}{{ _x1 }}",
    # If.
    "{% if none %}a{% elif '' %}b{% elif [] %}c{% elif missing %}d{% else %}e{% endif %}",
    "{% if missing.x %}a{% endif %}",
    "{% if map.zzz %}a{% else %}b{% endif %}",
    "{% if map.items %}a{% endif %}",
    "{% if tools is iterable and tools|length > 0 %}a{% else %}b{% endif %}",
    "{% if nothing is iterable and nothing|length > 0 %}a{% else %}b{% endif %}",
    "{% if text is string and text is not mapping %}a{% endif %}",
    "{% if not text is defined %}a{% else %}b{% endif %}",
    "{% if 'a' in map %}a{% endif %}{% if 'zzz' not in map %}b{% endif %}",
    "{% if 1 < 2 and 2 < 3 or missing.x.y %}a{% endif %}",
    "{% if numbers %}a{% endif %}{% if map %}b{% endif %}{% if 0.0 %}c{% endif %}",
    # Macros.
    "{% macro f(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(1, b=4) }} {{ f(a=5) }} {{ f() }}",
    "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}",
    "{% macro f(a) %}{{ a is defined }}{% endmacro %}{{ f() }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=1) }}",
    "{% macro f(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ f(1, 2, 3) }}",
    "{% macro f(a) %}{{ a }}{{ kwargs }}{% endmacro %}{{ f(1, b=2) }}",
    "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ text }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ f() }}",
    "{% set x = 1 %}{% macro f() %}{% set x = 2 %}{{ x }}{% endmacro %}{{ f() }}{{ x }}",
    "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro f() %}a{% endmacro %}{{ f }}",
    "{% macro f() %}a{% endmacro %}{{ f.name }}{{ f.arguments }}",
    "{% macro f(a, b) %}a{% endmacro %}{{ f.arguments }}{{ f.catch_kwargs }}{{ f.catch_varargs }}{{ f.caller }}",
    "{% macro f() %} a {% endmacro %}[{{ f() | trim }}][{{ f()|length }}]",
    "{% macro f() %}\n  a\n{% endmacro %}[{{ f() }}]",
    "{%- macro f() -%}\n  a\n{%- endmacro -%}\n[{{ f() }}]",
    "{% macro f() %}({{ caller() }}){% endmacro %}{% call f() %}x{% endcall %}",
    "{% macro f() %}({{ caller(1, 2) }}){% endmacro %}{% call(a, b) f() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro f() %}({{ caller() }}){% endmacro %}{{ f() }}",
    "{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}",
    "{% macro f(a) %}({{ caller() }}{{ a }}){% endmacro %}{% call f(a=1) %}x{% endcall %}",
    "{% macro f(a=[]) %}{{ a }}{% endmacro %}{{ f() }}{{ f(*[1]) }}{{ f(**{'a': 2}) }}",
    "{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(1, **{'b': 3}) }}",
    "{% macro f(a, b, c) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1, *[2], c=3) }}",
    "{% macro f(messages) %}{{ messages }}{% endmacro %}{{ f(1) }}",
    "{% macro f() %}{{ loop is defined }}{% endmacro %}{% for x in [1] %}{{ f() }}{% endfor %}",
    "{{ f() }}{% macro f() %}a{% endmacro %}",
    "{% if true %}{% macro f() %}a{% endmacro %}{% endif %}{{ f() }}",
    "{% for x in [1] %}{% macro f() %}a{{ x }}{% endmacro %}{{ f() }}{% endfor %}",
    "{% macro f(x) %}{{ x.a.b }}{% endmacro %}{{ f({'a': {'b': 1}}) }}",
    "{% macro f() %}{% for k, v in map.items() %}{{ k }}{% endfor %}{% endmacro %}{{ f() }}",
    "{% macro f(x) -%}{{ x }}{%- endmacro %}{{ ['a', 'b'] | map('upper') | map('lower') | join }}{{ f('z') }}",
    # Filter blocks.
    "{% filter upper %}a{{ text }}{% endfilter %}",
    "{% filter replace('a', 'b')|upper %}a{% endfilter %}",
    "{% filter indent(2) %}a\nb\n{% endfilter %}|",
    "{% filter trim %}  a  {% endfilter %}|",
    # Calls.
    "{{ raise_exception('a ' ~ 1) }}",
    "{{ missing() }}",
    "{{ text() }}",
    "{{ none() }}",
    "{{ map.b() }}",
    "{{ numbers[0]() }}",
    "{{ text.__class__ }}",
    "{{ text['__class__'] }}",
    "{{ text._x }}",
    "{{ map['__class__'] }}",
    "{{ range(100001) | length }}",
    "{{ range(100000) | length }}",
    "{{ text.upper ~ '' }}",
    "{% set u = text.upper %}{{ u() }}",
    "{% set r = range %}{{ r(2) | list }}",
    "{% set f = map.get %}{{ f('b') }}",
    # In the manner of published templates.
    "{%- for m in people -%}{{ '<|' + m['name'] + '|>' }}{%- endfor -%}",
    "{{ '<|im_start|>' + text + '\\n' }}",
    "{{ '<|im_start|>' + text + '\n' + 'x' }}",
    "{% set content = text.split('</think>')[-1].lstrip('\\n') %}{{ content }}",
    "{% set c = 'a</think>\\n\\nb' %}{{ c.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}|{{ c.split('</think>')[-1].lstrip('\\n') }}",
    "{% set x = people | selectattr('age', 'equalto', 30) | list %}{{ x[0].name if x else 'none' }}",
    "{%- set loop_messages = people[1:] -%}{%- for m in loop_messages -%}{%- if (m['age'] == 30) != (loop.index0 % 2 == 0) -%}{{ raise_exception('alternate') }}{%- endif -%}{{ m.name }}{%- endfor -%}",
    "{% if people[0]['city'] is mapping and 'name' in people[0]['city'] %}{{ people[0].city.name }}{% endif %}",
    "{{ map | tojson(indent=4) | replace('\"', \"'\") }}",
    "{% set m = people | first %}{{ m.name | upper ~ ': ' ~ m.age }}",
    "{%- if true %}\n    {{- 'a' }}\n{%- else %}\n    {{- 'b' }}\n{%- endif %}\n",
    "{% for p in people %}{{ p.name }}{{ ', ' if not loop.last }}{% endfor %}",
    "{% for p in people %}{{ p.name }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{{ people|map(attribute='name')|join(', ') }}",
    "{% set t = [] %}{% for p in people %}{% set t = t + [p.name] %}{% endfor %}{{ t }}",
    "{{ [{'type': 'text', 'text': 'a'}] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('') }}",
    "{% set x = {'a': 1} %}{% set x = dict(x, b=2) %}{{ x | tojson }}",
    "{% set ns = namespace(found=false) %}{% for m in people %}{% if m.age == 25 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}",
    "{{ text if text is string else text | tojson }}",
    "{% if map.a is defined and map.a is not none %}{{ map.a.get('x') is none }}{% endif %}",
    "{{- '' if not missing else missing -}}",
    "{{ (text | trim)[:5] | lower }}",
    "{{ messages[0].content if messages }}",
    "{{ '%02d' % 3 }}{{ '%s: %s' % ('a', 'b') }}{{ 'x%sy' % seven }}",
    "{{ '{:>3}'.format(seven) }}",
    "{%- macro render(p, depth=0) %}{{ '  ' * depth }}{{ p.n }}\n{%- for k in p.kids %}{{ render(k, depth + 1) }}{% endfor %}{% endmacro %}{{ render(tree[0]) }}",
    # All sorts.
    "{% if '{#' in '{# a #}' %}y{% endif %}",
    '{{ "a\\"b\'c" }}',
    '{{ \'a\\\'b"c\' }}',
    "{% set x = '{% endraw %}' %}{{ x }}",
    '{%- set x = 1 -%}\r\n  {{ x }}',
    '\ta\n\t{% if true -%}\r\n\tb\n\t{%- endif %}\r\n',
    "{{ '\\u00e9\\uD55C' }}",
    "{{ '\\ud83d\\udd25' == '🔥' }}",
    "{{ 'a' 'b'\n'c' }}",
    "{{ [1,\n2,\n\n3] }}\n{{ raise_exception('x') }}",
    "{{ {\n'a':\n1\n}['a'] }}",
    '{% if\ntrue %}a{% endif\n%}',
    "{{ x.y.z if x is defined else 'n' }}",
    '{{ -1 ** 2 }}{{ 2 - -1 }}{{ -2 * -3 }}{{ not -1 }}{{ - 1 | abs }}',
    '{{ 1 if true else 2 if false else 3 }}',
    "{{ 'a' if false }}|",
    '{{ (1,) + (2,) }}{{ [1] + [2] }}',
    "{{ 'a' < 'b' < 'c' }}{{ 1 < 2 == true }}",
    "{{ 'x' is string and not 'y' is number }}",
    "{{ a.b is defined if a is defined else 'q' }}",
    "{{ ['a','b'] | map('upper') | join(', ') | lower }}",
    '{{ [3,1] | sort | first }}{{ ([3,1] | sort)[0] }}',
    "{{ {'a': 1}.items() | list | length }}",
    "{{ 'abc'[1:][0] }}{{ 'abc'[-1:] }}{{ 'abc'[:-1][::-1] }}",
    "{% for k, v in {'a': 1}.items() if v > 0 %}{{ k }}{% endfor %}",
    '{% call(x) m() %}{{ x }}{% endcall %}',
    "{% macro m() %}{{ caller('q') }}{% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}",
    "{% macro m(a, b='x', c=[1, 2], d={'k': 1}) -%}{{ a }}{{ b }}{{ c }}{{ d.k }}{%- endmacro %}{{ m(1) }}{{ m(1, c=2) }}",
    '{% for x in range(2) recursive %}{{ x }}{% endfor %}',
    '{{ [1,2,3][1:] | length + 1 }}',
    '{{ 5 // 2 * 2 }}{{ 7 % 4 // 2 }}{{ 2 ** 2 % 3 }}{{ 1 + 2 * 3 - 4 / 2 }}',
    "{{ 'a' ~ 1 + 2 }}",
    "{{ '%s' % 'a' ~ 'b' }}",
    "{{ 'a' in 'abc' and 'b' not in 'xyz' }}",
    '{{ messages is defined and messages|length == 0 }}',
    '{{ tools is none }}{{ tools is not none }}',
    "{{ dict(a=1).get('a') }}{{ dict(a=1)['a'] }}",
    "{{ ('a', 'b')[1] }}{{ (1, 2) | last }}",
    '{% set a, b = (1, 2) %}{{ b }}',
    "{% set ns = namespace(x=[]) %}{% set ns.x = ns.x + ['a'] %}{{ ns.x[0] }}",
    "{{ [[1,2],[3]] | sum(start=[]) | join(',') }}",
    "{{ 'a.b.c'.rsplit('.', 1)[0] }}",
    "{{ '  x'.lstrip() ~ 'y  '.rstrip() }}",
    "{{ none is defined }}{{ 1.0 == 1 }}{{ '' is defined }}",
    'a{#- c -#}b{# d #}\n{#- e #} f',
    '{% if true %}\r\n\r\na{% endif %}',
    '{{\'}}\'}}{{"{{"}}',
    '{{ 1 }}\x0c{%- if 1 %}\x0c{% endif %}',
    '{% raw -%}\r\n a {% b %} {{ c }} \r\n{%- endraw +%}\n x',
    '{%+ if true +%}\n a {%+ endif +%}\n',
    '  {%- if true %} a {% endif -%}  \n b',
    "{{ foo.bar|default('z') if foo is defined else foo|default('w') }}",
    "{% set items = [1] %}{{ items }}{{ {'items': 2}['items'] }}",
    "{{ {'items': [1]}.items() | list }}",
    "{{ {'count': 3}.count }}{{ {'title': 't'}.title }}{{ {'index': 4}.index }}",
    "{{ {'values': 1, 'keys': 2, 'get': 3, 'copy': 4, 'lower': 5}.lower }}",
    "{{ 'a' | upper is string }}",
    "{{ 'a'|replace('a','b')|upper ~ 'c' }}",
    '{%set x=1%}{{x}}',
    "{{ x if (x is defined and x) else 'no' }}",
    "{% for m in [{'role':'a'}] %}{% if (m['role'] == 'a') != (loop.index0 % 2 == 0) %}bad{% else %}ok{% endif %}{% endfor %}",
    "{{ '' if true else }}",
    '{{ 1 | float | int | string | length }}',
    "{{ [1,2]|length }}{{ 'ab'|length > 1 }}",
    '{{ x is undefined or x.y }}',
    "{{ {} | tojson }}{{ [] | tojson }}{{ {'a': {}} | tojson(indent=2) }}",
    "{{ {'é': '한'} | tojson }}",
    "{{ '한글'|upper|lower|title|capitalize|trim }}",
    "{{ [1, 2] | string }}{{ {'a': none} | string }}",
    '{{ loop }}',
    '{% for a in [1] %}{% for b in [2] %}{{ loop.index }}{{ loop.first }}{% endfor %}{% endfor %}',
    '{% for x in [1,2,3] %}{% if loop.index is even %}{{ x }}{% endif %}{% endfor %}',
    "{{ [1,2,3]|select('>', 1)|list }}{{ [1,2]|select('==', 1)|list }}{{ [1, 2]|reject('in', [1])|list }}{{ [{'a':1}]|selectattr('a', '==', 1)|list|length }}",
    "{{ 'a,b'.split(',')|map('trim')|list }}",
    "{{ ['a']|first|upper }}",
    '{{ undefined_thing|length }}{{ undefined_thing|default([])|length }}',
    '{{ 1 and 0 or 3 }}{{ not (1 and 0) }}',
    "{{ 'x' * 3 ~ 'y' }}{{ 2 * 'ab' }}",
    "{{ '\\\\n' }}{{ '\\n' }}",
    '{{ "\\t" ~ \'\\x41\' ~ \'\\101\' }}',
    '{% if x is not defined or not x %}u{% endif %}',
    "{% set x = x | default('d') %}{{ x }}",
    "{{ strftime_now('%Y-%m-%d') }}",
    "{{ 3 is divisibleby 3 }}{{ 3 is eq 3 }}{{ 'a' is in ['a'] }}{{ 'a' is not in ['b'] }}",
    "{{ '" + "x" * 50000 + "' | length }}",
    '{% set x = 1 %}{% set y %}{% set x = 2 %}{{ x }}{% endset %}{{ y }}{{ x }}',
    '{% set x = 1 %}{% filter upper %}{% set x = 2 %}{{ x }}{% endfilter %}{{ x }}',
    '{% for i in [1,2] %}{% filter trim %}{% set x = i %}{% endfilter %}{{ x is defined }}{% endfor %}',
    'a\n  {%- set x | upper -%}  \n b {{ loop }} \n  {%- endset %}\n  {% set ns = namespace() %}\n  {% set ns.y %}\n  {{ x }}\n  {% endset %}\n[{{ ns.y }}]',
    '{% for i in [1,2] %}{% continue %}{% else %}e{% endfor %}',
    '{% for i in [1,2] %}{% if i == 2 %}{% break %}{% endif %}{% else %}e{% endfor %}',
    '{% for i in [1,2] %}\n  {% for j in [i] -%}  \n j {% if i == 1 %}{% continue %}{% endif %}x\n {%- else %}\n e {% if i == 2 %}{% break %}{% endif %}\n {%- endfor %}\n-\n {%- else %}E{% endfor %}.',
    '{% for i in [1,2,3] %}{% for j in [] %}{% else %}{% if i == 2 %}{% break %}{% endif %}{% endfor %}{{ i }}{% endfor %}',
    '{% with a = 1 %}{% for i in [1,2,3] %}{% if i == a %}{% continue %}{% endif %}{{ i }}{% endfor %}{% endwith %}',
    '{% break %}',
    '{% for i in [1] %}{% generation %}{% break %}{% endgeneration %}{% endfor %}',
    '{% for i in [1] %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}',
    '{% for i in [1] %}{% else %}{% break %}{% endfor %}',
    "{{ ['1','x']|map('int', default=9)|list }}",
    "{{ [none,'x']|map('default','q',boolean=true)|list }}",
    "{{ ['a']|map('indent', width=2, first=true)|list }}",
    "{{ [[1,2],[3]]|map('sum', start=1)|list }}",
    "{{ [1.7, 2.2]|map('round', method='floor')|list }}",
    "{{ [{'a': 1}]|map('tojson', indent=2)|first }}",
    "{{ [[1,2],[3,4]]|map('map', 'string')|map('join', ',')|list }}",
    "{{ [[1,2],[3]]|map(attribute='1', default=none)|list }}",
    "{{ people|map(attribute='city.name', default='?')|list }}",
    "{{ []|map('zzz')|list }}",
    "{{ 'aBc'|select('upper')|list }}",
    "{{ map|map('upper')|list }}",
    "{{ [1,2,3]|select('divisibleby', num=3)|list }}",
    "{{ numbers|select('in', seq=[1])|list }}",
    "{{ people|selectattr('age', 'divisibleby', num=25)|map(attribute='name')|list }}",
    "{{ people|rejectattr('city')|map(attribute='name')|list }}",
    "{{ (false)|map(attribute='a')|list }}",
    '{{ 0|select|list }}',
    "{{ none|selectattr('a')|list }}",
    "{{ missing|rejectattr('a')|list }}",
    "{{ strftime_now(format='%Y') }}",
    "{{ strftime_now('%c|%U|%R|%k|%l|%u|%G|%V|%g|%C|%n|%t|%_d|%^a|%f|%Z|%z|%P') }}",
    "{{ people|map(attribute='name', x=1)|list }}",
    "{{ people|map('upper', attribute='name')|list }}",
    '{{ people|map|list }}',
    "{{ people|map('zzz')|list }}",
    '{{ numbers|map(7)|list }}',
    "{{ numbers|select('zzz')|list }}",
    '{{ numbers|selectattr|list }}',
    "{{ true|map('upper')|list }}",
    '{{ 7|select|list }}',
    "{{ people|selectattr('city.name', 'eq', '서울')|list }}",
    '{{ strftime_now() }}',
    '{{ strftime_now(7) }}',
]
