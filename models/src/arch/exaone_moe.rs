//! EXAONE 4.5 and K-EXAONE (LG AI Research, 2026): norms before each block, queries and
//! keys normalized per head. Three of four layers have a sliding window and a rotary
//! embedding, the others neither. The first layers are dense, the others have experts
//! and a shared one.

use super::common::{self, Decoder};
use super::experts::{self, Router};
use super::rope;
use crate::Result;
use crate::graph::{Attention, Builder, Gate, Graph, RopeStyle};

/// By default every fourth layer has no window.
const PERIOD: usize = 4;

const ROUTER: Router = Router {
    gate: Gate::Sigmoid,
    normalize: true,
};

/// The graph of an `exaone-moe` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);
    let window = common::sliding_window(&b)?;
    let windowed = common::sliding_layers(&b, hp.layers, PERIOD)?;

    let mut x = b.embed(hp.width, 1.0)?;
    for (layer, windowed) in (0..).zip(windowed) {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.normed_queries_keys_values(&mut b, h, hp.eps)?;
        let attention = Attention {
            window: window.filter(|_| windowed),
            ..at.attention()
        };
        let rope = Some(rope).filter(|_| windowed || window.is_none());
        let h = at.attend(&mut b, qkv, rope, attention)?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = experts::or_feed_forward(&mut b, h, ROUTER)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
