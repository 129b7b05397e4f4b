//! Mixtures of experts: a router chooses a few feed-forward blocks for each token.

use crate::Result;
use crate::graph::{Activation, Builder, Gate, Routing, ValueId};
use crate::{Error, WHOLE};
use alloc::format;
use alloc::string::String;

/// What the router of an architecture does where its files do not say.
#[derive(Clone, Copy)]
pub struct Router {
    /// How scores become probabilities.
    pub gate: Gate,
    /// Whether the weights of the chosen experts are divided by their sum.
    pub normalize: bool,
}

/// The router of most architectures: softmax over all experts, then again over the
/// chosen ones.
pub const USUAL: Router = Router {
    gate: Gate::Softmax,
    normalize: true,
};

/// The feed-forward block of a layer: experts if the layer has a router, with the shared
/// expert beside them if it has one.
pub fn or_feed_forward(b: &mut Builder, x: ValueId, router: Router) -> Result<ValueId> {
    if !WHOLE || !b.has("ffn_gate_inp") {
        return b.feed_forward(x, Activation::Silu);
    }
    let h = experts(b, x, router)?;
    match shared_expert(b, x)? {
        Some(shared) => Ok(b.add(h, shared)),
        None => Ok(h),
    }
}

/// The experts of a layer, weighted and added up.
fn experts(b: &mut Builder, x: ValueId, router: Router) -> Result<ValueId> {
    let width = b.width(x);
    let (count, used) = (b.size("expert_count")?, b.size("expert_used_count")?);
    if used > count {
        let reason = format!("{used} of {count} experts");
        return Err(bad(b, "expert_used_count", reason));
    }
    let hidden = match b.opt_size("expert_feed_forward_length")? {
        Some(hidden) => hidden,
        None => b.size("feed_forward_length")?,
    };
    let scores = b.linear(x, "ffn_gate_inp", count)?;
    let routing = routing(b, used, router)?;
    let bias = b.opt_bias("exp_probs_b", count)?;
    let routes = (b.route(scores, bias, routing), count);
    let gate = b.experts(x, routes, "ffn_gate_exps", [hidden, width])?;
    let up = b.experts(x, routes, "ffn_up_exps", [hidden, width])?;
    let h = b.glu(gate, up, Activation::Silu);
    let h = b.experts(h, routes, "ffn_down_exps", [width, hidden])?;
    Ok(b.mix(h, routes.0))
}

fn routing(b: &Builder, used: usize, router: Router) -> Result<Routing> {
    const GATE: &str = "expert_gating_func";
    let gate = match b.opt_count(GATE)? {
        None | Some(0) => router.gate,
        Some(1) => Gate::Softmax,
        Some(2) => Gate::Sigmoid,
        Some(other) => {
            let reason = format!("the gate function number {other} is not supported");
            return Err(bad(b, GATE, reason));
        }
    };
    if let Some(groups @ 2..) = b.opt_count("expert_group_count")? {
        let reason = format!("{groups} groups of experts are not supported");
        return Err(bad(b, "expert_group_count", reason));
    }
    Ok(Routing {
        used,
        gate,
        normalize: b
            .opt_bool("expert_weights_norm")?
            .unwrap_or(router.normalize),
        scale: b.opt_positive("expert_weights_scale")?.unwrap_or(1.0),
    })
}

/// The expert that every token uses, times the sigmoid of its own gate if it has one.
fn shared_expert(b: &mut Builder, x: ValueId) -> Result<Option<ValueId>> {
    if !b.has("ffn_gate_shexp") {
        return Ok(None);
    }
    let width = b.width(x);
    let hidden = b.rows_of("ffn_gate_shexp")?;
    let gate = b.linear(x, "ffn_gate_shexp", hidden)?;
    let up = b.linear(x, "ffn_up_shexp", hidden)?;
    let h = b.glu(gate, up, Activation::Silu);
    let h = b.linear(h, "ffn_down_shexp", width)?;
    if !b.has("ffn_gate_inp_shexp") {
        return Ok(Some(h));
    }
    let gate = b.linear(x, "ffn_gate_inp_shexp", 1)?;
    let gate = b.activate(gate, Activation::Sigmoid);
    Ok(Some(b.mul(h, gate)))
}

fn bad(b: &Builder, key: &str, reason: String) -> Error {
    Error::BadValue {
        key: b.key(key),
        reason,
    }
}
