//! Gemma 4: layers with a sliding window, whose heads are narrower, between layers
//! without one; norms of queries, keys and values, and no scale of scores. The last
//! layers of small models read the keys and values of earlier ones, and all their layers
//! have an embedding of their own; large models have experts beside a dense block.
//!
//! From the model's published code in transformers (`modeling_gemma4`).

use super::common::{self, Decoder};
use super::{experts, rope};
use crate::graph::{Activation, Attention, Builder, Graph, RopeStyle, RowFn, ValueId};
use crate::{Error, Result};
use alloc::format;
use core::f32::consts::FRAC_1_SQRT_2;

/// `<pad>`: the token whose embeddings a layer has for a picture or a sound.
const PAD: u32 = 0;

/// The graph of a `gemma4` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let full = Decoder::read(&b)?;
    let narrow = full.of_windows(&b)?;
    let window = common::sliding_window(&b)?;
    let slides = common::sliding_layers(&b, full.layers, 0)?;
    let shared_from = first_shared(&b, full.layers)?;
    // The factors of the file stop the pairs that do not rotate.
    let full_rope = rope::scaled(&b, &full, RopeStyle::HalfSplit)?;
    let full_rope = b.add_rope(full_rope);
    let narrow_rope = rope::local_of_narrow(&b, &narrow, RopeStyle::HalfSplit)?;
    let narrow_rope = b.add_rope(narrow_rope);

    let mut x = b.embed(full.width, libm::sqrtf(full.width as f32))?;
    let inputs = layer_inputs(&mut b, x, &full)?;
    let mut earlier = Earlier::default();
    for (layer, slides) in (0..).zip(slides) {
        let (hp, rope) = match slides {
            true => (&narrow, narrow_rope),
            false => (&full, full_rope),
        };
        let at = hp.enter(&mut b, layer)?;
        let attention = Attention {
            window: window.filter(|_| slides),
            scale: 1.0,
            ..at.attention()
        };
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let keys = earlier.keys(&b, slides, layer < shared_from)?;
        let h = attend(&mut b, h, hp, rope, attention, keys)?;
        earlier.put(slides, h, keys);
        let h = b.linear(h, "attn_output", hp.width)?;
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
    let logits = full.logits(&mut b, x)?;
    let logit_cap = b.opt_positive("final_logit_softcapping")?;
    let logits = b.softcap(logits, logit_cap);
    b.finish(logits)
}

/// The first of the layers that have no keys and values of their own.
pub(super) fn first_shared(b: &Builder, layers: u32) -> Result<u32> {
    const SHARED: &str = "attention.shared_kv_layers";
    let shared = b.opt_count(SHARED)?.unwrap_or(0);
    let first = (layers as usize).checked_sub(shared);
    let first = first.filter(|&first| first > 0).ok_or_else(|| {
        let reason = format!("{shared} of {layers} layers: none is left to share with");
        Error::BadValue {
            key: b.key(SHARED),
            reason,
        }
    })?;
    Ok(first as u32)
}

/// The last attention that stored keys and values, with a window and without.
#[derive(Default)]
pub(super) struct Earlier {
    windowed: Option<ValueId>,
    full: Option<ValueId>,
}

impl Earlier {
    /// Adds a layer's attention, unless it was over the `keys` of an earlier one.
    pub fn put(&mut self, slides: bool, attention: ValueId, keys: Option<ValueId>) {
        let last = match slides {
            true => &mut self.windowed,
            false => &mut self.full,
        };
        *last = keys.or(Some(attention));
    }

    /// The attention whose keys and values a layer reads; `None` if it has its own.
    pub fn keys(&self, b: &Builder, slides: bool, has_own: bool) -> Result<Option<ValueId>> {
        if has_own {
            return Ok(None);
        }
        let found = match slides {
            true => self.windowed,
            false => self.full,
        };
        let bad = || Error::BadValue {
            key: b.key("attention.shared_kv_layers"),
            reason: "a layer has no layer of its kind before it to share with".into(),
        };
        found.map(Some).ok_or_else(bad)
    }
}

/// Attention over keys and values of the layer's own, or over those of `keys`.
pub(super) fn attend(
    b: &mut Builder,
    x: ValueId,
    hp: &Decoder,
    rope: usize,
    attention: Attention,
    keys: Option<ValueId>,
) -> Result<ValueId> {
    let head_dim = attention.head_dim;
    let q = b.linear(x, "attn_q", attention.heads * head_dim)?;
    let q = b.rms_norm_heads(q, "attn_q_norm", head_dim, hp.eps)?;
    let q = b.rope(q, head_dim, rope);
    if let Some(keys) = keys {
        // Some files have these for all layers.
        b.ignore(&["attn_k", "attn_v", "attn_k_norm"]);
        return Ok(b.shared_attention(q, keys, attention));
    }
    let k = b.linear(x, "attn_k", attention.kv_heads * head_dim)?;
    // Without a matrix of values these are the keys before their norm.
    let v = match b.has("attn_v") {
        true => b.linear(x, "attn_v", attention.kv_heads * head_dim)?,
        false => k,
    };
    let k = b.rms_norm_heads(k, "attn_k_norm", head_dim, hp.eps)?;
    let k = b.rope(k, head_dim, rope);
    let v = b.unit_norm(v, head_dim, hp.eps);
    Ok(b.attention(q, k, v, attention))
}

/// A dense block, and in layers with a router experts beside it, with their own norms.
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

/// The router has a norm of its own with a factor for each number, and the weight of an
/// expert a factor.
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

/// The inputs of all layers beside the residual stream, one after the other: of a token's
/// own embeddings, and of a projection of its first one.
pub(super) fn layer_inputs(b: &mut Builder, x: ValueId, hp: &Decoder) -> Result<Option<ValueId>> {
    let each = b.opt_count("embedding_length_per_layer_input")?;
    let Some(each) = each.filter(|&each| each > 0) else {
        return Ok(None);
    };
    let all = each * hp.layers as usize;
    let own = b.embed_further("per_layer_token_embd", all, libm::sqrtf(each as f32), PAD)?;
    let projected = b.linear(x, "per_layer_model_proj", all)?;
    let projected = b.scale(projected, 1.0 / libm::sqrtf(hp.width as f32));
    let projected = b.rms_norm_heads(projected, "per_layer_proj_norm", each, hp.eps)?;
    let sum = b.add(projected, own);
    Ok(Some(b.scale(sum, FRAC_1_SQRT_2)))
}

/// What a layer makes of its part of [`layer_inputs`], gated by the residual stream.
pub(super) fn per_layer_block(
    b: &mut Builder,
    x: ValueId,
    inputs: ValueId,
    layer: u32,
    eps: f32,
) -> Result<ValueId> {
    let each = b.size("embedding_length_per_layer_input")?;
    let first = layer as usize * each;
    let input = b.take(inputs, b.width(inputs), first..first + each);
    let gate = b.linear(x, "inp_gate", each)?;
    let h = b.glu(gate, input, Activation::GeluTanh);
    let h = b.linear(h, "proj", b.width(x))?;
    b.rms_norm(h, "post_norm", eps)
}
