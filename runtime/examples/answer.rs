//! Prints an answer of the built-in model, or of the GGUF file that is named:
//! `cargo run --release -p ondol --example answer -- model.gguf`

use ondol::{CancelToken, GenerateOptions, Message, Model, SessionOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = match std::env::args().nth(1) {
        Some(file) => Model::open(file)?,
        None => Model::hello()?,
    };
    let options = SessionOptions {
        threads: Some(2),
        ..SessionOptions::default()
    };
    let mut session = model.session(&options)?;
    let prompt = model.encode_chat(&[Message::user("안녕하세요")])?;
    let cancel = CancelToken::new();
    for piece in session.generate(&prompt, &GenerateOptions::default(), &cancel)? {
        print!("{}", piece?.text);
    }
    println!();
    Ok(())
}
