//! What Gemma 3n and Gemma 4 have in common: the last layers read the keys and values of
//! earlier ones, and each layer has token embeddings of its own.

use super::common::Decoder;
use crate::graph::{Activation, Attention, Builder, ValueId};
use crate::{Error, Result};
use alloc::format;
use core::f32::consts::FRAC_1_SQRT_2;

const SHARED: &str = "attention.shared_kv_layers";
/// `<pad>`: the token whose embeddings a layer reads in the place of a picture or a sound.
const PAD: u32 = 0;

/// The keys and values that later layers read.
pub struct SharedKeys {
    /// The first of the layers that have no keys and values of their own.
    first_shared: u32,
    /// The last attention that stored keys and values: among layers without a window, and
    /// among layers with one.
    last: [Option<ValueId>; 2],
}

impl SharedKeys {
    /// Reads how many of the `layers` have no keys and values of their own.
    pub fn read(b: &Builder, layers: u32) -> Result<SharedKeys> {
        let shared = b.opt_count(SHARED)?.unwrap_or(0);
        let first = (layers as usize).checked_sub(shared);
        let first = first.filter(|&first| first > 0).ok_or_else(|| {
            let reason =
                format!("{shared} of {layers} layers share keys and values: no layer has its own");
            Error::BadValue {
                key: b.key(SHARED),
                reason,
            }
        })?;
        Ok(SharedKeys {
            first_shared: first as u32,
            last: [None; 2],
        })
    }

    /// The attention block of a layer, with norms of queries, keys and values. It reads the
    /// layer's own keys and values. A layer that has none reads those of the last layer that
    /// has some: of the layers with a window if it has a window, else of the others.
    pub fn attend(
        &mut self,
        b: &mut Builder,
        x: ValueId,
        hp: &Decoder,
        rope: usize,
        (layer, windowed): (u32, bool),
        attention: Attention,
    ) -> Result<ValueId> {
        let head_dim = attention.head_dim;
        let q = b.linear(x, "attn_q", attention.heads * head_dim)?;
        let q = b.rms_norm_heads(q, "attn_q_norm", head_dim, hp.eps)?;
        let q = b.rope(q, head_dim, rope);
        let last = &mut self.last[usize::from(windowed)];
        let h = if layer < self.first_shared {
            let h = over_own_keys(b, x, q, hp, rope, attention)?;
            *last = Some(h);
            h
        } else {
            let earlier = last.ok_or_else(|| Error::BadValue {
                key: b.key(SHARED),
                reason: "no earlier layer of the same kind (with or without a window) has keys \
                         and values"
                    .into(),
            })?;
            // Some files have these tensors for all layers; here they are not used.
            b.ignore(&["attn_k", "attn_v", "attn_k_norm"]);
            b.shared_attention(q, earlier, attention)
        };
        b.linear(h, "attn_output", hp.width)
    }
}

fn over_own_keys(
    b: &mut Builder,
    x: ValueId,
    q: ValueId,
    hp: &Decoder,
    rope: usize,
    attention: Attention,
) -> Result<ValueId> {
    let head_dim = attention.head_dim;
    let k = b.linear(x, "attn_k", attention.kv_heads * head_dim)?;
    // A layer without a matrix of values has its keys, before their norm, as values.
    let v = match b.has("attn_v") {
        true => b.linear(x, "attn_v", attention.kv_heads * head_dim)?,
        false => k,
    };
    let k = b.rms_norm_heads(k, "attn_k_norm", head_dim, hp.eps)?;
    let k = b.rope(k, head_dim, rope);
    let v = b.unit_norm(v, head_dim, hp.eps);
    Ok(b.attention(q, k, v, attention))
}

/// What the layers read beside the residual stream, `each` columns for every layer: the
/// token's embedding for the layer plus a projection of `x`, divided by `sqrt(2)`. `None` if
/// the model has no such inputs.
pub fn layer_inputs(b: &mut Builder, x: ValueId, hp: &Decoder) -> Result<Option<ValueId>> {
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

/// What a layer adds to the residual stream from its part of [`layer_inputs`], gated by the
/// residual stream.
pub fn per_layer_block(
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
