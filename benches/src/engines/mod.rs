//! The engines. Each has the commands that measure it, and finds the figures in their output.

mod candle;
mod llama_cpp;
mod ondol;

pub use candle::Candle;
pub use llama_cpp::LlamaCpp;
pub use ondol::Ondol;

use crate::Result;
use crate::files::ModelFile;
use crate::results::EngineName;
use std::process::Command;

/// Tokens of context of a cold start.
const START_CONTEXT: &str = "512";

/// The prompt of a cold start.
const START_PROMPT: &str = "Hello, my name is";

/// A run of tokens that is timed, without the time to load the model.
#[derive(Debug, Clone, Copy)]
pub enum Speed {
    /// All at once, into an empty context.
    Prefill(usize),
    /// One after the other, from an empty context.
    Decode(usize),
    /// Tokens of each sequence, and the number of sequences that are decoded together.
    Batch(usize, usize),
}

/// An engine that can be measured.
pub trait Engine {
    /// Its name.
    fn name(&self) -> EngineName;

    /// Its version, and how it was built.
    fn version(&self) -> &str;

    /// The command that times a run `repeat` times after one run to warm up; `None` if
    /// the engine can't run the file.
    fn speed(&self, file: &ModelFile, speed: Speed, repeat: usize) -> Option<Command>;

    /// Tokens/s in the output of that command: the median of its runs.
    ///
    /// # Errors
    /// If the output has no such figure.
    fn tokens_per_s(&self, stdout: &str) -> Result<f64>;

    /// The command that prints the first token after a short prompt and ends, if
    /// the engine has one.
    fn start(&self, file: &ModelFile) -> Option<Command>;
}
