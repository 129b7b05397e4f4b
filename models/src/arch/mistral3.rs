//! Ministral 3 and Mistral Small 3.1 and later (Mistral AI, 2025), text: Llama with YaRN
//! without a factor on cosine and sine, and with a factor on queries that grows with the
//! position.

use super::common::Decoder;
use super::rope;
use crate::Result;
use crate::graph::{Activation, Builder, Graph, RopeStyle};

/// The graph of a `mistral3` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let mut k_rope = rope::scaled(&b, &hp, RopeStyle::Interleaved)?;
    rope::cancel_magnitude(&b, &mut k_rope)?;
    let q_rope = rope::growing(&b, &k_rope)?;
    let q_rope = b.add_rope(q_rope);
    let k_rope = b.add_rope(k_rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let [q, k, v] = at.queries_keys_values(&mut b, h)?;
        let q = b.rope(q, hp.head_dim, q_rope);
        let k = b.rope(k, hp.head_dim, k_rope);
        let h = at.attend(&mut b, [q, k, v], None, at.attention())?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = b.feed_forward(h, Activation::Silu)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
