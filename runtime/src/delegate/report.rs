//! What an offload runs on the device, what stays on the CPU, and why.

use super::compile::{Forms, Refused, name};
use super::quant::Quant;
use crate::plan::{Span, tail};
use core::time::Duration;
use ondol_models::graph::{Graph, Op, Weight};
use std::collections::{BTreeMap, HashSet};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// Which parts run on the device, and the loss of their weights' forms. Each operation
/// of the model is in one of `spans`, `refused` and `withheld`.
#[derive(Debug, Clone, Default)]
pub struct OffloadReport {
    /// Spans that run on the device, in order of execution.
    pub spans: Vec<SpanReport>,
    /// Operations that the device refused, or whose weights it takes in no form that
    /// fits; grouped by reason.
    pub refused: Vec<UnclaimedNodes>,
    /// Operations that the host did not offer, because the contract lacks them or because
    /// there is no matmul beside them that the device takes; grouped by reason.
    pub withheld: Vec<UnclaimedNodes>,
    /// Weights that were handed over, grouped by form.
    pub weights: Vec<WeightsReport>,
    /// How much of the work of each stage runs on the device.
    pub work: Work,
    /// Rows of a prefill program; 1 if prefill stays on the CPU.
    pub rows: usize,
    /// Time taken to choose, claim and compile.
    pub time: Duration,
    /// Number of programs that were loaded from the cache folder.
    pub from_cache: usize,
    /// Number of programs.
    pub programs: usize,
}

/// Fractions (0 to 1) of multiply-adds that the device claimed, by stage. The body is
/// every operation that runs for all rows of a pass; the head follows it, and runs only
/// for rows whose logits are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Of the body's matmuls, in prefill; 0 if no prefill programs were compiled.
    pub prefill: f64,
    /// Of the body's matmuls, in decode; 0 if no decode programs were compiled.
    pub decode: f64,
    /// Of the head's matmuls; 0, since the host does not offer them.
    pub head: f64,
    /// Of attention's products; 0, since the contract has no operation for them.
    pub attention: f64,
}

/// A span on the device.
#[derive(Debug, Clone)]
pub struct SpanReport {
    /// The layers to which its operations belong: `layer 3` or `layers 3 to 4`.
    pub name: String,
    /// Number of operations.
    pub nodes: usize,
    /// Number of matmuls among them.
    pub matmuls: usize,
    /// Multiply-adds of its matmuls for one row.
    pub multiply_adds: u64,
}

/// Operations that stay on the CPU for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnclaimedNodes {
    /// Reason, in the words of the plug-in or the host.
    pub reason: String,
    /// Number of operations.
    pub nodes: usize,
    /// Multiply-adds of the matmuls among them for one row.
    pub multiply_adds: u64,
}

/// The weights that were handed over in one form.
#[derive(Debug, Clone)]
pub struct WeightsReport {
    /// The form.
    pub form: Quant,
    /// Number of weight matrices.
    pub count: usize,
    /// The largest relative squared error that the form adds to one of these weights:
    /// squared error over squared length, compared with the file's numbers.
    pub worst_loss: f64,
}

impl OffloadReport {
    /// The report of an offload whose programs are still to be compiled.
    pub(super) fn new(graph: &Graph, spans: &[Span], refused: &Refused, forms: &Forms) -> Self {
        let claimed: HashSet<usize> = spans.iter().flat_map(|s| &s.nodes).copied().collect();
        let tail = tail(graph);
        let refusals = refused.iter().map(|(&node, why)| (node, why.as_str()));
        let left = (0..graph.nodes.len())
            .filter(|node| !claimed.contains(node) && !refused.contains_key(node))
            .map(|node| (node, why_withheld(&graph.nodes[node].op, node >= tail)));
        OffloadReport {
            spans: spans.iter().map(|span| span_report(graph, span)).collect(),
            refused: by_reason(graph, refusals),
            withheld: by_reason(graph, left),
            weights: weights_report(graph, &claimed, forms),
            ..OffloadReport::default()
        }
    }

    /// The fraction of the multiply-adds of the body's matmuls that were claimed.
    pub(super) fn claimed(&self, graph: &Graph) -> f64 {
        let claimed: u64 = self.spans.iter().map(|span| span.multiply_adds).sum();
        let body: u64 = (0..tail(graph))
            .map(|node| multiply_adds(graph, node))
            .sum();
        claimed as f64 / body.max(1) as f64
    }
}

/// Multiply-adds of a node for one row, if it is a matmul.
fn multiply_adds(graph: &Graph, node: usize) -> u64 {
    match graph.nodes[node].op {
        Op::MatMul { weight, .. } => weight.rows as u64 * weight.cols as u64,
        _ => 0,
    }
}

/// Why the host does not offer an operation.
fn why_withheld(op: &Op, is_in_head: bool) -> &'static str {
    match op {
        Op::Embed { .. } => "the contract has no embedding",
        Op::Rope { .. } => "the contract has no rotation",
        Op::Attention { .. } | Op::SharedAttention { .. } => {
            "the contract has no attention and no cache"
        }
        Op::Conv { .. } => "the contract has no convolution",
        Op::Route { .. }
        | Op::RouteToAll { .. }
        | Op::Weigh { .. }
        | Op::Experts { .. }
        | Op::Mix { .. } => "the contract has no experts",
        Op::Take { .. } | Op::Join { .. } => "the contract has no choice or joining of columns",
        Op::LinearAttention { .. } => "the contract has no linear attention",
        Op::MatMul { .. } | Op::Row { .. } if is_in_head => {
            "part of the head, which runs only for rows whose logits are wanted"
        }
        Op::MatMul { .. } | Op::Row { .. } => "no matmul beside it that the device takes",
    }
}

fn by_reason<'r>(
    graph: &Graph,
    nodes: impl Iterator<Item = (usize, &'r str)>,
) -> Vec<UnclaimedNodes> {
    let mut groups: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for (node, reason) in nodes {
        let (count, lost) = groups.entry(reason).or_default();
        *count += 1;
        *lost += multiply_adds(graph, node);
    }
    let group = |(reason, (nodes, multiply_adds)): (&str, _)| UnclaimedNodes {
        reason: reason.to_string(),
        nodes,
        multiply_adds,
    };
    groups.into_iter().map(group).collect()
}

fn span_report(graph: &Graph, span: &Span) -> SpanReport {
    let of_matmuls = span.nodes.iter().map(|&node| multiply_adds(graph, node));
    SpanReport {
        name: name(graph, span),
        nodes: span.nodes.len(),
        matmuls: of_matmuls.clone().filter(|&of_node| of_node > 0).count(),
        multiply_adds: of_matmuls.sum(),
    }
}

/// Groups the weights of the claimed nodes by form.
fn weights_report(graph: &Graph, claimed: &HashSet<usize>, forms: &Forms) -> Vec<WeightsReport> {
    let matrices = claimed
        .iter()
        .filter_map(|&node| match graph.nodes[node].op {
            Op::MatMul { weight, .. } => Some(weight),
            _ => None,
        });
    let matrices: HashSet<Weight> = matrices.collect();
    let mut weights: Vec<WeightsReport> = Vec::new();
    for &(form, loss) in matrices.iter().filter_map(|matrix| forms.get(matrix)) {
        match weights.iter_mut().find(|known| known.form == form) {
            Some(known) => {
                known.count += 1;
                known.worst_loss = known.worst_loss.max(loss);
            }
            None => weights.push(WeightsReport {
                form,
                count: 1,
                worst_loss: loss,
            }),
        }
    }
    weights.sort_by_key(|w| (w.form.bits(), format!("{:?}", w.form)));
    weights
}
