//! Gemma 2 (arXiv:2408.00118): norms before and after each block, a sliding window in
//! every other layer, caps on scores and logits.

use super::common::{self, Decoder};
use super::rope;
use crate::Result;
use crate::graph::{Activation, Attention, Builder, Graph, RopeStyle};

/// Layers of the 27B model, whose scale comes from `width / heads` and not from
/// the head's width; files do not carry the scale.
const LAYERS_27B: u32 = 46;
const DEFAULT_WINDOW: usize = 4096;
const DEFAULT_SCORE_CAP: f32 = 50.0;
const DEFAULT_LOGIT_CAP: f32 = 30.0;

/// The graph of a `gemma2` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);
    let window = common::sliding_window(&b)?.unwrap_or(DEFAULT_WINDOW);
    let windowed = common::sliding_layers(&b, hp.layers, 2)?;
    let score_cap = b
        .opt_positive("attn_logit_softcapping")?
        .unwrap_or(DEFAULT_SCORE_CAP);
    let logit_cap = b
        .opt_positive("final_logit_softcapping")?
        .unwrap_or(DEFAULT_LOGIT_CAP);

    let mut x = b.embed(hp.width, libm::sqrtf(hp.width as f32))?;
    for (layer, windowed) in (0..).zip(windowed) {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let qkv = at.queries_keys_values(&mut b, h)?;
        let attention = Attention {
            window: windowed.then_some(window),
            scale: common::gemma_scale(&hp, &at, LAYERS_27B),
            softcap: Some(score_cap),
            ..at.attention()
        };
        let h = at.attend(&mut b, qkv, Some(rope), attention)?;
        let h = b.rms_norm(h, "post_attention_norm", hp.eps)?;
        x = b.add(x, h);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = b.feed_forward(h, Activation::GeluTanh)?;
        let h = b.rms_norm(h, "post_ffw_norm", hp.eps)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    let logits = b.softcap(logits, Some(logit_cap));
    b.finish(logits)
}
