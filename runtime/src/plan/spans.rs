//! Spans: parts of a plan's body that a delegate's device can run.

// Without delegates this code is unused.
#![cfg_attr(not(feature = "delegate"), allow(dead_code))]

use super::items::{Item, Items};
use crate::memory::Buffer;
use alloc::vec::Vec;
use core::ops::Range;
use core::{mem, slice};
use ondol_models::graph::{Graph, Op, ValueId};

/// Consecutive operations that keep no state: usually all between two attentions,
/// except rotations and the writes to the cache.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Span {
    /// Indices of the nodes, in ascending order.
    pub nodes: Vec<usize>,
    /// Values that the span reads and earlier nodes compute, in ascending order.
    pub inputs: Vec<ValueId>,
    /// Values that the span computes and later nodes read, in ascending order.
    pub outputs: Vec<ValueId>,
}

/// The steps by which the CPU runs a [`Span`], and the places of its values.
#[derive(Debug, Clone)]
pub struct SpanSteps {
    /// Indices in [`super::Plan::body`].
    pub steps: Range<usize>,
    /// Buffers of [`Span::inputs`], in the same order, as they are before the first
    /// step.
    pub inputs: Vec<Buffer>,
    /// Buffers of [`Span::outputs`], in the same order, as they are after the last
    /// step.
    pub outputs: Vec<Buffer>,
}

/// The longest spans of a graph's body that hold a matmul and whose nodes all satisfy
/// `takes`.
pub fn spans(graph: &Graph, takes: impl Fn(usize) -> bool) -> Vec<Span> {
    // Operations are grouped as if all that are taken were one span.
    let taken = Span {
        nodes: (0..graph.nodes.len()).filter(|&node| takes(node)).collect(),
        ..Span::default()
    };
    let items = Items::new(graph, slice::from_ref(&taken));
    let (body, head) = items.body_and_head();
    let (mut spans, mut open) = (Vec::new(), Vec::new());
    for item in &body {
        if is_stateless(graph, item) && items.span_of(item.nodes()[0]).is_some() {
            open.extend(nodes(&items, item));
        } else if !open.is_empty() {
            spans.push(mem::take(&mut open));
        }
    }
    spans.push(open);
    let is_matmul = |&node: &usize| matches!(graph.nodes[node].op, Op::MatMul { .. });
    spans.retain(|nodes| nodes.iter().any(is_matmul));

    let all: Vec<&Item> = body.iter().chain(&head).collect();
    let whole = |nodes| with_values(graph, nodes, &items, &all);
    spans.into_iter().map(whole).collect()
}

/// The nodes of an item and the additions that it absorbed.
fn nodes(items: &Items, item: &Item) -> Vec<usize> {
    let own = item.nodes().iter().copied();
    let absorbed = own.clone().filter_map(|node| items.absorbed[node]);
    own.chain(absorbed.map(|(add, _)| add)).collect()
}

fn is_stateless(graph: &Graph, item: &Item) -> bool {
    match item {
        Item::MatMul(_) => true,
        Item::Row(node) => matches!(graph.nodes[*node].op, Op::Row { .. }),
        Item::Experts(_) | Item::StoreKv(_) | Item::Attention(_) | Item::Columns(_) => false,
    }
}

/// Makes a span of `nodes`: finds the values that it reads from outside, and its values
/// that are read outside.
fn with_values(graph: &Graph, mut nodes: Vec<usize>, items: &Items, all: &[&Item]) -> Span {
    nodes.sort_unstable();
    let is_here = |node: usize| nodes.binary_search(&node).is_ok();
    let mut inputs: Vec<ValueId> = nodes
        .iter()
        .flat_map(|&node| graph.nodes[node].op.inputs())
        .filter(|value| !is_here(value.0 as usize))
        .collect();
    let outside = all.iter().filter(|item| !is_here(item.nodes()[0]));
    let mut outputs: Vec<ValueId> = outside
        .flat_map(|item| items.reads(item))
        .filter(|&value| is_here(value))
        .map(|value| ValueId(value as u32))
        .collect();
    for values in [&mut inputs, &mut outputs] {
        values.sort_unstable();
        values.dedup();
    }
    Span {
        nodes,
        inputs,
        outputs,
    }
}
