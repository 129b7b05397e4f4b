//! Phi-3, Phi-3.5 and Phi-4 (arXiv:2404.14219), dense: q, k and v are one tensor, gate
//! and up another; LongRoPE; a sliding window in every layer or in none.

use super::common::{self, Decoder};
use super::rope;
use crate::Result;
use crate::graph::{Activation, Attention, Builder, Graph, RopeStyle};

/// The graph of a `phi3` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::long(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);
    let window = common::sliding_window(&b)?;

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let [q, k, v] = b.fused(h, "attn_qkv", [at.q_width(), at.kv_width(), at.kv_width()])?;
        let attention = Attention {
            window,
            ..at.attention()
        };
        let h = at.attend(&mut b, [q, k, v], Some(rope), attention)?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let hidden = b.size("feed_forward_length")?;
        let [gate, up] = b.fused(h, "ffn_up", [hidden, hidden])?;
        let h = b.glu(gate, up, Activation::Silu);
        let h = b.linear(h, "ffn_down", hp.width)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
