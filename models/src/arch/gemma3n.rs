//! Gemma 3n: several residual streams, of which a layer computes one and predicts the
//! others (AltUp, arXiv:2301.13310); a residual of low rank (LAuReL, arXiv:2411.07501);
//! feed-forward blocks that keep only their largest gates, in the first layers; and, as in
//! Gemma 4, embeddings for each layer, and last layers without keys and values of their own.
//!
//! From the model's published code in transformers (`modeling_gemma3n`).

use super::common::{self, Decoder};
use super::gemma_layers::{SharedKeys, layer_inputs, per_layer_block};
use super::rope;
use crate::graph::{Activation, Attention, Builder, Graph, RopeStyle, ValueId};
use crate::{Error, Result};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::f32::consts::FRAC_1_SQRT_2;

/// The most residual streams; a file with more is damaged.
const MAX_STREAMS: usize = 16;
/// The least mean square by which a stream is divided.
const LEAST: f32 = 1e-5;

/// The graph of a `gemma3n` file.
pub fn build(mut b: Builder) -> Result<Graph> {
    let hp = Decoder::read(&b)?;
    let window = common::sliding_window(&b)?;
    let windowed = common::sliding_layers(&b, hp.layers, 0)?;
    let mut keys = SharedKeys::read(&b, hp.layers)?;
    let active = active_stream(&b)?;
    let full_rope = rope::scaled(&b, &hp, RopeStyle::HalfSplit)?;
    let full_rope = b.add_rope(full_rope);
    let local_rope = rope::local(&b, &hp, RopeStyle::HalfSplit)?;
    let local_rope = b.add_rope(local_rope);

    let x = b.embed(hp.width, libm::sqrtf(hp.width as f32))?;
    let inputs = layer_inputs(&mut b, x, &hp)?;
    let mut streams = streams(&mut b, x)?;
    for (layer, windowed) in (0..).zip(windowed) {
        let at = hp.enter(&mut b, layer)?;
        let predicted = predicted(&mut b, &streams, active, hp.eps)?;
        let x = predicted[active];

        let h = b.rms_norm(x, "attn_norm", hp.eps)?;
        let laurel = laurel(&mut b, h, hp.eps)?;
        let rope = if windowed { local_rope } else { full_rope };
        let attention = Attention {
            window: window.filter(|_| windowed),
            scale: 1.0,
            ..at.attention()
        };
        let h = keys.attend(&mut b, h, &hp, rope, (layer, windowed), attention)?;
        let h = b.rms_norm(h, "post_attention_norm", hp.eps)?;
        let h = b.add(x, h);
        let h = b.add(h, laurel);
        let x = b.scale(h, FRAC_1_SQRT_2);

        let h = b.rms_norm(x, "ffn_norm", hp.eps)?;
        let h = feed_forward(&mut b, h, layer)?;
        let h = b.rms_norm(h, "post_ffw_norm", hp.eps)?;
        let x = b.add(x, h);

        streams = corrected(&mut b, &predicted, x, active, hp.eps)?;
        if let Some(inputs) = inputs {
            let scale = b.vector("altup_correct_scale", hp.width)?;
            let first = b.gain(streams[active], scale);
            let h = per_layer_block(&mut b, first, inputs, layer, hp.eps)?;
            streams[1..].iter_mut().for_each(|x| *x = b.add(*x, h));
        }
    }
    b.enter(None);
    let x = joined(&mut b, &streams)?;
    let logits = hp.capped_logits(&mut b, x)?;
    b.finish(logits)
}

fn count_of_streams(b: &Builder) -> Result<usize> {
    const COUNT: &str = "altup.num_inputs";
    match b.size(COUNT)? {
        count @ 2..=MAX_STREAMS => Ok(count),
        count => {
            let reason = format!("{count} residual streams; 2 to {MAX_STREAMS} are supported");
            Err(bad(b, COUNT, reason))
        }
    }
}

/// The stream that layers compute.
fn active_stream(b: &Builder) -> Result<usize> {
    const ACTIVE: &str = "altup.active_idx";
    let (count, active) = (count_of_streams(b)?, b.opt_count(ACTIVE)?.unwrap_or(0));
    if active >= count {
        let reason = format!("stream {active} does not exist: there are {count}, numbered from 0");
        return Err(bad(b, ACTIVE, reason));
    }
    Ok(active)
}

fn bad(b: &Builder, key: &str, reason: String) -> Error {
    Error::BadValue {
        key: b.key(key),
        reason,
    }
}

/// The first stream, and projections of it that are scaled to its root mean square.
fn streams(b: &mut Builder, x: ValueId) -> Result<Vec<ValueId>> {
    let (count, width) = (count_of_streams(b)?, b.width(x));
    let mut streams = Vec::from([x]);
    for weight in b.matrices("altup_proj", count - 1, width, width)? {
        let other = b.matmul(x, weight, None);
        streams.push(b.resize(other, x, LEAST));
    }
    Ok(streams)
}

/// The mean of the first stream and of projections of the others, which are scaled to its
/// root mean square.
fn joined(b: &mut Builder, streams: &[ValueId]) -> Result<ValueId> {
    let (count, width) = (streams.len(), b.width(streams[0]));
    let mut sum = streams[0];
    let weights = b.matrices("altup_unembd_proj", count - 1, width, width)?;
    for (weight, &stream) in weights.into_iter().zip(&streams[1..]) {
        let other = b.matmul(stream, weight, None);
        let other = b.resize(other, streams[0], LEAST);
        sum = b.add(sum, other);
    }
    Ok(b.scale(sum, 1.0 / count as f32))
}

/// The `count` numbers from -1 to 1 from which the factors of a layer's predictions and
/// corrections are computed.
fn modalities(b: &mut Builder, x: ValueId, count: usize, eps: f32) -> Result<ValueId> {
    let h = b.rms_norm(x, "altup_router_norm", eps)?;
    let h = b.scale(h, 1.0 / b.width(x) as f32);
    let h = b.linear(h, "altup_router", count)?;
    // A softcap of 1 is the tanh.
    Ok(b.softcap(h, Some(1.0)))
}

/// `x`, with each row multiplied by the number in column `at` of the same row of `factors`.
fn times(b: &mut Builder, x: ValueId, factors: ValueId, at: usize) -> ValueId {
    let factor = b.take(factors, b.width(factors), at..at + 1);
    b.mul(x, factor)
}

/// The prediction for each stream: the stream, plus the sum of all streams, each times a
/// factor of its own.
fn predicted(
    b: &mut Builder,
    streams: &[ValueId],
    active: usize,
    eps: f32,
) -> Result<Vec<ValueId>> {
    let count = streams.len();
    let modalities = modalities(b, streams[active], count, eps)?;
    let factors = b.linear(modalities, "altup_predict_coef", count * count)?;
    let mut predicted = Vec::with_capacity(count);
    for (to, &stream) in streams.iter().enumerate() {
        let mut sum = stream;
        for (from, &stream) in streams.iter().enumerate() {
            let part = times(b, stream, factors, to * count + from);
            sum = b.add(sum, part);
        }
        predicted.push(sum);
    }
    Ok(predicted)
}

/// Each prediction plus `(1 + factor) * error`, where `error` is the computed stream `x` less
/// its prediction.
fn corrected(
    b: &mut Builder,
    predicted: &[ValueId],
    x: ValueId,
    active: usize,
    eps: f32,
) -> Result<Vec<ValueId>> {
    let count = predicted.len();
    let modalities = modalities(b, x, count, eps)?;
    let factors = b.linear(modalities, "altup_correct_coef", count)?;
    let less = b.scale(predicted[active], -1.0);
    let error = b.add(x, less);
    let mut corrected = Vec::with_capacity(count);
    for (at, &stream) in predicted.iter().enumerate() {
        let more = times(b, error, factors, at);
        let sum = b.add(stream, error);
        corrected.push(b.add(sum, more));
    }
    Ok(corrected)
}

/// A learned residual of low rank.
fn laurel(b: &mut Builder, x: ValueId, eps: f32) -> Result<ValueId> {
    let rank = b.rows_of("laurel_l")?;
    let h = b.linear(x, "laurel_l", rank)?;
    let h = b.linear(h, "laurel_r", b.width(x))?;
    let h = b.rms_norm(h, "laurel_post_norm", eps)?;
    Ok(b.add(x, h))
}

/// The usual feed-forward block. In the first layers only the largest gates of a token are
/// kept ([`Builder::keep_above`]).
fn feed_forward(b: &mut Builder, x: ValueId, layer: u32) -> Result<ValueId> {
    let hidden = b.size("feed_forward_length")?;
    let mut gate = b.linear(x, "ffn_gate", hidden)?;
    let deviations = b.opt_f32_of_layer("activation_sparsity_scale", layer)?;
    // Layers that keep all gates have minus infinity.
    if let Some(deviations) = deviations.filter(|&deviations| deviations > 0.0) {
        gate = b.keep_above(gate, deviations);
    }
    let up = b.linear(x, "ffn_up", hidden)?;
    let h = b.glu(gate, up, Activation::GeluTanh);
    b.linear(h, "ffn_down", b.width(x))
}
