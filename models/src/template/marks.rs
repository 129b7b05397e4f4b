//! Marks in the caller's text, so that no control token is recognized in it.
//!
//! A template sees the caller's text unchanged, except for a mark inside each spelling
//! of a control token, and at an edge where neighbouring text could complete one. A
//! mark is a Unicode noncharacter that occurs in no input. After rendering, marks are
//! removed, and no control token may span a place where a mark was. Conversations
//! without such spellings get no marks.

use serde_json::Value;

use super::python;
use super::variables::{OF_THE_FILE, Variables, quotes};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// Roles that every template may complete to a control token such as `<|user|>`. With
/// another role, only a template that has it between quotes may do so.
const ROLES: [&str; 5] = ["system", "user", "assistant", "tool", "developer"];

/// Noncharacters that no input holds.
pub(super) struct Noncharacters {
    /// Marks a place that no control token spans.
    pub(super) barrier: char,
    /// Marks the end of an assistant's content.
    pub(super) end: char,
}

impl Noncharacters {
    /// Two that are not in the template and its variables, escaped or not.
    ///
    /// # Errors
    /// [`Error::Template`] where nearly all of the 32 occur.
    pub(super) fn unused(source: &str, variables: &Variables) -> Result<Noncharacters> {
        let json = serde_json::to_string(variables).unwrap_or_default();
        let mut unused = ('\u{FDD0}'..='\u{FDEF}').filter(|&c| {
            let escaped = format!("{:x}", u32::from(c));
            let occurs = |text: &str| text.contains(c) || text.contains(&escaped);
            !occurs(source) && !occurs(&json)
        });
        match (unused.next(), unused.next()) {
            (Some(barrier), Some(end)) => Ok(Noncharacters { barrier, end }),
            _ => Err(Error::Template {
                reason: "the messages hold all of the noncharacters U+FDD0 to U+FDEF; \
                         take some of them out"
                    .to_owned(),
            }),
        }
    }
}

/// The text without a mark, and the byte offsets where it was. Filters that write
/// strings as code may have escaped it.
pub(super) fn take_out(text: &str, mark: char) -> (String, Vec<usize>) {
    let (code, raw) = (u32::from(mark), mark.to_string());
    let text = text.replace(&format!("\\u{{{code:x}}}"), &raw);
    let text = text.replace(&format!("\\u{code:x}"), &raw);
    let mut plain = String::with_capacity(text.len());
    let mut places = Vec::new();
    for (index, part) in text.split(mark).enumerate() {
        if index > 0 {
            places.push(plain.len());
        }
        plain.push_str(part);
    }
    (plain, places)
}

/// How the beginning of a text compares with a list of pieces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// It begins with no piece, and is not the beginning of one.
    No,
    /// All of it is the beginning of a longer piece.
    Part,
    /// It begins with a piece.
    Whole,
}

/// The control tokens of a vocabulary, in lower case: a template may change case.
pub(super) struct Marks {
    mark: char,
    /// The spellings of the tokens, sorted.
    pieces: Vec<Vec<u8>>,
    /// For each byte: whether a piece begins with it.
    first_bytes: [bool; 256],
    /// The pieces, each with its bytes in reverse order; sorted.
    backwards: Vec<Vec<u8>>,
    /// Length of the longest piece, in bytes.
    longest: usize,
}

impl Marks {
    pub(super) fn new(tokenizer: &Tokenizer, mark: char) -> Marks {
        let mut pieces: Vec<Vec<u8>> = tokenizer
            .control_pieces()
            .map(<[u8]>::to_ascii_lowercase)
            .collect();
        let mut backwards: Vec<Vec<u8>> = pieces
            .iter()
            .map(|piece| piece.iter().rev().copied().collect())
            .collect();
        pieces.sort_unstable();
        backwards.sort_unstable();
        let longest = pieces.iter().map(Vec::len).max().unwrap_or(0);
        let mut first_bytes = [false; 256];
        for &first in pieces.iter().filter_map(|piece| piece.first()) {
            first_bytes[usize::from(first)] = true;
        }
        Marks {
            mark,
            pieces,
            first_bytes,
            backwards,
            longest,
        }
    }

    /// Adds marks to all text that comes from the caller.
    pub(super) fn guard(&self, source: &str, variables: &mut Variables) {
        for (name, value) in variables.iter_mut() {
            match value {
                Value::Array(messages) if name == "messages" => {
                    for message in messages.iter_mut().filter_map(Value::as_object_mut) {
                        self.guard_message(source, message);
                    }
                }
                _ if OF_THE_FILE.contains(&name.as_str()) => {}
                value => self.guard_value(value, false),
            }
        }
    }

    fn guard_message(&self, source: &str, message: &mut Variables) {
        for (name, value) in message.iter_mut() {
            match value {
                Value::String(role) if name == "role" => {
                    if !ROLES.contains(&role.as_str()) && !quotes(source, role) {
                        *role = self.guarded(role, true);
                    }
                }
                value => self.guard_value(value, name == "content"),
            }
        }
        self.guard_keys(message);
    }

    fn guard_value(&self, value: &mut Value, words: bool) {
        match value {
            Value::String(text) => *text = self.guarded(text, words),
            Value::Array(items) => {
                items.iter_mut().for_each(|v| self.guard_value(v, words));
            }
            Value::Object(fields) => {
                for (name, value) in fields.iter_mut() {
                    self.guard_value(value, words && name == "text");
                }
                self.guard_keys(fields);
            }
            _ => {}
        }
    }

    fn guard_keys(&self, fields: &mut Variables) {
        if fields.keys().any(|key| self.guarded(key, false) != *key) {
            let old = std::mem::take(fields).into_iter();
            fields.extend(old.map(|(key, value)| (self.guarded(&key, false), value)));
        }
    }

    /// The text with marks. With `words`, a text that could be the middle of a control token
    /// gets a mark too. Names, which templates compare, do not: a mark would change the
    /// result.
    fn guarded(&self, text: &str, words: bool) -> String {
        let lower = text.to_ascii_lowercase();
        let start = text.len() - python::strip_start(text).len();
        let end = python::strip_end(text).len();
        let mut out = String::with_capacity(text.len());
        let open = [0, start].map(|from| self.may_end_token(&lower.as_bytes()[from..]));
        let within = words && self.may_be_within_token(python::strip(&lower).as_bytes());
        for (at, c) in text.char_indices() {
            let rest = &lower.as_bytes()[at..];
            let trimmed = lower.as_bytes().get(at..end).unwrap_or_default();
            let may_begin = self.first_bytes[usize::from(rest[0])];
            let alone = may_begin && self.is_token(c);
            let marked_before = (at == 0 && open[0]) || (at == start && (open[1] || within));
            if marked_before || alone {
                out.push(self.mark);
            }
            out.push(c);
            if may_begin && (self.may_begin_token(rest) || self.may_begin_token(trimmed)) {
                out.push(self.mark);
            }
        }
        out
    }

    /// Whether a token stands at the beginning of a text, or all of the text is
    /// the beginning of one.
    fn may_begin_token(&self, text: &[u8]) -> bool {
        begins(&self.pieces, text.iter().copied()) != Begins::No
    }

    /// Whether what a text begins with could be the end of a token.
    fn may_end_token(&self, text: &[u8]) -> bool {
        (1..=text.len().min(self.longest)).any(|len| {
            let end = text[..len].iter().rev().copied();
            begins(&self.backwards, end) == Begins::Part
        })
    }

    /// Whether a text is a part of a token.
    fn may_be_within_token(&self, text: &[u8]) -> bool {
        let within = |piece: &Vec<u8>| piece.windows(text.len()).any(|part| part == text);
        !text.is_empty() && text.len() <= self.longest && self.pieces.iter().any(within)
    }

    /// Whether this character alone is a token. No mark fits inside it, so it gets one on
    /// each side.
    fn is_token(&self, c: char) -> bool {
        let mut buffer = [0; 4];
        let piece = c.to_ascii_lowercase().encode_utf8(&mut buffer).as_bytes();
        self.pieces
            .binary_search_by(|p| p.as_slice().cmp(piece))
            .is_ok()
    }
}

/// How a text compares with sorted pieces.
fn begins(pieces: &[Vec<u8>], text: impl Iterator<Item = u8>) -> Begins {
    let mut candidates = pieces;
    let mut begun = Begins::No;
    for (depth, byte) in text.enumerate() {
        let at_depth = |piece: &Vec<u8>| piece.get(depth).copied();
        let from = candidates.partition_point(|piece| at_depth(piece) < Some(byte));
        let to = candidates.partition_point(|piece| at_depth(piece) <= Some(byte));
        candidates = &candidates[from..to];
        match candidates.first() {
            None => return Begins::No,
            Some(piece) if piece.len() == depth + 1 => return Begins::Whole,
            Some(_) => begun = Begins::Part,
        }
    }
    begun
}

/// Whether a control token at the bytes `start..end` of a text, with marks at the offsets
/// `barriers` (sorted), was written by the template alone.
pub(super) fn is_templates(text: &str, barriers: &[usize], start: usize, end: usize) -> bool {
    let next = barriers.partition_point(|&barrier| barrier <= start);
    let spans = barriers.get(next).is_some_and(|&barrier| barrier < end);
    let is_one_char = text[start..].chars().next().map(char::len_utf8) == Some(end - start);
    let marked = |at| barriers.binary_search(&at).is_ok();
    !(spans || is_one_char && marked(start) && marked(end))
}
