//! Gemma 4: layers with a sliding window, whose heads are narrower, between layers
//! without one; norms of queries, keys and values; scores are not scaled. In small models
//! the last layers read the keys and values of earlier ones, and each layer has token
//! embeddings of its own; large models have experts beside a dense block.
//!
//! From the model's published code in transformers (`modeling_gemma4`).

use super::common::{self, Decoder};
use super::gemma_layers::{SharedKeys, layer_inputs, per_layer_block};
use super::{experts, rope};
use crate::Result;
use crate::graph::{Activation, Attention, Builder, Graph, RopeStyle, RowFn, ValueId};

/// The graph of a `gemma4` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let full = Decoder::read(&b)?;
    let narrow = full.of_windows(&b)?;
    let window = common::sliding_window(&b)?;
    let windowed = common::sliding_layers(&b, full.layers, 0)?;
    let mut keys = SharedKeys::read(&b, full.layers)?;
    // Some pairs do not rotate: the file's frequency factors make their frequencies almost 0.
    let full_rope = rope::scaled(&b, &full, RopeStyle::HalfSplit)?;
    let full_rope = b.add_rope(full_rope);
    let narrow_rope = rope::local_of_narrow(&b, &narrow, RopeStyle::HalfSplit)?;
    let narrow_rope = b.add_rope(narrow_rope);

    let mut x = b.embed(full.width, libm::sqrtf(full.width as f32))?;
    let inputs = layer_inputs(&mut b, x, &full)?;
    for (layer, windowed) in (0..).zip(windowed) {
        let (hp, rope) = match windowed {
            true => (&narrow, narrow_rope),
            false => (&full, full_rope),
        };
        let at = hp.enter(&mut b, layer)?;
        let attention = Attention {
            window: window.filter(|_| windowed),
            scale: 1.0,
            ..at.attention()
        };
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let h = keys.attend(&mut b, h, hp, rope, (layer, windowed), attention)?;
        let h = b.rms_norm(h, "post_attention_norm", hp.eps)?;
        x = b.add(x, h);

        let h = feed_forward(&mut b, x, hp.eps)?;
        let h = b.rms_norm(h, "post_ffw_norm", hp.eps)?;
        x = b.add(x, h);

        if let Some(inputs) = inputs {
            let h = per_layer_block(&mut b, x, inputs, layer, hp.eps)?;
            x = b.add(x, h);
        }
        if b.has("layer_output_scale") {
            let scale = b.vector("layer_output_scale", 1)?;
            x = b.gain(x, scale);
        }
    }
    let logits = full.capped_logits(&mut b, x)?;
    b.finish(logits)
}

/// A dense block. In layers with a router, experts with norms of their own are added to it.
fn feed_forward(b: &mut Builder, x: ValueId, eps: f32) -> Result<ValueId> {
    let h = b.rms_norm(x, "ffn_norm", eps)?;
    let h = b.feed_forward(h, Activation::GeluTanh)?;
    if !b.has("ffn_gate_inp") {
        return Ok(h);
    }
    let dense = b.rms_norm(h, "post_ffw_norm_1", eps)?;
    let h = b.rms_norm(x, "pre_ffw_norm_2", eps)?;
    let routes = routes(b, x, eps)?;
    let h = experts::mixed(b, h, routes, RowFn::Glu(Activation::GeluTanh))?;
    let h = b.rms_norm(h, "post_ffw_norm_2", eps)?;
    Ok(b.add(dense, h))
}

/// The router reads `x` through a norm of its own with a factor for each column, and each
/// expert has a factor on its weight.
fn routes(b: &mut Builder, x: ValueId, eps: f32) -> Result<ValueId> {
    let width = b.width(x);
    let h = b.unit_norm(x, width, eps);
    let h = b.scale(h, 1.0 / libm::sqrtf(width as f32));
    let factors = b.numbers("ffn_gate_inp.scale", width)?;
    let h = b.gain(h, factors);
    let routes = experts::routes(b, h, experts::USUAL)?;
    let factors = b.numbers("ffn_down_exps.scale", b.size("expert_count")?)?;
    Ok(b.weigh(routes, factors))
}
