//! gpt-oss (arXiv:2508.10925): experts in all layers, biases on all matrices, a window in
//! every second layer, and a sink for each head that takes a share of its attention.

use super::common::{self, Decoder};
use super::{experts, rope};
use crate::Result;
use crate::graph::{Attention, Builder, Graph, RopeStyle, RowFn};

/// Every second layer has no window.
const PERIOD: usize = 2;
/// Files do not carry the limit of the gated linear unit.
const UNIT: RowFn = RowFn::ClampedGlu { limit: 7.0 };

/// The graph of a `gpt-oss` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let window = common::sliding_window(&b)?;
    let windowed = common::sliding_layers(&b, hp.layers, PERIOD)?;
    let rope = rope::scaled_unrounded(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for (layer, windowed) in (0..).zip(windowed) {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.queries_keys_values(&mut b, h)?;
        let attention = Attention {
            window: window.filter(|_| windowed),
            sinks: Some(b.sinks("attn_sinks", at.heads)?),
            ..at.attention()
        };
        let h = at.attend(&mut b, qkv, Some(rope), attention)?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "post_attention_norm", hp.eps)?;
        let routes = experts::routes(&mut b, h, experts::USUAL)?;
        let h = experts::mixed(&mut b, h, routes, UNIT)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
