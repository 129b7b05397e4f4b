//! Asks the finished file, through the runtime, what it was not trained on.

use ondol::{CancelToken, Model, Session, SessionOptions};
use ondol_models::template::Message;

use crate::grammar::{Grammar, Quiz};

/// Tokens of an answer, at most.
const ANSWER: usize = 80;

/// Questions for a first look, of both languages.
const SAMPLES: [&str; 12] = [
    "안녕하세요",
    "Hello!",
    "What is ondol?",
    "온돌이 뭐예요?",
    "Who are you?",
    "한국의 수도는 어디예요?",
    "What is the capital of Japan?",
    "3 더하기 4는 뭐예요?",
    "What is 9 minus 5?",
    "How do you say mountain in Korean?",
    "What is the capital of Blorptown?",
    "고마워요",
];
/// Plain text to continue.
const BEGINNINGS: [&str; 3] = [
    "The capital of Korea is",
    "한국의 수도는",
    "Tuesday comes after",
];

/// Prints answers, and the share of `count` held-out questions answered right.
pub fn run(file: Vec<u8>, grammar: &mut Grammar, count: usize) -> ondol::Result<()> {
    let model = Model::from_bytes(file)?;
    let mut session = model.session(&SessionOptions::default())?;
    for question in SAMPLES {
        println!("  {question} -> {}", ask(&mut session, question)?);
    }
    for text in BEGINNINGS {
        println!(
            "  {text} ...{}",
            complete(&mut session, &model.encode_prompt(text), 12)?
        );
    }
    let mut right = 0;
    for Quiz { question, key, .. } in (0..count).map(|_| grammar.quiz()) {
        let answer = ask(&mut session, &question)?;
        if answer.contains(&key) {
            right += 1;
        } else {
            println!("  wrong: {question} -> {answer}");
        }
    }
    println!("held-out questions answered right: {right} of {count}");
    Ok(())
}

fn ask(session: &mut Session, question: &str) -> ondol::Result<String> {
    let prompt = session.model().encode_chat(&[Message::user(question)])?;
    complete(session, &prompt, ANSWER)
}

/// The likeliest text after `prompt`.
fn complete(session: &mut Session, prompt: &[u32], limit: usize) -> ondol::Result<String> {
    let model = session.model().clone();
    session.clear();
    let mut token = likeliest(session.prefill(prompt, &CancelToken::new())?);
    let mut answer = Vec::new();
    while answer.len() < limit && !model.tokenizer().is_end_of_generation(token) {
        answer.push(token);
        token = likeliest(session.decode(token)?);
    }
    Ok(model.tokenizer().decode(&answer))
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(id, _)| id as u32)
}
