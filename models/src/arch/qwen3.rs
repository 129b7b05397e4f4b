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
        let q = b.linear(h, "attn_q", at.q_width())?;
        let k = b.linear(h, "attn_k", at.kv_width())?;
        let v = b.linear(h, "attn_v", at.kv_width())?;
        let q = b.rms_norm_heads(q, "attn_q_norm", hp.head_dim, hp.eps)?;
        let k = b.rms_norm_heads(k, "attn_k_norm", hp.head_dim, hp.eps)?;
        let q = b.rope(q, hp.head_dim, rope);
        let k = b.rope(k, hp.head_dim, rope);
        let h = b.attention(q, k, v, at.attention());
        let h = b.linear(h, "attn_output", hp.width)?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = experts::or_feed_forward(&mut b, h, experts::USUAL)?;
        x = b.add(x, h);
    }
    b.enter(None);
    let x = b.rms_norm(x, "output_norm", hp.eps)?;
    let logits = b.head(x)?;
    b.finish(logits)
}
