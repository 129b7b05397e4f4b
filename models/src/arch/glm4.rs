//! GLM-4-0414 (arXiv:2406.12793): norms before and after each block; only the first half of
//! each head rotates, in pairs of neighbours; gate and up are one tensor.

use super::common::Decoder;
use super::rope;
use crate::Result;
use crate::graph::{Activation, Builder, Graph, RopeStyle};

/// The graph of a `glm4` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::Interleaved)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.queries_keys_values(&mut b, h)?;
        let h = at.attend(&mut b, qkv, Some(rope), at.attention())?;
        let h = b.rms_norm(h, "post_attention_norm", hp.eps)?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let hidden = b.size("feed_forward_length")?;
        let [gate, up] = b.fused(h, "ffn_up", [hidden, hidden])?;
        let h = b.glu(gate, up, Activation::Silu);
        let h = b.linear(h, "ffn_down", hp.width)?;
        let h = b.rms_norm(h, "post_ffw_norm", hp.eps)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
