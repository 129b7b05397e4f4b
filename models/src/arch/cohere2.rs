//! Command R7B (Cohere, 2024): attention and feed-forward block in parallel on one layer
//! norm. Three of four layers have a sliding window and a rotary embedding, the others
//! neither.

use super::common::{self, Decoder};
use super::rope;
use crate::Result;
use crate::graph::{Activation, Attention, Builder, Graph, RopeStyle};

/// By default every fourth layer has no window.
const PERIOD: usize = 4;

/// The graph of a `cohere2` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::Interleaved)?;
    let rope = b.add_rope(rope);
    let window = common::sliding_window(&b)?;
    let windowed = common::sliding_layers(&b, hp.layers, PERIOD)?;

    let mut x = b.embed(hp.width, 1.0)?;
    for (layer, windowed) in (0..).zip(windowed) {
        let at = hp.enter(&mut b, layer)?;
        let h = b.layer_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.queries_keys_values(&mut b, h)?;
        let attention = Attention {
            window: window.filter(|_| windowed),
            ..at.attention()
        };
        let rope = Some(rope).filter(|_| windowed);
        let attended = at.attend(&mut b, qkv, rope, attention)?;
        x = b.add(x, attended);

        let h = b.feed_forward(h, Activation::Silu)?;
        x = b.add(x, h);
    }
    b.enter(None);
    let x = b.layer_norm(x, "output_norm", hp.eps)?;
    let logits = b.head(x)?;
    let factor = b.opt_positive("logit_scale")?.unwrap_or(1.0);
    let logits = b.scale(logits, factor);
    b.finish(logits)
}
