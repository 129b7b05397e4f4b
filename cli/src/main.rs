//! The `ondol` command: a thin way in to the runtime, one file a command.
#![deny(unsafe_code)]

mod answer;
mod catalog;
mod commands;
mod delegate;
mod engine;
mod error;
mod fetch;
mod home;
mod interrupt;
mod likelihood;
mod memory;
mod model;
mod outfile;
mod output;
mod packed;
mod progress;
mod record;
mod seal;

use clap::Parser;
use commands::Command;
use error::Error;
use std::io::ErrorKind;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

/// Runs quantized GGUF models on this machine.
#[derive(Parser)]
#[command(name = "ondol", version, max_term_width = 100)]
#[command(
    after_help = "Start with:  ondol run hello\nExit codes: 0 success, 1 failure, 2 wrong usage, 130 Ctrl-C."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    memory::handle_abort();
    let cli = Cli::parse();
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough, as in `ondol list | head`.
        Err(Error::Standard { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
