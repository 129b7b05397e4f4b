//! Architectures: metadata in, graph out. One file each, and each reads like
//! the figure in its paper. See `docs/add-an-architecture.md`.

mod common;
mod llama;

use crate::gguf::Gguf;
use crate::graph::{Builder, Graph};
use crate::{Error, Result};
use alloc::string::ToString;
use alloc::vec::Vec;

type Build = fn(Builder) -> Result<Graph>;

/// Every architecture by the name in `general.architecture`.
const ARCHITECTURES: &[(&str, Build)] = &[("llama", llama::build)];

/// The graph of a file, or [`Error::UnknownArchitecture`].
pub fn build(gguf: &Gguf) -> Result<Graph> {
    let name = gguf.str("general.architecture")?;
    match ARCHITECTURES.iter().find(|(known, _)| *known == name) {
        Some((_, build)) => build(Builder::new(gguf)?),
        None => Err(Error::UnknownArchitecture { name: name.to_string(), known: known() }),
    }
}

/// The names of the architectures, comma-separated.
fn known() -> alloc::string::String {
    ARCHITECTURES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
