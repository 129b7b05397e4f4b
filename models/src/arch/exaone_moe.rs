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
    let slides = common::sliding_layers(&b, hp.layers, PERIOD)?;

    let mut x = b.embed(hp.width, 1.0)?;
    for (layer, slides) in (0..).zip(slides) {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let [mut q, mut k, v] = at.queries_keys_values(&mut b, h)?;
        q = b.rms_norm_heads(q, "attn_q_norm", hp.head_dim, hp.eps)?;
        k = b.rms_norm_heads(k, "attn_k_norm", hp.head_dim, hp.eps)?;
        if slides || window.is_none() {
            q = b.rope(q, hp.head_dim, rope);
            k = b.rope(k, hp.head_dim, rope);
        }
        let attention = Attention {
            window: window.filter(|_| slides),
            ..at.attention()
        };
        let h = b.attention(q, k, v, attention);
        let h = b.linear(h, "attn_output", hp.width)?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = experts::or_feed_forward(&mut b, h, ROUTER)?;
        x = b.add(x, h);
    }
    b.enter(None);
    let x = b.rms_norm(x, "output_norm", hp.eps)?;
    let logits = b.head(x)?;
    b.finish(logits)
}
