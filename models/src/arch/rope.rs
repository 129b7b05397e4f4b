//! The rotary embedding of a file, with its scaling.

use super::common::Decoder;
use crate::graph::{Builder, Growth, LongRope, Rope, RopeStyle};
use crate::quant::DType;
use crate::{Error, Float, Result, WHOLE};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::f64::consts::PI;

/// The default base, from RoFormer (arXiv:2104.09864).
const DEFAULT_BASE: f32 = 10_000.0;

const BASE: &str = "rope.freq_base";
const LOCAL_BASE: &str = "rope.freq_base_swa";
const DIMS: &str = "rope.dimension_count";
const LOCAL_DIMS: &str = "rope.dimension_count_swa";
const SCALING: &str = "rope.scaling.type";
const FACTOR: &str = "rope.scaling.factor";
const EXTRAPOLATION: &str = "rope.scaling.yarn_ext_factor";
const LOG_MULTIPLIER: &str = "rope.scaling.yarn_log_multiplier";
const MAGNITUDE: &str = "rope.scaling.attn_factor";

/// Tensors with a divisor for each frequency.
const FACTORS: &str = "rope_freqs.weight";
const SHORT: &str = "rope_factors_short.weight";
const LONG: &str = "rope_factors_long.weight";

/// Tensors whose contents a graph depends on.
pub const READ: [&str; 3] = [FACTORS, SHORT, LONG];

/// The file's rotary embedding: plain, with linear scaling (arXiv:2306.15595),
/// with YaRN, or with the frequency factors of Llama 3.1, which files hold as a tensor.
pub fn scaled(b: &Builder, hp: &Decoder, style: RopeStyle) -> Result<Rope> {
    scaled_with(b, hp, style, Ramp::WholePairs)
}

/// As [`scaled`], for models whose code does not round the ends of YaRN's ramp to whole
/// pairs (gpt-oss).
pub fn scaled_unrounded(b: &Builder, hp: &Decoder, style: RopeStyle) -> Result<Rope> {
    scaled_with(b, hp, style, Ramp::Exact)
}

/// Where the ramp of YaRN begins and ends.
enum Ramp {
    WholePairs,
    Exact,
}

fn scaled_with(b: &Builder, hp: &Decoder, style: RopeStyle, ramp: Ramp) -> Result<Rope> {
    let mut rope = unscaled(b, hp, style, BASE)?;
    match b.opt_str(SCALING)? {
        Some("none") => {}
        // Files that name no type may have a factor.
        None | Some("linear") => {
            let factor = scaling_factor(b)?;
            rope.inverse_frequencies
                .iter_mut()
                .for_each(|f| *f /= factor);
        }
        Some("yarn") if WHOLE => yarn(b, &mut rope, ramp)?,
        Some(other) => {
            let reason = format!("rope scaling `{other}` is not supported in this architecture");
            return Err(bad(b, SCALING, reason));
        }
    }
    let pairs = rope.inverse_frequencies.len();
    if let Some(factors) = frequency_factors(b, FACTORS, pairs)? {
        divide(&mut rope.inverse_frequencies, &factors);
    }
    Ok(rope)
}

/// YaRN (arXiv:2309.00071): pairs that turn `beta_fast` times or more within the original
/// context keep their frequency, pairs that turn `beta_slow` times or less have it divided
/// by the factor, and between them is a linear ramp. Most models' own code rounds the ends
/// of the ramp to whole pairs. Cosine and sine are multiplied by `1 + 0.1 ln(factor)`,
/// unless the file has another number.
fn yarn(b: &Builder, rope: &mut Rope, ramp: Ramp) -> Result<()> {
    let base = f64::from(b.opt_positive(BASE)?.unwrap_or(DEFAULT_BASE));
    if base <= 1.0 {
        let reason = format!("{} is not a base for YaRN: it must be over 1", Float(base));
        return Err(bad(b, BASE, reason));
    }
    let factor = f64::from(b.positive(FACTOR)?);
    let context = original_context(b)? as f64;
    let parameter = |key, default| Ok(f64::from(b.opt_above_zero(key)?.unwrap_or(default)));
    let fast = parameter("rope.scaling.yarn_beta_fast", 32.0)?;
    let slow = parameter("rope.scaling.yarn_beta_slow", 1.0)?;
    let extrapolation = extrapolation(b)?;

    let dims = 2.0 * rope.inverse_frequencies.len() as f64;
    // The pair that turns this many times within the context.
    let pair =
        |turns: f64| dims * libm::log(context / (turns * 2.0 * PI)) / (2.0 * libm::log(base));
    let (low, high) = match ramp {
        Ramp::WholePairs => (libm::floor(pair(fast)), libm::ceil(pair(slow))),
        Ramp::Exact => (pair(fast), pair(slow)),
    };
    let (low, high) = (low.max(0.0), high.min(dims - 1.0));
    let length = if low == high { 0.001 } else { high - low };
    for (at, frequency) in rope.inverse_frequencies.iter_mut().enumerate() {
        let ramp = ((at as f64 - low) / length).clamp(0.0, 1.0);
        let kept = (1.0 - ramp) * extrapolation;
        *frequency = (f64::from(*frequency) * (kept + (1.0 - kept) / factor)) as f32;
    }

    let usual = 1.0 + 0.1 * libm::log(factor.max(1.0));
    let magnitude = b.opt_above_zero("rope.scaling.yarn_attn_factor")?;
    rope.magnitude = magnitude.unwrap_or(usual as f32);
    rope.magnitude *= b.opt_positive(MAGNITUDE)?.unwrap_or(1.0);
    Ok(())
}

/// Granite's rotary embedding: `None` if `rope.scaling.finetuned` is false, by which a file
/// says that its attention has no rotary embedding.
pub fn of_granite(b: &Builder, hp: &Decoder) -> Result<Option<Rope>> {
    let rope = scaled(b, hp, RopeStyle::Interleaved)?;
    let rotates = b.opt_bool("rope.scaling.finetuned")?.unwrap_or(true);
    Ok(rotates.then_some(rope))
}

/// Divides the factor on cosine and sine by `1 + 0.1 m ln(factor)` with the file's `m`
/// ([`LOG_MULTIPLIER`]), so that with `m = 1` YaRN leaves them as they are. Models with this
/// key have a factor on queries instead ([`growing`]).
pub fn cancel_magnitude(b: &Builder, rope: &mut Rope) -> Result<()> {
    if let Some(multiplier) = b.opt_positive(LOG_MULTIPLIER)? {
        let factor = libm::logf(scaling_factor(b)?.max(1.0));
        rope.magnitude /= 1.0 + 0.1 * multiplier * factor;
    }
    Ok(())
}

/// The factor that DeepSeek's models have on queries, and again on keys: `1 + m ln(factor)`
/// with the file's `m` ([`LOG_MULTIPLIER`]). Unlike in [`cancel_magnitude`], `m` includes
/// the 0.1 of YaRN's formula. `None` if the file has no `m`.
pub fn magnitude_of_scores(b: &Builder) -> Result<Option<f32>> {
    let multiplier = b.opt_positive(LOG_MULTIPLIER)?;
    let factor = libm::logf(scaling_factor(b)?.max(1.0));
    Ok(multiplier.map(|multiplier| 1.0 + multiplier * factor))
}

/// The embedding for queries, with a factor that grows with the position ([`Growth`]) if the
/// file has one.
pub fn growing(b: &Builder, rope: &Rope) -> Result<Rope> {
    let length = match b.opt_size("attention.temperature_length")? {
        Some(length) => length,
        None => original_context(b)?,
    };
    let scale = b.opt_positive("attention.temperature_scale")?;
    Ok(Rope {
        growth: scale.map(|scale| Growth { scale, length }),
        ..rope.clone()
    })
}

/// The share of their frequency that the fastest pairs keep; with 0 the frequencies of all
/// pairs are divided by the factor. A negative number in a file means "not set".
fn extrapolation(b: &Builder) -> Result<f64> {
    match b.opt_f32(EXTRAPOLATION)? {
        Some(share @ 0.0..=1.0) => Ok(f64::from(share)),
        None | Some(..0.0) => Ok(1.0),
        Some(other) => {
            let reason = format!("{} is not a share of 0 to 1", Float(other));
            Err(bad(b, EXTRAPOLATION, reason))
        }
    }
}

/// The rotary embedding of layers with a sliding window: its own base, no scaling.
pub fn local(b: &Builder, hp: &Decoder, style: RopeStyle) -> Result<Rope> {
    unscaled(b, hp, style, LOCAL_BASE)
}

/// As [`local`], for layers whose heads have another width.
pub fn local_of_narrow(b: &Builder, narrow: &Decoder, style: RopeStyle) -> Result<Rope> {
    let dims = b.opt_size(LOCAL_DIMS)?.unwrap_or(narrow.head_dim);
    check_dims(b, LOCAL_DIMS, dims, narrow)?;
    let base = b.opt_positive(LOCAL_BASE)?.unwrap_or(DEFAULT_BASE);
    Ok(Rope::plain(style, dims, base))
}

/// As [`local`], but where a file has no base for these layers, they have that of the others.
pub fn local_or_same(b: &Builder, hp: &Decoder, style: RopeStyle) -> Result<Rope> {
    let own = b.opt_positive(LOCAL_BASE)?;
    unscaled(b, hp, style, own.map_or(BASE, |_| LOCAL_BASE))
}

/// LongRoPE (arXiv:2402.13753): one set of frequency factors for contexts up to the
/// original one, another above it. A file without factors gets [`scaled`].
pub fn long(b: &Builder, hp: &Decoder, style: RopeStyle) -> Result<Rope> {
    // Older files do not name the type.
    let is_long = match b.opt_str(SCALING)? {
        Some(kind) => kind == "longrope",
        None => b.tensor(SHORT).is_some(),
    };
    if !is_long {
        return scaled(b, hp, style);
    }
    let missing = |name: &str| Error::MissingTensor { name: name.into() };
    let mut rope = unscaled(b, hp, style, BASE)?;
    let pairs = rope.inverse_frequencies.len();
    let short = frequency_factors(b, SHORT, pairs)?.ok_or_else(|| missing(SHORT))?;
    let long = frequency_factors(b, LONG, pairs)?.ok_or_else(|| missing(LONG))?;
    let mut inverse_frequencies = rope.inverse_frequencies.clone();
    divide(&mut inverse_frequencies, &long);
    divide(&mut rope.inverse_frequencies, &short);
    rope.long = Some(LongRope {
        above: original_context(b)?,
        inverse_frequencies,
    });
    rope.magnitude = b.opt_positive(MAGNITUDE)?.unwrap_or(1.0);
    Ok(rope)
}

/// The original context (before it was extended), in tokens.
fn original_context(b: &Builder) -> Result<usize> {
    match b.opt_size("rope.scaling.original_context_length")? {
        Some(context) => Ok(context),
        None => b.size("context_length"),
    }
}

/// The plain embedding whose base is the value of `base_key`.
fn unscaled(b: &Builder, hp: &Decoder, style: RopeStyle, base_key: &str) -> Result<Rope> {
    let dims = b.opt_size(DIMS)?.unwrap_or(hp.head_dim);
    check_dims(b, DIMS, dims, hp)?;
    Ok(Rope::plain(
        style,
        dims,
        b.opt_positive(base_key)?.unwrap_or(DEFAULT_BASE),
    ))
}

fn check_dims(b: &Builder, key: &str, dims: usize, hp: &Decoder) -> Result<()> {
    if dims > hp.head_dim || !dims.is_multiple_of(2) {
        let reason = format!("{dims} rotary dimensions in a head of {}", hp.head_dim);
        return Err(bad(b, key, reason));
    }
    Ok(())
}

/// The divisor of positions; 1 by default. Older files have it in `rope.scale_linear`.
fn scaling_factor(b: &Builder) -> Result<f32> {
    let factor = match b.opt_positive(FACTOR)? {
        None => b.opt_positive("rope.scale_linear")?,
        factor => factor,
    };
    Ok(factor.unwrap_or(1.0))
}

fn bad(b: &Builder, key: &str, reason: String) -> Error {
    Error::BadValue {
        key: b.key(key),
        reason,
    }
}

/// The tensor of this name, if the file has it: one positive divisor for each pair.
fn frequency_factors(b: &Builder, name: &str, pairs: usize) -> Result<Option<Vec<f32>>> {
    let Some((_, tensor)) = b.tensor(name) else {
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
