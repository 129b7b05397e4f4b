//! Instructions that a program can verify: IFEval and its Korean forms.
//!
//! Files are JSON lines with `key`, `prompt`, `instruction_id_list` and `kwargs`, one for
//! each id ("Instruction-Following Evaluation for Large Language Models", Zhou et al.,
//! 2023). Answers are greedy and judged strictly, as they stand.

use super::checks::{Kwargs, Verdict, check};
use super::{Answered, Instructions, TaskError, bad_line};
use ondol::generate::SamplerOptions;
use ondol::{CancelToken, GenerateOptions, Message, Session};
use serde::Deserialize;
use std::path::Path;

/// The most tokens of an answer, as in the reference's runs.
const ANSWER: usize = 1280;

/// A prompt with instructions.
#[derive(Debug, Clone, Deserialize)]
pub struct Prompt {
    #[serde(default)]
    key: serde_json::Value,
    prompt: String,
    instruction_id_list: Vec<String>,
    kwargs: Vec<Kwargs>,
}

/// The prompts of a file.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Prompt>, TaskError> {
    let lines = (1..).zip(text.lines());
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let prompt = |(at, line): (u64, &str)| {
        let prompt: Prompt = serde_json::from_str(line).map_err(|e| bad_line(path, at, e))?;
        let (ids, kwargs) = (prompt.instruction_id_list.len(), prompt.kwargs.len());
        match ids == kwargs && ids > 0 {
            true => Ok(prompt),
            false => Err(bad_line(
                path,
                at,
                format!("{ids} instructions with {kwargs} kwargs"),
            )),
        }
    };
    lines.map(prompt).collect()
}

/// Answers and judges all prompts.
pub fn answer(
    session: &mut Session,
    prompts: &[Prompt],
    mut say: impl FnMut(usize, usize),
) -> ondol::Result<(Vec<Answered>, Instructions)> {
    let (mut answers, mut instructions) = (Vec::new(), Instructions::default());
    for prompt in prompts {
        let mut answered = generate(session, prompt)?;
        let verdicts = judge(prompt, &answered.answer, &mut instructions);
        answered.right = all(&verdicts);
        answers.push(answered);
        say(answers.len(), prompts.len());
    }
    Ok((answers, instructions))
}

/// Whether all instructions were followed: no if one was not, otherwise `None` if one was not
/// judged.
fn all(verdicts: &[Verdict]) -> Option<bool> {
    match verdicts {
        verdicts if verdicts.contains(&Verdict::NotFollowed) => Some(false),
        verdicts if verdicts.contains(&Verdict::NotJudged) => None,
        _ => Some(true),
    }
}

fn judge(prompt: &Prompt, answer: &str, counts: &mut Instructions) -> Vec<Verdict> {
    let pairs = prompt.instruction_id_list.iter().zip(&prompt.kwargs);
    let judge = |(id, kwargs): (&String, &Kwargs)| {
        let verdict = check(id, kwargs, answer);
        match verdict {
            Verdict::NotJudged => {
                counts.not_judged += 1;
                if !counts.unknown.contains(id) {
                    counts.unknown.push(id.clone());
                }
            }
            judged => {
                counts.judged += 1;
                counts.followed += usize::from(judged == Verdict::Followed);
            }
        }
        verdict
    };
    pairs.map(judge).collect()
}

/// A greedy answer. A prompt that fills the context gets an empty one.
fn generate(session: &mut Session, prompt: &Prompt) -> ondol::Result<Answered> {
    let model = session.model().clone();
    let prompt_ids = model.encode_chat(&[Message::user(prompt.prompt.as_str())])?;
    let room = session.context().saturating_sub(prompt_ids.len());
    let mut answered = Answered {
        item: prompt.key.to_string(),
        answer: String::new(),
        answer_ids: Vec::new(),
        ln_p: Vec::new(),
        right: None,
        prompt_ids,
    };
    if room == 0 {
        return Ok(answered);
    }
    let options = GenerateOptions {
        sampler: SamplerOptions::greedy(),
        max_tokens: Some(ANSWER.min(room)),
        ..GenerateOptions::default()
    };
    session.clear();
    let cancel = CancelToken::new();
    let mut generation = session.generate(&answered.prompt_ids, &options, &cancel)?;
    for piece in generation.by_ref() {
        answered.answer.push_str(&piece?.text);
    }
    answered.answer_ids = generation.tokens().to_vec();
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_have_kwargs_for_each_instruction() {
        let path = Path::new("set.jsonl");
        let line = r#"{"key":7,"prompt":"p","instruction_id_list":["punctuation:no_comma"],"kwargs":[{}]}"#;
        assert_eq!(parse(path, line).unwrap().len(), 1);
        let error = parse(path, &line.replace("[{}]", "[]")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("line 1: 1 instructions with 0 kwargs")
        );
    }

    /// What nothing verifies is never counted as followed.
    #[test]
    fn unknown_instructions_are_not_judged() {
        let line = r#"{"prompt":"p","instruction_id_list":["punctuation:no_comma","new:thing","new:thing"],"kwargs":[{},{},{}]}"#;
        let prompts = parse(Path::new("set.jsonl"), line).unwrap();
        let mut counts = Instructions::default();
        assert_eq!(all(&judge(&prompts[0], "no comma", &mut counts)), None);
        assert_eq!(all(&judge(&prompts[0], "a, b", &mut counts)), Some(false));
        assert_eq!(
            (counts.judged, counts.followed, counts.not_judged),
            (2, 1, 4)
        );
        assert_eq!(counts.unknown, ["new:thing"]);
    }
}
