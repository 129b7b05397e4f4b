//! What decoder-only architectures have in common: hyperparameters and rope scaling.

use crate::graph::{Attention, Builder, Rope, RopeStyle};
use crate::{Error, Result};
use alloc::format;

/// Hyperparameters of a decoder-only transformer, checked against each other.
pub struct Decoder {
    /// Number of layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub width: usize,
    /// Width of the feed-forward block.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Added to the mean square in norms.
    pub eps: f32,
}

impl Decoder {
    /// Reads `<architecture>.*`; kv heads default to heads, the head's width to `width / heads`.
    pub fn read(b: &Builder) -> Result<Decoder> {
        let width = b.size("embedding_length")?;
        let heads = b.size("attention.head_count")?;
        let kv_heads = b.opt_size("attention.head_count_kv")?.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            let reason = format!("{kv_heads} does not divide the {heads} query heads");
            return Err(Error::BadValue { key: b.key("attention.head_count_kv"), reason });
        }
        let head_dim = match b.opt_size("attention.key_length")? {
            Some(head_dim) => head_dim,
            None if width.is_multiple_of(heads) => width / heads,
            None => {
                let reason = format!("{heads} heads do not divide the width {width}");
                return Err(Error::BadValue { key: b.key("attention.head_count"), reason });
            }
        };
        if !head_dim.is_multiple_of(8) || b.opt_size("attention.value_length")?.is_some_and(|v| v != head_dim) {
            let reason = format!("heads of {head_dim} are not supported: a multiple of 8, keys and values alike");
            return Err(Error::BadValue { key: b.key("attention.key_length"), reason });
        }
        Ok(Decoder {
            layers: b.layers()?,
            width,
            hidden: b.size("feed_forward_length")?,
            heads,
            kv_heads,
            head_dim,
            eps: b.float("attention.layer_norm_rms_epsilon")?,
        })
    }

    /// Width of all queries.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all keys, and of all values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Full causal attention, scaled by the root of the head's width.
    pub fn attention(&self) -> Attention {
        Attention {
            slot: 0,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            scale: 1.0 / libm::sqrtf(self.head_dim as f32),
            softcap: None,
            window: None,
        }
    }
}

/// The file's rotary embedding with its scaling (none, linear, or Llama 3.x frequency factors).
pub fn scaled_rope(b: &Builder, hp: &Decoder, style: RopeStyle) -> Result<Rope> {
    let dims = b.opt_size("rope.dimension_count")?.unwrap_or(hp.head_dim);
    if dims > hp.head_dim || !dims.is_multiple_of(2) {
        let reason = format!("{dims} rotary dimensions in a head of {}", hp.head_dim);
        return Err(Error::BadValue { key: b.key("rope.dimension_count"), reason });
    }
    let base = b.opt_float("rope.freq_base")?.unwrap_or(10_000.0);
    Ok(Rope::plain(style, dims, base))
}
