//! EXAONE 3.0 and 3.5 (arXiv:2408.03541): as Llama, with the rotary embedding on
//! half-split heads and Llama 3.1's frequency factors.

use super::llama;
use crate::Result;
use crate::graph::{Builder, Graph, RopeStyle};

/// The graph of an `exaone` file.
pub fn build(b: Builder) -> Result<Graph> {
    llama::decoder(b, RopeStyle::HalfSplit)
}
