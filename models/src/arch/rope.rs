//! The rotary embedding of a file, with its scaling.

use super::common::Decoder;
use crate::graph::{Builder, LongRope, Rope, RopeStyle};
use crate::quant::DType;
use crate::{Error, Float, Result};
use alloc::format;
use alloc::vec::Vec;

/// The base of files that name none, from RoFormer (arXiv:2104.09864).
const DEFAULT_BASE: f32 = 10_000.0;

/// The file's rotary embedding: plain, with linear scaling (arXiv:2306.15595),
/// or with the frequency factors of Llama 3.1, which files hold as a tensor.
pub fn scaled(b: &Builder, hp: &Decoder, style: RopeStyle) -> Result<Rope> {
    let mut rope = unscaled(b, hp, style, "rope.freq_base")?;
    let linear = linear_factor(b)?;
    for frequency in &mut rope.inverse_frequencies {
        *frequency /= linear;
    }
    let pairs = rope.inverse_frequencies.len();
    if let Some(factors) = frequency_factors(b, "rope_freqs.weight", pairs)? {
        divide(&mut rope.inverse_frequencies, &factors);
    }
    Ok(rope)
}

/// The embedding of layers that see only a sliding window: a base of its own, no scaling.
pub fn local(b: &Builder, hp: &Decoder, style: RopeStyle) -> Result<Rope> {
    unscaled(b, hp, style, "rope.freq_base_swa")
}

/// LongRoPE (arXiv:2402.13753): one set of frequency factors up to the context of
/// the first training, one above it. A file without factors is [`scaled`].
pub fn long(b: &Builder, hp: &Decoder, style: RopeStyle) -> Result<Rope> {
    const SHORT: &str = "rope_factors_short.weight";
    const LONG: &str = "rope_factors_long.weight";
    let named = b.gguf().opt_str(&b.key("rope.scaling.type"))? == Some("longrope");
    if !named && b.gguf().tensor(SHORT).is_none() {
        return scaled(b, hp, style);
    }
    let missing = |name: &str| Error::MissingTensor { name: name.into() };
    let mut rope = unscaled(b, hp, style, "rope.freq_base")?;
    let pairs = rope.inverse_frequencies.len();
    let short = frequency_factors(b, SHORT, pairs)?.ok_or_else(|| missing(SHORT))?;
    let long = frequency_factors(b, LONG, pairs)?.ok_or_else(|| missing(LONG))?;
    let above = match b.opt_size("rope.scaling.original_context_length")? {
        Some(context) => context,
        None => b.size("context_length")?,
    };
    let mut inverse_frequencies = rope.inverse_frequencies.clone();
    divide(&mut inverse_frequencies, &long);
    divide(&mut rope.inverse_frequencies, &short);
    rope.long = Some(LongRope {
        above,
        inverse_frequencies,
    });
    rope.magnitude = b.opt_positive("rope.scaling.attn_factor")?.unwrap_or(1.0);
    Ok(rope)
}

/// The plain embedding whose base is the value of `base_key`.
fn unscaled(b: &Builder, hp: &Decoder, style: RopeStyle, base_key: &str) -> Result<Rope> {
    let dims = b.opt_size("rope.dimension_count")?.unwrap_or(hp.head_dim);
    if dims > hp.head_dim || !dims.is_multiple_of(2) {
        let reason = format!("{dims} rotary dimensions in a head of {}", hp.head_dim);
        return Err(Error::BadValue {
            key: b.key("rope.dimension_count"),
            reason,
        });
    }
    Ok(Rope::plain(
        style,
        dims,
        b.opt_positive(base_key)?.unwrap_or(DEFAULT_BASE),
    ))
}

/// What positions are divided by; 1 where there is no scaling. The type is
/// linear unless the file says otherwise, and older files have the other key.
fn linear_factor(b: &Builder) -> Result<f32> {
    let key = b.key("rope.scaling.type");
    match b.gguf().opt_str(&key)? {
        Some("none") => Ok(1.0),
        None | Some("linear") => {
            let factor = match b.opt_positive("rope.scaling.factor")? {
                None => b.opt_positive("rope.scale_linear")?,
                factor => factor,
            };
            Ok(factor.unwrap_or(1.0))
        }
        Some(other) => {
            let reason = format!("rope scaling `{other}` is not supported in this architecture");
            Err(Error::BadValue { key, reason })
        }
    }
}

/// The tensor of this name as one positive divisor for each pair, where the file has it.
fn frequency_factors(b: &Builder, name: &str, pairs: usize) -> Result<Option<Vec<f32>>> {
    let Some(tensor) = b.gguf().tensor(name) else {
        return Ok(None);
    };
    if tensor.dtype != DType::F32 {
        return Err(Error::UnsupportedDType {
            tensor: name.into(),
            dtype: tensor.dtype.name().into(),
        });
    }
    if tensor.dims() != [pairs as u64] {
        let reason = format!(
            "expected {pairs} frequency factors, the file has {:?}",
            tensor.dims()
        );
        return Err(Error::BadShape {
            name: name.into(),
            reason,
        });
    }
    let factors: Vec<f32> = tensor
        .data
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    if let Some(bad) = factors
        .iter()
        .find(|factor| !(factor.is_finite() && **factor > 0.0))
    {
        let reason = format!(
            "the frequency factor {} is not a positive number",
            Float(bad)
        );
        return Err(Error::BadValue {
            key: name.into(),
            reason,
        });
    }
    Ok(Some(factors))
}

fn divide(frequencies: &mut [f32], factors: &[f32]) {
    for (frequency, factor) in frequencies.iter_mut().zip(factors) {
        *frequency /= factor;
    }
}
