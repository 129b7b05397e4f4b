#!/usr/bin/env python3
"""Trains small unigram vocabularies and records SentencePiece's answers: t5-*.gguf, .inp, .out.

    pip install sentencepiece==0.2.3 protobuf
    python unigram.py              # writes the committed files
    python unigram.py FOLDER 5000  # more vocabularies, with SentencePiece's own normalizers, and
                                   # 5000 texts each; ONDOL_REFERENCE is the folder above FOLDER

The corpus and the texts are made here, from words of our own and random characters.
"""
import itertools
import os
import random
import struct
import sys
import tempfile
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

SEPARATOR = '\n__ggml_vocab_test__\n'

KOREAN = '온돌 마루 방 아침 저녁 기차 바다 산 하늘 구름 비 눈 바람 학교 도서관 책 연필 커피 우유 사과 배 감자 김치 국수 시장 다리 강 나무 꽃 고양이 강아지 친구 이웃 모델 토큰 사전 문장 단어 글자 숫자 빠른 작은 큰 새로운 오래된 조용한'.split()
ENDINGS = '은 는 이 가 을 를 에 에서 으로 까지 부터 와 과 도 만 의'.split()
VERBS = '갑니다 옵니다 읽습니다 씁니다 봅니다 먹었습니다 마셨습니다 좋아합니다 만들었어요 잤어요 걷는다 달린다'.split()
ENGLISH = 'floor warm room morning evening train sea hill sky cloud rain snow wind school library book pencil coffee milk apple pear potato noodle market bridge river tree flower cat dog friend model token word letter number quick small large new old quiet'.split()
GLUE = 'the a of in on to and with from near'.split()

USER_DEFINED = ['<sep>', '[방]', 'ab', 'aba', 'New York', '▁<x>', '①', 'Ａｂ', '  ']

PARTS = (
    ['가', '각', '힣', '뷁', '한국어', 'ㄱ', 'ㅏ', 'ㄳ', '\u1100', '\u1161', '\u11a8', '\u1112\u1161\u11ab', '\ua960', '\ud7b0', 'ﾡ', '\u3164', '\u115f']
    + ['👩', '👩\u200d👧', '🏽', '🇰🇷', '❤\ufe0f', '1\ufe0f\u20e3', '🫠']
    + ['e\u0301', 'é', '\u0301', '\u0323\u0307', 'q\u0307\u0323', 'ﬁ', 'Å', '\u212b', 'ß', 'İ', 'ǆ', '\u0344', '\u1e9b\u0323']
    + ['Ａ', 'ｂ', '１', '（', '～', '￦', '\u3000', 'ｶﾞ', '㎏', '㈜', '½', '①', '…', 'ﷺ', '㍿', '\uff9e', '゛']
    + [chr(c) for c in range(0x21)] + ['\x7f', '\x80', '\x85', '\x9f', '\xa0', '\xad']
    + ['\u200b', '\u200c', '\u200e', '\u2028', '\u202e', '\u2060', '\ufeff', '\ufffd', '\ufffe', '\ue000', '\U000e0041', '\U0010ffff']
    + [' ', '  ', '   ', '\n', '\r\n', '\t', '\u2003', '\u205f', '\u1680', '▁', '▁▁']
    + list('abcdefghijABXYZ0123456789.,!?-_<>[]"\'')
    + ['<unk>', '<s>', '</s>', '<pad>', '<0x41>', '<0xEA>', '<se', 'New', 'York', 'New  York', 'ababa', '<x>', ' <x>']
    + USER_DEFINED
)

COMMITTED = {
    't5-plain': dict(vocab_size=320, normalization_rule_name='identity'),
    't5-rules': dict(vocab_size=320, rules=True, user_defined_symbols=USER_DEFINED),
    't5-bytes': dict(vocab_size=520, rules=True, byte_fallback=True, remove_extra_whitespaces=False, user_defined_symbols=['<sep>']),
}

OWN = ['nmt_nfkc', 'nfkc', 'nmt_nfkc_cf', 'identity']
MORE = {
    f't5-{rule}-{int(fallback)}{int(bool(symbols))}{int(trim)}{int(prefix)}': dict(
        vocab_size=900, normalization_rule_name=rule, byte_fallback=fallback, user_defined_symbols=symbols,
        remove_extra_whitespaces=trim, add_dummy_prefix=prefix)
    for rule, fallback, symbols, trim, prefix in itertools.product(OWN, [False, True], [[], USER_DEFINED], [True, False], [True, False])
}

# A few rules of the kinds that NFKC has: the compiled table of all of them has 300 KB.
RULES = (
    [(chr(c), chr(c - 0xfee0)) for c in range(0xff21, 0xff5b)]
    + [(c, ' ') for c in '\u3000\u00a0\t\n\r'] + [(chr(c), '') for c in range(1, 9)]
    + [(unicodedata.normalize('NFD', c), c) for c in '가각힣é\u1e69'] + [('\u212b', 'Å'), ('ﬁ', 'fi'), ('½', '1\u20442'), ('㈜', '(주)'), ('ﷺ', 'صلى الله عليه وسلم'), ('゛', ' \u3099')]
)


def corpus(rng, lines):
    for _ in range(lines):
        korean = [rng.choice(KOREAN) + rng.choice(ENDINGS) for _ in range(rng.randint(2, 5))] + [rng.choice(VERBS)]
        english = [rng.choice(rng.choice([GLUE, ENGLISH])) for _ in range(rng.randint(3, 8))]
        words = rng.choice([korean, english, english + korean])
        yield ' '.join(words) + rng.choice(['.', '!', '?', '', f' {rng.randint(0, 2000)}.'])


def texts(rng, count):
    sentences = list(corpus(rng, 200))
    yield from ['', ' ', '   ', '\t', '▁', ' a', 'a ', 'a  b', sentences[0], unicodedata.normalize('NFD', '한국어 각 값을 읽는다')]
    for _ in range(count):
        kind = rng.random()
        if kind < 0.2:
            yield rng.choice(sentences)
        elif kind < 0.5:
            yield ''.join(rng.choice(PARTS) for _ in range(rng.randint(1, 12)))
        elif kind < 0.6:
            yield ''.join(chr(rng.choice([rng.randrange(1, 0xd800), rng.randrange(0xe000, 0x110000)])) for _ in range(rng.randint(1, 8)))
        elif kind < 0.7:
            yield ''.join(chr(rng.randrange(0xac00, 0xd7a4)) for _ in range(rng.randint(1, 8)))
        else:
            words = rng.choice(sentences).split(' ')
            for _ in range(rng.randint(1, 4)):
                words.insert(rng.randrange(len(words) + 1), rng.choice(PARTS))
            text = rng.choice(['', ' ', '  ']).join(words)
            yield unicodedata.normalize(rng.choice(['NFC', 'NFD', 'NFKC', 'NFKD']), text)


def train(options):
    options = dict(options)
    with tempfile.TemporaryDirectory() as folder:
        if options.pop('rules', False):
            path = options['normalization_rule_tsv'] = f'{folder}/rules.tsv'
            numbers = lambda text: ' '.join(f'{ord(c):X}' for c in text)
            open(path, 'w').write(''.join(f'{numbers(a)}\t{numbers(b)}\n' for a, b in RULES))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=corpus(random.Random(1), 4000), model_prefix=f'{folder}/m', model_type='unigram',
            hard_vocab_limit=False, num_threads=1, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, **options)
        return open(f'{folder}/m.model', 'rb').read()


def string(text):
    raw = text.encode()
    return struct.pack('<Q', len(raw)) + raw


def array(kind, items):
    return struct.pack('<IIQ', 9, kind, len(items)) + b''.join(items)


def gguf(model):
    """The vocabulary as converters for llama.cpp write it."""
    pieces, rules = model.pieces, model.normalizer_spec
    flag = lambda value: struct.pack('<IB', 7, value)
    number = lambda value: struct.pack('<II', 4, value)
    keys = {
        'model': struct.pack('<I', 8) + string('t5'),
        'tokens': array(8, [string(p.piece) for p in pieces]),
        'scores': array(6, [struct.pack('<f', p.score) for p in pieces]),
        'token_type': array(5, [struct.pack('<i', p.type) for p in pieces]),
        'add_space_prefix': flag(rules.add_dummy_prefix),
        'remove_extra_whitespaces': flag(rules.remove_extra_whitespaces),
        'unknown_token_id': number(model.trainer_spec.unk_id),
        'eos_token_id': number(model.trainer_spec.eos_id),
    }
    if rules.precompiled_charsmap:
        keys['precompiled_charsmap'] = array(0, [bytes([b]) for b in rules.precompiled_charsmap])
    body = b''.join(string('tokenizer.ggml.' + key) + value for key, value in keys.items())
    return b'GGUF' + struct.pack('<IQQ', 3, 0, len(keys)) + body


def write(folder, name, options, count):
    proto = train(options)
    model = sentencepiece_model_pb2.ModelProto.FromString(proto)
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
    inputs = [t for t in texts(random.Random(name), count) if '__ggml' not in t]
    path = f'{folder}/{name}.gguf'
    open(path, 'wb').write(gguf(model))
    open(path + '.inp', 'w', newline='').write(SEPARATOR.join(inputs) + SEPARATOR)
    answers = [processor.encode(text) for text in inputs]
    open(path + '.out', 'w').write(''.join(' '.join(map(str, ids)) + '\n' for ids in answers))
    print(f'{name}: {len(model.pieces)} pieces, {len(inputs)} texts, {os.path.getsize(path)} bytes')


def main():
    folder, count = os.path.dirname(os.path.abspath(__file__)), 75
    vocabularies = COMMITTED
    if len(sys.argv) > 1:
        folder, count, vocabularies = sys.argv[1], int(sys.argv[2]), COMMITTED | MORE
        os.makedirs(folder, exist_ok=True)
    for name, options in vocabularies.items():
        write(folder, name, options, count)


if __name__ == '__main__':
    main()
