//! Gemma 3 (arXiv:2503.19786), text: five layers with a sliding window to one without,
//! each kind with its own rotary base; queries and keys are normalized per head.

use super::common::{self, Decoder};
use super::rope;
use crate::Result;
use crate::graph::{Activation, Attention, Builder, Graph, RopeStyle};

/// Layers of the 27B model, whose scale comes from `width / heads` and not from
/// the head's width; files do not carry the scale.
const LAYERS_27B: u32 = 62;
/// By default every sixth layer has no window.
const PERIOD: usize = 6;

/// The graph of a `gemma3` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let window = common::sliding_window(&b)?;
    let windowed = common::sliding_layers(&b, hp.layers, PERIOD)?;
    let full_rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let full_rope = b.add_rope(full_rope);
    let sliding_rope = rope::local(&b, &hp, RopeStyle::HalfSplit)?;
    let sliding_rope = b.add_rope(sliding_rope);

    let mut x = b.embed(hp.width, libm::sqrtf(hp.width as f32))?;
    for (layer, windowed) in (0..).zip(windowed) {
        let at = hp.enter(&mut b, layer)?;
        let window = window.filter(|_| windowed);
        let rope = if window.is_some() {
            sliding_rope
        } else {
            full_rope
        };

        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.normed_queries_keys_values(&mut b, h, hp.eps)?;
        let attention = Attention {
            window,
            scale: common::gemma_scale(&hp, &at, LAYERS_27B),
            ..at.attention()
        };
        let h = at.attend(&mut b, qkv, Some(rope), attention)?;
        let h = b.rms_norm(h, "post_attention_norm", hp.eps)?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = b.feed_forward(h, Activation::GeluTanh)?;
        let h = b.rms_norm(h, "post_ffw_norm", hp.eps)?;
        x = b.add(x, h);
    }
    let logits = hp.capped_logits(&mut b, x)?;
    b.finish(logits)
}
