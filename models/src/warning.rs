//! What was wrong with a model file where its meaning is plain, and what was done.

use alloc::string::String;
use core::fmt;

/// A fault of a file that does not stop it from running. [`fmt::Display`] says
/// what was wrong and what was done instead, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The id of a special token is not in the vocabulary. The file is read as if
    /// it did not have the key.
    NoSuchToken {
        /// The key.
        key: &'static str,
        /// Its value.
        id: i64,
        /// Tokens in the vocabulary.
        tokens: usize,
    },
    /// A key asks to add a token to each text that the file does not name. None is added.
    NothingToAdd {
        /// The key that asks.
        key: &'static str,
        /// The key that should name the token.
        token_key: &'static str,
    },
    /// The file does not name its pre-tokenizer. The rules of the first files are taken.
    NoPreTokenizer {
        /// The key that should name it.
        key: &'static str,
    },
    /// A token that ends a turn is a piece of text in the file. It is taken as a
    /// control token.
    EndIsText {
        /// The token as the file spells it.
        piece: String,
    },
    /// A token that begins a turn, or names its role, is a piece of text in the
    /// file. It is taken as a control token.
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
