//! Converts a stream of tokens to text, in complete characters.

use alloc::string::String;
use alloc::vec::Vec;

use super::Tokenizer;

/// The zero-width joiner: makes one emoji of those before and after it.
const JOINER: char = '\u{200d}';

/// The longest sequence of joined emoji that is held back until it is complete, in bytes.
/// The longest in use is a family of four with skin tones: 41 bytes.
const LONGEST_SEQUENCE: usize = 64;

/// Converts a stream of tokens to text that is complete UTF-8 at every step.
///
/// A character whose bytes are spread over several tokens (Hangul, emoji) is held back
/// until it is complete, and so is an emoji that ends in a joiner. The whole text
/// equals the result of [`Tokenizer::decode`], except that a last character which stayed
/// incomplete is dropped.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    /// Bytes that were not given out yet.
    held: Vec<u8>,
    started: bool,
}

impl StreamDecoder {
    /// A decoder at the beginning of a text.
    pub fn new() -> StreamDecoder {
        StreamDecoder::default()
    }

    /// A decoder of text that follows these tokens. If the tokens end in text, a space at the
    /// beginning of the decoded text is kept. If they end in a control token or there are
    /// none, it is SentencePiece's own space and is dropped.
    pub fn after(tokenizer: &Tokenizer, tokens: &[u32]) -> StreamDecoder {
        let mut last = Vec::new();
        if let Some(&id) = tokens.last() {
            tokenizer.piece(id, &mut last);
        }
        StreamDecoder {
            held: Vec::new(),
            started: !last.is_empty(),
        }
    }

    /// Takes a token and appends to `text` the characters that are complete now,
    /// possibly none.
    ///
    /// Control tokens have no text. Bytes that can't be UTF-8 become U+FFFD.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32, text: &mut String) {
        tokenizer.piece(id, &mut self.held);
        if !self.started && !self.held.is_empty() {
            self.started = true;
            if tokenizer.strips_first_space() && self.held[0] == b' ' {
                self.held.remove(0);
            }
        }
        let complete = self.held.len() - incomplete_character(&self.held);
        let ready = complete - open_sequence(&self.held[..complete]);
        text.push_str(&String::from_utf8_lossy(&self.held[..ready]));
        self.held.drain(..ready);
    }

    /// Ends the text: appends an emoji that was held back, and drops the bytes of an
    /// incomplete character. The decoder is then as new.
    pub fn finish(&mut self, text: &mut String) {
        let complete = self.held.len() - incomplete_character(&self.held);
        text.push_str(&String::from_utf8_lossy(&self.held[..complete]));
        self.held.clear();
        self.started = false;
    }
}

/// How many bytes at the end begin a character that is not complete.
fn incomplete_character(bytes: &[u8]) -> usize {
    let last = bytes
        .utf8_chunks()
        .last()
        .map_or(&[][..], |chunk| chunk.invalid());
    match core::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    }
}

/// How many bytes at the end are emoji that end in a joiner, so that more may follow.
fn open_sequence(bytes: &[u8]) -> usize {
    let Some(last) = bytes
        .utf8_chunks()
        .last()
        .filter(|chunk| chunk.invalid().is_empty())
    else {
        return 0;
    };
    let text = last.valid();
    let mut rest = text;
    while let Some(before) = rest.strip_suffix(JOINER) {
        rest = before.trim_end_matches(is_emoji_modifier);
        rest = rest.strip_suffix(|_: char| true).unwrap_or(rest);
    }
    let open = text.len() - rest.len();
    if open > LONGEST_SEQUENCE { 0 } else { open }
}

/// Skin tones, and the selector that asks for the emoji's picture.
fn is_emoji_modifier(c: char) -> bool {
    matches!(c, '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}')
}
