//! EXAONE 3.0 and 3.5 (arXiv:2408.03541): the shape of Llama with the halves of
//! a head rotating together, and Llama 3.1's frequency factors.

use super::llama;
use crate::Result;
use crate::graph::{Builder, Graph, RopeStyle};

/// The graph of an `exaone` file.
pub fn build(b: Builder) -> Result<Graph> {
    llama::decoder(b, RopeStyle::HalfSplit)
}
