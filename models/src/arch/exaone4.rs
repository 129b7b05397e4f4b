//! EXAONE 4.0 (arXiv:2507.11407): norms only after each block, queries and keys
//! normalized per head. In the large model three of four layers have a sliding window,
//! and the others have no rotary embedding.

use super::common::{self, Decoder};
use super::rope;
use crate::Result;
use crate::graph::{Activation, Attention, Builder, Graph, RopeStyle};

/// By default every fourth layer has no window.
const PERIOD: usize = 4;

/// The graph of an `exaone4` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);
    let window = common::sliding_window(&b)?;
    let windowed = common::sliding_layers(&b, hp.layers, PERIOD)?;

    let mut x = b.embed(hp.width, 1.0)?;
    for (layer, windowed) in (0..).zip(windowed) {
        let at = hp.enter(&mut b, layer)?;
        let qkv = at.normed_queries_keys_values(&mut b, x, hp.eps)?;
        let attention = Attention {
            window: window.filter(|_| windowed),
            ..at.attention()
        };
        let rope = Some(rope).filter(|_| windowed || window.is_none());
        let h = at.attend(&mut b, qkv, rope, attention)?;
        let h = b.rms_norm(h, "post_attention_norm", hp.eps)?;
        x = b.add(x, h);

        let h = b.feed_forward(x, Activation::Silu)?;
        let h = b.rms_norm(h, "post_ffw_norm", hp.eps)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
