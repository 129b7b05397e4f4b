//! Qwen 3.5 (Alibaba, 2026), text: of four layers, three have a gated delta net
//! (arXiv:2412.06464) and one has gated attention.

use super::common::{Decoder, Layer};
use super::{experts, rope, ssm};
use crate::Error;
use crate::Result;
use crate::graph::{Activation, Builder, Graph, LinearAttention, RopeStyle, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// By default every fourth layer has attention.
const PERIOD: usize = 4;
/// Added to the square of a query's or key's length before it is divided by the length.
/// Files do not have it.
const LENGTH_EPS: f32 = 1e-6;

/// The graph of a `qwen35` or `qwen35moe` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let net = DeltaNet::read(&b)?;
    let recurrent = recurrent_layers(&b, hp.layers)?;
    // Marks the key as read: a text token has the same position in each section of a head,
    // so the sections change nothing.
    b.opt_array("rope.dimension_sections");
    let rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let rope = b.add_rope(rope);

    let mut x = b.embed(hp.width, 1.0)?;
    for (layer, recurrent) in (0..).zip(recurrent) {
        let at = hp.enter(&mut b, layer)?;
        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let h = match recurrent {
            true => net.mixer(&mut b, h, hp.eps)?,
            false => gated_attention(&mut b, &hp, &at, h, rope)?,
        };
        x = b.add(x, h);

        let h = b.rms_norm(x, "post_attention_norm", hp.eps)?;
        let h = experts::or_feed_forward(&mut b, h, experts::USUAL)?;
        x = b.add(x, h);
    }
    let logits = hp.logits(&mut b, x)?;
    b.finish(logits)
}

/// Which layers have a delta net: those that the file lists, else all except every
/// `full_attention_interval`-th.
fn recurrent_layers(b: &Builder, layers: u32) -> Result<Vec<bool>> {
    const LIST: &str = "attention.recurrent_layers";
    let period = b.opt_size("full_attention_interval")?.unwrap_or(PERIOD);
    let Some(list) = b.opt_array(LIST) else {
        let all = 1..=layers as usize;
        return Ok(all.map(|n| !n.is_multiple_of(period)).collect());
    };
    let list: Option<Vec<bool>> = list.iter().map(|value| value.as_bool()).collect();
    list.filter(|list| list.len() == layers as usize)
        .ok_or_else(|| Error::BadValue {
            key: b.key(LIST),
            reason: format!("expected a boolean for each of {layers} layers"),
        })
}

/// The sizes of a gated delta net.
struct DeltaNet {
    taps: usize,
    heads: usize,
    key_heads: usize,
    key_dim: usize,
    value_dim: usize,
}

impl DeltaNet {
    fn read(b: &Builder) -> Result<DeltaNet> {
        let (heads, inner) = (b.size("ssm.time_step_rank")?, b.size("ssm.inner_size")?);
        let key_heads = b.size("ssm.group_count")?;
        if !(inner.is_multiple_of(heads) && heads.is_multiple_of(key_heads)) {
            let key = b.key("ssm.time_step_rank");
            let reason = format!("{heads} heads on {key_heads} key heads, and a width of {inner}");
            return Err(Error::BadValue { key, reason });
        }
        Ok(DeltaNet {
            taps: b.size("ssm.conv_kernel")?,
            heads,
            key_heads,
            key_dim: b.size("ssm.state_size")?,
            value_dim: inner / heads,
        })
    }

    fn mixer(&self, b: &mut Builder, x: ValueId, eps: f32) -> Result<ValueId> {
        let width = b.width(x);
        let (keys, values) = (self.key_heads * self.key_dim, self.heads * self.value_dim);
        let all = 2 * keys + values;
        let qkv = b.linear(x, "attn_qkv", all)?;
        let z = b.linear(x, "attn_gate", values)?;
        let beta = b.linear(x, "ssm_beta", self.heads)?;
        let beta = b.activate(beta, Activation::Sigmoid);
        let dt = b.linear(x, "ssm_alpha", self.heads)?;
        let (_, decay) = ssm::time_step(b, dt, self.heads)?;

        let qkv = b.conv(qkv, "ssm_conv1d", self.taps)?;
        let qkv = b.activate(qkv, Activation::Silu);
        let q = b.take(qkv, all, 0..keys);
        let k = b.take(qkv, all, keys..2 * keys);
        let v = b.take(qkv, all, 2 * keys..all);
        let root = 1.0 / libm::sqrtf(self.key_dim as f32);
        // Queries are also scaled by `1 / sqrt(key_dim)`, like the scores of attention.
        let q = self.unit_length(b, q, root);
        let k = self.unit_length(b, k, 1.0);

        let linear = LinearAttention {
            slot: 0,
            heads: self.heads,
            key_heads: self.key_heads,
            key_dim: self.key_dim,
            value_dim: self.value_dim,
            interleaved: true,
            delta: true,
        };
        let h = b.linear_attention([q, k, v], decay, beta, linear);
        let h = b.rms_norm_heads(h, "ssm_norm", self.value_dim, eps)?;
        let h = b.glu(z, h, Activation::Silu);
        b.linear(h, "ssm_out", width)
    }

    /// Each head divided by its length, times `factor`.
    fn unit_length(&self, b: &mut Builder, x: ValueId, factor: f32) -> ValueId {
        let dim = self.key_dim as f32;
        let x = b.unit_norm(x, self.key_dim, LENGTH_EPS / dim);
        b.scale(x, factor / libm::sqrtf(dim))
    }
}

/// Attention whose output is multiplied by the sigmoid of a gate. For each head, the tensor
/// `attn_q` has the rows of the query, then those of the gate.
fn gated_attention(
    b: &mut Builder,
    hp: &Decoder,
    at: &Layer,
    x: ValueId,
    rope: usize,
) -> Result<ValueId> {
    let both = b.linear(x, "attn_q", 2 * at.q_width())?;
    let q = b.take(both, 2 * hp.head_dim, 0..hp.head_dim);
    let gate = b.take(both, 2 * hp.head_dim, hp.head_dim..2 * hp.head_dim);
    let k = b.linear(x, "attn_k", at.kv_width())?;
    let v = b.linear(x, "attn_v", at.kv_width())?;
    let q = b.rms_norm_heads(q, "attn_q_norm", hp.head_dim, hp.eps)?;
    let k = b.rms_norm_heads(k, "attn_k_norm", hp.head_dim, hp.eps)?;
    let q = b.rope(q, hp.head_dim, rope);
    let k = b.rope(k, hp.head_dim, rope);
    let h = b.attention(q, k, v, at.attention());
    let h = b.glu(gate, h, Activation::Sigmoid);
    b.linear(h, "attn_output", hp.width)
}
