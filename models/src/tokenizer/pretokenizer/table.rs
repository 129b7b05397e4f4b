//! The table of pre-tokenizers: names that `tokenizer.ggml.pre` may have, and rules.
//!
//! The expressions are those of each model's `tokenizer.json`, with `(?i:..)`
//! meaning ASCII letters only.

use super::Rule::{self, *};
use super::*;

/// How text is split for one family of models.
pub(in super::super) struct PreTokenizer {
    /// Values of `tokenizer.ggml.pre`.
    pub(super) names: &'static [&'static str],
    pub(super) passes: Passes,
    /// A word that is a token is taken whole, whatever the merges say.
    pub(in super::super) whole_words: bool,
    /// BOS is added where the file does not say.
    pub(in super::super) add_bos: bool,
}

/// The pre-tokenizer of this name.
pub(in super::super) fn find(name: &str) -> Option<&'static PreTokenizer> {
    TABLE.iter().find(|entry| entry.names.contains(&name))
}

/// All names.
pub(in super::super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|entry| entry.names).copied()
}

/// An entry without special habits.
const fn plain(names: &'static [&'static str], passes: Passes) -> PreTokenizer {
    PreTokenizer {
        names,
        passes,
        whole_words: false,
        add_bos: false,
    }
}

pub(super) static TABLE: &[PreTokenizer] = &[
    plain(&["default"], DEFAULT),
    plain(
        &[
            "gpt-2",
            "phi-2",
            "exaone4",
            "a.x-4.0",
            "trillion",
            "mpt",
            "olmo",
            "jais",
            "gigachat",
            "mellum",
            "modern-bert",
            "granite-docling",
            "roberta-bpe",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
        ],
        &[GPT2],
    ),
    plain(
        &[
            "smollm",
            "exaone",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "minerva-7b",
            "mellum2",
        ],
        // \p{N}
        &[&[Run(some(number).times(1, 1))], GPT2],
    ),
    PreTokenizer {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "midm-2.0",
            "lfm2",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "jina-v5-nano",
        ],
        passes: &[LLAMA3],
        whole_words: true,
        add_bos: true,
    },
    PreTokenizer {
        names: &["glm4", "glm5"],
        passes: &[LLAMA3],
        whole_words: true,
        add_bos: false,
    },
    plain(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[LLAMA3]),
    plain(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "solar-open",
            "megrez",
            "hunyuan",
            "stablelm2",
            "grok-2",
            "f2llmv2",
        ],
        &[QWEN2],
    ),
    plain(&["qwen35"], &[QWEN35]),
    PreTokenizer {
        names: &["tekken"],
        passes: &[TEKKEN],
        whole_words: true,
        add_bos: true,
    },
    plain(
        &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        &[GPT4O],
    ),
    plain(&["exaone-moe"], &[EXAONE_MOE]),
    plain(&["falcon"], FALCON),
    plain(&["deepseek-llm"], DEEPSEEK_LLM),
    plain(&["deepseek-coder"], DEEPSEEK_CODER),
    plain(&["deepseek-v3", "hunyuan-dense"], DEEPSEEK_V3),
];

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const GPT2: &[Rule] = &[
    Contraction,
    Run(some(letter).after(blank)),
    Run(some(number).after(blank)),
    Run(some(other).after(blank)),
    SpaceBeforeSpace,
    Run(some(space)),
];

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const LLAMA3: &[Rule] = &[
    AnyCaseContraction,
    Run(some(letter).after(word_lead)),
    Run(some(number).times(1, 3)),
    Run(some(other).after(blank).then(newline, usize::MAX)),
    ThroughLastNewline,
    SpaceBeforeSpace,
    Run(some(space)),
];

/// As [`LLAMA3`], with `\p{N}` in place of `\p{N}{1,3}`.
const QWEN2: &[Rule] = &[
    AnyCaseContraction,
    Run(some(letter).after(word_lead)),
    Run(some(number).times(1, 1)),
    Run(some(other).after(blank).then(newline, usize::MAX)),
    ThroughLastNewline,
    SpaceBeforeSpace,
    Run(some(space)),
];

/// As [`QWEN2`], with marks taken as letters:
/// `..|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|..`
const QWEN35: &[Rule] = &[
    AnyCaseContraction,
    Run(some(letter_or_mark).after(word_lead)),
    Run(some(number).times(1, 1)),
    Run(some(other_than_mark).after(blank).then(newline, usize::MAX)),
    ThroughLastNewline,
    SpaceBeforeSpace,
    Run(some(space)),
];

/// With U for `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]` and L for `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`:
/// `[^\r\n\p{L}\p{N}]?U*L+|[^\r\n\p{L}\p{N}]?U+L*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const TEKKEN: &[Rule] = &[
    CasedWord { contraction: false },
    Run(some(number).times(1, 1)),
    Run(some(other).after(blank).then(newline_or_slash, usize::MAX)),
    ThroughLastNewline,
    SpaceBeforeSpace,
    Run(some(space)),
];

/// As [`TEKKEN`], with `\p{N}{1,3}`, and `(?i:'s|'t|'re|'ve|'m|'ll|'d)?` after each word.
const GPT4O: &[Rule] = &[
    CasedWord { contraction: true },
    Run(some(number).times(1, 3)),
    Run(some(other).after(blank).then(newline_or_slash, usize::MAX)),
    ThroughLastNewline,
    SpaceBeforeSpace,
    Run(some(space)),
];

/// As [`QWEN2`], with `[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+` for words,
/// ` ?[^\s\p{L}\p{N}]+[\r\n/]?` for the rest, and `\s*[\r\n]`, which matches as
/// `\s*[\r\n]+` does.
const EXAONE_MOE: &[Rule] = &[
    AnyCaseContraction,
    SpacedWords,
    Run(some(number).times(1, 1)),
    Run(some(other).after(blank).then(newline_or_slash, 1)),
    ThroughLastNewline,
    SpaceBeforeSpace,
    Run(some(space)),
];

const FALCON: Passes = &[
    // [\p{P}$+<=>^~|`]+
    &[Run(some(punctuation_or_ascii_symbol))],
    GPT2,
    // [0-9][0-9][0-9]
    &[Run(some(ascii_digit).times(3, 3))],
];

/// What files made before there were names are split by.
const DEFAULT: Passes = &[
    // [\p{P}$+<=>^~|]+
    &[Run(some(punctuation_or_most_ascii_symbols))],
    GPT2,
    // \p{N}+
    &[Run(some(number))],
    // [0-9][0-9][0-9]
    &[Run(some(ascii_digit).times(3, 3))],
];

const DEEPSEEK_LLM: Passes = &[
    // [\r\n]
    &[Run(some(newline).times(1, 1))],
    // \s?[..]+ with the letters of CASED
    &[Run(some(cased_of_deepseek).after(space))],
    // \s?[!-/:-~！-／：-～‘-‟　-。]+
    &[Run(some(punctuation_of_deepseek).after(space))],
    &[LastSpace],
    &[Run(some(wide_of_deepseek))],
    // \p{N}+
    &[Run(some(number))],
];

const DEEPSEEK_CODER: Passes = &[
    // [\r\n]
    &[Run(some(newline).times(1, 1))],
    // \s?\p{L}+
    &[Run(some(letter).after(space))],
    // \s?\p{P}+
    &[Run(some(punctuation).after(space))],
    &[Run(some(wide_of_deepseek))],
    // \p{N}
    &[Run(some(number).times(1, 1))],
];

const DEEPSEEK_V3: Passes = &[
    // \p{N}{1,3}
    &[Run(some(number).times(1, 3))],
    &[Run(some(chinese_or_kana))],
    // [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
    // | ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
    &[
        PunctuatedWord,
        Run(some(letter_or_mark).after(word_lead_of_deepseek)),
        Run(some(punctuation_or_symbol)
            .after(blank)
            .then(newline, usize::MAX)),
        ThroughLastNewline,
        SpaceBeforeSpace,
        Run(some(space)),
    ],
];

/// The first and the last of each range of [`cased_of_deepseek`], in ascending order.
pub(super) static CASED: &[(char, char)] = &[
    ('\u{41}', '\u{5a}'),
    ('\u{61}', '\u{7a}'),
    ('\u{b5}', '\u{b5}'),
    ('\u{c0}', '\u{d6}'),
    ('\u{d8}', '\u{f6}'),
    ('\u{f8}', '\u{1ba}'),
    ('\u{1bc}', '\u{1bf}'),
    ('\u{1c4}', '\u{293}'),
    ('\u{295}', '\u{2af}'),
    ('\u{370}', '\u{373}'),
    ('\u{376}', '\u{376}'),
    ('\u{377}', '\u{377}'),
    ('\u{37b}', '\u{37d}'),
    ('\u{37f}', '\u{37f}'),
    ('\u{386}', '\u{386}'),
    ('\u{388}', '\u{38a}'),
    ('\u{38c}', '\u{38c}'),
    ('\u{38e}', '\u{3a1}'),
    ('\u{3a3}', '\u{3f5}'),
    ('\u{3f7}', '\u{481}'),
    ('\u{48a}', '\u{52f}'),
    ('\u{531}', '\u{556}'),
    ('\u{10a0}', '\u{10c5}'),
    ('\u{13a0}', '\u{13f5}'),
    ('\u{13f8}', '\u{13fd}'),
    ('\u{1c90}', '\u{1cba}'),
    ('\u{1cbd}', '\u{1cbf}'),
    ('\u{1d00}', '\u{1d2b}'),
    ('\u{1d6b}', '\u{1d77}'),
    ('\u{1d79}', '\u{1d9a}'),
    ('\u{1e00}', '\u{1f15}'),
    ('\u{1f18}', '\u{1f1d}'),
    ('\u{1f20}', '\u{1f45}'),
    ('\u{1f48}', '\u{1f4d}'),
    ('\u{1f50}', '\u{1f57}'),
    ('\u{1f59}', '\u{1f59}'),
    ('\u{1f5b}', '\u{1f5b}'),
    ('\u{1f5d}', '\u{1f5d}'),
    ('\u{1f5f}', '\u{1f7d}'),
    ('\u{1f80}', '\u{1fb4}'),
    ('\u{1fb6}', '\u{1fbc}'),
    ('\u{1fbe}', '\u{1fbe}'),
    ('\u{1fc2}', '\u{1fc4}'),
    ('\u{1fc6}', '\u{1fcc}'),
    ('\u{1fd0}', '\u{1fd3}'),
    ('\u{1fd6}', '\u{1fdb}'),
    ('\u{1fe0}', '\u{1fec}'),
    ('\u{1ff2}', '\u{1ff4}'),
    ('\u{1ff6}', '\u{1ffc}'),
    ('\u{2102}', '\u{2102}'),
    ('\u{2107}', '\u{2107}'),
    ('\u{210a}', '\u{2113}'),
    ('\u{2115}', '\u{2115}'),
    ('\u{2119}', '\u{211d}'),
    ('\u{2124}', '\u{2124}'),
    ('\u{2126}', '\u{2126}'),
    ('\u{2128}', '\u{2128}'),
    ('\u{212a}', '\u{212d}'),
    ('\u{212f}', '\u{2134}'),
    ('\u{2139}', '\u{2139}'),
    ('\u{213c}', '\u{213f}'),
    ('\u{2145}', '\u{2149}'),
    ('\u{214e}', '\u{214e}'),
    ('\u{2183}', '\u{2183}'),
    ('\u{2184}', '\u{2184}'),
    ('\u{2c00}', '\u{2c7b}'),
    ('\u{2c7e}', '\u{2ce4}'),
    ('\u{2ceb}', '\u{2cee}'),
    ('\u{2cf2}', '\u{2cf2}'),
    ('\u{2cf3}', '\u{2cf3}'),
    ('\u{a640}', '\u{a66d}'),
    ('\u{a680}', '\u{a69b}'),
    ('\u{a722}', '\u{a76f}'),
    ('\u{a771}', '\u{a787}'),
    ('\u{a78b}', '\u{a78e}'),
    ('\u{ab70}', '\u{abbf}'),
    ('\u{fb00}', '\u{fb06}'),
    ('\u{fb13}', '\u{fb17}'),
    ('\u{ff21}', '\u{ff3a}'),
    ('\u{ff41}', '\u{ff5a}'),
    ('\u{10400}', '\u{1044f}'),
    ('\u{104b0}', '\u{104d3}'),
    ('\u{104d8}', '\u{104fb}'),
    ('\u{10c80}', '\u{10cb2}'),
    ('\u{10cc0}', '\u{10cf2}'),
    ('\u{118a0}', '\u{118df}'),
    ('\u{1e900}', '\u{1e943}'),
];
