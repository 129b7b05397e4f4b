//! Accuracy on sets of tasks that a laboratory brings: MMLU, KMMLU, IFEval, Ko-IFEval.
//! None of them is part of Ondol.

mod checks;
mod choice;
mod follow;

use crate::machine;
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

/// A set whose file was read.
#[derive(Debug)]
pub struct Tasks {
    kind: Kind,
    file: String,
    sha256: String,
    items: Items,
}

#[derive(Debug)]
enum Items {
    /// Of a multiple choice.
    Questions(Vec<choice::Question>),
    /// With instructions that can be verified.
    Prompts(Vec<follow::Prompt>),
}

impl Tasks {
    /// Reads a set's file.
    ///
    /// # Errors
    /// Every one of [`TaskError`].
    pub fn read(set: &TaskSet) -> Result<Tasks, TaskError> {
        let path = &set.path;
        let text = std::fs::read_to_string(path).map_err(|source| TaskError::File {
            path: path.clone(),
            source,
        })?;
        let sha256 = machine::sha256_of(&text);
        let text = text.trim_start_matches('\u{feff}');
        let items = match set.kind {
            Kind::Mmlu | Kind::Kmmlu => Items::Questions(choice::parse(path, text)?),
            Kind::Ifeval | Kind::KoIfeval => Items::Prompts(follow::parse(path, text)?),
        };
        match items.len() {
            0 => Err(TaskError::Empty { path: path.clone() }),
            _ => Ok(Tasks {
                kind: set.kind,
                file: path.display().to_string(),
                sha256,
                items,
            }),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Answers all. `say` gets the number of answered items and of all.
    ///
    /// # Errors
    /// Those of the runtime.
    pub fn run(self, session: &mut Session, say: impl FnMut(usize, usize)) -> ondol::Result<Score> {
        let (answers, instructions) = match &self.items {
            Items::Questions(questions) => {
                (choice::answer(session, self.kind, questions, say)?, None)
            }
            Items::Prompts(prompts) => {
                let (answers, instructions) = follow::answer(session, prompts, say)?;
                (answers, Some(instructions))
            }
        };
        Ok(self.score(answers, instructions))
    }

    fn score(self, answers: Vec<Answered>, instructions: Option<Instructions>) -> Score {
        let verdicts = || answers.iter().filter_map(|answer| answer.right);
        let (judged, right) = (
            verdicts().count(),
            verdicts().filter(|&right| right).count(),
        );
        Score {
            kind: self.kind,
            file: self.file,
            sha256: self.sha256,
            items: answers.len(),
            judged,
            right,
            accuracy: right as f64 / judged.max(1) as f64,
            instructions,
            answers,
        }
    }
}

impl Items {
    fn len(&self) -> usize {
        match self {
            Items::Questions(questions) => questions.len(),
            Items::Prompts(prompts) => prompts.len(),
        }
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
