//! The built-in model answers in both languages, over the whole path.

use ondol::{CancelToken, GenerateOptions, Model, SamplerOptions, SessionOptions};
use ondol_models::Warning;
use ondol_models::gguf::{Gguf, MetaValue, Writer};
use ondol_models::template::Message;

/// The text and the tokens that the model writes after a prompt, greedily.
fn generate(model: &Model, prompt: &[u32], threads: usize) -> (String, Vec<u32>) {
    let options = GenerateOptions {
        sampler: SamplerOptions::greedy(),
        max_tokens: Some(80),
        ..GenerateOptions::default()
    };
    let mut session = model
        .session(&SessionOptions {
            threads: Some(threads),
            ..SessionOptions::default()
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

/// A copy of the model's file with other metadata.
fn hello_with(keys: &[(&str, MetaValue)]) -> Vec<u8> {
    let gguf = Gguf::parse(Model::hello_bytes()).unwrap();
    let mut writer = Writer::with_metadata_of(&gguf);
    for (key, value) in keys {
        writer.set(key, value.clone());
    }
    for tensor in gguf.tensors() {
        let (name, dtype, dims) = (tensor.name, tensor.dtype, tensor.dims());
        writer.add_tensor(name, dtype, dims).unwrap();
    }
    let data: Vec<&[u8]> = gguf.tensors().iter().map(|t| t.data).collect();
    writer.to_vec(&data).unwrap()
}

#[test]
fn a_prompt_gets_no_end_token() {
    let hello = Model::hello().unwrap();
    let asks = hello_with(&[("tokenizer.ggml.add_eos_token", true.into())]);
    let asks = Model::from_bytes(asks).unwrap();
    let prompt = "The capital of Korea is";
    assert_eq!(asks.encode_prompt(prompt), hello.encode_prompt(prompt));
    let messages = [Message::user("안녕하세요")];
    let chat = asks.encode_chat(&messages).unwrap();
    assert_eq!(chat, hello.encode_chat(&messages).unwrap());
    assert_eq!(generate(&asks, &chat, 1), generate(&hello, &chat, 1));
}

#[test]
fn what_is_repaired_is_told() {
    assert_eq!(Model::hello().unwrap().warnings().count(), 0);
    let key = "tokenizer.ggml.eos_token_id";
    let repaired = Model::from_bytes(hello_with(&[(key, (-1i32).into())])).unwrap();
    let warnings: Vec<&Warning> = repaired.warnings().collect();
    assert!(
        matches!(warnings[..], [Warning::NoSuchToken { key: told, id: -1, .. }] if *told == key),
        "{warnings:?}"
    );
    let prompt = repaired
        .encode_chat(&[Message::user("안녕하세요")])
        .unwrap();
    assert!(generate(&repaired, &prompt, 1).0.contains("안녕하세요!"));
}

#[test]
fn a_part_of_a_split_model_says_which_it_is() {
    let part = hello_with(&[
        ("split.no", 1u16.into()),
        ("split.count", 3u16.into()),
        ("split.tensors.count", 27i32.into()),
    ]);
    let error = Model::from_bytes(part).err().unwrap().to_string();
    assert!(error.contains("part 2 of 3"), "{error}");
}
