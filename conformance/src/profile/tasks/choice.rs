//! Multiple choice: the letter with the largest log-likelihood after the question.
//!
//! Files: MMLU's CSV, without a head (question, four options, the letter of the answer);
//! KMMLU's CSV, with a head (`question`, `answer` from 1 to 4, `A` to `D`, and others);
//! either as JSON lines with the same names, where `answer` is a letter or a number from 1
//! on. Questions are asked without examples (zero-shot).

use super::{Answered, Kind, TaskError, bad_line};
use ondol::{CancelToken, Session};
use serde::Deserialize;
use std::path::Path;

const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// A question with four options.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    text: String,
    options: [String; 4],
    /// Index of the right option.
    right: usize,
}

/// The questions of a file.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Question>, TaskError> {
    match text.trim_start().starts_with('{') {
        true => parse_lines(path, text),
        false => parse_csv(path, text),
    }
}

fn parse_lines(path: &Path, text: &str) -> Result<Vec<Question>, TaskError> {
    #[derive(Deserialize)]
    struct Line {
        question: String,
        answer: serde_json::Value,
        #[serde(rename = "A")]
        a: String,
        #[serde(rename = "B")]
        b: String,
        #[serde(rename = "C")]
        c: String,
        #[serde(rename = "D")]
        d: String,
    }
    let lines = (1..).zip(text.lines());
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let question = |(at, line): (u64, &str)| {
        let line: Line = serde_json::from_str(line).map_err(|e| bad_line(path, at, e))?;
        let answer = match &line.answer {
            serde_json::Value::String(letter) => letter.clone(),
            other => other.to_string(),
        };
        Ok(Question {
            right: place(&answer).ok_or_else(|| no_answer(path, at, &answer))?,
            text: line.question,
            options: [line.a, line.b, line.c, line.d],
        })
    };
    lines.map(question).collect()
}

fn parse_csv(path: &Path, text: &str) -> Result<Vec<Question>, TaskError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut columns = [0, 1, 2, 3, 4, 5];
    let mut questions = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| bad_line(path, e.position().map_or(0, |p| p.line()), &e))?;
        let line = row.position().map_or(0, csv::Position::line);
        if let (0, Some(named)) = (questions.len(), named_columns(&row)) {
            columns = named;
            continue;
        }
        let field = |at: usize| {
            let field = row.get(columns[at]).map(str::to_owned);
            field.ok_or_else(|| {
                bad_line(
                    path,
                    line,
                    "a question, four options and an answer are needed",
                )
            })
        };
        let answer = field(5)?;
        questions.push(Question {
            text: field(0)?,
            options: [field(1)?, field(2)?, field(3)?, field(4)?],
            right: place(&answer).ok_or_else(|| no_answer(path, line, &answer))?,
        });
    }
    Ok(questions)
}

/// The columns of question, options and answer, if the row is a head.
fn named_columns(row: &csv::StringRecord) -> Option<[usize; 6]> {
    let mut columns = [0; 6];
    let names = ["question", "A", "B", "C", "D", "answer"];
    for (column, name) in columns.iter_mut().zip(names) {
        *column = row.iter().position(|head| head.trim() == name)?;
    }
    Some(columns)
}

/// The index of an answer: a letter, or a number from 1 on.
fn place(answer: &str) -> Option<usize> {
    let answer = answer.trim();
    let numbers = ["1", "2", "3", "4"];
    [LETTERS, numbers]
        .iter()
        .find_map(|names| names.iter().position(|name| *name == answer))
}

fn no_answer(path: &Path, line: u64, answer: &str) -> TaskError {
    bad_line(
        path,
        line,
        format!("`{answer}` is not an answer from A to D or 1 to 4"),
    )
}

/// Answers all questions.
pub fn answer(
    session: &mut Session,
    kind: Kind,
    questions: &[Question],
    mut say: impl FnMut(usize, usize),
) -> ondol::Result<Vec<Answered>> {
    let mut answers = Vec::with_capacity(questions.len());
    for question in questions {
        answers.push(choose(session, kind, question, answers.len())?);
        say(answers.len(), questions.len());
    }
    Ok(answers)
}

/// The prompt up to the letter, which is not part of it.
fn prompt(kind: Kind, question: &Question) -> String {
    let options = LETTERS.iter().zip(&question.options);
    let options = options.map(|(letter, option)| format!("{letter}. {}\n", option.trim()));
    let options: String = options.collect();
    let ask = if kind == Kind::Kmmlu {
        "정답:"
    } else {
        "Answer:"
    };
    format!("{}\n{options}{ask}", question.text.trim())
}

/// Chooses a letter. A question that is longer than the context is not judged.
fn choose(
    session: &mut Session,
    kind: Kind,
    question: &Question,
    item: usize,
) -> ondol::Result<Answered> {
    let prompt = prompt(kind, question);
    // Prompt and letter are encoded together, because the letter's token depends on the text
    // before it.
    let encoded = LETTERS.map(|letter| {
        let whole = format!("{prompt} {letter}");
        session.model().encode_prompt(&whole)
    });
    let same = common(&encoded);
    let mut answered = Answered {
        item: item.to_string(),
        prompt_ids: encoded[0][..same].to_vec(),
        answer_ids: Vec::new(),
        answer: String::new(),
        ln_p: Vec::new(),
        right: None,
    };
    let longest = encoded.iter().map(Vec::len).max().unwrap_or(0);
    if longest > session.context() {
        return Ok(answered);
    }
    session.clear();
    let first = session
        .prefill(&encoded[0][..same], &CancelToken::new())?
        .to_vec();
    for tokens in &encoded {
        answered
            .ln_p
            .push(likelihood(session, tokens, same, &first)?);
    }
    let mut places = 0..LETTERS.len();
    // The first of equal ones. If a likelihood is NaN, none is chosen.
    let best = places.find(|&at| answered.ln_p.iter().all(|ln_p| answered.ln_p[at] >= *ln_p));
    answered.answer = best.map_or("", |at| LETTERS[at]).to_owned();
    answered.right = Some(best == Some(question.right));
    Ok(answered)
}

/// The number of tokens with which all four begin, but at most all but one of the shortest.
fn common(encoded: &[Vec<u32>; 4]) -> usize {
    let [first, others @ ..] = encoded;
    let shortest = encoded.iter().map(Vec::len).min().unwrap_or(0);
    let mut places = 0..shortest.saturating_sub(1);
    let differs = |&at: &usize| others.iter().any(|other| other[at] != first[at]);
    places.find(differs).unwrap_or(shortest.saturating_sub(1))
}

/// `ln p` of the tokens from place `same` on; `first` are the logits before them.
fn likelihood(
    session: &mut Session,
    tokens: &[u32],
    same: usize,
    first: &[f32],
) -> ondol::Result<f64> {
    let mut total = ln_p(first, tokens[same]);
    for at in same + 1..tokens.len() {
        session.clear();
        let logits = session.prefill(&tokens[..at], &CancelToken::new())?;
        total += ln_p(logits, tokens[at]);
    }
    Ok(total)
}

fn ln_p(logits: &[f32], token: u32) -> f64 {
    crate::end_to_end::Distribution::of(logits).ln_p(token as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADLESS: &str =
        "\"What is cold, white and falls?\",Sand,Snow,Smoke,Steam,B\nTwo and two?,1,2,3,4,D\n";
    const HEADED: &str = "question,answer,A,B,C,D,Category\n\
        \"온돌은 무엇을 데우나?\",3,지붕,벽,바닥,창문,상식\n";

    #[test]
    fn both_layouts_of_csv_are_read() {
        let path = Path::new("set.csv");
        let questions = parse(path, HEADLESS).unwrap();
        assert_eq!(questions.len(), 2);
        assert_eq!(questions[0].text, "What is cold, white and falls?");
        assert_eq!((questions[0].right, questions[1].right), (1, 3));
        let questions = parse(path, HEADED).unwrap();
        assert_eq!(questions[0].options[2], "바닥");
        assert_eq!(questions[0].right, 2);
        let line = r#"{"question":"온돌은?","answer":1,"A":"난방","B":"b","C":"c","D":"d"}"#;
        assert_eq!(parse(path, line).unwrap()[0].right, 0);
        let prompt = prompt(Kind::Kmmlu, &questions[0]);
        assert!(prompt.ends_with("C. 바닥\nD. 창문\n정답:"), "{prompt}");
    }

    #[test]
    fn bad_rows_are_named_by_their_line() {
        let error = |text: &str| parse(Path::new("set.csv"), text).unwrap_err().to_string();
        assert!(error("q,1,2,3,4,A\nq,1,2\n").contains("line 2"));
        assert!(error("q,1,2,3,4,E\n").contains("`E`"));
        assert!(error("{\"question\":\"q\"}\n").contains("line 1"));
    }

    #[test]
    fn the_common_beginning_leaves_each_a_token() {
        let of = |ends: [&[u32]; 4]| common(&ends.map(|end| [&[1, 2][..], end].concat()));
        assert_eq!(of([&[5], &[6], &[7], &[8]]), 2);
        assert_eq!(of([&[5, 1], &[5, 2], &[5, 3], &[5, 4]]), 3);
        assert_eq!(of([&[5], &[5], &[5], &[5]]), 2);
    }
}
