//! The plan: a graph scheduled as steps, with the place of every buffer.
//!
//! A [`Plan`] has the operations of a graph in the order in which the CPU runs them.
//! Each step is one fork-join of the thread pool. There are five kinds: row operations
//! (each concerns one row alone), matmuls that share an input, matmuls with the matrices
//! of chosen experts, attention, and columns (convolutions and linear attention).
//! [`schedule`] decides what is fused, [`placer`] assigns memory, [`mod@spans`] finds the
//! parts that a device can run, and [`screen`] plans a screened output head.

#[cfg(feature = "std")]
mod check;
mod experts;
mod items;
mod placer;
mod schedule;
mod screen;
mod spans;

pub use experts::{ExpertsScratch, GATHERED};
#[cfg(feature = "delegate")]
pub use items::tail;
pub use screen::{ROWS_PER_MAXIMUM, ScreenPlan};
#[cfg(any(test, feature = "delegate"))]
pub use spans::spans;
pub use spans::{Span, SpanSteps};

use crate::cache::CacheLayout;
use crate::cache::KvType;
use crate::memory::{ArenaLayout, Buffer, Region};
use alloc::vec::Vec;
use core::ops::Range;
use ondol_kernels::attention::AttentionShape;
use ondol_kernels::{Kernels, SMALL};
use ondol_models::graph::{Graph, Growth, LinearAttention, Op, RopeStyle, Routing, RowFn, Weight};
use ondol_models::heap;
use ondol_models::screen::Screen;

/// The sizes and the KV type from which a plan is made.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions {
    /// Positions that a session has room for.
    pub context: usize,
    /// Largest number of tokens in one prefill pass.
    pub chunk: usize,
    /// Rows of logits that one run of the head can compute.
    pub logit_rows: usize,
    /// Rows of logits that a session owns.
    pub session_rows: usize,
    /// Largest number of rows that one sequence can have in one decode pass: a token
    /// and its drafts.
    pub draft_rows: usize,
    /// Largest number of rows in one decode pass, over all sequences; at most `chunk`.
    pub decode_rows: usize,
    /// Threads that run the steps.
    pub threads: usize,
    /// Format of the KV cache.
    pub kv_type: KvType,
}

/// A vector of the file (norm weight, bias), converted to f32 in the arena.
#[derive(Debug, Clone, Copy)]
pub struct Vector {
    /// Place of the floats.
    pub region: Region,
}

/// An operation on one row.
#[derive(Debug, Clone)]
pub enum RowOp {
    /// Writes the cosines, then the sines, of every rope for the row's position.
    RopeTable { out: Buffer },
    /// Writes the row of `table` that belongs to the token, times `scale`. If the pass
    /// has vectors in the place of tokens, copies the row's vector unscaled, or writes the
    /// row of the token `stand_in`.
    Embed {
        table: Weight,
        scale: f32,
        stand_in: Option<u32>,
        out: Buffer,
    },
    /// Applies a function to the row. Works in place if `out` equals `a`.
    Function {
        function: RowFn,
        a: Buffer,
        b: Option<Buffer>,
        weight: Option<Vector>,
        out: Buffer,
    },
    /// Rotates the heads with the `dims` numbers of the rope table that begin at
    /// `table_at`. Works in place if `out` equals `input`.
    Rope {
        input: Buffer,
        out: Buffer,
        head_dim: usize,
        style: RopeStyle,
        table: Buffer,
        table_at: usize,
        dims: usize,
    },
    /// Copies `out.width / (input.width / group)` columns, from the column `first` on, of
    /// each group of columns.
    Take {
        input: Buffer,
        group: usize,
        first: usize,
        out: Buffer,
    },
    /// [`Op::Join`].
    Join {
        a: Buffer,
        b: Buffer,
        groups: usize,
        out: Buffer,
    },
    /// [`Op::RouteToAll`].
    RouteToAll { out: Buffer },
    /// [`Op::Route`].
    Route {
        scores: Buffer,
        bias: Option<Vector>,
        routing: Routing,
        out: Buffer,
    },
    /// [`Op::Weigh`]. Works in place if `out` equals `routes`.
    Weigh {
        routes: Buffer,
        weight: Vector,
        out: Buffer,
    },
    /// [`Op::Mix`].
    Mix {
        input: Buffer,
        routes: Buffer,
        out: Buffer,
    },
    /// Writes the row's keys and values into the cache.
    StoreKv(StoreKv),
    /// Converts the row to the forms of activations that a matmul step needs. `matmul`
    /// is an index in [`Plan::matmuls`].
    Prepare { input: Buffer, matmul: usize },
}

/// Writes a row's keys and values into a slot of its sequence's cache.
#[derive(Debug, Clone)]
pub struct StoreKv {
    /// Slot of the cache.
    pub slot: usize,
    /// Keys.
    pub k: Buffer,
    /// Values.
    pub v: Buffer,
}

/// The angles of one rotary embedding: pair `i` at position `p` is rotated by
/// `p * inverse_frequencies[i]`.
#[derive(Debug, Clone)]
pub struct Angles {
    /// One number for each pair.
    pub inverse_frequencies: Vec<f32>,
    /// Factor on every cosine and sine.
    pub magnitude: f32,
    /// A further factor, which depends on the position.
    pub growth: Option<Growth>,
}

/// One weight matrix of a matmul step.
#[derive(Debug, Clone)]
pub struct Part {
    /// Shape: output width x input width.
    pub weight: Weight,
    /// Added to each row of the output; one number for each output.
    pub bias: Option<Vector>,
    /// Place of the output.
    pub out: Buffer,
    /// Whether the product is added to the present contents of `out` (a residual)
    /// instead of replacing them.
    pub accumulate: bool,
}

/// The outputs of one part that one thread computes at a time.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Index in [`MatMul::parts`].
    pub part: usize,
    /// Rows of the weight, which are outputs; the first is a multiple of 16.
    pub rows: Range<usize>,
}

impl Piece {
    /// Returns cut number `cut` of `cuts` cuts of about equal size. The last cuts may
    /// be empty.
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

/// Matmuls that share their input: one step.
#[derive(Debug, Clone)]
pub struct MatMul {
    /// The weights.
    pub parts: Vec<Part>,
    /// The work, divided into pieces that the threads share.
    pub pieces: Vec<Piece>,
    /// Rows of activations for each row of a pass: one, except where the input has a row
    /// for each expert.
    pub inputs: usize,
}

/// Attention over one cache slot.
#[derive(Debug, Clone)]
pub struct AttentionStep {
    /// Cache slot.
    pub slot: usize,
    /// Attention heads, scale, window.
    pub shape: AttentionShape,
    /// Queries.
    pub q: Buffer,
    /// A sink for each query head; never in SMALL builds.
    pub sinks: Option<Vector>,
    /// Place of the result.
    pub out: Buffer,
}

/// One fork-join of the thread pool.
#[derive(Debug, Clone)]
pub enum Step {
    /// Row operations, all of them for one row at a time.
    Rows(Vec<RowOp>),
    /// Matmuls that share an input: an index in [`Plan::matmuls`].
    MatMul(usize),
    /// Matmuls with the matrices of the experts that each row chose.
    Experts(ExpertsStep),
    /// Attention of all rows over one cache slot.
    Attention(AttentionStep),
    /// A convolution: all rows of some columns at a time.
    Conv(ConvStep),
    /// Linear attention: all rows of some columns of a head at a time.
    LinearAttention(LinearAttentionStep),
}

impl Step {
    /// Whether the step is one that reads other rows of its sequence. A layer has at
    /// least one such step, and a pass can be cancelled before it.
    pub fn reads_other_rows(&self) -> bool {
        matches!(
            self,
            Step::Attention(_) | Step::Conv(_) | Step::LinearAttention(_)
        )
    }
}

/// The [`Op::Experts`] that share input and routes, with their operands.
#[derive(Debug, Clone)]
pub struct ExpertsStep {
    /// Index in [`Plan::matmuls`]. Its parts and pieces are those of one expert; its
    /// weights are those of the first expert.
    pub matmul: usize,
    /// The experts that each row chose.
    pub routes: Buffer,
    /// The number of experts.
    pub count: usize,
}

impl ExpertsStep {
    /// How many experts a row chose.
    pub fn used(&self) -> usize {
        self.routes.width / 2
    }
}

/// [`Op::Conv`] with its operands.
#[derive(Debug, Clone)]
pub struct ConvStep {
    /// Slot of the cache.
    pub slot: usize,
    /// `[column][tap]`.
    pub weight: Vector,
    /// Rows that each output sees.
    pub taps: usize,
    /// The value to convolve.
    pub input: Buffer,
    /// Place of the result, as wide as `input`.
    pub out: Buffer,
}

/// [`Op::LinearAttention`] with its operands.
#[derive(Debug, Clone)]
pub struct LinearAttentionStep {
    /// Slot of the cache, heads and the rule.
    pub linear: LinearAttention,
    /// Queries, keys and values.
    pub qkv: [Buffer; 3],
    /// Logarithms of the factors on the state.
    pub decay: Buffer,
    /// Factors on what is stored.
    pub beta: Buffer,
    /// Place of the result.
    pub out: Buffer,
}

/// Steps and memory of a model for given options.
#[derive(Debug)]
pub struct Plan {
    /// Steps for every row of a pass: up to the last operation that keeps a state.
    pub body: Vec<Step>,
    /// Parts of the body that a device can run, in the order of the [`Span`]s given to
    /// [`Plan::new`].
    pub spans: Vec<SpanSteps>,
    /// Values of the body that the head reads: the buffer in the body, and the buffer
    /// to which the wanted rows are copied.
    pub head_inputs: Vec<(Buffer, Buffer)>,
    /// Steps after the body, for rows whose logits are wanted.
    pub head: Vec<Step>,
    /// The logits, in the block that the caller of a pass lends to the arena.
    pub logits: Buffer,
    /// [`PlanOptions::decode_rows`], at least one.
    pub decode_rows: usize,
    /// Layout of a sequence's cache.
    pub cache: CacheLayout,
    /// How decode finds the likeliest tokens without the exact logits of all tokens.
    pub screen: Option<ScreenPlan>,
    /// Every matmul step, in order of execution.
    pub matmuls: Vec<MatMul>,
    /// Every vector of the file that is kept as f32, with its place.
    pub vectors: Vec<(Weight, Vector)>,
    /// The ropes of the graph, with the frequencies for this context.
    pub ropes: Vec<Angles>,
    /// The regions of the arena.
    pub layout: ArenaLayout,
}

impl Plan {
    /// Schedules `graph` and lays out its memory. `screen` is the screen of its output
    /// head, if it is to be used. No step contains operations from both inside and
    /// outside one of the `spans`.
    pub fn new(
        graph: &Graph,
        screen: Option<&Screen>,
        kernels: &Kernels,
        options: PlanOptions,
        spans: &[Span],
    ) -> Plan {
        schedule::Scheduler::new(graph, kernels, options, spans).run(screen)
    }

    /// Bytes that the plan itself takes on the heap.
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

/// The cache slot and the kernels' shape of an attention; `None` for other operations.
fn attention_shape(op: &Op) -> Option<(usize, AttentionShape)> {
    let a = match op {
        Op::Attention { attention, .. } => attention,
        // SMALL builds have no architecture with it.
        Op::SharedAttention { attention, .. } if !SMALL => attention,
        _ => return None,
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
