//! The graph IR: what one forward pass computes, at the level at which
//! accelerators think.
//!
//! A [`Graph`] is a list of [`Node`]s in order of execution. Every value is a
//! matrix of `tokens x width`; `tokens` is the one symbolic dimension, `width`
//! is known. Weights are named by their place in the file ([`Weight`]) and hold
//! no bytes, so a graph costs a few kilobytes whatever the model's size.

mod builder;
mod dump;
mod leftover;

pub use builder::Builder;

use crate::heap;
use crate::quant::{DType, Layout};
use alloc::string::String;
use alloc::vec::Vec;

/// A value: the output of the node of the same number, `tokens x width` floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// Rows of a tensor of the file.
///
/// A matrix of `rows x cols`, row-major: `cols` is the file's first dimension.
/// `first_row` is not zero where several matrices were fused in one tensor
/// (phi3's q, k, v). A vector has one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weight {
    /// Index in [`crate::gguf::Gguf::tensors`].
    pub tensor: u32,
    /// Storage of its elements.
    pub dtype: DType,
    /// How its rows lie. Packed, `first_row` is a multiple of eight, and so is
    /// the end unless it is the tensor's.
    pub layout: Layout,
    /// First row of the tensor that belongs to this matrix.
    pub first_row: usize,
    /// Rows (output width of a matmul).
    pub rows: usize,
    /// Columns (input width of a matmul).
    pub cols: usize,
}

/// Which elements of a head rotate together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// Elements `2i` and `2i+1` (llama GGUF files store q and k permuted for it).
    Interleaved,
    /// Elements `i` and `i + dims/2` (GPT-NeoX).
    HalfSplit,
}

/// Rotary position embedding (RoFormer, arXiv:2104.09864) with the scalings in use.
///
/// The angle of pair `i` at position `p` is `p * inverse_frequencies[i]`; cosine
/// and sine are multiplied by `magnitude` (1 except in LongRoPE and YaRN). An executor
/// takes the frequencies from [`Rope::frequencies`].
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Pairing of the elements.
    pub style: RopeStyle,
    /// One per pair, scaling and frequency factors already applied; `dims/2` long.
    pub inverse_frequencies: Vec<f32>,
    /// Factor on cosine and sine.
    pub magnitude: f32,
    /// What replaces the frequencies in long contexts, if anything does.
    pub long: Option<LongRope>,
}

/// The second set of frequencies of LongRoPE (arXiv:2402.13753).
#[derive(Debug, Clone, PartialEq)]
pub struct LongRope {
    /// It holds in contexts of more tokens than this.
    pub above: usize,
    /// As [`Rope::inverse_frequencies`].
    pub inverse_frequencies: Vec<f32>,
}

impl Rope {
    fn heap_bytes(&self) -> usize {
        let long = self.long.as_ref();
        heap::bytes(&self.inverse_frequencies)
            + long.map_or(0, |long| heap::bytes(&long.inverse_frequencies))
    }

    /// The inverse frequencies in a context of at most `context` tokens. They
    /// must not change while a cache lives, so this is its capacity.
    pub fn frequencies(&self, context: usize) -> &[f32] {
        match &self.long {
            Some(long) if context > long.above => &long.inverse_frequencies,
            _ => &self.inverse_frequencies,
        }
    }
}

/// The gate of a gated linear unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU in its tanh form (gemma).
    GeluTanh,
}

/// What an operation keeps of one sequence from pass to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Keys and values of earlier positions.
    KeysValues {
        /// Key and value heads.
        kv_heads: usize,
        /// Numbers of a head's key, and of its value.
        head_dim: usize,
        /// A query sees so many of the last positions, its own included.
        window: Option<usize>,
    },
    /// The last rows of an input.
    Conv {
        /// How many.
        rows: usize,
        /// Floats of a row.
        width: usize,
    },
    /// Numbers that every token changes.
    Recurrent {
        /// How many floats.
        floats: usize,
    },
}

/// Attention with grouped key/value heads over the keys and values of a slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Number of its [`State`] among those of the graph, in order of the nodes.
    pub slot: u32,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head, of queries, keys and values alike.
    pub head_dim: usize,
    /// Factor on q.k.
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)` (gemma2).
    pub softcap: Option<f32>,
    /// A key is seen while `query position - key position < window`.
    pub window: Option<usize>,
}

/// What is computed of each row alone, from one value or two of the same width.
///
/// Stated here once: the plan's steps, the segments of delegates and the conformance
/// kit hold this type and add where the operands lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowFn {
    /// Root-mean-square norm of each run of `group` elements of `a`, times a weight of
    /// `group` elements, if there is one.
    RmsNorm {
        /// The whole width, or a head's width for the norms on q and k.
        group: usize,
        /// Added to the mean square.
        eps: f32,
    },
    /// `a + b`.
    Add,
    /// `a * factor`.
    Scale {
        /// The factor.
        factor: f32,
    },
    /// `activation(a) * b`: a gated linear unit, where `a` is the gate.
    Glu(Activation),
    /// `cap * tanh(a / cap)`.
    Softcap {
        /// The cap.
        cap: f32,
    },
}

impl RowFn {
    /// Values that it reads: 1 or 2.
    pub fn values(self) -> usize {
        match self {
            RowFn::Add | RowFn::Glu(_) => 2,
            RowFn::RmsNorm { .. } | RowFn::Scale { .. } | RowFn::Softcap { .. } => 1,
        }
    }

    /// Elements of the weight that it may have beside the values.
    pub fn weight_len(self) -> Option<usize> {
        match self {
            RowFn::RmsNorm { group, .. } => Some(group),
            _ => None,
        }
    }
}

/// One operation; inputs are values of earlier nodes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Rows of `table` by token id, times `scale`.
    Embed {
        /// `vocabulary x width`.
        table: Weight,
        /// Factor on every element (gemma: the root of the width).
        scale: f32,
    },
    /// `input * weight^T (+ bias)`.
    MatMul {
        /// `tokens x weight.cols`.
        input: ValueId,
        /// `width x input width`.
        weight: Weight,
        /// A vector of `width`.
        bias: Option<Weight>,
    },
    /// A function of each row alone.
    Row {
        /// The function.
        function: RowFn,
        /// Its first value; the output has the same width.
        a: ValueId,
        /// Its second value, of functions of two.
        b: Option<ValueId>,
        /// A vector of [`RowFn::weight_len`] elements.
        weight: Option<Weight>,
    },
    /// Rotates each head of `head_dim` by its token's position.
    Rope {
        /// `tokens x (heads * head_dim)`.
        input: ValueId,
        /// Width of a head.
        head_dim: usize,
        /// Index in [`Graph::ropes`].
        rope: usize,
    },
    /// Appends k and v to the cache slot, then attends from q.
    Attention {
        /// `tokens x (heads * head_dim)`.
        q: ValueId,
        /// `tokens x (kv_heads * head_dim)`.
        k: ValueId,
        /// `tokens x (kv_heads * head_dim)`.
        v: ValueId,
        /// Shape and options.
        attention: Attention,
    },
    /// A causal convolution of each column: `y[t][c] = sum over i of
    /// weight[c][i] * input[t - taps + 1 + i][c]`, where rows before the first token
    /// are zero.
    Conv {
        /// What is convolved.
        input: ValueId,
        /// `width x taps`, of `f32`.
        weight: Weight,
        /// As [`Attention::slot`].
        slot: u32,
    },
    /// A linear recurrence of each column: `y[t] = decay[t] * y[t - 1] + input[t]`,
    /// where `y` is zero before the first token.
    Scan {
        /// Factors on the row before.
        decay: ValueId,
        /// What is added, of the same width.
        input: ValueId,
        /// As [`Attention::slot`].
        slot: u32,
    },
}

impl Op {
    /// The values this operation reads.
    pub fn inputs(&self) -> impl Iterator<Item = ValueId> {
        let list: [Option<ValueId>; 3] = match *self {
            Op::Embed { .. } => [None; 3],
            Op::MatMul { input, .. } | Op::Rope { input, .. } | Op::Conv { input, .. } => {
                [Some(input), None, None]
            }
            Op::Row { a, b, .. } => [Some(a), b, None],
            Op::Attention { q, k, v, .. } => [Some(q), Some(k), Some(v)],
            Op::Scan { decay, input, .. } => [Some(decay), Some(input), None],
        };
        list.into_iter().flatten()
    }

    /// The vectors and small matrices that it reads as `f32`: all weights but those of
    /// matmuls and embeddings.
    pub fn vector(&self) -> Option<Weight> {
        match *self {
            Op::MatMul { bias, .. } => bias,
            Op::Row { weight, .. } => weight,
            Op::Conv { weight, .. } => Some(weight),
            _ => None,
        }
    }
}

/// An operation and its place in the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// Width of the output.
    pub width: usize,
    /// The layer it belongs to; `None` for embedding, final norm and head.
    pub layer: Option<u32>,
}

impl Node {
    /// What the operation keeps from pass to pass; `None` where it needs nothing but
    /// the pass's own rows.
    pub fn state(&self) -> Option<State> {
        match &self.op {
            Op::Attention { attention: a, .. } => Some(State::KeysValues {
                kv_heads: a.kv_heads,
                head_dim: a.head_dim,
                window: a.window,
            }),
            Op::Conv { weight, .. } => Some(State::Conv {
                rows: weight.cols - 1,
                width: self.width,
            }),
            Op::Scan { .. } => Some(State::Recurrent { floats: self.width }),
            _ => None,
        }
    }
}

/// One forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Name of the architecture.
    pub architecture: String,
    /// Nodes in order of execution; value `i` is the output of node `i`.
    pub nodes: Vec<Node>,
    /// Rotary embeddings, shared by the nodes that name them.
    pub ropes: Vec<Rope>,
    /// The value that holds `tokens x vocabulary` logits.
    pub logits: ValueId,
    /// Size of the vocabulary.
    pub vocabulary: usize,
    /// Tokens of context the model was trained for.
    pub trained_context: usize,
}

impl Graph {
    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let ropes = self.ropes.iter().map(Rope::heap_bytes).sum::<usize>();
        self.architecture.capacity() + heap::bytes(&self.nodes) + heap::bytes(&self.ropes) + ropes
    }

    /// The node that makes a value.
    pub fn node(&self, value: ValueId) -> &Node {
        &self.nodes[value.0 as usize]
    }

    /// The matrix whose products with the last hidden state are the logits, as
    /// they are or through a softcap. `None` where they come about in another way.
    pub fn head(&self) -> Option<Weight> {
        let products = match self.node(self.logits).op {
            Op::Row {
                function: RowFn::Softcap { .. },
                a,
                ..
            } => a,
            _ => self.logits,
        };
        match self.node(products).op {
            Op::MatMul {
                weight, bias: None, ..
            } => Some(weight),
            _ => None,
        }
    }

    /// Floats of a token's embedding.
    pub fn embedding_width(&self) -> usize {
        let embed = self
            .nodes
            .iter()
            .find(|node| matches!(node.op, Op::Embed { .. }));
        embed.map_or(0, |node| node.width)
    }

    /// What the graph keeps of a sequence, in order of the slots.
    pub fn states(&self) -> impl Iterator<Item = State> {
        self.nodes.iter().filter_map(Node::state)
    }
}
