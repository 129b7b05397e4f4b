//! Records: prompts with a model's answers, and the likeliest tokens at every step.
//!
//! One JSON object per line: `prompt`, `prompt_ids`, `text`, and `steps`, each with the
//! token `id` that was taken and `top`, the likeliest tokens as `[id, ln p]`. Any
//! engine can write and read them.

use crate::error::{Error, Result};
use crate::text;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Likeliest tokens kept at each step.
pub const TOP: usize = 10;

/// The answer to one prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Raw text: no chat template, special tokens parsed. `None` in a record of ids
    /// alone, which any tokenizer may have made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Its tokens, with BOS if the file says so.
    pub prompt_ids: Vec<u32>,
    /// The answer; U+FFFD in place of an incomplete last character.
    #[serde(default)]
    pub text: String,
    /// The tokens after the prompt: greedy ones, of which the last may be an
    /// end-of-generation token, or those of a text.
    pub steps: Vec<Step>,
}

/// One token of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The token that comes next; not the likeliest one in a record of a text.
    pub id: u32,
    /// The likeliest tokens with `ln p`, best first.
    pub top: Vec<(u32, f64)>,
}

impl Step {
    /// The likeliest token.
    pub fn likeliest(&self) -> u32 {
        self.top.first().map_or(self.id, |&(id, _)| id)
    }

    /// Whether the first token is more than 0.5 nats likelier than the second.
    pub fn is_clear(&self) -> bool {
        match self.top.as_slice() {
            [first, second, ..] => first.1 - second.1 > 0.5,
            _ => true,
        }
    }
}

/// Reads a file of records.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    lines(path)?
        .into_iter()
        .map(|(line, text)| {
            serde_json::from_str(&text)
                .map_err(|e| bad_line(path, line, format!("not a record: {e}")))
        })
        .collect()
}

/// One record a line.
pub fn to_lines(records: &[Record]) -> String {
    records
        .iter()
        .map(|record| format!("{}\n", serde_json::json!(record)))
        .collect()
}

/// Reads a file of prompts: one a line, or JSON objects with `prompt` (a record is one too).
pub fn read_prompts(path: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Prompt {
        prompt: String,
    }
    lines(path)?
        .into_iter()
        .map(|(line, text)| {
            if !text.starts_with('{') {
                return Ok(text);
            }
            let prompt: Prompt = serde_json::from_str(&text).map_err(|e| {
                bad_line(path, line, format!("not a JSON object with `prompt`: {e}"))
            })?;
            Ok(prompt.prompt)
        })
        .collect()
}

/// The lines that are not empty, with their numbers.
fn lines(path: &Path) -> Result<Vec<(usize, String)>> {
    let text = text::read_file(path)?;
    let lines: Vec<(usize, String)> = text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
        .map(|(i, l)| (i + 1, l.to_owned()))
        .collect();
    match lines.is_empty() {
        true => Err(bad_line(path, 1, "the file is empty".to_owned())),
        false => Ok(lines),
    }
}

fn bad_line(path: &Path, line: usize, reason: String) -> Error {
    Error::BadLine {
        path: path.to_path_buf(),
        line,
        reason,
    }
}
