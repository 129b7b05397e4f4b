//! What decoder-only architectures have in common: hyperparameters and sliding windows.

use crate::graph::{Attention, Builder, ValueId};
use crate::{Error, Result, WHOLE};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The largest accepted width of a token's queries; a larger one means a damaged file.
const MAX_ATTENTION_WIDTH: usize = 1 << 20;

/// Hyperparameters of a decoder-only transformer that hold in all layers.
pub struct Decoder {
    /// Number of layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub width: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The epsilon of norms, added to the mean square.
    pub eps: f32,
}

/// Hyperparameters that may differ from layer to layer.
pub struct Layer {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    head_dim: usize,
    width: usize,
}

impl Decoder {
    /// Reads `<architecture>.*`; the head's width defaults to `width / heads`.
    pub fn read(b: &Builder) -> Result<Decoder> {
        let width = b.size("embedding_length")?;
        let head_dim = match b.opt_size("attention.key_length")? {
            Some(head_dim) => head_dim,
            None => {
                let heads = b.size("attention.head_count")?;
                if !width.is_multiple_of(heads) {
                    let reason = format!("{heads} heads do not divide the width {width}");
                    return Err(bad(b, "attention.head_count", reason));
                }
                width / heads
            }
        };
        check_heads(
            b,
            head_dim,
            ["attention.key_length", "attention.value_length"],
        )?;
        Ok(Decoder {
            layers: b.layers()?,
            width,
            head_dim,
            eps: epsilon(b)?,
        })
    }

    /// These hyperparameters for the layers with a sliding window, whose heads may have
    /// another width.
    pub fn of_windows(&self, b: &Builder) -> Result<Decoder> {
        let keys = ["attention.key_length_swa", "attention.value_length_swa"];
        let head_dim = b.opt_size(keys[0])?.unwrap_or(self.head_dim);
        check_heads(b, head_dim, keys)?;
        Ok(Decoder { head_dim, ..*self })
    }

    /// Enters a layer and reads its hyperparameters. Without a number of key/value heads in
    /// the file, there are as many as query heads.
    pub fn enter(&self, b: &mut Builder, layer: u32) -> Result<Layer> {
        b.enter(Some(layer));
        let heads = b.size("attention.head_count")?;
        let kv_heads = b.opt_size("attention.head_count_kv")?.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            let reason = format!("{kv_heads} does not divide the {heads} query heads");
            return Err(bad(b, "attention.head_count_kv", reason));
        }
        let q_width = heads.checked_mul(self.head_dim);
        if q_width.is_none_or(|width| width > MAX_ATTENTION_WIDTH) {
            let reason = format!(
                "{heads} heads of {} are over the limit of {MAX_ATTENTION_WIDTH} in all",
                self.head_dim
            );
            return Err(bad(b, "attention.head_count", reason));
        }
        Ok(Layer {
            heads,
            kv_heads,
            head_dim: self.head_dim,
            width: self.width,
        })
    }

    /// The logits of the residual stream after the last layer: its norm, then the output
    /// head.
    pub fn logits(&self, b: &mut Builder, x: ValueId) -> Result<ValueId> {
        b.enter(None);
        let x = b.rms_norm(x, "output_norm", self.eps)?;
        b.head(x)
    }

    /// [`Decoder::logits`], with a softcap if the file has one (Gemma).
    pub fn capped_logits(&self, b: &mut Builder, x: ValueId) -> Result<ValueId> {
        let logits = self.logits(b, x)?;
        let cap = b.opt_positive("final_logit_softcapping")?;
        Ok(b.softcap(logits, cap))
    }
}

/// Refuses heads of a width that the kernels do not support, or whose values differ in width
/// from their keys. `key` and `value` name the metadata keys of the two widths.
fn check_heads(b: &Builder, head_dim: usize, [key, value]: [&str; 2]) -> Result<()> {
    let value_length = b.opt_size(value)?.unwrap_or(head_dim);
    let reason = if !head_dim.is_multiple_of(8) {
        format!("the head width {head_dim} is not a multiple of 8")
    } else if value_length != head_dim {
        format!("the widths of keys ({head_dim}) and values ({value_length}) differ")
    } else {
        return Ok(());
    };
    Err(bad(b, key, reason))
}

/// The epsilon of RMS norms, or of layer norms in files that have these.
pub fn epsilon(b: &Builder) -> Result<f32> {
    const RMS: &str = "attention.layer_norm_rms_epsilon";
    // Firmware has no architecture with layer norms.
    if WHOLE && let Some(of_layer_norms) = b.opt_above_zero("attention.layer_norm_epsilon")? {
        return Ok(b.opt_above_zero(RMS)?.unwrap_or(of_layer_norms));
    }
    b.positive(RMS)
}

fn bad(b: &Builder, key: &str, reason: String) -> Error {
    Error::BadValue {
        key: b.key(key),
        reason,
    }
}

impl Layer {
    /// Width of all queries.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all keys, and of all values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// The projections of `x` to queries, keys and values.
    pub fn queries_keys_values(&self, b: &mut Builder, x: ValueId) -> Result<[ValueId; 3]> {
        Ok([
            b.linear(x, "attn_q", self.q_width())?,
            b.linear(x, "attn_k", self.kv_width())?,
            b.linear(x, "attn_v", self.kv_width())?,
        ])
    }

    /// [`Layer::queries_keys_values`], with queries and keys normalized per head.
    pub fn normed_queries_keys_values(
        &self,
        b: &mut Builder,
        x: ValueId,
        eps: f32,
    ) -> Result<[ValueId; 3]> {
        let [q, k, v] = self.queries_keys_values(b, x)?;
        let q = b.rms_norm_heads(q, "attn_q_norm", self.head_dim, eps)?;
        let k = b.rms_norm_heads(k, "attn_k_norm", self.head_dim, eps)?;
        Ok([q, k, v])
    }

    /// Rotates queries and keys if there is a rotary embedding, attends, and projects the
    /// result to the width of the residual stream.
    pub fn attend(
        &self,
        b: &mut Builder,
        [mut q, mut k, v]: [ValueId; 3],
        rope: Option<usize>,
        attention: Attention,
    ) -> Result<ValueId> {
        if let Some(rope) = rope {
            q = b.rope(q, self.head_dim, rope);
            k = b.rope(k, self.head_dim, rope);
        }
        let h = b.attention(q, k, v, attention);
        b.linear(h, "attn_output", self.width)
    }

    /// Full causal attention with the scale `1 / sqrt(head_dim)`.
    pub fn attention(&self) -> Attention {
        Attention {
            slot: 0,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            scale: 1.0 / libm::sqrtf(self.head_dim as f32),
            softcap: None,
            window: None,
            sinks: None,
        }
    }
}

/// The factors of Granite and of models with the same ones.
pub struct Multipliers {
    /// On the embedding; 1 by default.
    pub embedding: f32,
    /// On the products of queries and keys; `1 / sqrt(head_dim)` by default.
    pub scores: f32,
    /// On what a block adds to the residual stream; 1 by default.
    pub residual: f32,
    /// On the logits; 1 by default. Files have its inverse.
    pub logits: f32,
}

impl Multipliers {
    /// Reads `embedding_scale`, `attention.scale`, `residual_scale` and `logit_scale`.
    pub fn read(b: &Builder, hp: &Decoder) -> Result<Multipliers> {
        let usual = 1.0 / libm::sqrtf(hp.head_dim as f32);
        Ok(Multipliers {
            embedding: b.opt_positive("embedding_scale")?.unwrap_or(1.0),
            scores: b.opt_positive("attention.scale")?.unwrap_or(usual),
            residual: b.opt_positive("residual_scale")?.unwrap_or(1.0),
            logits: 1.0 / b.opt_positive("logit_scale")?.unwrap_or(1.0),
        })
    }
}

/// The sliding window in tokens; `None` if the file has 0 or no value.
pub fn sliding_window(b: &Builder) -> Result<Option<usize>> {
    Ok(b.opt_count("attention.sliding_window")?
        .filter(|&window| window > 0))
}

/// Which layers have the sliding window: those that the file lists. Without a list, all
/// layers except every `period`-th have it, or all if the period is 0; the file may set
/// another period.
pub fn sliding_layers(b: &Builder, layers: u32, period: usize) -> Result<Vec<bool>> {
    const PATTERN: &str = "attention.sliding_window_pattern";
    let Some(pattern) = b.opt_array(PATTERN) else {
        let period = b.opt_count(PATTERN)?.unwrap_or(period);
        return Ok((1..=layers as usize)
            .map(|n| period == 0 || !n.is_multiple_of(period))
            .collect());
    };
    let windowed: Option<Vec<bool>> = pattern
        .iter()
        .take(layers as usize)
        .map(|value| value.as_bool())
        .collect();
    windowed
        .filter(|windowed| windowed.len() == layers as usize)
        .ok_or_else(|| {
            let reason =
                format!("expected a boolean for each of {layers} layers, found {pattern:?}");
            Error::BadValue {
                key: b.key(PATTERN),
                reason,
            }
        })
}

/// Gemma's scale of a layer's scores: `1 / sqrt(head_dim)`, or `1 / sqrt(width / heads)` in
/// the 27B model, which is recognized by its number of layers, `layers_27b`.
pub fn gemma_scale(hp: &Decoder, layer: &Layer, layers_27b: u32) -> f32 {
    let per_head = if hp.layers == layers_27b {
        hp.width / layer.heads
    } else {
        hp.head_dim
    };
    1.0 / libm::sqrtf(per_head as f32)
}
