//! The scheduler: which operations run together, and in which order.
//!
//! - Matmuls with the same input are one step (q, k, v; gate and up).
//! - If nothing else reads a matmul's output than an addition, and the other operand is
//!   not needed afterwards, the matmul adds to that operand in place.
//! - Consecutive operations that concern one row alone are one step, so that each row
//!   passes through all of them while it is in the CPU's cache.
//! - An attention, a convolution or a linear attention is a step of its own.
//! - Rotations and functions of rows work in place if nothing reads their input
//!   afterwards.
//! - No step crosses the start or end of a span: none of these rules joins operations
//!   inside a span with operations outside.
//! - Operations after the last state run only for rows whose logits are wanted. If an
//!   attention has the last state, only its keys and values are stored for all rows.

use super::items::{Item, Items};
use super::placer::Placer;
use super::{
    Angles, ArenaLayout, AttentionStep, Buffer, ConvStep, ExpertsScratch, ExpertsStep,
    LinearAttentionStep, MatMul, Part, Piece, Plan, PlanOptions, RowOp, ScreenPlan, Span,
    SpanSteps, Step, StoreKv, Vector, attention_shape,
};
use crate::cache::CacheLayout;
use crate::memory::LENT;
use alloc::vec;
use alloc::vec::Vec;
use ondol_kernels::attention::AttentionShape;
use ondol_kernels::{ActKind, FINE_TOKENS, Kernels, SMALL};
use ondol_models::graph::{Graph, Node, Op, Rope, RowFn, ValueId, Weight};
use ondol_models::screen::Screen;

/// Last use of a value that the head reads: it outlives every item of the body.
const FOREVER: usize = usize::MAX;
/// Bytes of weights in one piece of a matmul: few enough that threads share the work
/// evenly, many enough that the cost of taking a piece is negligible.
const PIECE_BYTES: core::ops::RangeInclusive<usize> = 64 << 10..=1 << 20;
/// A step is divided into about this many pieces, within [`PIECE_BYTES`].
const PIECES: usize = 32;
/// Kernels process several rows of weights together; a piece starts at a multiple of
/// this.
pub(super) const ROWS_MULTIPLE: usize = 16;

pub struct Scheduler<'g> {
    graph: &'g Graph,
    kernels: &'g Kernels,
    options: PlanOptions,
    items: Items<'g>,
    spans: &'g [Span],
    /// By value: the last item that reads it.
    last_use: Vec<usize>,
    /// The first item of the step that is being built.
    step_start: usize,
    buffers: Vec<Option<Buffer>>,
    placer: Placer,
    base: usize,
    layout: ArenaLayout,
    vectors: Vec<(Weight, Vector)>,
    matmuls: Vec<MatMul>,
    rope_table: Option<Buffer>,
    span_steps: Vec<SpanSteps>,
}

impl<'g> Scheduler<'g> {
    pub fn new(
        graph: &'g Graph,
        kernels: &'g Kernels,
        options: PlanOptions,
        spans: &'g [Span],
    ) -> Self {
        let n = graph.nodes.len();
        Scheduler {
            graph,
            kernels,
            options,
            items: Items::new(graph, spans),
            spans,
            span_steps: Vec::new(),
            last_use: vec![0; n],
            step_start: 0,
            buffers: vec![None; n],
            placer: Placer::default(),
            base: 0,
            layout: ArenaLayout::default(),
            vectors: Vec::new(),
            matmuls: Vec::new(),
            rope_table: None,
        }
    }

    pub fn run(mut self, screen: Option<&Screen>) -> Plan {
        self.place_vectors();
        let PlanOptions {
            context,
            chunk,
            kv_type,
            ..
        } = self.options;
        let cache = CacheLayout::new(self.graph, kv_type, context, chunk);

        let (body_items, head_items) = self.items.body_and_head();
        self.find_last_uses(&body_items, &head_items);

        self.base = self.layout.total;
        let body = self.body_steps(&body_items);
        self.layout.values = self.layout.push(self.placer.bytes());

        self.base = self.layout.total;
        self.placer = Placer::default();
        let (head_inputs, head) = self.head_steps(&head_items);
        self.layout.head = self.layout.push(self.placer.bytes());

        let screen = screen
            .filter(|_| !SMALL)
            .and_then(|screen| ScreenPlan::new(screen, &head, &mut self.matmuls, &mut self.layout));

        let acts = self.acts_bytes();
        self.layout.acts = self.layout.push(acts);
        let partials = self.largest_attention(|shape| shape.partials_len(self.options.context));
        let decode_rows = self.options.decode_rows;
        self.layout.partials = self.layout.push(partials.saturating_mul(decode_rows));
        let mut scratch = self.scratch_bytes();
        // SMALL builds have no architecture with experts.
        if !SMALL {
            scratch = scratch.max(self.experts_scratch(body.iter().chain(&head)));
        }
        self.layout.scratch = (0..self.options.threads)
            .map(|_| self.layout.push(scratch))
            .collect();

        let logits = self.buffer(self.graph.logits);
        let angles = |rope: &Rope| Angles {
            inverse_frequencies: rope.frequencies(self.options.context).to_vec(),
            magnitude: rope.magnitude,
            // SMALL builds have no architecture whose queries grow with their position.
            growth: rope.growth.filter(|_| !SMALL),
        };
        let ropes = self.graph.ropes.iter().map(angles).collect();
        let Scheduler {
            matmuls,
            vectors,
            layout,
            span_steps: spans,
            ..
        } = self;
        Plan {
            body,
            spans,
            head_inputs,
            head,
            logits,
            decode_rows,
            cache,
            screen,
            matmuls,
            vectors,
            ropes,
            layout,
        }
    }

    /// Vectors come first in the arena, because every step needs their places.
    fn place_vectors(&mut self) {
        let start = self.layout.total;
        for node in &self.graph.nodes {
            let Some(weight) = node.op.vector() else {
                continue;
            };
            let floats = weight.rows.saturating_mul(weight.cols);
            let region = self.layout.push(floats.saturating_mul(4));
            self.vectors.push((weight, Vector { region }));
        }
        self.layout.vectors = super::Region {
            offset: start,
            bytes: self.layout.total - start,
        };
    }

    fn vector(&self, weight: Option<Weight>) -> Option<Vector> {
        let weight = weight?;
        self.vectors
            .iter()
            .find(|(w, _)| *w == weight)
            .map(|(_, v)| *v)
    }

    fn find_last_uses(&mut self, body: &[Item], head: &[Item]) {
        for (now, item) in body.iter().enumerate() {
            let reads = self.items.reads(item);
            reads.for_each(|value| self.last_use[value] = now);
        }
        for (now, item) in head.iter().enumerate() {
            let tail = self.items.tail;
            self.items.reads(item).for_each(|value| {
                self.last_use[value] = if value < tail { FOREVER } else { now };
            });
        }
        self.last_use[self.graph.logits.0 as usize] = FOREVER;
    }

    /// The buffer of a value that an earlier item computed.
    fn buffer(&self, value: ValueId) -> Buffer {
        self.buffers[value.0 as usize].unwrap_or(Buffer {
            offset: self.base,
            width: 0,
        })
    }

    fn rows(&self, node: usize) -> usize {
        if node < self.items.tail {
            self.options.chunk
        } else {
            self.options.logit_rows
        }
    }

    fn new_buffer(&mut self, node: usize, now: usize) -> Buffer {
        let width = self.graph.nodes[node].width;
        let buffer = if self.becomes_logits(node) {
            Buffer {
                offset: LENT,
                width,
            }
        } else {
            let bytes = width.saturating_mul(4).saturating_mul(self.rows(node));
            let last_use = self.last_use[node].max(now);
            let place = self.placer.place(bytes, self.step_start, last_use);
            Buffer {
                offset: self.base.saturating_add(place),
                width,
            }
        };
        self.buffers[node] = Some(buffer);
        buffer
    }

    /// Whether a node's output is the logits, or the input from which a softcap makes
    /// them in place.
    fn becomes_logits(&self, node: usize) -> bool {
        let logits = self.graph.logits.0 as usize;
        let reads = |value: ValueId| {
            let inputs = self.graph.nodes.iter().flat_map(|node| node.op.inputs());
            inputs.filter(|&input| input == value).count()
        };
        // SMALL builds cap into a second buffer.
        node == logits
            || !SMALL
                && match self.graph.nodes[logits].op {
                    Op::Row {
                        function: RowFn::Softcap { .. },
                        a,
                        ..
                    } => a.0 as usize == node && reads(a) == 1,
                    _ => false,
                }
    }

    /// Returns the buffer for the output of `node`: that of `input`, unless `input` is
    /// still needed.
    fn in_place(&mut self, node: usize, input: ValueId, now: usize) -> Buffer {
        let source = self.buffer(input);
        let elsewhere = self.becomes_logits(node) && source.offset != LENT;
        if self.last_use[input.0 as usize] != now || elsewhere {
            return self.new_buffer(node, now);
        }
        self.extend(source, self.last_use[node]);
        self.buffers[node] = Some(source);
        source
    }

    /// Extends the life of a buffer to `last_use`.
    fn extend(&mut self, buffer: Buffer, last_use: usize) {
        if buffer.offset < LENT {
            self.placer.extend(buffer.offset - self.base, last_use);
        }
    }

    fn body_steps(&mut self, items: &[Item]) -> Vec<Step> {
        let mut first = Vec::new();
        let angles: usize = self
            .graph
            .ropes
            .iter()
            .map(|r| 2 * r.inverse_frequencies.len())
            .sum();
        if angles > 0 {
            let bytes = angles.saturating_mul(4).saturating_mul(self.options.chunk);
            let offset = self.base + self.placer.place(bytes, 0, FOREVER);
            let out = Buffer {
                offset,
                width: angles,
            };
            self.rope_table = Some(out);
            first.push(RowOp::RopeTable { out });
        }
        self.steps(items, first)
    }

    fn head_steps(&mut self, items: &[Item]) -> (Vec<(Buffer, Buffer)>, Vec<Step>) {
        let mut inputs = Vec::new();
        if let Some(table) = self.rope_table.filter(|_| !SMALL) {
            let is_rope = |node: &Node| matches!(node.op, Op::Rope { .. });
            if self.graph.nodes[self.items.tail..].iter().any(is_rope) {
                let to = self.head_input(table);
                self.rope_table = Some(to);
                inputs.push((table, to));
            }
        }
        for value in 0..self.items.tail {
            if self.last_use[value] != FOREVER {
                continue;
            }
            let Some(from) = self.buffers[value] else {
                continue;
            };
            let to = self.head_input(from);
            self.buffers[value] = Some(to);
            inputs.push((from, to));
        }
        (inputs, self.steps(items, Vec::new()))
    }

    /// Places a buffer in the head for the wanted rows of a buffer of the body.
    fn head_input(&mut self, from: Buffer) -> Buffer {
        let row = from.width.saturating_mul(4);
        let bytes = row.saturating_mul(self.options.logit_rows);
        let offset = self.base + self.placer.place(bytes, 0, FOREVER);
        Buffer {
            offset,
            width: from.width,
        }
    }

    fn steps(&mut self, items: &[Item], first: Vec<RowOp>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut ops = first;
        let mut open: Option<(usize, SpanSteps)> = None;
        self.step_start = 0;
        for (now, item) in items.iter().enumerate() {
            let span = self.items.span_of(item.nodes()[0]);
            if span != open.as_ref().map(|(span, _)| *span) {
                flush(&mut ops, &mut steps);
                self.close_span(open.take(), steps.len());
                open = span.map(|span| (span, self.open_span(span, steps.len())));
            }
            if ops.is_empty() || !item.is_row_by_row() {
                self.step_start = now;
            }
            match item {
                Item::Row(node) => self.row_op(*node, now, &mut ops),
                Item::MatMul(group) => {
                    let step = self.matmul(group, now, &mut ops);
                    steps.push(Step::Rows(core::mem::take(&mut ops)));
                    steps.push(step);
                }
                // SMALL builds have no architecture with experts.
                Item::Experts(_) if SMALL => {}
                Item::Experts(group) => {
                    let step = self.experts(group, now, &mut ops);
                    flush(&mut ops, &mut steps);
                    steps.extend(step);
                }
                Item::StoreKv(node) => ops.extend(self.store_kv(*node)),
                Item::Attention(node) => {
                    flush(&mut ops, &mut steps);
                    steps.extend(self.attention(*node, now));
                }
                Item::Columns(node) => {
                    flush(&mut ops, &mut steps);
                    steps.extend(self.columns(*node, now));
                }
            }
        }
        flush(&mut ops, &mut steps);
        self.close_span(open, steps.len());
        steps
    }

    fn open_span(&self, span: usize, first_step: usize) -> SpanSteps {
        let inputs = self.spans[span].inputs.iter();
        SpanSteps {
            steps: first_step..first_step,
            inputs: inputs.map(|&value| self.buffer(value)).collect(),
            outputs: Vec::new(),
        }
    }

    fn close_span(&mut self, open: Option<(usize, SpanSteps)>, end: usize) {
        let Some((span, mut steps)) = open else {
            return;
        };
        let outputs = self.spans[span].outputs.iter();
        steps.outputs = outputs.map(|&value| self.buffer(value)).collect();
        steps.steps.end = end;
        self.span_steps.push(steps);
    }

    fn row_op(&mut self, node: usize, now: usize, ops: &mut Vec<RowOp>) {
        match self.graph.nodes[node].op {
            Op::Embed {
                table,
                scale,
                stand_in,
            } => {
                let out = self.new_buffer(node, now);
                ops.push(RowOp::Embed {
                    table,
                    scale,
                    // SMALL builds have no architecture with it.
                    stand_in: stand_in.filter(|_| !SMALL),
                    out,
                });
            }
            Op::Row {
                function,
                a,
                b,
                weight,
            } => {
                let source = self.buffer(a);
                // `x + x` in place would overwrite its second operand.
                let out = match b == Some(a) {
                    true => self.new_buffer(node, now),
                    false => self.in_place(node, a, now),
                };
                ops.push(RowOp::Function {
                    function,
                    a: source,
                    b: b.map(|b| self.buffer(b)),
                    weight: self.vector(weight),
                    out,
                });
            }
            Op::Rope {
                input,
                head_dim,
                rope,
            } => {
                let source = self.buffer(input);
                let out = self.in_place(node, input, now);
                let Some(table) = self.rope_table else { return };
                let table_at = self.graph.ropes[..rope]
                    .iter()
                    .map(|r| 2 * r.inverse_frequencies.len())
                    .sum();
                let rope = &self.graph.ropes[rope];
                let dims = 2 * rope.inverse_frequencies.len();
                ops.push(RowOp::Rope {
                    input: source,
                    out,
                    head_dim,
                    style: rope.style,
                    table,
                    table_at,
                    dims,
                });
            }
            // SMALL builds have no architecture with the others.
            _ if SMALL => {}
            Op::Take {
                input,
                group,
                first,
            } => {
                let input = self.buffer(input);
                let out = self.new_buffer(node, now);
                ops.push(RowOp::Take {
                    input,
                    group,
                    first,
                    out,
                });
            }
            Op::Route {
                scores,
                bias,
                routing,
            } => {
                let scores = self.buffer(scores);
                let out = self.new_buffer(node, now);
                ops.push(RowOp::Route {
                    scores,
                    bias: self.vector(bias),
                    routing,
                    out,
                });
            }
            Op::Join { a, b, groups } => {
                let (a, b) = (self.buffer(a), self.buffer(b));
                let out = self.new_buffer(node, now);
                ops.push(RowOp::Join { a, b, groups, out });
            }
            Op::RouteToAll { .. } => {
                let out = self.new_buffer(node, now);
                ops.push(RowOp::RouteToAll { out });
            }
            Op::Weigh { routes, weight } => {
                let Some(weight) = self.vector(Some(weight)) else {
                    return;
                };
                let source = self.buffer(routes);
                let out = self.in_place(node, routes, now);
                ops.push(RowOp::Weigh {
                    routes: source,
                    weight,
                    out,
                });
            }
            Op::Mix { input, routes } => {
                let (input, routes) = (self.buffer(input), self.buffer(routes));
                let out = self.new_buffer(node, now);
                ops.push(RowOp::Mix { input, routes, out });
            }
            // These are not row operations.
            Op::MatMul { .. }
            | Op::Experts { .. }
            | Op::Attention { .. }
            | Op::SharedAttention { .. }
            | Op::Conv { .. }
            | Op::LinearAttention { .. } => {}
        }
    }

    fn matmul(&mut self, group: &[usize], now: usize, ops: &mut Vec<RowOp>) -> Step {
        let mut parts = Vec::new();
        for &node in group {
            let Op::MatMul {
                input,
                weight,
                bias,
            } = self.graph.nodes[node].op
            else {
                continue;
            };
            if parts.is_empty() {
                ops.push(RowOp::Prepare {
                    input: self.buffer(input),
                    matmul: self.matmuls.len(),
                });
            }
            let bias = self.vector(bias);
            let (out, accumulate) = match self.items.absorbed[node] {
                Some((add, residual)) => {
                    let out = self.buffer(residual);
                    self.extend(out, self.last_use[add]);
                    self.buffers[add] = Some(out);
                    (out, true)
                }
                None => (self.new_buffer(node, now), false),
            };
            parts.push(Part {
                weight,
                bias,
                out,
                accumulate,
            });
        }
        Step::MatMul(self.push_matmul(parts, 1))
    }

    /// Returns the index of the new matmul.
    fn push_matmul(&mut self, parts: Vec<Part>, inputs: usize) -> usize {
        let pieces = pieces(&parts, ROWS_MULTIPLE);
        self.matmuls.push(MatMul {
            parts,
            pieces,
            inputs,
        });
        self.matmuls.len() - 1
    }

    /// The products of one input with the matrices of the chosen experts.
    fn experts(&mut self, group: &[usize], now: usize, ops: &mut Vec<RowOp>) -> Option<Step> {
        let mut step = None;
        let mut parts = Vec::new();
        for &node in group {
            let Op::Experts {
                input,
                routes,
                weight,
                bias,
                count,
            } = self.graph.nodes[node].op
            else {
                continue;
            };
            step = Some((self.buffer(input), weight.cols, self.buffer(routes), count));
            parts.push(Part {
                weight,
                bias: self.vector(bias),
                out: self.new_buffer(node, now),
                accumulate: false,
            });
        }
        let (input, cols, routes, count) = step?;
        let matmul = self.push_matmul(parts, input.width / cols);
        ops.push(RowOp::Prepare { input, matmul });
        Some(Step::Experts(ExpertsStep {
            matmul,
            routes,
            count,
        }))
    }

    fn store_kv(&self, node: usize) -> Option<RowOp> {
        let op = &self.graph.nodes[node].op;
        let Op::Attention { k, v, .. } = *op else {
            return None;
        };
        let (slot, _) = attention_shape(op)?;
        let (k, v) = (self.buffer(k), self.buffer(v));
        Some(RowOp::StoreKv(StoreKv { slot, k, v }))
    }

    fn columns(&mut self, node: usize, now: usize) -> Option<Step> {
        if SMALL {
            return None;
        }
        let out = self.new_buffer(node, now);
        match self.graph.nodes[node].op {
            Op::Conv {
                input,
                weight,
                slot,
            } => Some(Step::Conv(ConvStep {
                slot: slot as usize,
                weight: self.vector(Some(weight))?,
                taps: weight.cols,
                input: self.buffer(input),
                out,
            })),
            Op::LinearAttention {
                q,
                k,
                v,
                decay,
                beta,
                linear,
            } => Some(Step::LinearAttention(LinearAttentionStep {
                linear,
                qkv: [q, k, v].map(|value| self.buffer(value)),
                decay: self.buffer(decay),
                beta: self.buffer(beta),
                out,
            })),
            _ => None,
        }
    }

    fn attention(&mut self, node: usize, now: usize) -> Option<Step> {
        let op = &self.graph.nodes[node].op;
        let q = match *op {
            Op::Attention { q, .. } => q,
            // SMALL builds have no architecture with it.
            Op::SharedAttention { q, .. } if !SMALL => q,
            _ => return None,
        };
        let (slot, shape) = attention_shape(op)?;
        let sinks = if SMALL { None } else { op.vector() };
        let q = self.buffer(q);
        let out = self.new_buffer(node, now);
        Some(Step::Attention(AttentionStep {
            slot,
            shape,
            q,
            sinks: self.vector(sinks),
            out,
        }))
    }

    /// Bytes of the largest prepared activations of any matmul step, for any number of
    /// rows.
    fn acts_bytes(&self) -> usize {
        let chunk = self.options.chunk;
        let bytes = |step: &MatMul, m: usize| {
            let cols = step.parts.first().map_or(0, |p| p.weight.cols);
            let inputs = if SMALL { 1 } else { step.inputs };
            let rows = m.saturating_mul(inputs);
            step.act_kinds(m, self.kernels)
                .map(|kind| kind.bytes(cols).saturating_mul(rows))
                .sum::<usize>()
        };
        // For few rows, the forms depend on the number of rows.
        let counts = (1..=FINE_TOKENS.min(chunk)).chain([chunk]);
        let largest = |step: &MatMul| counts.clone().map(|m| bytes(step, m)).max();
        self.matmuls.iter().filter_map(largest).max().unwrap_or(0)
    }

    /// Bytes of scratch that a thread needs for matmuls and attention.
    fn scratch_bytes(&self) -> usize {
        let matmul = self
            .matmuls
            .iter()
            .map(|matmul| self.kernel_scratch(matmul));
        let attention = self.largest_attention(|shape| shape.scratch_len());
        matmul.fold(attention, usize::max)
    }

    /// Bytes of scratch that kernels need for any part of a matmul.
    fn kernel_scratch(&self, matmul: &MatMul) -> usize {
        let weights = matmul.parts.iter().map(|part| part.weight);
        let bytes = weights.map(|w| self.kernels.scratch_bytes(w.dtype, w.cols));
        bytes.max().unwrap_or(0)
    }

    /// Bytes of scratch that a thread needs for the expert steps among `steps`.
    fn experts_scratch<'s>(&self, steps: impl Iterator<Item = &'s Step>) -> usize {
        let of_step = |step: &ExpertsStep| {
            let matmul = &self.matmuls[step.matmul];
            let outputs = matmul.pieces.iter().map(|piece| piece.rows.len()).max();
            let cols = matmul.parts.first().map_or(0, |part| part.weight.cols);
            let kernel = self.kernel_scratch(matmul);
            let rows = [1, self.options.chunk].into_iter();
            rows.flat_map(|rows| matmul.act_kinds(rows, self.kernels))
                .map(|kind| ExpertsScratch::bytes(kind, cols, outputs.unwrap_or(0), kernel))
                .fold(0, usize::max)
        };
        let experts = steps.filter_map(|step| match step {
            Step::Experts(step) => Some(of_step(step)),
            _ => None,
        });
        experts.max().unwrap_or(0)
    }

    /// The most bytes that any attention needs, where `floats` gives the number of floats
    /// for one shape.
    fn largest_attention(&self, floats: impl Fn(&AttentionShape) -> usize) -> usize {
        let shapes = self
            .graph
            .nodes
            .iter()
            .filter_map(|n| attention_shape(&n.op));
        shapes
            .map(|(_, shape)| floats(&shape).saturating_mul(4))
            .max()
            .unwrap_or(0)
    }
}

/// Ends the current step of row operations, if it has any.
fn flush(ops: &mut Vec<RowOp>, steps: &mut Vec<Step>) {
    if !ops.is_empty() {
        steps.push(Step::Rows(core::mem::take(ops)));
    }
}

impl MatMul {
    /// The different forms of activations that the parts need for `m` rows.
    pub fn act_kinds<'m>(
        &'m self,
        m: usize,
        kernels: &'m Kernels,
    ) -> impl Iterator<Item = ActKind> + 'm {
        let asked = move |part: &Part| kernels.act_kind(part.weight.dtype, m);
        let parts = self.parts.iter().enumerate();
        parts
            .filter(move |(i, part)| !self.parts[..*i].iter().any(|p| asked(p) == asked(part)))
            .map(move |(_, p)| asked(p))
    }
}

/// Divides the rows of all parts into pieces of about equal bytes, which start at
/// multiples of `multiple`.
pub(super) fn pieces(parts: &[Part], multiple: usize) -> Vec<Piece> {
    let row_bytes = |part: &Part| {
        part.weight
            .dtype
            .row_bytes(part.weight.cols)
            .unwrap_or(1)
            .max(1)
    };
    let total: usize = parts
        .iter()
        .map(|p| row_bytes(p).saturating_mul(p.weight.rows))
        .sum();
    let target = (total / PIECES).clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end());
    let mut pieces = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let rows = (target / row_bytes(part))
            .next_multiple_of(multiple)
            .max(multiple);
        let starts = (0..part.weight.rows).step_by(rows);
        pieces.extend(starts.map(|r| Piece {
            part: index,
            rows: r..(r + rows).min(part.weight.rows),
        }));
    }
    pieces
}
