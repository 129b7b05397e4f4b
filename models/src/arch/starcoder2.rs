//! StarCoder2 (arXiv:2402.19173): layer norms, a feed-forward block without a gate, and
//! biases everywhere.

use super::common::Decoder;
use super::rope;
use crate::Result;
use crate::graph::{Activation, Builder, Graph, RopeStyle};

/// The graph of a `starcoder2` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.layer_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.queries_keys_values(&mut b, h)?;
        let h = at.attend(&mut b, qkv, Some(rope), at.attention())?;
        x = b.add(x, h);

        let h = b.layer_norm(x, "ffn_norm", hp.eps)?;
        let h = b.plain_feed_forward(h, Activation::GeluTanh)?;
        x = b.add(x, h);
    }
    b.enter(None);
    let x = b.layer_norm(x, "output_norm", hp.eps)?;
    let logits = b.head(x)?;
    b.finish(logits)
}
