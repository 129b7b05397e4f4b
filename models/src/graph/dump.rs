//! Prints a graph as text, one node on each line.

use super::{Graph, Op, RowFn};
use core::fmt;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "graph {} (vocabulary {})",
            self.architecture, self.vocabulary
        )?;
        for (i, node) in self.nodes.iter().enumerate() {
            let layer = node.layer.map_or(-1, i64::from);
            write!(
                f,
                "%{i:<4} layer {layer:>3}  [t x {:>6}]  {}",
                node.width,
                name(&node.op)
            )?;
            for input in node.op.inputs() {
                write!(f, " %{}", input.0)?;
            }
            describe(&node.op, f)?;
            writeln!(f)?;
        }
        writeln!(f, "logits %{}", self.logits.0)
    }
}

fn name(op: &Op) -> &'static str {
    match op {
        Op::Embed { .. } => "embed",
        Op::MatMul { .. } => "matmul",
        Op::Row { function, .. } => match function {
            RowFn::RmsNorm { .. } => "rms_norm",
            RowFn::LayerNorm { .. } => "layer_norm",
            RowFn::Add => "add",
            RowFn::Bias => "bias",
            RowFn::Scale { .. } => "scale",
            RowFn::Gain { .. } => "gain",
            RowFn::Mul { .. } => "mul",
            RowFn::Activate(_) => "activate",
            RowFn::Glu(_) => "glu",
            RowFn::ClampedGlu { .. } => "clamped_glu",
            RowFn::KeepAbove { .. } => "keep_above",
            RowFn::Resize { .. } => "resize",
            RowFn::Softcap { .. } => "softcap",
        },
        Op::Rope { .. } => "rope",
        Op::Attention { .. } => "attention",
        Op::SharedAttention { .. } => "shared_attention",
        Op::Conv { .. } => "conv",
        Op::Take { .. } => "take",
        Op::Join { .. } => "join",
        Op::RouteToAll { .. } => "route_to_all",
        Op::Route { .. } => "route",
        Op::Weigh { .. } => "weigh",
        Op::Experts { .. } => "experts",
        Op::Mix { .. } => "mix",
        Op::LinearAttention { .. } => "linear_attention",
    }
}

fn describe(op: &Op, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match op {
        Op::Embed {
            table: w, scale, ..
        } => {
            write!(f, " {}[{}x{}] scale {scale}", w.dtype, w.rows, w.cols)
        }
        Op::MatMul {
            weight: w, bias, ..
        } => {
            write!(f, " {}[{}x{}]", w.dtype, w.rows, w.cols)?;
            if bias.is_some() {
                write!(f, " + bias")
            } else {
                Ok(())
            }
        }
        Op::Row { function, .. } => match function {
            RowFn::RmsNorm { group, eps } | RowFn::LayerNorm { group, eps } => {
                write!(f, " group {group} eps {eps:e}")
            }
            RowFn::Add | RowFn::Bias => Ok(()),
            RowFn::KeepAbove { deviations } => write!(f, " deviations {deviations}"),
            RowFn::Resize { least } => write!(f, " least {least:e}"),
            RowFn::Scale { factor } => write!(f, " by {factor}"),
            RowFn::Gain { each } | RowFn::Mul { each } => write!(f, " each {each}"),
            RowFn::Glu(activation) | RowFn::Activate(activation) => write!(f, " {activation:?}"),
            RowFn::ClampedGlu { limit } => write!(f, " limit {limit}"),
            RowFn::Softcap { cap } => write!(f, " cap {cap}"),
        },
        Op::Rope { head_dim, rope, .. } => write!(f, " head {head_dim} rope {rope}"),
        Op::Attention { attention: a, .. } | Op::SharedAttention { attention: a, .. } => {
            write!(
                f,
                " slot {} heads {}/{} x {} scale {}",
                a.slot, a.heads, a.kv_heads, a.head_dim, a.scale
            )?;
            if let Some(window) = a.window {
                write!(f, " window {window}")?;
            }
            if let Some(cap) = a.softcap {
                write!(f, " softcap {cap}")?;
            }
            if a.sinks.is_some() {
                write!(f, " sinks")?;
            }
            Ok(())
        }
        Op::Conv { weight, slot, .. } => write!(f, " slot {slot} taps {}", weight.cols),
        Op::Take { group, first, .. } => write!(f, " from {first} of each {group}"),
        Op::Route { routing: r, .. } => write!(f, " {} by {:?}", r.used, r.gate),
        Op::Experts {
            weight: w, count, ..
        } => write!(f, " {count} x {}[{}x{}]", w.dtype, w.rows, w.cols),
        Op::Join { groups, .. } => write!(f, " groups {groups}"),
        Op::RouteToAll { count } => write!(f, " {count}"),
        Op::Mix { .. } | Op::Weigh { .. } => Ok(()),
        Op::LinearAttention { linear: l, .. } => {
            write!(
                f,
                " slot {} heads {}/{} of {} x {}",
                l.slot, l.heads, l.key_heads, l.key_dim, l.value_dim
            )?;
            if l.delta { write!(f, " delta") } else { Ok(()) }
        }
    }
}
