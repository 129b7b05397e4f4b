//! Architectures: each is a function from a file's metadata to a graph, in a file of
//! its own, written like the figure in its paper. See `docs/add-an-architecture.md`.

mod common;
mod exaone;
mod exaone4;
mod gemma2;
mod gemma3;
mod llama;
mod phi3;
mod qwen2;
mod qwen3;
mod rope;
#[cfg(test)]
mod tests;

use crate::gguf::Gguf;
use crate::graph::{Builder, Graph};
use crate::{Error, Result};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// `general.type` of a file: a model, or something that belongs to one.
const TYPE: &str = "general.type";

type Build = fn(Builder) -> Result<Graph>;

/// Every architecture of this build, by the name in `general.architecture`.
const ARCHITECTURES: &[(&str, Option<Build>)] = &[
    row("llama", llama::build, true),
    row("qwen2", qwen2::build, cfg!(feature = "arch-qwen")),
    row("qwen3", qwen3::build, cfg!(feature = "arch-qwen")),
    row("gemma2", gemma2::build, cfg!(feature = "arch-gemma")),
    row("gemma3", gemma3::build, cfg!(feature = "arch-gemma")),
    row("exaone", exaone::build, cfg!(feature = "arch-exaone")),
    row("exaone4", exaone4::build, cfg!(feature = "arch-exaone")),
    row("phi3", phi3::build, cfg!(feature = "arch-phi")),
];

/// An architecture that this build leaves out has no function here.
const fn row(name: &str, build: Build, in_build: bool) -> (&str, Option<Build>) {
    (name, if in_build { Some(build) } else { None })
}

/// The graph of a file.
///
/// # Errors
/// [`Error::UnknownArchitecture`]; [`Error::BadValue`] where the file is a part of a
/// model, such as an adapter; and the errors of its architecture for keys and tensors
/// that are missing, wrong, or would be ignored.
pub fn build(gguf: &Gguf) -> Result<Graph> {
    if let Some(part) = gguf.opt_str(TYPE)?.filter(|&kind| kind != "model") {
        let reason = format!("the file is no model by itself, but of the type `{part}`");
        return Err(Error::BadValue {
            key: TYPE.into(),
            reason,
        });
    }
    let name = gguf.str("general.architecture")?;
    match ARCHITECTURES.iter().find(|(known, _)| *known == name) {
        Some((_, Some(build))) => build(Builder::new(gguf)?),
        _ => Err(Error::UnknownArchitecture {
            name: name.to_string(),
            known: known(),
        }),
    }
}

/// The names of the architectures, comma-separated.
fn known() -> String {
    ARCHITECTURES
        .iter()
        .filter_map(|(name, build)| build.map(|_| *name))
        .collect::<Vec<_>>()
        .join(", ")
}
