//! candle-transformers, through the program in `benches/candle`.

use super::{Engine, Speed};
use crate::Result;
use crate::files::ModelFile;
use crate::results::{EngineName, median};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;

/// A build of `benches/candle`.
pub struct Candle {
    /// The program.
    pub program: PathBuf,
    /// candle's version, and how it was built.
    pub version: String,
    /// Threads.
    pub threads: usize,
}

#[derive(Deserialize)]
struct Printed {
    tokens_per_s: Vec<f64>,
}

impl Engine for Candle {
    fn name(&self) -> EngineName {
        EngineName::Candle
    }

    fn version(&self) -> &str {
        &self.version
    }

    /// Runs once, whatever the number of runs of other engines: it takes several times as long.
    fn speed(&self, file: &ModelFile, speed: Speed, _: usize) -> Option<Command> {
        let (test, tokens) = match speed {
            Speed::Prefill(tokens) => ("prefill", tokens),
            Speed::Decode(tokens) => ("decode", tokens),
            Speed::Batch(..) => return None,
        };
        let mut command = Command::new(&self.program);
        command.env("RAYON_NUM_THREADS", self.threads.to_string());
        command
            .arg(&file.path)
            .args([test, &tokens.to_string(), "1"]);
        Some(command)
    }

    fn tokens_per_s(&self, stdout: &str) -> Result<f64> {
        let printed: Printed = serde_json::from_str(stdout)?;
        median(&printed.tokens_per_s).ok_or_else(|| "no runs".into())
    }

    /// The program has no tokenizer.
    fn start(&self, _: &ModelFile) -> Option<Command> {
        None
    }
}
