//! Refuses files with tensors or keys that the graph does not use. Such a tensor or key
//! means that the file is of a variant of the architecture; without this check the model
//! would silently compute wrong numbers.

use super::Builder;
use crate::gguf::Value;
use crate::{Error, Result, WHOLE, screen};
use alloc::format;
use alloc::string::String;

/// Number of tensors that an error names.
const NAMED: usize = 3;

/// Refuses a file with a tensor that no operation uses, or with a key that changes the
/// computation and that the architecture did not read.
pub(super) fn refuse(b: &Builder) -> Result<()> {
    refuse_tensors(b)?;
    if !WHOLE {
        return Ok(());
    }
    match CHANGES.iter().find(|(key, rule)| !rule.holds(b, key)) {
        Some((key, _)) => Err(Error::BadValue {
            key: b.key(key),
            reason: format!(
                "it changes what the model computes, and `{}` is computed without it in this build",
                b.architecture
            ),
        }),
        None => Ok(()),
    }
}

fn refuse_tensors(b: &Builder) -> Result<()> {
    let nextn = nextn_layers(b)?;
    let unread = b.gguf.tensors().iter().zip(&b.used);
    let unread = unread.filter(|(_, used)| !used.get());
    let names = unread.map(|(tensor, _)| tensor.name);
    let mut left = names.filter(|name| !is_unneeded(name, nextn.clone()));
    let mut first = String::new();
    for (at, name) in left.by_ref().take(NAMED).enumerate() {
        first += if at > 0 { ", `" } else { "`" };
        first += name;
        first.push('`');
    }
    let more = left.count();
    if more > 0 {
        first += &format!(" and {more} more");
    }
    match first.is_empty() {
        true => Ok(()),
        false => Err(Error::UnusedTensors {
            architecture: b.architecture.clone(),
            names: first,
        }),
    }
}

/// The last layers, which only predict further tokens.
fn nextn_layers(b: &Builder) -> Result<core::ops::Range<usize>> {
    Ok(b.layers()? as usize..b.size("block_count")?)
}

/// Whether leaving this tensor out does not change the result.
fn is_unneeded(name: &str, nextn: core::ops::Range<usize>) -> bool {
    let layer = name.strip_prefix("blk.").and_then(|rest| {
        let (number, rest) = rest.split_once('.')?;
        Some((number.parse().ok()?, rest))
    });
    match layer {
        // The angles of a rotary embedding, which can be computed from its base.
        Some((_, rest)) if rest.starts_with("attn_rot_embd.") => true,
        // These layers are not run.
        Some((layer, _)) => nextn.contains(&layer),
        // The screen of a packed copy, which the runtime may use.
        None => [screen::WEIGHT, screen::ERROR].contains(&name),
    }
}

/// Keys, without the architecture's name, that change the computation, and the values
/// for which they do not.
const CHANGES: &[(&str, Rule)] = &[
    ("attention.causal", Rule::True),
    ("attention.clamp_kqv", Rule::Zero),
    ("attention.key_length_swa", Rule::AsWithoutWindow),
    ("attention.max_alibi_bias", Rule::Zero),
    ("attention.output_scale", Rule::One),
    ("attention.rope_pattern", Rule::True),
    ("attention.scale", Rule::Zero),
    ("attention.shared_kv_layers", Rule::Zero),
    ("attention.sliding_window", Rule::PastContext),
    ("attention.temperature_length", Rule::Zero),
    ("attention.temperature_scale", Rule::Zero),
    ("attention.value_length_swa", Rule::AsWithoutWindow),
    ("attention.value_scale", Rule::One),
    ("attn_logit_softcapping", Rule::Zero),
    ("embedding_scale", Rule::One),
    ("expert_count", Rule::Zero),
    ("final_logit_softcapping", Rule::Zero),
    ("full_attention_interval", Rule::Zero),
    ("hidden_activation", Rule::Zero),
    ("logit_scale", Rule::One),
    ("num_loops", Rule::One),
    ("residual_scale", Rule::One),
    ("rope.dimension_count_swa", Rule::AsWithoutWindow),
    ("rope.dimension_sections", Rule::Zero),
    ("rope.freq_base_swa", Rule::AsWithoutWindow),
    ("rope.scaling.alpha", Rule::Zero),
    ("rope.scaling.attn_factor", Rule::One),
    ("rope.scaling.yarn_log_multiplier", Rule::Zero),
    ("swiglu_clamp_exp", Rule::Zero),
    ("swiglu_clamp_shexp", Rule::Zero),
    ("swin_norm", Rule::Zero),
    ("use_parallel_residual", Rule::Zero),
];

/// The values for which an unread key changes nothing.
#[derive(Clone, Copy)]
enum Rule {
    /// The number 0, false, or an array of these.
    Zero,
    /// A factor of 1, or 0, which some writers use for "none".
    One,
    /// True, or an array of it.
    True,
    /// Any value if no layer has a window; otherwise the value of the key without
    /// `_swa`.
    AsWithoutWindow,
    /// A window of at least the context, or 0.
    PastContext,
}

impl Rule {
    fn holds(self, b: &Builder, key: &str) -> bool {
        let Some(value) = b.unread(key) else {
            return true;
        };
        match self {
            Rule::Zero => all(value, |number| number == 0.0),
            Rule::One => all(value, |number| number == 0.0 || number == 1.0),
            Rule::True => all(value, |number| number == 1.0),
            Rule::AsWithoutWindow => {
                let window = b.gguf.get(&b.key("attention.sliding_window"));
                window.is_none_or(|window| all(window, |number| number == 0.0))
                    || b.gguf.get(&b.key(key.trim_end_matches("_swa"))) == Some(value)
            }
            Rule::PastContext => {
                let context = b.gguf.get(&b.key("context_length"));
                let context = context.and_then(number).unwrap_or_default();
                all(value, |window| window == 0.0 || window >= context)
            }
        }
    }
}

/// Whether the number, or each number of an array, satisfies `wanted`; false for texts.
fn all(value: &Value, wanted: impl Fn(f32) -> bool) -> bool {
    match value {
        Value::Array(array) => array
            .iter()
            .all(|element| number(&element).is_some_and(&wanted)),
        one => number(one).is_some_and(wanted),
    }
}

/// A number, with 1 for true and 0 for false.
fn number(value: &Value) -> Option<f32> {
    let whole = || value.as_i64().map(|number| number as f32);
    let truth = || value.as_bool().map(|truth| f32::from(u8::from(truth)));
    value.as_f32().or_else(whole).or_else(truth)
}
