//! Groups the nodes of a graph into items: operations that run together.

use super::Span;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use ondol_kernels::SMALL;
use ondol_models::graph::{Graph, Op, RowFn, ValueId};

/// A step, or one operation of a step of row operations.
pub enum Item {
    Row(usize),
    MatMul(Vec<usize>),
    /// Products with experts' matrices that share input and routes.
    Experts(Vec<usize>),
    /// Writes the keys and values of this attention node into the cache.
    StoreKv(usize),
    Attention(usize),
    /// A convolution, or linear attention.
    Columns(usize),
}

impl Item {
    /// The nodes that the item computes, without absorbed additions.
    pub fn nodes(&self) -> &[usize] {
        match self {
            Item::Row(node) | Item::StoreKv(node) | Item::Attention(node) | Item::Columns(node) => {
                core::slice::from_ref(node)
            }
            Item::MatMul(group) | Item::Experts(group) => group,
        }
    }

    /// Whether the item belongs in a step of row operations.
    pub fn is_row_by_row(&self) -> bool {
        matches!(self, Item::Row(_) | Item::StoreKv(_))
    }
}

/// Groups the nodes of a graph. An item lies within one span or outside all.
pub struct Items<'g> {
    graph: &'g Graph,
    spans: &'g [Span],
    /// First node of the head: [`tail`].
    pub tail: usize,
    /// By matmul node: the addition that it absorbed, and the value that is added.
    pub absorbed: Vec<Option<(usize, ValueId)>>,
    /// By node: whether it is an addition that a matmul absorbed.
    gone: Vec<bool>,
}

/// The first node of the head. All nodes with a state are before it, except when the
/// last of them is an attention: it is then this node, and the body stores its keys and
/// values.
pub fn tail(graph: &Graph) -> usize {
    let last = graph.nodes.iter().rposition(|node| node.state().is_some());
    last.map_or(0, |last| match graph.nodes[last].op {
        Op::Attention { .. } => last,
        _ => last + 1,
    })
}

impl<'g> Items<'g> {
    pub fn new(graph: &'g Graph, spans: &'g [Span]) -> Self {
        let n = graph.nodes.len();
        let mut items = Items {
            graph,
            spans,
            tail: tail(graph),
            absorbed: vec![None; n],
            gone: vec![false; n],
        };
        items.absorb_additions();
        items
    }

    /// The index of the span that holds a node.
    pub fn span_of(&self, node: usize) -> Option<usize> {
        // Builds without delegates have no spans. This leaves the search out of their
        // code.
        if !cfg!(any(test, feature = "delegate")) {
            return None;
        }
        let holds = |span: &Span| span.nodes.binary_search(&node).is_ok();
        self.spans.iter().position(holds)
    }

    /// The items of the body and those of the head.
    pub fn body_and_head(&self) -> (Vec<Item>, Vec<Item>) {
        let mut body = self.of(0..self.tail);
        let mut head = self.of(self.tail..self.graph.nodes.len());
        if matches!(head.first(), Some(Item::StoreKv(_))) {
            body.push(head.remove(0));
        }
        (body, head)
    }

    /// Finds the additions that a matmul can do when it stores its output: the
    /// addition's other operand is computed before the matmul and nothing else reads it
    /// from then on, so the matmul can add to it in place.
    fn absorb_additions(&mut self) {
        let mut reads = vec![0usize; self.graph.nodes.len()];
        for node in &self.graph.nodes {
            node.op.inputs().for_each(|v| reads[v.0 as usize] += 1);
        }
        for (add, node) in self.graph.nodes.iter().enumerate() {
            let Op::Row {
                function: RowFn::Add,
                a,
                b: Some(b),
                ..
            } = node.op
            else {
                continue;
            };
            let usable = |product: ValueId, residual: ValueId| {
                let p = product.0 as usize;
                let matmul = matches!(self.graph.nodes[p].op, Op::MatMul { .. });
                matmul
                    && add != self.graph.logits.0 as usize
                    && reads[p] == 1
                    && residual < product
                    && (p < self.tail) == (add < self.tail)
                    && self.span_of(p) == self.span_of(add)
                    && !self.read_after(residual, p, add)
            };
            let (product, residual) = match (usable(b, a), usable(a, b)) {
                (true, _) => (b, a),
                (_, true) => (a, b),
                _ => continue,
            };
            self.absorbed[product.0 as usize] = Some((add, residual));
            self.gone[add] = true;
        }
    }

    /// Whether a node other than `except` reads `value` at or after node `from`.
    fn read_after(&self, value: ValueId, from: usize, except: usize) -> bool {
        let nodes = self.graph.nodes.iter().enumerate().skip(from);
        nodes
            .filter(|(i, _)| *i != except)
            .any(|(_, node)| node.op.inputs().any(|v| v == value))
    }

    /// The nodes of a range, grouped into items.
    fn of(&self, range: Range<usize>) -> Vec<Item> {
        let mut items = Vec::new();
        let mut taken = vec![false; self.graph.nodes.len()];
        for node in range.clone() {
            if taken[node] || self.gone[node] {
                continue;
            }
            match &self.graph.nodes[node].op {
                Op::MatMul { input, .. } => {
                    let joins = |other| other == node || self.joins(node, other, *input);
                    items.push(Item::MatMul(take(node..range.end, &mut taken, joins)));
                }
                // SMALL builds have no architecture with experts.
                Op::Experts { input, routes, .. } if !SMALL => {
                    let joins = |other| self.same_experts(other, *input, *routes);
                    items.push(Item::Experts(take(node..range.end, &mut taken, joins)));
                }
                Op::Attention { .. } => {
                    items.extend([Item::StoreKv(node), Item::Attention(node)]);
                }
                // SMALL builds have no architecture with it.
                Op::SharedAttention { .. } if !SMALL => items.push(Item::Attention(node)),
                Op::Conv { .. } | Op::LinearAttention { .. } => items.push(Item::Columns(node)),
                _ => items.push(Item::Row(node)),
            }
        }
        items
    }

    /// Whether the matmul `other` may run together with the earlier matmul `first`.
    fn joins(&self, first: usize, other: usize, shared: ValueId) -> bool {
        let same_input =
            matches!(self.graph.nodes[other].op, Op::MatMul { input, .. } if input == shared);
        same_input
            && self.absorbed[first].is_none()
            && self.absorbed[other].is_none()
            && self.span_of(first) == self.span_of(other)
    }

    /// Whether a node multiplies this input with the matrices of these experts.
    fn same_experts(&self, node: usize, shared: ValueId, chosen: ValueId) -> bool {
        matches!(
            self.graph.nodes[node].op,
            Op::Experts { input, routes, .. } if (input, routes) == (shared, chosen)
        )
    }

    /// The values that an item reads.
    pub fn reads(&self, item: &Item) -> impl Iterator<Item = usize> + use<> {
        let mut values = Vec::new();
        for &node in item.nodes() {
            match (item, &self.graph.nodes[node].op) {
                (Item::StoreKv(_), Op::Attention { k, v, .. }) => values.extend([*k, *v]),
                (Item::Attention(_), Op::Attention { q, .. }) => values.push(*q),
                (_, op) => values.extend(op.inputs()),
            }
            values.extend(self.absorbed[node].map(|(_, residual)| residual));
        }
        values.into_iter().map(|value| value.0 as usize)
    }
}

/// Returns the nodes of a range for which `joins` is true, and marks them as taken.
fn take(range: Range<usize>, taken: &mut [bool], joins: impl Fn(usize) -> bool) -> Vec<usize> {
    let group: Vec<usize> = range.filter(|&node| joins(node)).collect();
    group.iter().for_each(|&node| taken[node] = true);
    group
}
