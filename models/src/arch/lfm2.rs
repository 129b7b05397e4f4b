//! LFM2 (Liquid AI, 2025): most layers have a gated short convolution in the place of
//! attention. In the model with experts (`lfm2moe`) the first layers are dense.

use super::common::Decoder;
use super::experts::{self, Router};
use super::rope;
use crate::Result;
use crate::graph::{Builder, Gate, Graph, RopeStyle, ValueId};

const ROUTER: Router = Router {
    gate: Gate::Sigmoid,
    normalize: true,
};

/// The graph of an `lfm2` or `lfm2moe` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let taps = b.size("shortconv.l_cache")?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        b.enter(Some(layer));
        let norm = b.rms_norm(x, "attn_norm", hp.eps)?;
        let h = if b.opt_count("attention.head_count_kv")? == Some(0) {
            short_convolution(&mut b, norm, taps)?
        } else {
            let at = hp.enter(&mut b, layer)?;
            let qkv = at.normed_queries_keys_values(&mut b, norm, hp.eps)?;
            at.attend(&mut b, qkv, Some(rope), at.attention())?
        };
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = experts::or_feed_forward(&mut b, h, ROUTER)?;
        x = b.add(x, h);
    }
    b.enter(None);
    let x = b.rms_norm(x, "token_embd_norm", hp.eps)?;
    let logits = b.head(x)?;
    b.finish(logits)
}

/// `out(c * conv(b * x))`, where `b`, `c` and `x` are projections of the input.
fn short_convolution(b: &mut Builder, x: ValueId, taps: usize) -> Result<ValueId> {
    let width = b.width(x);
    let [gate, out_gate, x] = b.fused(x, "shortconv.in_proj", [width; 3])?;
    let h = b.mul(gate, x);
    let h = b.conv(h, "shortconv.conv", taps)?;
    let h = b.mul(out_gate, h);
    b.linear(h, "shortconv.out_proj", width)
}
