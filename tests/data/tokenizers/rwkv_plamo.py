#!/usr/bin/env python3
"""Records the answers of published tokenizers: rwkv-world and plamo2, each as .gguf, .inp, .out.

    pip install numpy
    pip download --no-deps rwkv==0.8.32 mlx-vlm==0.7.10   # unpack both in PACKAGES
    python rwkv_plamo.py PACKAGES               # writes the committed files
    python rwkv_plamo.py PACKAGES FOLDER 5000   # the whole World vocabulary, and many random
                                                # vocabularies of PLaMo's form; 5000 texts each

RWKV's vocabulary is the one in the package `rwkv` (Apache-2.0); the committed file has the part
of it that the words below use. PLaMo-2's vocabulary is in no package, so its file has one that is
made here; the class that divides text is the one in mlx-vlm (MIT), which repeats the model's own.
"""
import ast
import math
import os
import random
import struct
import sys
import tempfile

SEPARATOR = '\n__ggml_vocab_test__\n'
NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6
KINDS = {NORMAL: 'NORMAL', UNKNOWN: 'UNKNOWN', CONTROL: 'CONTROL', BYTE: 'BYTE'}

WORDS = (
    '온돌은 바닥을 데우는 난방 방식이다. 오늘 아침 기차를 타고 바다에 갑니다! 도서관에서 책을 읽었어요? 커피와 우유, 사과 두 개.'
    ' The floor is warm in winter; it isn\'t "cold", they\'re sure. Numbers: 0 12 345 6789, 3.14e-10. def f(x): return x**2  # code'
    ' 床暖房は冬に便利です。 図書館で本を読みます。 这是一个测试,今天天气很好。 Привет, мир! Ça va très bien. مرحبا नमस्ते สวัสดี'
).split(' ')

PARTS = (
    WORDS
    + ['가', '각', '힣', '뷁', 'ㄱ', 'ㅏ', 'ㄳ', '\u1100', '\u1161', '\u11a8', '\u1112\u1161\u11ab', '\ua960', '\ud7b0', '\u3164']
    + ['👩', '👩\u200d👧', '👍🏽', '🇰🇷', '❤\ufe0f', '1\ufe0f\u20e3', '🫠', '😀', 'e\u0301', 'é', '\u0301', '\u0323\u0307']
    + ['한', '漢', '字', '々', 'の', 'ア', '㈜', '。', '，', '\u3000', '龘', '𠀀', '\U0002b820', '〇']
    + [chr(c) for c in range(0x21)] + ['\x7f', '\x80', '\x85', '\x9f', '\xa0', '\xad', '\u200b', '\u2028', '\u202e', '\ufeff']
    + ['\ufffd', '\ufffe', '\ue000', '\U000e0041', '\U0010ffff', '¡', '÷', 'ÿ', '߿', 'ࠀ', '\U00010000']
    + [' ', '  ', '   ', ' ' * 9, '\n', '\n\n', '\r\n', '\r\n\r\n', '\t', '\t\t', '\\', '\\n', '\\x41', '\'"', '<0x41>', '<0xEA>']
    + list('abcdefghijABXYZ0123456789.,!?-_<>[](){}=+*/#$%&|~^`@;:"\'')
)


def texts(rng, count, pieces):
    """Texts of all kinds; `pieces` are tokens of the vocabulary, as bytes."""
    yield from ['', ' ', '\n', '\r\n', '   ', 'a', '가', '👩', '\0', ' '.join(WORDS), '=' * 40, ' ' * 40, '가' * 20]
    scalar = lambda: chr(rng.choice([rng.randrange(0xd800), rng.randrange(0xe000, 0x110000)]))
    makers = [
        lambda: ''.join(rng.choice(PARTS) for _ in range(rng.randint(1, 12))),
        lambda: ' '.join(rng.choice(WORDS) for _ in range(rng.randint(1, 12))),
        lambda: ''.join(scalar() for _ in range(rng.randint(1, 8))),
        lambda: ''.join(chr(rng.randrange(0xac00, 0xd7a4)) for _ in range(rng.randint(1, 12))),
        lambda: ''.join(chr(rng.randrange(0x4e00, 0xa000)) for _ in range(rng.randint(1, 8))),
        lambda: ''.join(chr(rng.randrange(0x80)) for _ in range(rng.randint(1, 20))),
        # Tokens may begin and end within characters: what is then no text is left out.
        lambda: b''.join(rng.choice(pieces) for _ in range(rng.randint(1, 12))).decode(errors='ignore'),
    ]
    for _ in range(count):
        yield rng.choice(makers)()


def string(text):
    raw = text.encode()
    return struct.pack('<Q', len(raw)) + raw


def array(kind, items):
    return struct.pack('<IIQ', 9, kind, len(items)) + b''.join(items)


def gguf(model, tokens, kinds, scores=None, **ids):
    """A vocabulary as converters for llama.cpp write it."""
    keys = {
        'model': struct.pack('<I', 8) + string(model),
        'tokens': array(8, [string(t) for t in tokens]),
        'token_type': array(5, [struct.pack('<i', k) for k in kinds]),
    }
    if scores:
        keys['scores'] = array(6, [struct.pack('<f', s) for s in scores])
    keys |= {key + '_token_id': struct.pack('<II', 4, id) for key, id in ids.items()}
    body = b''.join(string('tokenizer.ggml.' + key) + value for key, value in keys.items())
    return b'GGUF' + struct.pack('<IQQ', 3, 0, len(keys)) + body


def write(folder, name, file, inputs, encode):
    path = f'{folder}/{name}.gguf'
    inputs = [text for text in inputs if '__ggml' not in text]
    answers = [' '.join(str(id) for id in encode(text)) + '\n' for text in inputs]
    open(path, 'wb').write(file)
    open(path + '.inp', 'w', newline='').write(SEPARATOR.join(inputs) + SEPARATOR)
    open(path + '.out', 'w').write(''.join(answers))
    print(f'{name}: {len(inputs)} texts, {len(file)} bytes')


def world(package, used):
    """The tokens of the World vocabulary, in order; of those of several bytes those that occur
    in the bytes `used`, if any are given."""
    lines = open(f'{package}/rwkv_vocab_v20230424.txt', encoding='utf-8').read().split('\n')
    literals = (ast.literal_eval(line[line.index(' ') + 1:line.rindex(' ')]) for line in lines if line)
    tokens = (t.encode() if isinstance(t, str) else t for t in literals)
    return [t for t in tokens if used is None or len(t) == 1 or t in used]


def rwkv(packages, folder, name, used, count):
    sys.path.insert(0, packages)
    from rwkv.rwkv_tokenizer import TRIE_TOKENIZER
    tokens = world(f'{packages}/rwkv', used)
    with tempfile.NamedTemporaryFile('w', suffix='.txt') as file:
        file.write(''.join(f'{id} {token!r} {len(token)}\n' for id, token in enumerate(tokens, 1)))
        file.flush()
        published = TRIE_TOKENIZER(file.name)
    pads = [f'[PAD{id}]' for id in range(len(tokens) + 1, len(tokens) + 7)]
    spelled = ['<s>'] + [repr(token)[2:-1] for token in tokens] + pads
    kinds = [CONTROL] + [NORMAL] * len(tokens) + [UNUSED] * len(pads)
    inputs = texts(random.Random(name), count, tokens)
    write(folder, name, gguf('rwkv', spelled, kinds, bos=0, eos=0), inputs, published.encode)


def aho_corasick(packages):
    """The class of that name in mlx-vlm, without what the module imports."""
    import numpy
    source = open(f'{packages}/mlx_vlm/models/plamo2vl/processing.py').read()
    wanted = lambda node: isinstance(node, ast.Assign) or getattr(node, 'name', '') == 'AhoCorasick'
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if wanted(node)]
    names = {'np': numpy, 'math': math, 'Any': object}
    exec(compile(tree, 'processing.py', 'exec'), names)
    return names['AhoCorasick']


def single(score):
    """What a file, which has 32 bits for a score, makes of it."""
    return struct.unpack('<f', struct.pack('<f', score))[0]


def plamo_rows(rng, size):
    """A vocabulary in the form of PLaMo's `tokenizer.jsonl`."""
    control = [(f'<|plamo:{name}|>', 0.0, CONTROL) for name in ['bos', 'eos', 'pad', 'op']]
    rows = [('<|plamo:unk|>', 0.0, UNKNOWN)] + control + [(f'<0x{byte:02X}>', 0.0, BYTE) for byte in range(256)]
    scores = [
        lambda: -rng.uniform(2, 16),
        lambda: -float(rng.randint(1, 6)),
        lambda: rng.choice([0.0, 1.5, -999.99995, -1000.00005, -1500.25, -1999.9999, -2000.0, math.nan, math.inf, -0.03125]),
    ]
    whole = ' '.join(PARTS)
    pieces = set()
    while len(pieces) < size:
        start = rng.randrange(len(whole))
        parts = [whole[start:start + rng.randint(1, 6)], rng.choice(PARTS), rng.choice(PARTS) + rng.choice(PARTS), rng.choice('ab') * rng.randint(1, 9)]
        pieces.add(rng.choice(parts)[:12])
    for piece in sorted(pieces):
        if piece and not piece.startswith('<0x'):
            score = rng.choices(scores, [6, 3, 1])[0]()
            rows.append((piece, single(score), NORMAL))
    return rows


def plamo(packages, folder, name, size, count):
    rng = random.Random(name)
    rows = plamo_rows(rng, size)
    published = aho_corasick(packages)()
    published.build([[piece, score, KINDS[kind]] for piece, score, kind in rows])
    # The converter fills the vocabulary.
    filled = rows + [(f'[PAD{number}]', -1000.0, UNUSED) for number in range(1, 4)]
    file = gguf('plamo2', *map(list, zip(*[(p, k, s) for p, s, k in filled])), bos=1, eos=2, unknown=0, eot=4)
    pieces = [piece.encode() for piece, _, kind in rows if kind == NORMAL]
    write(folder, name, file, texts(rng, count, pieces), published.encode)


def main():
    packages, folder = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
    if len(sys.argv) == 2:
        rwkv(packages, folder, 'rwkv-world', '\n'.join(PARTS).encode() + b' ' * 9, 110)
        plamo(packages, folder, 'plamo2', 300, 90)
        return
    folder, count = sys.argv[2], int(sys.argv[3])
    os.makedirs(folder, exist_ok=True)
    rwkv(packages, folder, 'rwkv-all', None, count * 4)
    rwkv(packages, folder, 'rwkv-part', '\n'.join(PARTS).encode(), count)
    for number in range(40):
        plamo(packages, folder, f'plamo2-{number}', [20, 100, 300, 1000, 3000][number % 5], count // 5)


main()
