//! The table of pre-tokenizers: names that `tokenizer.ggml.pre` may have, and rules.
//!
//! The expressions are those of each model's `tokenizer.json`, with `(?i:..)`
//! meaning ASCII letters only.

use super::Rule::{self, *};
#[cfg(feature = "std")]
use super::deepseek;
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

/// An entry without `whole_words` and without `add_bos`.
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
    // Firmware has no architecture with these.
    #[cfg(feature = "std")]
    plain(&["deepseek-llm"], deepseek::LLM),
    #[cfg(feature = "std")]
    plain(&["deepseek-coder"], deepseek::CODER),
    #[cfg(feature = "std")]
    plain(&["deepseek-v3", "hunyuan-dense"], deepseek::V3),
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

/// The rules for files without `tokenizer.ggml.pre`, which are older than this key.
const DEFAULT: Passes = &[
    // [\p{P}$+<=>^~|]+
    &[Run(some(punctuation_or_most_ascii_symbols))],
    GPT2,
    // \p{N}+
    &[Run(some(number))],
    // [0-9][0-9][0-9]
    &[Run(some(ascii_digit).times(3, 3))],
];
