//! The commands, one file each.

mod agree;
mod bench;
mod chat;
mod compile;
mod inspect;
mod list;
mod pack;
mod perplexity;
mod profile;
mod prune;
mod pull;
mod quantize;
mod record;
mod report;
mod rm;
mod run;
mod tokenize;
mod verify;

use crate::delegate;
use crate::error::Result;
use clap::Subcommand;

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Answer a prompt, or chat
    Run(run::Args),
    /// Download a model from the catalog
    Pull(pull::Args),
    /// List the catalog, downloaded models and packed copies
    List(list::Args),
    /// Delete downloaded models and packed copies
    Rm(rm::Args),
    /// Delete packed copies that have no use any more
    Prune(prune::Args),
    /// Show the contents of a model file, and the memory that it needs
    Inspect(inspect::Args),
    /// Measure prefill and decode speed
    Bench(bench::Args),
    /// Measure how well a model predicts a text
    Perplexity(perplexity::Args),
    /// Show the tokens of a text
    Tokenize(tokenize::Args),
    /// Record greedy answers, with the likeliest tokens of each step
    Record(record::Args),
    /// Compare a model with a record
    Agree(agree::Args),
    /// Verify, with a report, that an NPU's plug-in runs a model correctly
    Verify(verify::Args),
    /// Sign a report of `verify`, or check a signed one
    Report(report::Args),
    /// Convert a model to another quantization
    Quantize(quantize::Args),
    /// Write a packed copy of a model, which decodes fastest
    Pack(pack::Args),
    /// Compile a model for an NPU ahead of time
    Compile(compile::Args),
    /// Serve a plug-in to the process that started this one (for `--isolated`)
    #[command(hide = true)]
    DelegateHost,
}

impl Command {
    /// Runs the command.
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
            Command::Report(args) => report::run(args),
            Command::Quantize(args) => quantize::run(args),
            Command::Pack(args) => pack::run(args),
            Command::Compile(args) => compile::run(args),
            Command::DelegateHost => delegate::serve(),
        }
    }
}
