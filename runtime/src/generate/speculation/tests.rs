use super::*;
use crate::generate::{GenerateOptions, Generation, SamplerOptions};
use crate::{CancelToken, FinishReason, Message, Model, Session, SessionOptions};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use proptest::prelude::*;

/// Every place that matches, by its definition; of the longest the last.
fn naive(history: &[u32], token: u32) -> Option<(usize, usize)> {
    let all: Vec<u32> = history.iter().copied().chain([token]).collect();
    let length = |at: usize| {
        let lengths = 1..=LONGEST.min(at + 1);
        let same = |len: &usize| all[at + 1 - len..=at] == all[all.len() - len..];
        lengths.filter(same).max()
    };
    let matches = (0..history.len()).filter_map(|at| length(at).map(|len| (at, len)));
    matches.max_by_key(|&(at, len)| (len, at))
}

/// Takes every guess for cheap, whatever passes take.
fn eager(speculation: &mut Speculation) {
    speculation.cost = CostModel {
        pass: Some(f32::MAX),
        guess: 0.0,
    };
}

proptest! {
    #[test]
    fn the_last_of_the_longest_matches_is_found(
        history in prop::collection::vec(0u32..3, 0..60), token in 0u32..3,
    ) {
        prop_assert_eq!(look_up(&history, token), naive(&history, token));
    }

    #[test]
    fn guesses_go_on_as_the_match_did(
        history in prop::collection::vec(0u32..3, 0..40), token in 0u32..3,
        room in 0usize..FINE_TOKENS, most in 0usize..40,
    ) {
        let mut speculation = Speculation::new(room);
        eager(&mut speculation);
        let pass = speculation.draft(&history, token, most).to_vec();
        prop_assert_eq!(pass[0], token);
        let guesses = &pass[1..];
        prop_assert!(guesses.len() <= most.min(room));
        let Some((at, _)) = naive(&history, token) else {
            prop_assert!(guesses.is_empty());
            return Ok(());
        };
        let mut all = history.clone();
        all.push(token);
        for (i, &guess) in guesses.iter().enumerate() {
            prop_assert_eq!(guess, all[at + 1 + i]);
            all.push(guess);
        }
    }
}

#[test]
fn a_repeated_token_is_guessed_on_and_on() {
    let mut speculation = Speculation::new(7);
    eager(&mut speculation);
    assert_eq!(speculation.draft(&[1, 2, 2, 2], 2, 9), [2; 8]);
    assert_eq!(speculation.drafted, 7);
}

/// Tokens of which each guess comes true; how many passes they take.
fn passes(speculation: &mut Speculation, tokens: usize, seconds: impl Fn(usize) -> f32) -> usize {
    let mut history: Vec<u32> = (0..20).chain(0..8).collect();
    let (mut passes, mut ahead) = (0, 0);
    for i in 0..tokens as u32 {
        let token = (8 + i) % 20;
        speculation.observe(token);
        if ahead > 0 {
            ahead -= 1;
        } else {
            let pass = speculation.draft(&history, token, usize::MAX);
            ahead = pass.len() - 1;
            speculation.record_time(Duration::from_secs_f32(seconds(ahead)));
            passes += 1;
        }
        history.push(token);
    }
    passes
}

#[test]
fn guesses_are_decoded_while_they_pay() {
    let cheap = |guesses: usize| 0.01 + 0.002 * guesses as f32;
    let dear = |guesses: usize| 0.01 + 0.015 * guesses as f32;
    let mut speculation = Speculation::new(7);
    let first = passes(&mut speculation, 400, cheap);
    assert!(first < 80, "{first} passes");
    // Dearer than what they save: left out, but for a try now and then.
    passes(&mut speculation, 100, dear);
    let drafted = speculation.drafted;
    let off = passes(&mut speculation, 400, dear);
    assert!(off > 350, "{off} passes");
    assert!(speculation.drafted - drafted < 50);
    // And taken up again when they pay.
    let again = passes(&mut speculation, 1000, cheap);
    assert!(again < 500, "{again} passes");
}

#[test]
fn guesses_that_do_not_come_true_are_left_out() {
    let mut speculation = Speculation::new(7);
    let mut history = Vec::new();
    for i in 0..2000u32 {
        // Pairs come again, but never with the same token after them.
        let token = if i % 3 == 2 { 10 + i } else { i % 3 };
        speculation.observe(token);
        speculation.draft(&history, token, usize::MAX);
        speculation.record_time(Duration::from_secs_f32(0.01));
        history.push(token);
    }
    assert!(speculation.drafted < 800, "{}", speculation.drafted);
}

/// What a generation gave, to the token.
#[derive(Debug, PartialEq)]
struct Outcome {
    text: String,
    tokens: Vec<u32>,
    finish: Option<FinishReason>,
    cached: Vec<u32>,
    logits: Vec<f32>,
}

/// Generates, with `pieces` at most before it is cancelled.
fn generate(
    session: &mut Session,
    prompt: &str,
    options: &GenerateOptions,
    pieces: usize,
) -> (Outcome, usize) {
    let cancel = CancelToken::new();
    let prompt = session.model().encode_prompt(prompt);
    session.clear();
    let mut generation: Generation<&mut Session> =
        session.generate(&prompt, options, &cancel).unwrap();
    eager(&mut generation.speculation);
    let mut text = String::new();
    for (i, piece) in generation.by_ref().enumerate() {
        text += &piece.unwrap().text;
        if i + 1 == pieces {
            cancel.cancel();
        }
    }
    let (tokens, finish) = (generation.tokens().to_vec(), generation.finish_reason());
    let accepted = generation.stats().accepted_tokens;
    let outcome = Outcome {
        text,
        tokens,
        finish,
        cached: session.tokens().to_vec(),
        logits: session.last_logits().to_vec(),
    };
    (outcome, accepted)
}

/// The model goes on with a sentence that it repeats.
const REPEATS: &str = "Hello! Hello! Hello!";

fn sampling(temperature: f32, repetition_penalty: f32, seed: u64) -> SamplerOptions {
    SamplerOptions {
        temperature,
        repetition_penalty,
        seed,
        ..SamplerOptions::default()
    }
}

/// The same outcome with guesses as without; returns how many were accepted.
#[track_caller]
fn same(prompt: &str, options: &GenerateOptions, context: usize, pieces: usize) -> usize {
    let model = Model::hello().unwrap();
    let session = |drafts, threads| {
        let options = SessionOptions {
            drafts,
            threads: Some(threads),
            context: Some(context),
            ..SessionOptions::default()
        };
        model.session(&options).unwrap()
    };
    let (truth, none) = generate(&mut session(0, 1), prompt, options, pieces);
    assert_eq!(none, 0);
    let mut accepted = 0;
    for (drafts, threads) in [(1, 1), (3, 2), (7, 1), (7, 3), (31, 2)] {
        let (got, hits) = generate(&mut session(drafts, threads), prompt, options, pieces);
        assert_eq!(
            got, truth,
            "{drafts} drafts, {threads} threads, {options:?}"
        );
        accepted += hits;
    }
    accepted
}

#[test]
fn the_tokens_are_the_same_with_every_sampler() {
    let mut accepted = 0;
    for prompt in [REPEATS, "온돌은 난방이에요. 온돌은", "한국의 수도는"] {
        for sampler in [
            SamplerOptions::greedy(),
            sampling(0.0, 1.2, 0),
            sampling(0.7, 1.0, 1),
            sampling(0.7, 1.1, 2),
            sampling(1.5, 1.0, 3),
        ] {
            let options = GenerateOptions {
                sampler,
                max_tokens: Some(60),
                ..GenerateOptions::default()
            };
            accepted += same(prompt, &options, 512, usize::MAX);
        }
    }
    assert!(accepted > 100, "{accepted} guesses observe true");
}

#[test]
fn every_end_is_the_same_in_the_middle_of_a_pass() {
    let greedy = GenerateOptions {
        sampler: SamplerOptions::greedy(),
        ..GenerateOptions::default()
    };
    let length = Model::hello().unwrap().encode_prompt(REPEATS).len();
    let mut accepted = 0;
    for n in (1..40).step_by(2) {
        let most = GenerateOptions {
            max_tokens: Some(n),
            ..greedy.clone()
        };
        accepted += same(REPEATS, &most, 512, usize::MAX);
        accepted += same(REPEATS, &greedy, length + n, usize::MAX);
        accepted += same(REPEATS, &most, 512, n / 2 + 1);
    }
    for stop in [
        "선생님. The Korean",
        "Korean word for teacher is 선생님. The K",
    ] {
        let stopped = GenerateOptions {
            stop: [stop.to_string()].to_vec(),
            max_tokens: Some(60),
            ..greedy.clone()
        };
        accepted += same(REPEATS, &stopped, 512, usize::MAX);
    }
    assert!(accepted > 100, "{accepted} guesses observe true");
    // The end token is among the guesses: the answer stands in the prompt.
    let question = Message::user("고마워요.");
    let turns = [question.clone(), Message::assistant("천만에요!"), question];
    let prompt = Model::hello().unwrap().render_chat(&turns).unwrap();
    assert!(same(&prompt, &greedy, 512, usize::MAX) > 5);
}
