//! Architectures: metadata in, graph out. One file each, and each reads like
//! the figure in its paper. See `docs/add-an-architecture.md`.

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
use alloc::string::{String, ToString};
use alloc::vec::Vec;

type Build = fn(Builder) -> Result<Graph>;

/// Every architecture by the name in `general.architecture`.
const ARCHITECTURES: &[(&str, Build)] = &[
    ("llama", llama::build),
    ("qwen2", qwen2::build),
    ("qwen3", qwen3::build),
    ("gemma2", gemma2::build),
    ("gemma3", gemma3::build),
    ("exaone", exaone::build),
    ("exaone4", exaone4::build),
    ("phi3", phi3::build),
];

/// The graph of a file, or [`Error::UnknownArchitecture`].
pub fn build(gguf: &Gguf) -> Result<Graph> {
    let name = gguf.str("general.architecture")?;
    match ARCHITECTURES.iter().find(|(known, _)| *known == name) {
        Some((_, build)) => build(Builder::new(gguf)?),
        None => Err(Error::UnknownArchitecture {
            name: name.to_string(),
            known: known(),
        }),
    }
}

/// The names of the architectures, comma-separated.
fn known() -> String {
    ARCHITECTURES
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}
