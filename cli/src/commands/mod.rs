//! One file a command.

mod agree;
mod bench;
mod chat;
mod inspect;
mod list;
mod pack;
mod perplexity;
mod prune;
mod pull;
mod quantize;
mod record;
mod rm;
mod run;
mod tokenize;
mod verify;

use crate::error::Result;
use clap::Subcommand;

/// What can be asked for.
#[derive(Subcommand)]
pub enum Command {
    /// Answer a prompt, or chat
    Run(run::Args),
    /// Download a model of the catalog
    Pull(pull::Args),
    /// Show the catalog, and what is downloaded
    List(list::Args),
    /// Delete downloaded models, and packed copies
    Rm(rm::Args),
    /// Delete packed copies that are of no use any more
    Prune(prune::Args),
    /// Show what a model file holds, and the memory it needs
    Inspect(inspect::Args),
    /// Measure prefill and decode speed
    Bench(bench::Args),
    /// Measure how well a model predicts a text
    Perplexity(perplexity::Args),
    /// Show the tokens of a text
    Tokenize(tokenize::Args),
    /// Record greedy answers with their likeliest tokens
    Record(record::Args),
    /// Hold a model against a record
    Agree(agree::Args),
    /// Show with evidence whether an NPU's plug-in runs a model correctly
    Verify(verify::Args),
    /// Write a model in another quantization
    Quantize(quantize::Args),
    /// Write a model in the layout that decodes fastest
    Pack(pack::Args),
}

impl Command {
    /// Runs it.
    pub fn run(&self) -> Result<()> {
        match self {
            Command::Run(args) => run::run(args),
            Command::Pull(args) => pull::run(args),
            Command::List(args) => list::run(args),
            Command::Rm(args) => rm::run(args),
            Command::Prune(args) => prune::run(args),
            Command::Inspect(args) => inspect::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Perplexity(args) => perplexity::run(args),
            Command::Tokenize(args) => tokenize::run(args),
            Command::Record(args) => record::run(args),
            Command::Agree(args) => agree::run(args),
            Command::Verify(args) => verify::run(args),
            Command::Quantize(args) => quantize::run(args),
            Command::Pack(args) => pack::run(args),
        }
    }
}
