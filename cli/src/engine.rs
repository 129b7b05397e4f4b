//! Options of every command that runs a model.

use crate::error::Result;
use crate::model;
use clap::Args;
use ondol::{Isa, KvType, Model, Options, ScreenOptions, Session};
use std::str::FromStr;

/// How the model is run.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// Threads [default: the machine's big cores]
    #[arg(long, short = 't', value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// Kernels: exact (full precision, slow), scalar, or a CPU's (avx2, avx-vnni, avx512; neon,
    /// dotprod, i8mm) [default: the best this CPU has]
    #[arg(long, value_name = "LEVEL")]
    pub kernels: Option<Isa>,
    /// What keys and values are kept as: f16, or q8_0 in little more than half the bytes
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub kv_type: KvType,
}

impl EngineArgs {
    /// The runtime's options for a context of so many tokens.
    pub fn options(&self, context: Option<usize>) -> Options {
        Options {
            threads: self.threads,
            kernels: self.kernels,
            context,
            kv_type: self.kv_type,
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

/// Whether a screened head is used, and with which margin.
#[derive(Clone, Copy, Debug)]
pub struct Screen(pub Option<ScreenOptions>);

impl FromStr for Screen {
    type Err = String;

    fn from_str(text: &str) -> Result<Screen, String> {
        if text == "off" {
            return Ok(Screen(None));
        }
        let margin = text.parse().ok();
        let margin = margin.filter(|margin| (0.0..=f32::MAX).contains(margin));
        let margin = margin.ok_or("a number of at least 0, or `off`, is needed")?;
        Ok(Screen(Some(ScreenOptions {
            margin,
            ..ScreenOptions::default()
        })))
    }
}

/// A count that can't be zero.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..) => Ok(n),
        _ => Err("a whole number of at least 1 is needed".to_owned()),
    }
}
