//! Generations that are held, driven step by step, filtered, cancelled and batched.

use ondol::{
    Batch, CancelToken, Engine, Error, Event, FinishReason, GenerateOptions, Generation,
    LogitFilter, Logits, Model, SamplerOptions, Session, SessionOptions, Token,
};
use std::thread;

fn options() -> SessionOptions {
    SessionOptions {
        threads: Some(2),
        context: Some(512),
        prefill_chunk: 16,
        batch: 8,
        ..SessionOptions::default()
    }
}

fn greedy(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        sampler: SamplerOptions::greedy(),
        max_tokens: Some(max_tokens),
        ..GenerateOptions::default()
    }
}

fn session() -> Session {
    Model::hello().unwrap().session(&options()).unwrap()
}

fn prompt(count: u32) -> Vec<u32> {
    (0..count).map(|i| 3 + i * 11 % 300).collect()
}

/// The text of a generation, driven to its end.
fn text(generation: &mut Generation) -> String {
    generation.map(|piece| piece.unwrap().text).collect()
}

/// The prompt comes in chunks, then each token; the text is what the iterator gives.
#[test]
fn steps_tell_what_happens() {
    let cancel = CancelToken::new();
    let prompt = Model::hello().unwrap().encode_prompt("안녕하세요, 오늘은");
    let longer: Vec<u32> = prompt.iter().cycle().take(40).copied().collect();
    let mut generation = session()
        .into_generation(&longer, &greedy(12), &cancel)
        .unwrap();
    let (mut done, mut ids, mut all) = (Vec::new(), Vec::new(), String::new());
    while let Some(event) = generation.step().unwrap() {
        match event {
            Event::Prompt { done: now, total } => {
                assert!(ids.is_empty());
                assert_eq!(total, 40);
                done.push(now);
            }
            Event::Token(token) => {
                ids.push(token.id);
                all += &token.text;
            }
            Event::Rest(text) => all += &text,
            _ => {}
        }
    }
    assert_eq!(done, [16, 32, 40]);
    assert_eq!(ids, generation.tokens());
    assert!(generation.finish_reason().is_some());
    assert!(generation.step().unwrap().is_none(), "it has ended");

    // The same again, from what the session has: its last token alone is run.
    let session = generation.into_session();
    let mut again = session
        .into_generation(&longer, &greedy(12), &cancel)
        .unwrap();
    assert_eq!(
        again.step().unwrap(),
        Some(Event::Prompt {
            done: 40,
            total: 40
        })
    );
    assert_eq!(again.stats().cached_tokens, 39);
    assert_eq!(text(&mut again), all);
}

/// A generation goes from thread to thread.
#[test]
fn threads_take_turns_with_one_generation() {
    let cancel = CancelToken::new();
    let start = || {
        session()
            .into_generation(&prompt(30), &greedy(20), &cancel)
            .unwrap()
    };
    let expected = text(&mut start());
    let mut generation = start();
    let mut all = String::new();
    loop {
        let (back, event) = thread::spawn(move || {
            let event = generation.step().unwrap();
            (generation, event)
        })
        .join()
        .unwrap();
        generation = back;
        match event {
            Some(Event::Token(Token { text, .. }) | Event::Rest(text)) => all += &text,
            Some(_) => {}
            None => break,
        }
    }
    assert_eq!(all, expected);
}

/// What can't be run leaves the session as it was.
#[test]
fn a_bad_prompt_forgets_nothing() {
    let cancel = CancelToken::new();
    let mut session = session();
    session.prefill(&prompt(40), &cancel).unwrap();
    let mut hot = greedy(4);
    hot.sampler.temperature = f32::NAN;
    let too_long = prompt(513);
    for (bad, options) in [
        (&[][..], greedy(4)),
        (&[5, u32::MAX][..], greedy(4)),
        (&too_long[..], greedy(4)),
        (&[5][..], hot),
    ] {
        assert!(session.generate(bad, &options, &cancel).is_err());
        assert_eq!(session.tokens(), prompt(40));
        let refused = session
            .into_generation(bad, &options, &cancel)
            .err()
            .unwrap();
        session = *refused.session;
        assert_eq!(session.tokens(), prompt(40));
    }
    // A prompt as long as the context is run.
    let whole = session.generate(&prompt(512), &greedy(4), &cancel).unwrap();
    assert_eq!(whole.count(), 0);
}

/// Wherever a cancel comes: the text so far, the reason, and a session that goes on.
#[test]
fn a_cancel_has_one_outcome() {
    let token = CancelToken::new();
    let expected = {
        let mut generation = session()
            .into_generation(&prompt(60), &greedy(30), &token)
            .unwrap();
        (text(&mut generation), generation.tokens().to_vec())
    };
    for steps in [0, 1, 2, 3, 4, 5, 9] {
        let mut generation = session()
            .into_generation(&prompt(60), &greedy(30), &token)
            .unwrap();
        let mut all = String::new();
        for _ in 0..steps {
            if let Some(Event::Token(token)) = generation.step().unwrap() {
                all += &token.text;
            }
        }
        token.cancel();
        all += &text(&mut generation);
        assert_eq!(generation.finish_reason(), Some(FinishReason::Cancelled));
        let made = generation.tokens();
        assert_eq!(made, &expected.1[..made.len()], "after {steps} steps");
        assert!(expected.0.starts_with(all.trim_end_matches('\u{fffd}')));
        token.reset();
        let mut again = generation
            .into_session()
            .into_generation(&prompt(60), &greedy(30), &token)
            .unwrap();
        assert_eq!(text(&mut again), expected.0);
    }
}

/// Forbids all tokens but those of a list, and counts.
struct Only(Vec<u32>, usize);

impl LogitFilter for Only {
    fn filter(&mut self, logits: &mut Logits) {
        logits.retain(|token, _| self.0.contains(&token));
    }

    fn accept(&mut self, token: u32) {
        assert!(self.0.contains(&token));
        self.1 += 1;
        assert!(self.1 <= 25);
    }
}

#[test]
fn filters_decide_what_can_be_chosen() {
    let cancel = CancelToken::new();
    let allowed = vec![40, 41, 77, 90];
    let mut session = session();
    let options = GenerateOptions {
        max_tokens: Some(25),
        ..GenerateOptions::default()
    };
    let mut generation = session.generate(&prompt(20), &options, &cancel).unwrap();
    generation.add_filter(Box::new(Only(allowed.clone(), 0)));
    generation.by_ref().for_each(|piece| drop(piece.unwrap()));
    assert_eq!(generation.tokens().len(), 25);
    assert!(generation.tokens().iter().all(|t| allowed.contains(t)));
    // Nothing is left to choose: an error, and an end.
    let mut generation = session.generate(&prompt(20), &options, &cancel).unwrap();
    generation.add_filter(Box::new(Only(Vec::new(), 0)));
    let error = generation.find_map(Result::err).unwrap();
    assert!(matches!(error, Error::Sampler(_)));
    assert_eq!(generation.finish_reason(), Some(FinishReason::Failed));
}

#[test]
fn each_token_tells_its_probability() {
    let cancel = CancelToken::new();
    let options = GenerateOptions {
        top_logprobs: Some(300),
        ..greedy(10)
    };
    let mut generation = session()
        .into_generation(&prompt(20), &options, &cancel)
        .unwrap();
    let mut count = 0;
    while let Some(event) = generation.step().unwrap() {
        let Event::Token(token) = event else { continue };
        assert_eq!(token.top[0].token, token.id, "greedy takes the likeliest");
        assert_eq!(Some(token.top[0].logprob), token.logprob);
        let all: f64 = token.top.iter().map(|c| f64::from(c.logprob).exp()).sum();
        assert!(all <= 1.0 + 1e-6 && all > 0.9, "{all}");
        assert!(token.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
        count += 1;
    }
    assert_eq!(count, generation.tokens().len());
}

/// Tokens and the bits of the log-probabilities of their likeliest.
type Trace = Vec<(u32, Vec<u32>)>;

fn trace(token: &Token) -> (u32, Vec<u32>) {
    let bits = token.top.iter().map(|c| c.logprob.to_bits());
    (token.id, bits.collect())
}

/// Eight conversations of different lengths, temperatures and ends.
fn eight(engine: &Engine) -> Vec<Generation> {
    let cancel = CancelToken::new();
    let start = |i: usize| {
        let options = GenerateOptions {
            sampler: SamplerOptions {
                temperature: i as f32 * 0.2,
                seed: i as u64,
                repetition_penalty: if i.is_multiple_of(3) { 1.2 } else { 1.0 },
                ..SamplerOptions::default()
            },
            max_tokens: Some(7 + 9 * i),
            top_logprobs: Some(40),
            ..GenerateOptions::default()
        };
        let prompt = prompt(1 + 23 * i as u32);
        let session = engine.session().unwrap();
        session.into_generation(&prompt, &options, &cancel).unwrap()
    };
    (0..8).map(start).collect()
}

/// One step of each; those that have ended are left out from then on.
fn step_all(generations: &mut [Option<Generation>], traces: &mut [Trace]) {
    for (place, of_one) in generations.iter_mut().zip(traces) {
        let Some(generation) = place else { continue };
        match generation.step().unwrap() {
            Some(Event::Token(token)) => of_one.push(trace(&token)),
            Some(_) => {}
            None => *place = None,
        }
    }
}

/// A batch gives each conversation the tokens and the bits that it has alone.
#[test]
fn a_batch_of_generations_is_each_of_them_alone() {
    let model = Model::hello().unwrap();
    let engine = model.engine(&options()).unwrap();
    let alone = |mut generation: Generation| {
        let mut of_one = Trace::new();
        while let Some(event) = generation.step().unwrap() {
            if let Event::Token(token) = event {
                of_one.push(trace(&token));
            }
        }
        of_one
    };
    let expected: Vec<Trace> = eight(&engine).into_iter().map(alone).collect();
    for rows in [8, 3] {
        let mut batch: Batch = engine.batch(rows).unwrap();
        let mut generations: Vec<_> = eight(&engine).into_iter().map(Some).collect();
        let mut traces = vec![Trace::new(); 8];
        while generations.iter().any(Option::is_some) {
            let mut present: Vec<_> = generations.iter_mut().flatten().collect();
            batch.advance(&mut present).unwrap();
            step_all(&mut generations, &mut traces);
        }
        assert!(traces == expected, "in batches of {rows}");
    }
}

/// Sessions of one engine in several threads at once.
#[test]
fn threads_share_an_engine() {
    let model = Model::hello().unwrap();
    let engine = model.engine(&options()).unwrap();
    let run = |session: &mut Session, seed: u32| {
        let cancel = CancelToken::new();
        let prompt: Vec<u32> = prompt(90 + 30 * seed);
        let mut logits = session.prefill(&prompt, &cancel).unwrap().to_vec();
        for i in 0..30 {
            logits.extend_from_slice(session.decode(3 + (i * seed) % 300).unwrap());
        }
        logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let expected: Vec<Vec<u32>> = (1..5)
        .map(|seed| run(&mut engine.session().unwrap(), seed))
        .collect();
    let found: Vec<Vec<u32>> = thread::scope(|scope| {
        let started: Vec<_> = (1..5)
            .map(|seed| {
                let engine = engine.clone();
                scope.spawn(move || run(&mut engine.session().unwrap(), seed))
            })
            .collect();
        started.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(found == expected);
}

/// The memory of an engine is taken once: a further session costs what is said.
#[test]
fn a_limit_holds_for_all_sessions_of_an_engine() {
    let model = Model::hello().unwrap();
    let memory = model.memory(&options()).unwrap();
    assert!(memory.further_session < memory.total);
    let limit = memory.total + 2 * memory.further_session;
    let options = SessionOptions {
        memory_limit: Some(limit),
        ..options()
    };
    let engine = model.engine(&options).unwrap();
    let mut sessions: Vec<Session> = (0..3).map(|_| engine.session().unwrap()).collect();
    let refused = engine.session().err().unwrap();
    let needed = limit + memory.further_session;
    assert!(
        matches!(refused, Error::DoesNotFit { needed: n, allowed: a } if n == needed && a == limit)
    );
    assert!(sessions[0].fork().is_err());
    drop(sessions.pop());
    assert!(sessions[0].fork().is_ok());
}

#[test]
fn a_batch_refuses_what_it_can_not_run() {
    let model = Model::hello().unwrap();
    let engine = model.engine(&options()).unwrap();
    let mut batch = engine.batch(2).unwrap();
    let mut sessions: Vec<Session> = (0..3).map(|_| engine.session().unwrap()).collect();
    let mut rows: Vec<_> = sessions.iter_mut().map(|s| (s, 5)).collect();
    let full = batch.decode(&mut rows).unwrap_err();
    assert!(matches!(
        full,
        Error::BatchFull {
            sessions: 3,
            rows: 2
        }
    ));
    assert!(matches!(batch.decode(&mut []), Err(Error::EmptyPrompt)));
    rows.pop();
    rows[1].1 = u32::MAX;
    assert!(matches!(
        batch.decode(&mut rows),
        Err(Error::BadToken { .. })
    ));
    assert!(sessions.iter().all(|session| session.tokens().is_empty()));
    let mut other = session();
    let refused = batch.decode(&mut [(&mut other, 5)]);
    assert!(matches!(refused, Err(Error::OtherEngine)));
}

/// Vectors in the place of tokens: those of an embedding table give the same logits.
#[test]
fn vectors_stand_for_tokens() {
    use ondol::models::quant::packed;
    let model = Model::hello().unwrap();
    let gguf = ondol::models::gguf::Gguf::parse(Model::hello_bytes()).unwrap();
    let table = gguf.tensor("token_embd.weight").unwrap();
    let width = table.cols();
    let mut vectors = vec![0.0; 40 * width];
    for (row, &token) in vectors.chunks_mut(width).zip(&prompt(40)) {
        packed::dequantize_row(table.dtype, table.layout, table.data, token as usize, row).unwrap();
    }
    let cancel = CancelToken::new();
    let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let expected = bits(session().prefill(&prompt(40), &cancel).unwrap());
    let mut with_vectors = model.session(&options()).unwrap();
    let found = bits(with_vectors.prefill_vectors(&vectors, &cancel).unwrap());
    assert!(found == expected);
    assert_eq!(with_vectors.tokens(), [Session::VECTOR; 40]);
    let refused = with_vectors.prefill_vectors(&vectors[1..], &cancel);
    assert!(matches!(refused, Err(Error::BadVectors { .. })));
}
