//! Options of every command that runs a model.

use crate::error::Result;
use crate::model;
use clap::Args;
use ondol::{Level, Model, Options, Session};

/// How the model is run.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// Threads [default: the machine's big cores]
    #[arg(long, short = 't', value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// Kernels: exact (full precision, slow), scalar, or a CPU's (avx2, avx-vnni, avx512) [default: the
    /// best this CPU has]
    #[arg(long, value_name = "LEVEL")]
    pub kernels: Option<Level>,
}

impl EngineArgs {
    /// The runtime's options for a context of so many tokens.
    pub fn options(&self, context: Option<usize>) -> Options {
        Options {
            threads: self.threads,
            kernels: self.kernels,
            context,
            ..Options::default()
        }
    }

    /// A session with so many tokens of context; `name` is the model as the user named it.
    pub fn session(&self, model: &Model, name: &str, context: Option<usize>) -> Result<Session> {
        model
            .session(&self.options(context))
            .map_err(model::runtime_error(name))
    }
}

/// A count that can't be zero.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(n) => Ok(n),
        Err(_) => Err("a whole number is needed".to_owned()),
    }
}
