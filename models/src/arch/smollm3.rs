//! SmolLM3 (Hugging Face, 2025): Llama in which every fourth layer has no rotary
//! embedding (NoPE, arXiv:2501.18795). Files do not say which.

use super::common::Decoder;
use super::rope;
use crate::Result;
use crate::graph::{Activation, Builder, Graph, RopeStyle};

/// Every fourth layer has no rotary embedding.
const PERIOD: u32 = 4;

/// The graph of a `smollm3` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::Interleaved)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.queries_keys_values(&mut b, h)?;
        let rope = Some(rope).filter(|_| !(layer + 1).is_multiple_of(PERIOD));
        let h = at.attend(&mut b, qkv, rope, at.attention())?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = b.feed_forward(h, Activation::Silu)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
