//! Qwen2 and Qwen2.5 (arXiv:2407.10671): the shape of Llama with biases on q, k
//! and v, and the halves of a head rotating together.

use super::llama;
use crate::Result;
use crate::graph::{Builder, Graph, RopeStyle};

/// The graph of a `qwen2` file.
pub fn build(b: Builder) -> Result<Graph> {
    llama::decoder(b, RopeStyle::HalfSplit)
}
