//! Qwen2 and Qwen2.5 (arXiv:2407.10671): as Llama, with biases on q, k and v, and the
//! rotary embedding on half-split heads.

use super::llama;
use crate::Result;
use crate::graph::{Builder, Graph, RopeStyle};

/// The graph of a `qwen2` file.
pub fn build(b: Builder) -> Result<Graph> {
    llama::decoder(b, RopeStyle::HalfSplit)
}
