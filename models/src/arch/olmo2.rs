//! OLMo 2 (arXiv:2501.00656) and OLMo 3: norms only after each block, and over all
//! queries and all keys together. In OLMo 3 three of four layers have a sliding window
//! and an unscaled rotary embedding.

use super::common::{self, Decoder};
use super::rope;
use crate::Result;
use crate::graph::{Activation, Attention, Builder, Graph, RopeStyle};

/// By default every fourth layer has no window.
const PERIOD: usize = 4;

/// The graph of an `olmo2` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let window = common::sliding_window(&b)?;
    let windowed = common::sliding_layers(&b, hp.layers, PERIOD)?;
    let full_rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let full_rope = b.add_rope(full_rope);
    let sliding_rope = rope::local_or_same(&b, &hp, RopeStyle::HalfSplit)?;
    let sliding_rope = b.add_rope(sliding_rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for (layer, windowed) in (0..).zip(windowed) {
        let at = hp.enter(&mut b, layer)?;
        let window = window.filter(|_| windowed);
        let rope = if window.is_some() {
            sliding_rope
        } else {
            full_rope
        };

        let [q, k, v] = at.queries_keys_values(&mut b, x)?;
        let q = b.rms_norm(q, "attn_q_norm", hp.eps)?;
        let k = b.rms_norm(k, "attn_k_norm", hp.eps)?;
        let attention = Attention {
            window,
            ..at.attention()
        };
        let h = at.attend(&mut b, [q, k, v], Some(rope), attention)?;
        let h = b.rms_norm(h, "post_attention_norm", hp.eps)?;
        x = b.add(x, h);

        let h = b.feed_forward(x, Activation::Silu)?;
        let h = b.rms_norm(h, "post_ffw_norm", hp.eps)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
