//! Options of every command that runs a model.

use crate::error::Result;
use crate::model;
use clap::Args;
use ondol::{Isa, KvType, Model, ScreenOptions, Session, SessionOptions};
use ondol_kernels::Kernels;
use std::str::FromStr;

/// Options of the engine.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// Threads [default: one for each big core]
    #[arg(long, short = 't', value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// Kernels: exact (full precision, slow), scalar, or those of an instruction set
    /// (avx2, avx-vnni, avx512; neon, dotprod, i8mm) [default: the fastest for this
    /// CPU]
    #[arg(long, value_name = "ISA")]
    pub kernels: Option<Isa>,
    /// Type of the KV cache: f16; q8_0, which takes little more than half the memory; or
    /// f32, which takes twice the memory and rounds nothing
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub kv_type: KvType,
}

impl EngineArgs {
    /// The runtime's options for a context of `context` tokens.
    pub fn options(&self, context: Option<usize>) -> SessionOptions {
        SessionOptions {
            threads: self.threads,
            kernels: self.kernels,
            context,
            kv_type: self.kv_type,
            ..SessionOptions::default()
        }
    }

    /// The kernels of a session.
    pub fn kernels(&self) -> Kernels {
        let chosen = self.kernels.and_then(Kernels::with_isa);
        chosen.unwrap_or_else(Kernels::detect)
    }

    /// A session with a context of `context` tokens; `name` is the model as the user
    /// named it.
    pub fn session(&self, model: &Model, name: &str, context: Option<usize>) -> Result<Session> {
        model
            .session(&self.options(context))
            .map_err(model::runtime_error(name))
    }
}

/// The margin of the screen; `None` does not use it.
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
