//! Encodes a rendered conversation: the template's own text, in which control tokens
//! are recognized; the caller's text, in which they are not; and the model's own
//! answers, whose ids are known.

use std::ops::Range;

use serde_json::Value;

use super::forms::Use;
use super::marks::{Marks, Noncharacters, is_templates, take_out};
use super::variables::Variables;
use super::{Content, Message, python};
use crate::Result;
use crate::tokenizer::{TokenKind, Tokenizer};

/// A rendered conversation.
pub(super) struct Prompt {
    /// All of it.
    pub(super) text: String,
    /// Byte offsets that no control token spans, sorted.
    barriers: Vec<usize>,
    /// The answers of the model whose ids are known, in order.
    answers: Vec<Answer>,
}

/// A stretch of the text that is encoded as these ids.
#[derive(Debug)]
struct Answer {
    range: Range<usize>,
    ids: Vec<u32>,
}

impl Prompt {
    /// Renders these messages.
    pub(super) fn new(
        template: &Use,
        messages: &[Message],
        tokenizer: &Tokenizer,
    ) -> Result<Prompt> {
        let mut variables = template.variables(messages)?;
        let unused = Noncharacters::unused(&template.source.text, &variables)?;
        let marks = Marks::new(tokenizer, unused.barrier);
        marks.guard(&template.source.text, &mut variables);
        let (text, barriers) = take_out(&template.render(&variables)?, unused.barrier);
        let mut prompt = Prompt {
            text,
            barriers,
            answers: Vec::new(),
        };
        if messages.iter().any(|message| !message.ids.is_empty()) {
            let ends = prompt.ends_of_answers(template, messages, variables, &unused);
            prompt.find_answers(messages, &ends, tokenizer);
        }
        Ok(prompt)
    }

    /// The tokens, with the BOS that the file asks for, unless they begin with it.
    pub(super) fn encode(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut done = 0;
        for Answer { range, ids: own } in &self.answers {
            self.encode_range(done..range.start, tokenizer, &mut ids);
            ids.extend(own);
            done = range.end;
        }
        self.encode_range(done..self.text.len(), tokenizer, &mut ids);
        match tokenizer.added_bos() {
            Some(id) if ids.first() != Some(&id) => ids.insert(0, id),
            _ => {}
        }
        ids
    }

    fn encode_range(&self, range: Range<usize>, tokenizer: &Tokenizer, ids: &mut Vec<u32>) {
        let counts = |token: Range<usize>, kind| {
            let (start, end) = (range.start + token.start, range.start + token.end);
            self.counts(start..end, kind)
        };
        let text = &self.text[range.clone()];
        tokenizer.encode_part(text, range.start == 0, counts, ids);
    }

    fn counts(&self, token: Range<usize>, kind: TokenKind) -> bool {
        kind == TokenKind::UserDefined
            || is_templates(&self.text, &self.barriers, token.start, token.end)
    }

    /// The byte offsets at which the contents of assistants end in the text. They are found by
    /// a second rendering with a mark after each content. Empty if the marks change what the
    /// template writes.
    fn ends_of_answers(
        &self,
        template: &Use,
        messages: &[Message],
        mut variables: Variables,
        unused: &Noncharacters,
    ) -> Vec<usize> {
        let fields = variables.get_mut("messages").and_then(Value::as_array_mut);
        for (message, fields) in messages.iter().zip(fields.into_iter().flatten()) {
            let content = fields.get_mut("content");
            if let Some(content) = content.filter(|_| !message.ids.is_empty()) {
                mark_end(content, unused.end);
            }
        }
        let Ok(marked) = template.render(&variables) else {
            return Vec::new();
        };
        let (marked, _) = take_out(&marked, unused.barrier);
        let (text, ends) = take_out(&marked, unused.end);
        match text == self.text {
            true => ends,
            false => Vec::new(),
        }
    }

    fn find_answers(&mut self, messages: &[Message], ends: &[usize], tokenizer: &Tokenizer) {
        let counts = |token, kind| self.counts(token, kind);
        let controls = tokenizer.control_places(&self.text, counts);
        let mut spoken = messages.iter().filter(|message| !message.ids.is_empty());
        let mut done = 0;
        for &end in ends {
            let before = controls.partition_point(|control| control.start < end);
            let control = before.checked_sub(1).map_or(0, |last| {
                let control = &controls[last];
                control.start + python::strip_end(&self.text[control.clone()]).len()
            });
            let floor = done.max(control);
            if floor > end {
                continue;
            }
            // A template may have left out earlier answers.
            let place = |message| Spoken::new(message, tokenizer)?.place(&self.text, floor, end);
            if let Some(answer) = spoken.find_map(place) {
                done = answer.range.end;
                self.answers.push(answer);
            }
        }
    }
}

/// Marks the end of a content, less white space that a template may strip.
fn mark_end(content: &mut Value, mark: char) {
    match content {
        Value::String(text) => text.insert(python::strip_end(text).len(), mark),
        Value::Array(parts) => {
            if let Some(text) = parts.last_mut().and_then(|part| part.get_mut("text")) {
                mark_end(text, mark);
            }
        }
        _ => {}
    }
}

/// An answer as the model generated it.
struct Spoken<'m> {
    ids: &'m [u32],
    /// The text of the ids.
    text: String,
    /// The byte offset in the text at which each token begins, and the one at which the last
    /// token ends; `None` for an offset within a character.
    borders: Vec<Option<usize>>,
    /// Whether the text began with a space that decoding drops.
    space: bool,
    /// The byte offset in the text at which the message's content ends, without the white
    /// space at its end.
    end: usize,
}

impl<'m> Spoken<'m> {
    /// `None` where the text of the ids neither ends nor begins with the content.
    fn new(message: &'m Message, tokenizer: &Tokenizer) -> Option<Spoken<'m>> {
        let is_end = |&id: &u32| tokenizer.is_end_of_generation(id);
        let count = message.ids.iter().rposition(|id| !is_end(id))? + 1;
        let ids = &message.ids[..count];
        let mut bytes = Vec::new();
        let mut begins = vec![0];
        for &id in ids {
            tokenizer.piece(id, &mut bytes);
            begins.push(bytes.len());
        }
        let space = tokenizer.strips_first_space() && bytes.first() == Some(&b' ');
        let (text, places) = characters(&bytes, usize::from(space));
        let content = match &message.content {
            Content::Absent | Content::Null => return None,
            content => content.text()?,
        };
        let end = match python::strip_end(&text).ends_with(python::strip(&content)) {
            true => python::strip_end(&text).len(),
            false if text.starts_with(python::strip_end(&content)) => {
                python::strip_end(&content).len()
            }
            false => return None,
        };
        Some(Spoken {
            ids,
            text,
            borders: begins.into_iter().map(|at| places[at]).collect(),
            space,
            end,
        })
    }

    /// The stretch of `prompt` that these ids, or the last of them, are the text of. It begins
    /// at `floor` or later, and ends at `end`, or later where the prompt keeps white space
    /// that follows there. It begins and ends where a token does.
    fn place(&self, prompt: &str, floor: usize, end: usize) -> Option<Answer> {
        let said = &self.text[..self.end];
        let kept = common_suffix(&prompt[floor..end], said);
        let mut from = self.end - kept;
        if from > 0 {
            // White space at the beginning may be the template's, not the answer's.
            from += said[from..].len() - python::strip_start(&said[from..]).len();
        }
        let rest = self.text[self.end..].chars().zip(prompt[end..].chars());
        let space = rest.take_while(|(a, b)| a == b && python::is_space(*a));
        let to = self.end + space.map(|(c, _)| c.len_utf8()).sum::<usize>();
        let (first, from) = self.first_token(from)?;
        let (last, to) = self.last_token(to)?;
        if first >= last || from >= to {
            return None;
        }
        let mut range = end + from - self.end..end + to - self.end;
        let spaced = prompt[floor..range.start].ends_with(' ');
        if first == 0 && self.space && spaced {
            range.start -= 1;
        }
        Some(Answer {
            range,
            ids: self.ids[first..last].to_vec(),
        })
    }

    /// The first token that begins at `from` or later, and the offset at which it begins.
    /// Tokens without text before it are included only at the beginning of the answer.
    fn first_token(&self, from: usize) -> Option<(usize, usize)> {
        if from == 0 {
            return Some((0, 0));
        }
        let place = self.borders.iter().flatten().copied();
        let place = place.filter(|&place| place >= from).min()?;
        let token = self.borders.iter().rposition(|&b| b == Some(place))?;
        Some((token, place))
    }

    /// The number of the last token that ends at `to` or earlier, plus one, and the offset at
    /// which that token ends.
    fn last_token(&self, to: usize) -> Option<(usize, usize)> {
        let place = self.borders.iter().flatten().copied();
        let place = place.filter(|&place| place <= to).max()?;
        let token = self.borders.iter().position(|&b| b == Some(place))?;
        Some((token, place))
    }
}

/// The text of `bytes` without the first `skipped`, and, for each offset in `bytes`, the
/// offset in the text; `None` within a character.
fn characters(bytes: &[u8], skipped: usize) -> (String, Vec<Option<usize>>) {
    let mut text = String::with_capacity(bytes.len());
    let mut places = vec![None; bytes.len() + 1];
    places[0] = Some(0);
    let mut at = skipped;
    for chunk in bytes[skipped..].utf8_chunks() {
        for (offset, _) in chunk.valid().char_indices() {
            places[at + offset] = Some(text.len() + offset);
        }
        at += chunk.valid().len();
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            places[at] = Some(text.len());
            text.push(char::REPLACEMENT_CHARACTER);
            at += chunk.invalid().len();
        }
    }
    places[at] = Some(text.len());
    (text, places)
}

/// Bytes of the characters that two texts end with.
fn common_suffix(a: &str, b: &str) -> usize {
    let same = a.chars().rev().zip(b.chars().rev());
    let same = same.take_while(|(a, b)| a == b);
    same.map(|(c, _)| c.len_utf8()).sum()
}
