//! Mixtures of experts: a router chooses a few feed-forward blocks for each token.

use crate::Result;
use crate::graph::{Activation, Builder, Gate, Routing, RowFn, ValueId};
use crate::{Error, WHOLE};
use alloc::format;
use alloc::string::String;

/// The most groups of experts that are supported.
const MAX_GROUPS: usize = 64;

/// What the router of an architecture does where its files do not say.
#[derive(Clone, Copy)]
pub struct Router {
    /// How scores become probabilities.
    pub gate: Gate,
    /// Whether the weights of the chosen experts are divided by their sum.
    pub normalize: bool,
}

/// The router of most architectures: softmax over all experts; the weights of the chosen
/// experts are then divided by their sum.
pub const USUAL: Router = Router {
    gate: Gate::Softmax,
    normalize: true,
};

/// The feed-forward block of a layer: experts if the layer has a router, plus the shared
/// expert if the layer has one.
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
    let routes = routes(b, x, router)?;
    mixed(b, x, routes, RowFn::Glu(Activation::Silu))
}

/// The experts that the router chooses for `x`.
pub fn routes(b: &mut Builder, x: ValueId, router: Router) -> Result<ValueId> {
    let (count, used) = (b.size("expert_count")?, b.size("expert_used_count")?);
    if used > count {
        let reason = format!("{used} of {count} experts");
        return Err(bad(b, "expert_used_count", reason));
    }
    let scores = b.linear(x, "ffn_gate_inp", count)?;
    let routing = routing(b, used, router)?;
    let bias = b.opt_bias("exp_probs_b", count)?;
    Ok(b.route(scores, bias, routing))
}

/// The feed-forward blocks of the chosen experts with this gated linear unit, weighted
/// and added up. Files have the matrices of gate and up in two tensors, or one after the
/// other in one tensor.
pub fn mixed(b: &mut Builder, x: ValueId, routes: ValueId, unit: RowFn) -> Result<ValueId> {
    let width = b.width(x);
    let hidden = match b.opt_size("expert_feed_forward_length")? {
        Some(hidden) => hidden,
        None => b.size("feed_forward_length")?,
    };
    let routes = (routes, b.size("expert_count")?);
    let (gate, up) = if b.has("ffn_gate_up_exps") {
        let both = b.experts(x, routes, "ffn_gate_up_exps", [2 * hidden, width])?;
        (
            b.take(both, 2 * hidden, 0..hidden),
            b.take(both, 2 * hidden, hidden..2 * hidden),
        )
    } else {
        (
            b.experts(x, routes, "ffn_gate_exps", [hidden, width])?,
            b.experts(x, routes, "ffn_up_exps", [hidden, width])?,
        )
    };
    let h = b.gated(gate, up, unit);
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
    Ok(Routing {
        used,
        gate,
        groups: groups(b, used, gate)?,
        normalize: b
            .opt_bool("expert_weights_norm")?
            .unwrap_or(router.normalize),
        scale: b.opt_positive("expert_weights_scale")?.unwrap_or(1.0),
    })
}

/// The number of groups of experts, and how many of them are chosen.
fn groups(b: &Builder, used: usize, gate: Gate) -> Result<[usize; 2]> {
    const GROUPS: &str = "expert_group_count";
    let groups = b.opt_size(GROUPS)?.unwrap_or(1);
    if groups == 1 {
        return Ok([1, 1]);
    }
    let chosen = b.size("expert_group_used_count")?;
    let count = b.size("expert_count")?;
    let fits = groups <= MAX_GROUPS
        && count.is_multiple_of(groups)
        && chosen <= groups
        && used <= count / groups * chosen;
    if !fits || gate != Gate::Sigmoid {
        let reason = format!(
            "{used} of {count} experts from {chosen} of {groups} groups, by {gate:?}; at most \
             {MAX_GROUPS} equal groups, and only by sigmoid, are supported"
        );
        return Err(bad(b, GROUPS, reason));
    }
    Ok([groups, chosen])
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
