//! Falcon-H1 (arXiv:2507.22448): attention and Mamba-2 side by side in each layer.
//! Converters multiply the weights by the model's many factors, so the graph has none.

use super::common::Decoder;
use super::rope;
use super::ssm::Ssm;
use crate::Result;
use crate::graph::{Activation, Builder, Graph, RopeStyle};

/// The graph of a `falcon-h1` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let ssm = Ssm::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.queries_keys_values(&mut b, h)?;
        let attended = at.attend(&mut b, qkv, Some(rope), at.attention())?;
        let mixed = ssm.mixer(&mut b, h, hp.eps)?;
        x = b.add(x, mixed);
        x = b.add(x, attended);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = b.feed_forward(h, Activation::Silu)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
