//! Hunyuan, dense (Tencent, 2025): Llama whose queries and keys are normalized per head
//! after their rotation. Converters multiply the rotary base by the factor of its scaling.

use super::common::Decoder;
use super::rope;
use crate::Result;
use crate::graph::{Activation, Builder, Graph, RopeStyle};

/// The graph of a `hunyuan-dense` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let [q, k, v] = at.queries_keys_values(&mut b, h)?;
        let q = b.rope(q, hp.head_dim, rope);
        let k = b.rope(k, hp.head_dim, rope);
        let q = b.rms_norm_heads(q, "attn_q_norm", hp.head_dim, hp.eps)?;
        let k = b.rms_norm_heads(k, "attn_k_norm", hp.head_dim, hp.eps)?;
        let h = at.attend(&mut b, [q, k, v], None, at.attention())?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = b.feed_forward(h, Activation::Silu)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
