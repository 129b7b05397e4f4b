//! Graph to steps.
//!
//! A [`Plan`] is the graph in the order in which the CPU runs it, with every
//! buffer at a known place. There are three kinds of steps, each one fork-join:
//! row operations (all that concerns one token alone), matmuls that share an
//! input, and attention. See [`schedule`] for what is fused and [`memory`] for
//! where values lie;
//! [`screen`] is for models that have a screen of their head.

#[cfg(feature = "std")]
mod check;
mod items;
mod placer;
mod schedule;
mod screen;
mod spans;

pub use screen::{CHUNK, ScreenPlan};
#[cfg(any(test, feature = "delegate"))]
pub use spans::spans;
pub use spans::{Span, SpanSteps};

use crate::cache::CacheLayout;
use crate::kernels::Kernels;
use crate::kernels::attention::{AttentionShape, KvType};
use crate::memory::{ArenaLayout, Buffer, Region};
use alloc::vec::Vec;
use core::ops::Range;
use ondol_models::graph::{Graph, Op, RopeStyle, RowFn, Weight};
use ondol_models::heap;
use ondol_models::screen::Screen;

/// What an engine's sizes are decided by.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions {
    /// Tokens of a sequence.
    pub context: usize,
    /// Tokens of one prefill pass, at most.
    pub chunk: usize,
    /// Rows of logits that can be computed at a time.
    pub logit_rows: usize,
    /// Rows of logits that a session has.
    pub session_rows: usize,
    /// Tokens of one sequence that can be decoded in one pass.
    pub draft_rows: usize,
    /// Tokens that can be decoded in one pass; at most `chunk`.
    pub decode_rows: usize,
    /// Threads that run the steps.
    pub threads: usize,
    /// What keys and values are kept as.
    pub kv_type: KvType,
}

/// A vector of the file (norm weight, bias), kept as f32 in the arena.
#[derive(Debug, Clone, Copy)]
pub struct Vector {
    /// Where the floats lie.
    pub region: Region,
}

/// An operation on one token's row.
#[derive(Debug, Clone)]
pub enum RowOp {
    /// Cosines, then sines of every rope for the token's position.
    RopeTable { out: Buffer },
    /// The row of `table` of the token's id, times `scale`.
    Embed {
        table: Weight,
        scale: f32,
        out: Buffer,
    },
    /// A function of the row. In place where `out` is `a`.
    Function {
        function: RowFn,
        a: Buffer,
        b: Option<Buffer>,
        weight: Option<Vector>,
        out: Buffer,
    },
    /// Rotates the heads with the part of the rope table from `table_at` on. In place
    /// where `out` is `input`.
    Rope {
        input: Buffer,
        out: Buffer,
        head_dim: usize,
        style: RopeStyle,
        table: Buffer,
        table_at: usize,
        dims: usize,
    },
    /// Keys and values into the cache.
    StoreKv(StoreKv),
    /// The row in the forms that the next step asks for: an index in [`Plan::matmuls`].
    Prepare { input: Buffer, matmul: usize },
}

/// Puts a token's keys and values into a slot of its sequence's cache.
#[derive(Debug, Clone)]
pub struct StoreKv {
    /// Slot of the cache.
    pub slot: usize,
    /// Keys.
    pub k: Buffer,
    /// Values.
    pub v: Buffer,
}

/// The angles of a rotary embedding: those of pair `i` at position `p` are
/// `p * inverse_frequencies[i]`.
#[derive(Debug, Clone)]
pub struct Angles {
    /// One per pair.
    pub inverse_frequencies: Vec<f32>,
    /// Factor on cosine and sine.
    pub magnitude: f32,
}

/// One weight of a matmul step.
#[derive(Debug, Clone)]
pub struct Part {
    /// `width x input width`.
    pub weight: Weight,
    /// Added to each row of the output.
    pub bias: Option<Vector>,
    /// Where the output goes.
    pub out: Buffer,
    /// Whether the output is added to what is there (a residual).
    pub accumulate: bool,
}

/// Rows of one part that one thread computes at a time.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Index in [`MatMul::parts`].
    pub part: usize,
    /// Output rows; starts at a multiple of 16.
    pub rows: Range<usize>,
}

impl Piece {
    /// Part `cut` of so many, which are about as large; the last may be empty.
    pub fn cut(&self, cut: usize, cuts: usize) -> Piece {
        let rows = self.rows.len().div_ceil(cuts);
        let rows = rows.next_multiple_of(schedule::ROWS_MULTIPLE);
        let at = |cut: usize| self.rows.end.min(self.rows.start + cut * rows);
        Piece {
            part: self.part,
            rows: at(cut)..at(cut + 1),
        }
    }
}

/// Matmuls that share their input.
#[derive(Debug, Clone)]
pub struct MatMul {
    /// The weights.
    pub parts: Vec<Part>,
    /// The work in small pieces, taken by whoever is free.
    pub pieces: Vec<Piece>,
}

/// Attention over one cache slot.
#[derive(Debug, Clone)]
pub struct AttentionStep {
    /// Cache slot.
    pub slot: usize,
    /// Heads, scale, window.
    pub shape: AttentionShape,
    /// Queries.
    pub q: Buffer,
    /// Where the result goes.
    pub out: Buffer,
}

/// One fork-join.
#[derive(Debug, Clone)]
pub enum Step {
    /// Row operations, token by token.
    Rows(Vec<RowOp>),
    /// Index in [`Plan::matmuls`].
    MatMul(usize),
    /// Attention.
    Attention(AttentionStep),
    /// A convolution or a recurrence, all rows of some columns at a time.
    Columns(ColumnStep),
}

impl Step {
    /// Whether it is the one of its layer that looks at other rows: a pass can be
    /// cancelled before it.
    pub fn ends_layer(&self) -> bool {
        matches!(self, Step::Attention(_) | Step::Columns(_))
    }
}

/// What [`Step::Columns`] computes.
#[derive(Debug, Clone)]
pub struct ColumnStep {
    /// Slot of the cache.
    pub slot: usize,
    /// What is computed of each column.
    pub op: ColumnOp,
    /// What is convolved, or added.
    pub input: Buffer,
    /// Where the result goes; of the same width.
    pub out: Buffer,
}

/// An operation on one column, whose rows depend on each other.
#[derive(Debug, Clone, Copy)]
pub enum ColumnOp {
    /// [`Op::Conv`], with the weights `[column][tap]`.
    Conv { weight: Vector, taps: usize },
    /// [`Op::Scan`].
    Scan { decay: Buffer },
}

/// Steps and memory of a model for given options.
#[derive(Debug)]
pub struct Plan {
    /// From token ids to the last layer's keys and values, for all tokens of a chunk.
    pub body: Vec<Step>,
    /// Parts of the body that can run elsewhere, in the order of the [`Span`]s that
    /// were asked for.
    pub spans: Vec<SpanSteps>,
    /// Values of the body that the head starts from, and where it wants their rows.
    pub head_inputs: Vec<(Buffer, Buffer)>,
    /// From the last layer's attention to logits, for the rows that are wanted.
    pub head: Vec<Step>,
    /// The logits, in the block that is lent to the arena.
    pub logits: Buffer,
    /// [`PlanOptions::decode_rows`], at least one.
    pub decode_rows: usize,
    /// What a sequence keeps.
    pub cache: CacheLayout,
    /// How the likeliest tokens are found without the whole head.
    pub screen: Option<ScreenPlan>,
    /// Every matmul step, in order of execution.
    pub matmuls: Vec<MatMul>,
    /// Every vector of the file that is kept as f32, with its place.
    pub vectors: Vec<(Weight, Vector)>,
    /// The ropes of the graph, for this context.
    pub ropes: Vec<Angles>,
    /// Where everything lies.
    pub layout: ArenaLayout,
}

impl Plan {
    /// Schedules `graph` and lays out its memory, with the screen of its head if
    /// it is to be used. No step reaches across the ends of one of the `spans`.
    pub fn new(
        graph: &Graph,
        screen: Option<&Screen>,
        kernels: &Kernels,
        options: PlanOptions,
        spans: &[Span],
    ) -> Plan {
        schedule::Scheduler::new(graph, kernels, options, spans).run(screen)
    }

    /// Bytes on the heap: the steps in which a pass runs.
    pub fn heap_bytes(&self) -> usize {
        let mut bytes = heap::bytes(&self.head_inputs)
            + heap::bytes(&self.matmuls)
            + heap::bytes(&self.vectors)
            + heap::bytes(&self.ropes)
            + self.cache.heap_bytes()
            + heap::bytes(&self.layout.scratch);
        for steps in [&self.body, &self.head] {
            bytes += heap::bytes(steps);
            for step in steps {
                if let Step::Rows(ops) = step {
                    bytes += heap::bytes(ops);
                }
            }
        }
        for matmul in &self.matmuls {
            bytes += heap::bytes(&matmul.parts) + heap::bytes(&matmul.pieces);
        }
        bytes += heap::bytes(&self.spans);
        for span in &self.spans {
            bytes += heap::bytes(&span.inputs) + heap::bytes(&span.outputs);
        }
        for rope in &self.ropes {
            bytes += heap::bytes(&rope.inverse_frequencies);
        }
        bytes
    }
}

/// The attention shape of the kernels for a graph's attention.
fn attention_shape(op: &Op) -> Option<(usize, AttentionShape)> {
    let Op::Attention { attention: a, .. } = op else {
        return None;
    };
    let shape = AttentionShape {
        heads: a.heads,
        kv_heads: a.kv_heads,
        head_dim: a.head_dim,
        scale: a.scale,
        softcap: a.softcap,
        window: a.window,
    };
    Some((a.slot as usize, shape))
}

#[cfg(test)]
mod tests;
