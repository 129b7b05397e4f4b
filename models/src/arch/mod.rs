//! Architectures: each is a function from a file's metadata to a graph, in a file of
//! its own, written like the figure in its paper. See `docs/add-an-architecture.md`.

mod cohere2;
mod common;
mod deepseek2;
mod exaone;
mod exaone4;
mod exaone_moe;
mod experts;
mod falcon_h1;
mod gemma;
mod gemma2;
mod gemma3;
mod gemma3n;
mod gemma4;
mod gemma_layers;
mod glm4;
mod gpt_oss;
mod granite;
mod granite_hybrid;
mod hunyuan_dense;
mod lfm2;
mod llama;
mod mamba2;
mod mistral3;
mod olmo2;
mod olmoe;
mod phi2;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen35;
mod rope;
mod smollm3;
mod ssm;
mod stablelm;
mod starcoder2;
#[cfg(test)]
mod tests;

use crate::gguf::Gguf;
use crate::graph::{Builder, Graph};
use crate::{Error, Result, WHOLE};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The key that says whether a file is a model, or a part of one such as an adapter.
const TYPE: &str = "general.type";

type Build = fn(Builder) -> Result<Graph>;

/// The architectures that firmware can have, by the name in `general.architecture`.
const FIRMWARE: &[(&str, Option<Build>)] = &[
    row("llama", llama::build, true),
    row("qwen2", qwen2::build, cfg!(feature = "arch-qwen")),
    row("qwen3", qwen3::build, cfg!(feature = "arch-qwen")),
    row("gemma2", gemma2::build, cfg!(feature = "arch-gemma")),
    row("gemma3", gemma3::build, cfg!(feature = "arch-gemma")),
    row("exaone", exaone::build, cfg!(feature = "arch-exaone")),
    row("exaone4", exaone4::build, cfg!(feature = "arch-exaone")),
    row("phi3", phi3::build, cfg!(feature = "arch-phi")),
];

/// The architectures of this build. Firmware leaves out the names of others, to save flash.
const KNOWN: &[(&str, Option<Build>)] = if WHOLE { &ALL } else { FIRMWARE };

const ALL: [(&str, Option<Build>); FIRMWARE.len() + FURTHER.len()] = {
    let mut all = [FIRMWARE[0]; FIRMWARE.len() + FURTHER.len()];
    let (first, rest) = all.split_at_mut(FIRMWARE.len());
    first.copy_from_slice(FIRMWARE);
    rest.copy_from_slice(FURTHER);
    all
};

/// Architectures of builds with `std` alone.
const FURTHER: &[(&str, Option<Build>)] = &[
    ("gemma", Some(gemma::build)),
    ("gemma3n", Some(gemma3n::build)),
    ("gemma4", Some(gemma4::build)),
    ("phi2", Some(phi2::build)),
    ("granite", Some(granite::build)),
    ("minicpm", Some(granite::build)),
    ("mistral3", Some(mistral3::build)),
    ("smollm3", Some(smollm3::build)),
    ("olmo2", Some(olmo2::build)),
    ("cohere2", Some(cohere2::build)),
    ("glm4", Some(glm4::build)),
    ("hunyuan-dense", Some(hunyuan_dense::build)),
    ("stablelm", Some(stablelm::build)),
    ("starcoder2", Some(starcoder2::build)),
    ("mamba2", Some(mamba2::build)),
    ("falcon-h1", Some(falcon_h1::build)),
    ("granitehybrid", Some(granite_hybrid::build)),
    ("lfm2", Some(lfm2::build)),
    ("lfm2moe", Some(lfm2::build)),
    ("qwen35", Some(qwen35::build)),
    ("qwen35moe", Some(qwen35::build)),
    ("qwen3moe", Some(qwen3::build)),
    ("olmoe", Some(olmoe::build)),
    ("granitemoe", Some(granite::build)),
    ("gpt-oss", Some(gpt_oss::build)),
    ("deepseek2", Some(deepseek2::build)),
    ("exaone-moe", Some(exaone_moe::build)),
];

/// Whether a graph depends on the numbers in this tensor, and not only on its shape.
pub fn reads(tensor: &str) -> bool {
    rope::READ.contains(&tensor)
}

/// A row of the table, with `None` in place of the function of an architecture that this
/// build leaves out.
const fn row(name: &str, build: Build, in_build: bool) -> (&str, Option<Build>) {
    (name, if in_build { Some(build) } else { None })
}

/// The graph of a file.
///
/// # Errors
/// [`Error::UnknownArchitecture`]; [`Error::BadValue`] where the file is a part of a
/// model, such as an adapter; and the errors of its architecture for keys and tensors
/// that are missing, wrong, or would be ignored.
pub fn build(gguf: &Gguf) -> Result<Graph> {
    if let Some(part) = gguf.opt_str(TYPE)?.filter(|&kind| kind != "model") {
        let reason = format!("the file is not a model by itself, but of the type `{part}`");
        return Err(Error::BadValue {
            key: TYPE.into(),
            reason,
        });
    }
    let name = gguf.str("general.architecture")?;
    match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, Some(build))) => build(Builder::new(gguf)?),
        _ => Err(Error::UnknownArchitecture {
            name: name.to_string(),
            known: known(),
        }),
    }
}

/// The names of the architectures, comma-separated.
fn known() -> String {
    KNOWN
        .iter()
        .filter_map(|(name, build)| build.map(|_| *name))
        .collect::<Vec<_>>()
        .join(", ")
}
