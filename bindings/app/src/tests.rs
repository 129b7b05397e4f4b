//! Conversations with the built-in model.

use super::*;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

fn hello() -> Model {
    Model::load(Source::Hello, &LoadOptions::default()).unwrap()
}

fn greedy(max_tokens: usize) -> AnswerOptions {
    AnswerOptions {
        temperature: 0.0,
        max_tokens: Some(max_tokens),
        ..AnswerOptions::default()
    }
}

fn conversation(model: &Model) -> Conversation {
    model.conversation(&ConversationOptions::default()).unwrap()
}

/// The whole answer.
fn finish(answer: &mut Answer) -> String {
    while answer.next().unwrap().is_some() {}
    answer.text().to_owned()
}

fn ask(conversation: &Conversation, text: &str) -> (String, AnswerStats) {
    let mut answer = conversation.send(text, &greedy(20)).unwrap();
    (finish(&mut answer), answer.stats())
}

/// Runs an answer until it has text.
fn first_text(answer: &mut Answer) -> String {
    loop {
        if let AnswerEvent::Text { text, .. } = answer.next().unwrap().unwrap() {
            return text;
        }
    }
}

#[track_caller]
fn code<T>(result: Result<T>) -> ErrorCode {
    result.err().expect("an error").code
}

fn roles(conversation: &Conversation) -> Vec<String> {
    let history = conversation.history().unwrap();
    history.into_iter().map(|message| message.role).collect()
}

fn folder(test: &str) -> PathBuf {
    let name = format!("ondol-app-{test}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_second_turn_computes_its_new_tokens_only() {
    let conversation = conversation(&hello());
    let (_, first) = ask(&conversation, "Hello!");
    let (_, second) = ask(&conversation, "안녕하세요");
    let had = first.prompt_tokens + first.generated_tokens;
    assert!(second.cached_tokens + 1 >= had, "{first:?} {second:?}");
    assert_eq!(roles(&conversation), ["user", "assistant"].repeat(2));
}

#[test]
fn a_system_message_comes_first_and_is_computed_by_prewarm() {
    let options = ConversationOptions {
        system: Some("Answer in Korean.".into()),
        ..ConversationOptions::default()
    };
    let conversation = hello().conversation(&options).unwrap();
    conversation.prewarm(&CancelToken::new()).unwrap();
    // A second call changes nothing.
    conversation.prewarm(&CancelToken::new()).unwrap();
    let (text, stats) = ask(&conversation, "Hello!");
    assert!(stats.cached_tokens > 0, "{stats:?}");
    assert_eq!(roles(&conversation), ["system", "user", "assistant"]);
    let cold = hello().conversation(&options).unwrap();
    assert_eq!(ask(&cold, "Hello!").0, text);
}

#[test]
fn a_cancel_before_any_text_leaves_no_trace() {
    let conversation = conversation(&hello());
    for _ in 0..2 {
        let mut answer = conversation.send("Hello!", &greedy(20)).unwrap();
        conversation.cancel();
        assert_eq!(answer.next().unwrap(), None);
        assert_eq!(answer.finish_reason(), Some(FinishReason::Cancelled));
        assert_eq!(conversation.history().unwrap(), []);
    }
    assert_eq!(
        ask(&conversation, "Hello!").0,
        ask(&self::conversation(&hello()), "Hello!").0
    );
}

#[test]
fn a_cancel_keeps_the_text_that_was_taken_and_the_next_answer_is_right() {
    let conversation = conversation(&hello());
    let mut answer = conversation.send("Hello!", &greedy(50)).unwrap();
    first_text(&mut answer);
    answer.cancel_token().cancel();
    let text = finish(&mut answer);
    assert_eq!(answer.finish_reason(), Some(FinishReason::Cancelled));
    let history = conversation.history().unwrap();
    assert_eq!(history[1].content, text);
    // The same history, computed anew.
    let plain: Vec<_> = history
        .iter()
        .map(|m| ChatMessage::new(m.role.as_str(), m.content.as_str()))
        .collect();
    let options = ConversationOptions {
        messages: plain,
        ..ConversationOptions::default()
    };
    let other = hello().conversation(&options).unwrap();
    assert_eq!(ask(&conversation, "And now?").0, ask(&other, "And now?").0);
}

#[test]
fn a_dropped_answer_ends_like_a_cancelled_one() {
    let conversation = conversation(&hello());
    drop(conversation.send("Hello!", &greedy(20)).unwrap());
    assert_eq!(conversation.history().unwrap(), []);
    let mut answer = conversation.send("Hello!", &greedy(20)).unwrap();
    let text = first_text(&mut answer);
    drop(answer);
    assert_eq!(conversation.history().unwrap()[1].content, text);
}

#[test]
fn one_answer_at_a_time() {
    let conversation = conversation(&hello());
    let answer = conversation.send("Hello!", &greedy(20)).unwrap();
    assert!(conversation.is_answering());
    assert_eq!(code(conversation.send("More", &greedy(1))), ErrorCode::Busy);
    assert_eq!(code(conversation.fork()), ErrorCode::Busy);
    assert_eq!(code(conversation.truncate(0)), ErrorCode::Busy);
    drop(answer);
    assert!(!conversation.is_answering());
    ask(&conversation, "Hello!");
}

#[test]
fn a_closed_conversation_says_so_and_ends_its_answer() {
    let conversation = conversation(&hello());
    let mut answer = conversation.send("Hello!", &greedy(500)).unwrap();
    first_text(&mut answer);
    conversation.close();
    conversation.close();
    assert_eq!(
        code(conversation.send("More", &greedy(1))),
        ErrorCode::Closed
    );
    assert_eq!(code(conversation.history()), ErrorCode::Closed);
    finish(&mut answer);
    assert_eq!(answer.finish_reason(), Some(FinishReason::Cancelled));
    assert_eq!(code(conversation.save("nowhere")), ErrorCode::Closed);
}

#[test]
fn a_panic_is_an_error_and_breaks_this_conversation_alone() {
    let model = hello();
    let (broken, other) = (conversation(&model), conversation(&model));
    let mut answer = broken.send("Hello!", &greedy(20)).unwrap();
    answer.panics_at = 1;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    first_text(&mut answer);
    let outcome = answer.next();
    std::panic::set_hook(hook);
    assert_eq!(code(outcome), ErrorCode::Panicked);
    assert_eq!(answer.next().unwrap(), None);
    assert_eq!(code(broken.send("More", &greedy(1))), ErrorCode::Panicked);
    broken.close();
    assert_eq!(code(broken.send("More", &greedy(1))), ErrorCode::Closed);
    ask(&other, "Hello!");
}

#[test]
fn forks_go_on_independently() {
    let conversation = conversation(&hello());
    ask(&conversation, "Hello!");
    let fork = conversation.fork().unwrap();
    assert_eq!(
        ask(&fork, "안녕하세요").0,
        ask(&conversation, "안녕하세요").0
    );
    ask(&fork, "And now?");
    assert_eq!(fork.history().unwrap().len(), 6);
    assert_eq!(conversation.history().unwrap().len(), 4);
}

#[test]
fn truncated_messages_are_forgotten() {
    let conversation = conversation(&hello());
    let (first, _) = ask(&conversation, "Hello!");
    ask(&conversation, "안녕하세요");
    conversation.truncate(0).unwrap();
    let (again, stats) = ask(&conversation, "Hello!");
    assert_eq!(again, first);
    assert!(stats.cached_tokens > 0);
}

#[test]
fn a_restored_conversation_goes_on_without_computing_it_again() {
    let path = folder("saved").join("chat");
    let model = hello();
    let conversation = conversation(&model);
    let (_, first) = ask(&conversation, "Hello!");
    conversation.save(&path).unwrap();
    let expected = ask(&conversation, "안녕하세요").0;
    let restored = Conversation::restore(&model, &path).unwrap();
    let (text, stats) = ask(&restored, "안녕하세요");
    assert_eq!(text, expected);
    assert!(stats.cached_tokens + 1 >= first.prompt_tokens + first.generated_tokens);

    let whole = fs::read(&path).unwrap();
    for length in [0, 7, 15, 20, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Conversation::restore(&model, &path).err().unwrap();
        assert_eq!(error.code, ErrorCode::Snapshot, "{length} bytes: {error}");
    }
    let absent = Conversation::restore(&model, path.with_extension("no"));
    assert_eq!(code(absent), ErrorCode::Io);
}

#[test]
fn conversations_of_several_threads_give_what_they_give_alone() {
    let model = hello();
    let prompts = ["Hello!", "안녕하세요", "Tell me a story."];
    let alone: Vec<_> = prompts.map(|p| ask(&conversation(&hello()), p).0).to_vec();
    let together: Vec<_> = thread::scope(|scope| {
        let threads = prompts.map(|p| {
            let model = &model;
            scope.spawn(move || ask(&conversation(model), p).0)
        });
        threads.map(|thread| thread.join().unwrap()).to_vec()
    });
    assert_eq!(alone, together);
}

#[test]
fn a_cancel_of_another_thread_ends_an_answer_soon() {
    let model = hello();
    let conversation = conversation(&model);
    let mut answer = conversation.send("Hello!", &greedy(50)).unwrap();
    first_text(&mut answer);
    // Pauses the answer, which would end too soon otherwise.
    model.governor().pause();
    let cancel = answer.cancel_token();
    let cancelled = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        cancel.cancel();
        Instant::now()
    });
    finish(&mut answer);
    assert_eq!(answer.finish_reason(), Some(FinishReason::Cancelled));
    assert!(cancelled.join().unwrap().elapsed() < Duration::from_millis(100));
}

#[test]
fn a_model_is_read_from_inside_a_file() {
    let path = folder("inside").join("package");
    let bytes = ondol::Model::hello_bytes();
    let package = [b"odd".as_slice(), bytes, b"the rest"].concat();
    fs::write(&path, package).unwrap();
    let load = |offset, length| {
        let file = fs::File::open(&path).unwrap();
        let source = Source::File {
            file,
            offset,
            length,
        };
        Model::load(source, &LoadOptions::default())
    };
    let inside = load(3, Some(bytes.len() as u64)).unwrap();
    let expected = ask(&conversation(&hello()), "Hello!").0;
    assert_eq!(ask(&conversation(&inside), "Hello!").0, expected);
    assert_eq!(code(load(0, None)), ErrorCode::NotGguf);
    assert_eq!(code(load(3, Some(1000))), ErrorCode::Truncated);
    assert_eq!(code(load(3, Some(u64::MAX))), ErrorCode::Io);
    assert_eq!(code(load(u64::MAX, None)), ErrorCode::Io);
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_loaded() {
    let options = LoadOptions {
        memory_limit: Some(1000),
        ..LoadOptions::default()
    };
    let memory = Model::memory_before_load(Source::Hello, &LoadOptions::default()).unwrap();
    let refused = Model::memory_before_load(Source::Hello, &options)
        .err()
        .unwrap();
    assert_eq!(
        (refused.code, refused.needed),
        (ErrorCode::DoesNotFit, memory.total)
    );
    let model = Model::load(Source::Hello, &options).unwrap();
    let refused = model.memory(Some(64)).err().unwrap();
    assert_eq!(refused.code, ErrorCode::DoesNotFit);
    assert!(
        refused.needed < memory.total && refused.allowed == 1000,
        "{refused:?}"
    );
    let refused = model.conversation(&ConversationOptions::default());
    assert_eq!(code(refused), ErrorCode::DoesNotFit);
}

#[test]
fn a_context_that_is_full_is_an_error_or_the_end_and_both_can_go_on() {
    let options = LoadOptions {
        context: Some(64),
        ..LoadOptions::default()
    };
    let model = Model::load(Source::Hello, &options).unwrap();
    let conversation = conversation(&model);
    let long = "안녕하세요 ".repeat(60);
    let error = conversation.send(&long, &greedy(1)).err().unwrap();
    assert_eq!(error.code, ErrorCode::ContextFull);
    assert_eq!(error.allowed, 64);
    assert_eq!(conversation.history().unwrap(), []);
    ask(&conversation, "Hello!");
}

#[test]
fn wrong_options_and_files_are_told_apart() {
    let options = LoadOptions {
        kernels: Some("fastest".into()),
        ..LoadOptions::default()
    };
    let wrong = Model::load(Source::Hello, &options);
    assert_eq!(code(wrong), ErrorCode::UnsupportedKernels);
    let absent = Model::load(
        Source::Path("/nowhere/model.gguf".into()),
        &LoadOptions::default(),
    );
    assert_eq!(code(absent), ErrorCode::Io);
    let options = AnswerOptions {
        top_p: 2.0,
        ..AnswerOptions::default()
    };
    let conversation = conversation(&hello());
    assert_eq!(
        code(conversation.send("Hello!", &options)),
        ErrorCode::Sampler
    );
    assert_eq!(conversation.history().unwrap(), []);
}

#[test]
fn a_packed_copy_is_made_with_progress_and_answers_the_same() {
    let folder = folder("packed");
    let path = folder.join("hello.gguf");
    fs::write(&path, ondol::Model::hello_bytes()).unwrap();
    let options = LoadOptions {
        packed_folder: Some(folder.join("copies")),
        ..LoadOptions::default()
    };
    let mut last = None;
    let mut progress = |progress: Progress| {
        assert!(progress.done <= progress.total, "{progress:?}");
        last = Some(progress);
    };
    let source = Source::Path(path);
    let model = Model::load_with(source, &options, &CancelToken::new(), &mut progress).unwrap();
    let expected = ask(&conversation(&hello()), "Hello!").0;
    assert_eq!(ask(&conversation(&model), "Hello!").0, expected);
    assert!(model.info().packed_copy.is_some());
    assert_eq!(last.map(|p| p.stage), Some(Stage::Packing));
}

#[test]
fn tokens_are_counted_as_text() {
    let model = hello();
    assert_eq!(model.count_tokens(""), 0);
    let text = "안녕하세요, hello 🙂";
    let ids = model.encode(text);
    assert_eq!(ids.len(), model.count_tokens(text));
    assert_eq!(model.decode(&ids), text);
    let messages = [ChatMessage::new("user", text)];
    assert!(model.count_chat_tokens(&messages).unwrap() > ids.len());
}
