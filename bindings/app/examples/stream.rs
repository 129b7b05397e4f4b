//! What a streamed token costs in Rust, to compare the bindings with:
//! `cargo xtask kotlin --bench`.

use ondol_app::{AnswerEvent, AnswerOptions, ConversationOptions, LoadOptions, Model, Source};
use std::time::{Duration, Instant};

/// Rounds of which the fastest counts: as many as in `CostTest.kt`.
const ROUNDS: usize = 60;

fn main() -> ondol_app::Result<()> {
    let options = LoadOptions {
        threads: Some(1),
        ..LoadOptions::default()
    };
    let model = Model::load(Source::Hello, &options)?;
    // The same text in each run, and a long one: nearly all tokens are as likely as the
    // token that ends the answer.
    let options = AnswerOptions {
        temperature: 50.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: Some(7),
        max_tokens: Some(200),
        ..AnswerOptions::default()
    };
    let mut fastest = (Duration::MAX, 0);
    for _ in 0..ROUNDS {
        let conversation = model.conversation(&ConversationOptions::default())?;
        let mut answer = conversation.send("Hello!", &options)?;
        while matches!(answer.next()?, Some(AnswerEvent::Prompt { .. })) {}
        let (start, mut tokens) = (Instant::now(), 0);
        while answer.next()?.is_some() {
            tokens += 1;
        }
        fastest = fastest.min((start.elapsed(), tokens));
    }
    let (time, tokens) = fastest;
    let nanoseconds = time.as_nanos() / u128::from(tokens.max(1u32));
    println!("Rust: {nanoseconds} ns a streamed token");
    Ok(())
}
