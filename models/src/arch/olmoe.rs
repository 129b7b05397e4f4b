//! OLMoE (arXiv:2409.02060): experts; norms before each block, and over all queries and
//! all keys together.

use super::common::Decoder;
use super::experts::{self, Router};
use super::rope;
use crate::Result;
use crate::graph::{Builder, Gate, Graph, RopeStyle};

const ROUTER: Router = Router {
    gate: Gate::Softmax,
    normalize: false,
};

/// The graph of an `olmoe` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let [q, k, v] = at.queries_keys_values(&mut b, h)?;
        let q = b.rms_norm(q, "attn_q_norm", hp.eps)?;
        let k = b.rms_norm(k, "attn_k_norm", hp.eps)?;
        let h = at.attend(&mut b, [q, k, v], Some(rope), at.attention())?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = experts::or_feed_forward(&mut b, h, ROUTER)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}
