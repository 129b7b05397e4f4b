//! Mamba-2 (arXiv:2405.21060): layers of a short convolution and a state space, without
//! attention.

use super::common::epsilon;
use super::ssm::Ssm;
use crate::Result;
use crate::graph::{Builder, Graph};

/// The graph of a `mamba2` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let (layers, width, eps) = (b.layers()?, b.size("embedding_length")?, epsilon(&b)?);
    let ssm = Ssm::read(&b)?;

    let mut x = b.embed(width, 1.0)?;
    for layer in 0..layers {
        b.enter(Some(layer));
        let h = b.rms_norm(x, "attn_norm", eps)?;
        let h = ssm.mixer(&mut b, h, eps)?;
        x = b.add(x, h);
    }
    b.enter(None);
    let x = b.rms_norm(x, "output_norm", eps)?;
    let logits = b.head(x)?;
    b.finish(logits)
}
