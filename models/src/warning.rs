//! Faults of a model file that were repaired, and how.

use alloc::string::String;
use core::fmt;

/// A fault of a file that was repaired. [`fmt::Display`] gives the fault and the repair
/// in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The id of a special token is not in the vocabulary. The key is ignored.
    NoSuchToken {
        /// The key.
        key: &'static str,
        /// Its value.
        id: i64,
        /// Tokens in the vocabulary.
        tokens: usize,
    },
    /// A key asks to add a token to each text, but no key names that token. None is added.
    NothingToAdd {
        /// The key that asks.
        key: &'static str,
        /// The key that should name the token.
        token_key: &'static str,
    },
    /// The file does not name its pre-tokenizer. The rules of the oldest files are used.
    NoPreTokenizer {
        /// The key that should name it.
        key: &'static str,
    },
    /// The file marks a token that ends a turn as plain text. It is treated as a
    /// control token.
    EndIsText {
        /// The token as the file spells it.
        piece: String,
    },
    /// The file marks a token that begins a turn, or names its role, as plain text. It
    /// is treated as a control token.
    MarkIsText {
        /// The token as the file spells it.
        piece: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NoSuchToken { key, id, tokens } => write!(
                f,
                "metadata key `{key}` is {id}, but the vocabulary has {tokens} tokens: it is ignored"
            ),
            Warning::NothingToAdd { key, token_key } => write!(
                f,
                "metadata key `{key}` asks for a token that `{token_key}` does not name: none is added"
            ),
            Warning::NoPreTokenizer { key } => write!(
                f,
                "metadata key `{key}` is missing: text is split as in the first files of this \
                 format, which may not be what the model was trained on; convert it again"
            ),
            Warning::EndIsText { piece } => write!(
                f,
                "`{piece}` is text in this file: it is taken as the control token that ends a turn"
            ),
            Warning::MarkIsText { piece } => write!(
                f,
                "`{piece}` is text in this file: it is taken as a control token of a chat"
            ),
        }
    }
}
