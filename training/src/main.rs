//! Trains the built-in model `hello`, and writes its file.
//!
//! ```text
//! grammar -> bpe -> batches -> train -> export -> quiz
//! ```

mod bpe;
mod export;
mod grammar;
mod model;
mod quiz;
mod rng;
mod train;

use std::path::Path;

use ondol_models::gguf::Gguf;
use ondol_models::tokenizer::Tokenizer;

use grammar::Grammar;
use model::{Config, Model};
use rng::Rng;
use train::{Batches, Phase};

const SEED: u64 = 2026;
const VOCABULARY: usize = 1024;
/// Documents that the vocabulary is learned from.
const VOCABULARY_DOCUMENTS: usize = 12_000;
const CONFIG: Config = Config {
    vocabulary: VOCABULARY,
    width: 128,
    layers: 3,
    heads: 4,
    kv_heads: 2,
    head_dim: 32,
    hidden: 352,
    rope_base: 10_000.0,
    eps: 1e-5,
};
/// Short rows, then long ones, so that the model knows the distances of a long chat.
const PHASES: [Phase; 2] = [
    Phase {
        steps: 650,
        rows: 16,
        tokens: 128,
    },
    Phase {
        steps: 150,
        rows: 4,
        tokens: export::CONTEXT,
    },
];
/// Held-out questions to ask at the end.
const QUIZZES: usize = 300;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut grammar = Grammar::new(SEED);
    let texts = (0..VOCABULARY_DOCUMENTS)
        .flat_map(|_| grammar.document())
        .map(|segment| plain(&segment.text));
    let vocabulary = bpe::learn(texts, VOCABULARY);
    let writer = export::vocabulary(&vocabulary);
    let tokenizer = Tokenizer::from_gguf(&Gguf::parse(&writer.to_vec(&[])?)?)?;
    println!("vocabulary of {} tokens", tokenizer.vocab_size());

    let model = Model::new(CONFIG, &mut Rng::new(SEED))?;
    println!("{} parameters", model.parameters());
    let steps = |phases: [Phase; 2]| match std::env::args()
        .nth(1)
        .and_then(|n| n.parse::<usize>().ok())
    {
        Some(steps) => phases.map(|phase| Phase {
            steps: steps.min(phase.steps),
            ..phase
        }),
        None => phases,
    };
    train::train(
        &model,
        &mut Batches::new(&tokenizer, || grammar.document()),
        &steps(PHASES),
    )?;
    let mut held_out = Grammar::new(SEED + 1);
    let score = train::evaluate(
        &model,
        &mut Batches::new(&tokenizer, || held_out.quiz().document),
    )?;
    println!(
        "held-out questions: loss {:.4}, tokens right {:.2} %",
        score.loss,
        100.0 * score.accuracy
    );

    let file = export::file(writer, &model)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/hello/hello.gguf");
    std::fs::write(&path, &file)?;
    println!("{} bytes in {}", file.len(), path.display());
    Ok(quiz::run(file, &mut Grammar::new(SEED + 2), QUIZZES)?)
}

/// Text without control tokens.
fn plain(text: &str) -> String {
    bpe::CONTROL
        .iter()
        .fold(text.to_string(), |text, token| text.replace(token, " "))
}
