//! The vocabulary: the piece, kind and score of each token.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::rwkv;
use super::strings::Strings;
use crate::gguf::Gguf;
use crate::{Error, Result, heap};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";

/// The kind of a token, from `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// Stands for text that the vocabulary can't spell.
    Unknown,
    /// A control token, without text, such as BOS.
    Control,
    /// A user-defined token, which is recognized in text before other tokens.
    UserDefined,
    /// A token that the model does not use, without text.
    Unused,
    /// One byte, spelled `<0xNN>`.
    Byte,
}

impl TokenKind {
    fn from_number(number: i64) -> Option<TokenKind> {
        match number {
            1 => Some(TokenKind::Normal),
            2 => Some(TokenKind::Unknown),
            3 => Some(TokenKind::Control),
            4 => Some(TokenKind::UserDefined),
            // 0 is "undefined" in files made by hand; such tokens have no text either.
            0 | 5 => Some(TokenKind::Unused),
            6 => Some(TokenKind::Byte),
            _ => None,
        }
    }
}

/// All tokens of a model; a token's id is its place.
#[derive(Debug, Clone)]
pub(super) struct Vocab {
    pieces: Strings,
    kinds: Vec<TokenKind>,
}

impl Vocab {
    /// Reads `tokenizer.ggml.tokens` and `tokenizer.ggml.token_type`; where the
    /// latter is missing, all tokens are normal. `escaped` says whether pieces have the
    /// escapes of RWKV's files.
    pub(super) fn from_gguf(gguf: &Gguf, escaped: bool) -> Result<Vocab> {
        let tokens = gguf.array(TOKENS)?;
        let pieces = match escaped {
            true => Strings::unescaped(tokens.texts(), "tokens", rwkv::unescape)?,
            false => Strings::new(tokens.texts(), "tokens")?,
        };
        if pieces.len() != tokens.len() || tokens.is_empty() {
            return Err(bad(TOKENS, format!("{tokens:?} is not a list of pieces")));
        }
        let kinds = match gguf.opt_array(TOKEN_TYPES)? {
            Some(types) => {
                check_count(TOKEN_TYPES, types.len(), pieces.len())?;
                let kinds = types
                    .iter()
                    .map(|v| v.as_i64().and_then(TokenKind::from_number));
                collect(TOKEN_TYPES, kinds)?
            }
            None => heap::filled(TokenKind::Normal, pieces.len())?,
        };
        Ok(Vocab { pieces, kinds })
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The raw piece of a token: as the file spells it, without RWKV's escapes.
    pub(super) fn piece(&self, id: u32) -> Option<&[u8]> {
        self.pieces.get(id)
    }

    /// The token with this raw piece.
    pub(super) fn id_of(&self, piece: &[u8]) -> Option<u32> {
        self.pieces.find(piece)
    }

    /// The token with this raw piece, unless it is a control or unknown token: text must not
    /// become one, even where merges could spell it.
    pub(super) fn text_id_of(&self, piece: &[u8]) -> Option<u32> {
        let steers = |id| matches!(self.kind(id), Some(TokenKind::Control | TokenKind::Unknown));
        self.id_of(piece).filter(|&id| !steers(id))
    }

    /// What kind of token this is.
    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// Corrects the kind of a token.
    pub(super) fn set_kind(&mut self, id: u32, kind: TokenKind) {
        if let Some(old) = self.kinds.get_mut(id as usize) {
            *old = kind;
        }
    }

    /// The ids of all tokens of the kinds asked for, in order.
    pub(super) fn ids_of_kinds(&self, wanted: fn(TokenKind) -> bool) -> impl Iterator<Item = u32> {
        (0..)
            .zip(&self.kinds)
            .filter(move |&(_, &kind)| wanted(kind))
            .map(|(id, _)| id)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.pieces.heap_bytes() + heap::bytes(&self.kinds)
    }

    /// The length of the longest piece, in bytes.
    pub(super) fn longest_piece(&self) -> usize {
        self.pieces.longest()
    }
}

/// Reads `tokenizer.ggml.scores`, one for each of `count` tokens.
pub(super) fn scores(gguf: &Gguf, count: usize) -> Result<Vec<f32>> {
    let scores = gguf.array(SCORES)?;
    check_count(SCORES, scores.len(), count)?;
    let number = |v: crate::gguf::Value| v.as_f32().or_else(|| v.as_i64().map(|i| i as f32));
    collect(SCORES, scores.iter().map(number))
}

/// The spelling of a token for one byte: `<0x0A>`.
pub(super) fn byte_piece(byte: u8) -> [u8; 6] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let [high, low] = [byte >> 4, byte & 15].map(|nibble| HEX[usize::from(nibble)]);
    [b'<', b'0', b'x', high, low, b'>']
}

/// The byte that a piece such as `<0x0A>` stands for.
pub(super) fn parse_byte_piece(piece: &[u8]) -> Option<u8> {
    let digits = piece.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}

/// As `collect::<Option<Vec<T>>>`, with a typed error that names the first bad element.
fn collect<T>(key: &str, items: impl Iterator<Item = Option<T>>) -> Result<Vec<T>> {
    let mut list = heap::with_capacity(items.size_hint().0)?;
    for item in items {
        let place = list.len();
        let item = item.ok_or_else(|| bad(key, format!("element {place} has an invalid value")))?;
        heap::push(&mut list, item)?;
    }
    Ok(list)
}

fn check_count(key: &str, found: usize, tokens: usize) -> Result<()> {
    if found == tokens {
        return Ok(());
    }
    Err(bad(key, format!("{found} elements for {tokens} tokens")))
}

/// The error of a key with a wrong value.
pub(super) fn bad(key: &str, reason: String) -> Error {
    Error::BadValue {
        key: key.into(),
        reason,
    }
}
