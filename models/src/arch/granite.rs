//! Granite 3 and 4, dense or with experts (IBM, 2024): Llama with four multipliers, on the
//! embedding, the scores, what a block adds, and the logits.

use super::common::{Decoder, Multipliers};
use super::{experts, rope};
use crate::Result;
use crate::graph::{Attention, Builder, Graph};

/// The graph of a `granite` or `granitemoe` file, or of a `minicpm` file
/// (arXiv:2404.06395), which has the same shape.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let factors = Multipliers::read(&b, &hp)?;
    let rope = rope::of_granite(&b, &hp)?.map(|rope| b.add_rope(rope));

    let mut x = b.embed(hp.width, factors.embedding)?;
    for layer in 0..hp.layers {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.queries_keys_values(&mut b, h)?;
        let attention = Attention {
            scale: factors.scores,
            ..at.attention()
        };
        let h = at.attend(&mut b, qkv, rope, attention)?;
        let h = b.scale(h, factors.residual);
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = experts::or_feed_forward(&mut b, h, experts::USUAL)?;
        let h = b.scale(h, factors.residual);
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    let logits = b.scale(logits, factors.logits);
    b.finish(logits)
}
