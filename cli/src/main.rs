//! The `ondol` command, a thin layer over the runtime; each subcommand has its own file.
#![deny(unsafe_code)]
// `print!` and `eprint!` panic if the output can't be written; the module `output` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod output;

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
mod numbers;
mod outfile;
mod packed;
mod progress;
mod record;
mod sheet;
mod submission;
mod terminal;
mod text;

use clap::{CommandFactory, FromArgMatches, Parser};
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
    memory::install_handlers();
    outfile::take_size_limit_as_error();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(usage) => return show(&usage),
    };
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has closed it, as in `ondol list | head`.
        Err(Error::Standard { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            error.say();
            if let Some(hint) = error.hint() {
                note!("hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Parses the arguments. Options accept negative numbers as values, so that the
/// option's own parser can report which values are valid.
fn parse() -> Result<Cli, clap::Error> {
    let command = Cli::command().mut_subcommands(|command| {
        command.mut_args(|arg| {
            let is_option = !arg.is_positional() && arg.get_action().takes_values();
            match is_option {
                true => arg.allow_negative_numbers(true),
                false => arg,
            }
        })
    });
    Cli::from_arg_matches(&command.try_get_matches()?)
}

/// Shows the requested help or version, or the fault of the arguments.
fn show(usage: &clap::Error) -> ExitCode {
    match usage.print() {
        Err(source) if !usage.use_stderr() && source.kind() != ErrorKind::BrokenPipe => {
            note!("error: cannot use standard output: {source}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2)),
    }
}
