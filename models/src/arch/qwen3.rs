//! Qwen3 (arXiv:2505.09388), dense or with experts: queries and keys are normalized per head.

use super::common::Decoder;
use super::{experts, rope};
use crate::Result;
use crate::graph::{Builder, Graph, RopeStyle};

/// The graph of a `qwen3` or `qwen3moe` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.normed_queries_keys_values(&mut b, h, hp.eps)?;
        let h = at.attend(&mut b, qkv, Some(rope), at.attention())?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = experts::or_feed_forward(&mut b, h, experts::USUAL)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
