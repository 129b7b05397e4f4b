//! Llama (arXiv:2302.13971) and models with the same graph: SmolLM2, Mistral,
//! HyperCLOVA X SEED, Kanana, Solar, Mi:dm.

use super::common::Decoder;
use super::rope;
use crate::Result;
use crate::graph::{Activation, Builder, Graph, RopeStyle};

/// The graph of a `llama` file. Its q and k are stored permuted for interleaved rotation.
pub fn build(b: Builder) -> Result<Graph> {
    decoder(b, RopeStyle::Interleaved)
}

/// Layers of pre-norm attention and a gated feed-forward block; projections have a bias
/// if the file has one.
pub fn decoder(mut b: Builder, style: RopeStyle) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, style)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.queries_keys_values(&mut b, h)?;
        let h = at.attend(&mut b, qkv, Some(rope), at.attention())?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = b.feed_forward(h, Activation::Silu)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
