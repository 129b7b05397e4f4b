//! The graph: the operations of one forward pass, at the level of detail that
//! accelerators also use.
//!
//! A [`Graph`] is a list of [`Node`]s in order of execution. Every value is a matrix of
//! `tokens x width`. `tokens` is the only symbolic dimension; `width` is known. A
//! [`Weight`] refers to a tensor of the file and holds no bytes, so a graph takes a few
//! kilobytes whatever the model's size.

mod builder;
mod dump;
mod leftover;

pub use builder::Builder;

use crate::heap;
use crate::quant::{DType, Layout};
use alloc::string::String;
use alloc::vec::Vec;

/// A value: the output of the node with this index, `tokens x width` floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// A weight: some rows of a tensor of the file.
///
/// A row-major matrix of `rows x cols`; `cols` is the tensor's first dimension in the
/// file. `first_row` is not zero if several matrices were fused in one tensor (phi3's
/// q, k, v). A vector has one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weight {
    /// Index in [`crate::gguf::Gguf::tensors`].
    pub tensor: u32,
    /// Format of its elements.
    pub dtype: DType,
    /// Order of its rows. If the tensor is packed, `first_row` is a multiple of eight,
    /// and so is the end, unless it is the end of the tensor.
    pub layout: Layout,
    /// First row of the tensor that belongs to this matrix.
    pub first_row: usize,
    /// Rows (output width of a matmul).
    pub rows: usize,
    /// Columns (input width of a matmul).
    pub cols: usize,
}

/// Which two elements of a head rotate together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// Elements `2i` and `2i+1` (llama GGUF files store q and k permuted accordingly).
    Interleaved,
    /// Elements `i` and `i + dims/2` (GPT-NeoX).
    HalfSplit,
}

/// Rotary position embedding (RoFormer, arXiv:2104.09864) with the scalings in use.
///
/// The angle of pair `i` at position `p` is `p * inverse_frequencies[i]`. Cosine and
/// sine are multiplied by `magnitude` (1 except in LongRoPE and YaRN). An executor
/// takes the frequencies from [`Rope::frequencies`].
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Which two elements of a head rotate together.
    pub style: RopeStyle,
    /// One number for each pair, `dims/2` in all, with scaling and frequency factors
    /// applied.
    pub inverse_frequencies: Vec<f32>,
    /// Factor on every cosine and sine.
    pub magnitude: f32,
    /// Frequencies that replace these in long contexts, if there are any.
    pub long: Option<LongRope>,
}

/// The second set of frequencies of LongRoPE (arXiv:2402.13753).
#[derive(Debug, Clone, PartialEq)]
pub struct LongRope {
    /// These frequencies apply in contexts of more tokens than this.
    pub above: usize,
    /// As for [`Rope::inverse_frequencies`].
    pub inverse_frequencies: Vec<f32>,
}

impl Rope {
    fn heap_bytes(&self) -> usize {
        let long = self.long.as_ref();
        heap::bytes(&self.inverse_frequencies)
            + long.map_or(0, |long| heap::bytes(&long.inverse_frequencies))
    }

    /// The inverse frequencies for a context of at most `context` tokens. They must not
    /// change while a cache lives, so `context` is the capacity of the cache.
    pub fn frequencies(&self, context: usize) -> &[f32] {
        match &self.long {
            Some(long) if context > long.above => &long.inverse_frequencies,
            _ => &self.inverse_frequencies,
        }
    }
}

/// The activation function of a gated linear unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The tanh approximation of GELU (gemma).
    GeluTanh,
}

/// The state that an operation keeps of a sequence from pass to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Keys and values of earlier positions.
    KeysValues {
        /// Number of key/value heads.
        kv_heads: usize,
        /// Numbers in the key, and in the value, of a head.
        head_dim: usize,
        /// A query sees this many of the last positions, its own included; `None` is
        /// all.
        window: Option<usize>,
    },
    /// The last rows of the input.
    Conv {
        /// Number of rows.
        rows: usize,
        /// Floats in each row.
        width: usize,
    },
    /// Numbers that change with every token.
    Recurrent {
        /// Number of floats.
        floats: usize,
    },
}

/// Attention with grouped key/value heads over the keys and values of a slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Index of its [`State`] among the states of the graph, in order of the nodes.
    pub slot: u32,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head of queries, keys and values.
    pub head_dim: usize,
    /// Factor on the product of query and key.
    pub scale: f32,
    /// If given, a score becomes `cap * tanh(score / cap)` (gemma2).
    pub softcap: Option<f32>,
    /// If given, a key is seen only while `query position - key position < window`.
    pub window: Option<usize>,
}

/// A function of each row alone, with one or two values of the same width as inputs.
///
/// The only definition of these functions: the plan's steps, the segments of delegates
/// and the conformance kit hold this type and add the places of the operands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowFn {
    /// Root-mean-square norm of each group of `group` neighbouring elements of `a`,
    /// times a weight of `group` elements, if there is one.
    RmsNorm {
        /// The whole width, or a head's width for norms of q and k.
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
    /// `activation(a) * b`: a gated linear unit with `a` as the gate.
    Glu(Activation),
    /// `cap * tanh(a / cap)`.
    Softcap {
        /// The cap.
        cap: f32,
    },
}

impl RowFn {
    /// The number of values that it reads: 1 or 2.
    pub fn values(self) -> usize {
        match self {
            RowFn::Add | RowFn::Glu(_) => 2,
            RowFn::RmsNorm { .. } | RowFn::Scale { .. } | RowFn::Softcap { .. } => 1,
        }
    }

    /// The number of elements of its weight; `None` if it can't have a weight.
    pub fn weight_len(self) -> Option<usize> {
        match self {
            RowFn::RmsNorm { group, .. } => Some(group),
            _ => None,
        }
    }
}

/// One operation. Its inputs are values of earlier nodes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The rows of `table` for the token ids, times `scale`.
    Embed {
        /// `vocabulary x width`.
        table: Weight,
        /// Factor on every element (gemma: the square root of the width).
        scale: f32,
    },
    /// `input * weight^T (+ bias)`.
    MatMul {
        /// `tokens x weight.cols`.
        input: ValueId,
        /// `output width x input width`.
        weight: Weight,
        /// A vector of the output width.
        bias: Option<Weight>,
    },
    /// A function of each row alone.
    Row {
        /// The function.
        function: RowFn,
        /// The first value. The output has the same width.
        a: ValueId,
        /// The second value, if the function has two.
        b: Option<ValueId>,
        /// A vector of [`RowFn::weight_len`] elements.
        weight: Option<Weight>,
    },
    /// Rotates each head of `head_dim` elements according to the row's position.
    Rope {
        /// `tokens x (heads * head_dim)`.
        input: ValueId,
        /// Width of a head.
        head_dim: usize,
        /// Index in [`Graph::ropes`].
        rope: usize,
    },
    /// Stores k and v in the cache slot, then computes attention for q.
    Attention {
        /// `tokens x (heads * head_dim)`.
        q: ValueId,
        /// `tokens x (kv_heads * head_dim)`.
        k: ValueId,
        /// `tokens x (kv_heads * head_dim)`.
        v: ValueId,
        /// Heads, scale and options.
        attention: Attention,
    },
    /// A causal convolution of each column:
    /// `y[t][c] = sum over i of weight[c][i] * input[t - taps + 1 + i][c]`. Rows before
    /// the first token are zero.
    Conv {
        /// The value to convolve.
        input: ValueId,
        /// `width x taps`, in `f32`.
        weight: Weight,
        /// As for [`Attention::slot`].
        slot: u32,
    },
    /// A linear recurrence of each column: `y[t] = decay[t] * y[t - 1] + input[t]`.
    /// Before the first token `y` is zero.
    Scan {
        /// Factors on the previous row.
        decay: ValueId,
        /// The term to add, of the same width.
        input: ValueId,
        /// As for [`Attention::slot`].
        slot: u32,
    },
}

impl Op {
    /// The values that this operation reads.
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

    /// The weight that it reads as `f32`: any weight except the matrices of matmuls and
    /// embeddings.
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
    /// The operation.
    pub op: Op,
    /// Width of the output.
    pub width: usize,
    /// The layer to which it belongs; `None` for embedding, final norm and output head.
    pub layer: Option<u32>,
}

impl Node {
    /// The state that the operation keeps from pass to pass; `None` if it reads only
    /// the rows of its own pass.
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
    /// Rotary embeddings; [`Op::Rope`] refers to them by index.
    pub ropes: Vec<Rope>,
    /// The value that holds `tokens x vocabulary` logits.
    pub logits: ValueId,
    /// Size of the vocabulary.
    pub vocabulary: usize,
    /// Tokens of context the model was trained for.
    pub trained_context: usize,
}

impl Graph {
    /// Bytes that the graph takes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let ropes = self.ropes.iter().map(Rope::heap_bytes).sum::<usize>();
        self.architecture.capacity() + heap::bytes(&self.nodes) + heap::bytes(&self.ropes) + ropes
    }

    /// The node that computes a value.
    pub fn node(&self, value: ValueId) -> &Node {
        &self.nodes[value.0 as usize]
    }

    /// The matrix of the output head: its products with the last hidden vector are the
    /// logits, or become them through a softcap. `None` if the logits are computed in
    /// another way.
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

    /// Width of the embedding in floats; 0 if the graph has no embedding.
    pub fn embedding_width(&self) -> usize {
        let embed = self
            .nodes
            .iter()
            .find(|node| matches!(node.op, Op::Embed { .. }));
        embed.map_or(0, |node| node.width)
    }

    /// The states of the graph, in order of the slots.
    pub fn states(&self) -> impl Iterator<Item = State> {
        self.nodes.iter().filter_map(Node::state)
    }
}
