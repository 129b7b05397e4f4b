//! Accuracy on sets of tasks that a laboratory brings: MMLU, KMMLU, IFEval, Ko-IFEval.
//! None of them is part of Ondol.

mod checks;
mod choice;
mod follow;

use crate::{Error, machine};
use ondol::Session;
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Why a set of tasks can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A file can't be read, or is no text.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A row or line is no task.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The file has no task.
    #[error("{path} has no task")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The hash of a file can't be taken.
    #[error(transparent)]
    Hash(#[from] Error),
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] ondol::Error),
}

/// A kind of set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Multiple choice, in English.
    Mmlu,
    /// Multiple choice, in Korean.
    Kmmlu,
    /// Instructions that can be verified, in English.
    Ifeval,
    /// The same in Korean.
    KoIfeval,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Mmlu, Kind::Kmmlu, Kind::Ifeval, Kind::KoIfeval];
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Mmlu => "mmlu",
            Kind::Kmmlu => "kmmlu",
            Kind::Ifeval => "ifeval",
            Kind::KoIfeval => "ko-ifeval",
        })
    }
}

/// A file of tasks: `mmlu=FILE`.
#[derive(Debug, Clone)]
pub struct TaskSet {
    /// Its kind.
    pub kind: Kind,
    /// The file.
    pub path: PathBuf,
}

impl FromStr for TaskSet {
    type Err = String;

    fn from_str(text: &str) -> Result<TaskSet, String> {
        let named = text.split_once('=');
        let known = |name: &str| Kind::ALL.into_iter().find(|kind| kind.to_string() == name);
        match named.map(|(name, path)| (known(name), path)) {
            Some((Some(kind), path)) if !path.is_empty() => Ok(TaskSet {
                kind,
                path: path.into(),
            }),
            _ => Err("mmlu=FILE, kmmlu=FILE, ifeval=FILE or ko-ifeval=FILE is needed".to_owned()),
        }
    }
}

/// How well a model did on a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The kind of the set.
    pub kind: Kind,
    /// Its file.
    pub file: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Questions or prompts in it.
    pub items: usize,
    /// Those that were judged.
    pub judged: usize,
    /// Questions that were answered rightly, or prompts whose every instruction was followed.
    pub right: usize,
    /// `right / judged`; 0 if nothing was judged.
    pub accuracy: f64,
    /// The instructions, if the set has instructions.
    pub instructions: Option<Instructions>,
    /// What was answered, one for each item, to look at and to judge again.
    #[serde(skip)]
    pub answers: Vec<Answered>,
}

/// Instructions, each counted by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Instructions {
    /// Those that were judged.
    pub judged: usize,
    /// Those that were followed.
    pub followed: usize,
    /// Those that were not judged, because there is no checker for them. They count neither as
    /// followed nor as not followed.
    pub not_judged: usize,
    /// The ids of the instructions that were not judged.
    pub unknown: Vec<String>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The file's key of the item, or its number from 0.
    pub item: String,
    /// Tokens of the prompt.
    pub prompt_ids: Vec<u32>,
    /// Tokens of the answer; empty for a choice.
    pub answer_ids: Vec<u32>,
    /// The answer: a text, or the letter of a choice.
    pub answer: String,
    /// `ln p` of the letters of a choice, in their order.
    pub ln_p: Vec<f64>,
    /// Whether it is right; `None` if it was not judged.
    pub right: Option<bool>,
}

/// Runs a set. `say` gets the number of answered items and of all.
///
/// # Errors
/// Every one of [`TaskError`].
pub fn run(
    set: &TaskSet,
    session: &mut Session,
    say: impl FnMut(usize, usize),
) -> Result<Score, TaskError> {
    let text = std::fs::read_to_string(&set.path).map_err(|source| TaskError::File {
        path: set.path.clone(),
        source,
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let (answers, instructions) = match set.kind {
        Kind::Mmlu | Kind::Kmmlu => {
            let questions = choice::parse(&set.path, text)?;
            refuse_empty(&set.path, questions.is_empty())?;
            (choice::answer(session, set.kind, &questions, say)?, None)
        }
        Kind::Ifeval | Kind::KoIfeval => {
            let prompts = follow::parse(&set.path, text)?;
            refuse_empty(&set.path, prompts.is_empty())?;
            let (answers, instructions) = follow::answer(session, &prompts, say)?;
            (answers, Some(instructions))
        }
    };
    Ok(score(
        set,
        machine::sha256(&set.path)?,
        answers,
        instructions,
    ))
}

fn refuse_empty(path: &Path, is_empty: bool) -> Result<(), TaskError> {
    match is_empty {
        true => Err(TaskError::Empty {
            path: path.to_path_buf(),
        }),
        false => Ok(()),
    }
}

fn score(
    set: &TaskSet,
    sha256: String,
    answers: Vec<Answered>,
    instructions: Option<Instructions>,
) -> Score {
    let judged = answers
        .iter()
        .filter(|answer| answer.right.is_some())
        .count();
    let right = answers
        .iter()
        .filter(|answer| answer.right == Some(true))
        .count();
    Score {
        kind: set.kind,
        file: set.path.display().to_string(),
        sha256,
        items: answers.len(),
        judged,
        right,
        accuracy: right as f64 / judged.max(1) as f64,
        instructions,
        answers,
    }
}

fn bad_line(path: &Path, line: u64, reason: impl Display) -> TaskError {
    TaskError::Line {
        path: path.to_path_buf(),
        line,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_named_by_kind_and_file() {
        let set: TaskSet = "ko-ifeval=a=b.jsonl".parse().unwrap();
        assert_eq!((set.kind, set.path), (Kind::KoIfeval, "a=b.jsonl".into()));
        for text in ["mmlu", "mmlu=", "bbh=file", ""] {
            assert!(text.parse::<TaskSet>().is_err(), "{text}");
        }
    }
}
