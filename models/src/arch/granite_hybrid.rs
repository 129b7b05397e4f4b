//! Granite 4, hybrid (IBM, 2025): most layers have a Mamba-2 block in the place of
//! attention; attention has no rotary embedding; the multipliers are those of Granite.

use super::common::{Decoder, Multipliers};
use super::ssm::Ssm;
use super::{experts, rope};
use crate::Result;
use crate::graph::{Attention, Builder, Graph};

/// The graph of a `granitehybrid` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let factors = Multipliers::read(&b, &hp)?;
    let ssm = Ssm::read(&b)?;
    let rope = rope::of_granite(&b, &hp)?.map(|rope| b.add_rope(rope));

    let mut x = b.embed(hp.width, factors.embedding)?;
    for layer in 0..hp.layers {
        b.enter(Some(layer));
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let h = if b.opt_count("attention.head_count_kv")? == Some(0) {
            ssm.mixer(&mut b, h, hp.eps)?
        } else {
            let at = hp.enter(&mut b, layer)?;
            let qkv = at.queries_keys_values(&mut b, h)?;
            let attention = Attention {
                scale: factors.scores,
                ..at.attention()
            };
            at.attend(&mut b, qkv, rope, attention)?
        };
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
