//! The built-in model answers in both languages, over the whole path.

use ondol::{CancelToken, GenerateOptions, Model, Options, SamplerOptions};
use ondol_models::template::Message;

/// The text and the tokens that the model writes after a prompt, greedily.
fn generate(model: &Model, prompt: &[u32], threads: usize) -> (String, Vec<u32>) {
    let options = GenerateOptions {
        sampler: SamplerOptions::greedy(),
        max_tokens: Some(80),
        ..GenerateOptions::default()
    };
    let mut session = model
        .session(&Options {
            threads: Some(threads),
            ..Options::default()
        })
        .unwrap();
    let mut generation = session
        .generate(prompt, &options, &CancelToken::new())
        .unwrap();
    let text = generation
        .by_ref()
        .map(|piece| piece.unwrap().text)
        .collect();
    (text, generation.tokens().to_vec())
}

fn answer(messages: &[Message]) -> String {
    let model = Model::hello().unwrap();
    generate(&model, &model.encode_chat(messages).unwrap(), 1).0
}

#[test]
fn it_answers_in_the_language_of_the_question() {
    for (question, word) in [
        ("안녕하세요", "안녕하세요!"),
        ("Hello!", "Hello!"),
        ("온돌이 뭐예요?", "난방"),
        ("What is ondol?", "floor"),
        ("한국의 수도는 어디예요?", "서울이에요"),
        ("What is the capital of Japan?", "Tokyo"),
        ("누구세요?", "hello"),
    ] {
        let answer = answer(&[Message::user(question)]);
        assert!(answer.contains(word), "{question} -> {answer}");
    }
}

#[test]
fn it_ends_its_answer() {
    let model = Model::hello().unwrap();
    let prompt = model.encode_chat(&[Message::user("고마워요.")]).unwrap();
    let (_, tokens) = generate(&model, &prompt, 1);
    assert!(
        tokens
            .last()
            .is_some_and(|&token| model.tokenizer().is_end_of_generation(token)),
        "{tokens:?}"
    );
}

#[test]
fn it_recalls_an_earlier_turn() {
    let turns = [
        Message::user("My name is Minji."),
        Message::assistant("Nice to meet you, Minji!"),
        Message::user("What is my name?"),
    ];
    let answer = answer(&turns);
    assert!(answer.contains("Minji"), "{answer}");
}

#[test]
fn it_continues_plain_text() {
    let model = Model::hello().unwrap();
    for (text, word) in [
        ("The capital of Korea is", " Seoul."),
        ("한국의 수도는", " 서울이에요."),
    ] {
        let continued = generate(&model, &model.encode_prompt(text), 1).0;
        assert!(continued.starts_with(word), "{text} ...{continued}");
    }
}

#[test]
fn threads_do_not_change_the_tokens() {
    let model = Model::hello().unwrap();
    let prompt = model
        .encode_chat(&[Message::user("온돌을 설명해 주세요.")])
        .unwrap();
    let one = generate(&model, &prompt, 1);
    assert!(one.1.len() > 10, "{one:?}");
    for threads in [2, 4] {
        assert_eq!(generate(&model, &prompt, threads), one, "{threads} threads");
    }
}

#[test]
fn the_file_stays_small() {
    let model = Model::hello().unwrap();
    assert!(model.file_bytes() < 1_000_000, "{}", model.file_bytes());
}
