//! StableLM 2 (arXiv:2402.17834): Llama with layer norms; only a part of each head rotates.
//! The 12B model has a norm for each head of queries and keys, and attention and
//! feed-forward block in parallel.

use super::common::Decoder;
use super::rope;
use crate::Result;
use crate::graph::{Activation, Builder, Graph, RopeStyle};

/// The graph of a `stablelm` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let norm = b.layer_norm(x, "attn_norm", hp.eps)?;
        let [mut q, mut k, v] = at.queries_keys_values(&mut b, norm)?;
        if b.has("attn_q_norm") {
            q = b.layer_norm_heads(q, "attn_q_norm", hp.head_dim, hp.eps)?;
            k = b.layer_norm_heads(k, "attn_k_norm", hp.head_dim, hp.eps)?;
        }
        let h = at.attend(&mut b, [q, k, v], Some(rope), at.attention())?;
        x = b.add(x, h);

        let h = match is_parallel(&b)? {
            true => norm,
            false => b.layer_norm(x, "ffn_norm", hp.eps)?,
        };
        let h = b.feed_forward(h, Activation::Silu)?;
        x = b.add(x, h);
    }
    b.enter(None);
    let x = b.layer_norm(x, "output_norm", hp.eps)?;
    let logits = b.head(x)?;
    b.finish(logits)
}

/// Whether the feed-forward block has the same input as attention; such files have no second
/// norm.
fn is_parallel(b: &Builder) -> Result<bool> {
    let said = b.opt_bool("use_parallel_residual")?;
    Ok(said.unwrap_or(!b.has("ffn_norm")))
}
