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
mod nodes;

pub use builder::Builder;

use crate::quant::{DType, Layout};
use crate::{WHOLE, heap};
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
    /// Order of its rows. If the tensor is packed, `first_row` is a multiple of eight. So is
    /// `first_row + rows`, unless the matrix ends where the tensor ends.
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
    /// Inverse frequencies that replace [`Rope::inverse_frequencies`] in long contexts, if
    /// the model has them.
    pub long: Option<LongRope>,
    /// A further factor on every cosine and sine, which depends on the position.
    pub growth: Option<Growth>,
}

/// The factor `1 + scale * ln(1 + floor(position / length))`. On queries it makes up for
/// the softmax of attention, which gets flatter in long contexts (Llama 4, Ministral 3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// How fast the factor grows.
    pub scale: f32,
    /// Neighbouring positions that have the same factor; at least one.
    pub length: usize,
}

impl Growth {
    /// The factor at a position.
    ///
    /// # Panics
    /// If the length is 0.
    pub fn at(&self, position: usize) -> f32 {
        1.0 + self.scale * libm::logf((1 + position / self.length) as f32)
    }
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
    /// Plain rotary embedding: `base^(-2i/dims)` for pair `i` of `dims / 2`.
    pub fn plain(style: RopeStyle, dims: usize, base: f32) -> Rope {
        let inverse_frequencies = (0..dims / 2)
            .map(|i| libm::pow(f64::from(base), -2.0 * i as f64 / dims as f64) as f32)
            .collect();
        Rope {
            style,
            inverse_frequencies,
            magnitude: 1.0,
            long: None,
            growth: None,
        }
    }

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

/// An activation function of each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The tanh approximation of GELU (arXiv:1606.08415; gemma).
    GeluTanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `ln(1 + exp(x))`.
    Softplus,
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
    /// Index of the tensor with a sink for each query head, in `f32`, if there is one. A sink
    /// is a score without a value: it only adds to the denominator of the softmax (gpt-oss).
    pub sinks: Option<u32>,
}

impl Attention {
    fn sinks(&self) -> Option<Weight> {
        Some(Weight {
            tensor: self.sinks?,
            dtype: DType::F32,
            layout: Layout::Rows,
            first_row: 0,
            rows: 1,
            cols: self.heads,
        })
    }
}

/// How scores of experts become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Softmax over all experts; with [`Routing::normalize`], over the chosen ones.
    Softmax,
    /// The sigmoid of each score.
    Sigmoid,
}

/// How [`Op::Route`] chooses experts: those of the highest probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Routing {
    /// How many experts each token uses.
    pub used: usize,
    /// How scores become probabilities.
    pub gate: Gate,
    /// Whether the weights of the chosen experts are divided by their sum.
    pub normalize: bool,
    /// Factor on the weights.
    pub scale: f32,
    /// The number of groups of neighbouring experts, and how many of these groups are chosen
    /// first; experts are then chosen from them alone. The groups with the largest sum of
    /// their two highest probabilities, with bias, are chosen (DeepSeek-V3). `[1, 1]` means
    /// that there are no groups.
    pub groups: [usize; 2],
}

/// Attention whose state has a fixed size: for each head a matrix `S` of
/// `key_dim x value_dim`, zero before the first token. A token with the vectors `q`, `k`,
/// `v` and the numbers `decay` and `beta` updates it in this order:
///
/// - `S = exp(decay) S`;
/// - `S = S + k (beta v)`, or with `delta` `S = S + k (beta (v - k S))`;
/// - the output is `q S`.
///
/// Without `delta` this is the state space of Mamba-2 (arXiv:2405.21060; `k` and `q` are
/// its B and C, `beta` its time step); with it, the gated delta rule (arXiv:2412.06464).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearAttention {
    /// As for [`Attention::slot`].
    pub slot: u32,
    /// Number of heads of values, of `decay` and of `beta`.
    pub heads: usize,
    /// Number of heads of `q` and `k`; divides `heads`.
    pub key_heads: usize,
    /// Numbers in the query, and in the key, of a head.
    pub key_dim: usize,
    /// Numbers in the value of a head.
    pub value_dim: usize,
    /// Whether head `h` reads the key head `h % key_heads`; otherwise it reads the key head
    /// `h / (heads / key_heads)`.
    pub interleaved: bool,
    /// Whether `v - k S` is stored, the difference of the value and what the state holds for
    /// its key, in place of the value.
    pub delta: bool,
}

impl LinearAttention {
    /// The key head that a head reads.
    pub fn key_head(&self, head: usize) -> usize {
        match self.interleaved {
            true => head % self.key_heads,
            false => head / (self.heads / self.key_heads),
        }
    }
}

/// A function of each row alone, of one or two values.
///
/// This is the only definition of these functions: the plan's steps, the segments of
/// delegates and the conformance kit hold this type and add the places of the operands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowFn {
    /// Root-mean-square norm (arXiv:1910.07467) of each group of `group` neighbouring
    /// elements of `a`, times a weight of `group` elements, if there is one.
    RmsNorm {
        /// The whole width, or a head's width for norms of q and k.
        group: usize,
        /// Added to the mean square.
        eps: f32,
    },
    /// Layer norm (arXiv:1607.06450): [`RowFn::RmsNorm`] after the mean of each group was
    /// subtracted from its elements.
    LayerNorm {
        /// As for [`RowFn::RmsNorm`].
        group: usize,
        /// Added to the variance.
        eps: f32,
    },
    /// `a + b`.
    Add,
    /// `a + weight`.
    Bias,
    /// `a * factor`.
    Scale {
        /// The factor.
        factor: f32,
    },
    /// `a * weight`; each element of the weight multiplies `each` neighbouring elements
    /// of `a`.
    Gain {
        /// 1, or a head's width for one factor for each head.
        each: usize,
    },
    /// `a * b`; each element of `b`, which is narrower, multiplies `each` neighbouring
    /// elements of `a`.
    Mul {
        /// As for [`RowFn::Gain`].
        each: usize,
    },
    /// `activation(a)`.
    Activate(Activation),
    /// `activation(a) * b`: a gated linear unit with `a` as the gate (arXiv:2002.05202).
    Glu(Activation),
    /// `g * sigmoid(1.702 g) * (clamp(b, -limit, limit) + 1)` with `g = min(a, limit)`: the
    /// gated linear unit of gpt-oss.
    ClampedGlu {
        /// The limit.
        limit: f32,
    },
    /// `max(a - (m + deviations * s), 0)` with the mean `m` and the standard deviation `s`
    /// of all elements of `a`.
    KeepAbove {
        /// How many standard deviations above the mean.
        deviations: f32,
    },
    /// `a` with the root mean square of `b`: `a * sqrt(mean(b^2)) / sqrt(max(mean(a^2), least))`.
    Resize {
        /// The least mean square of `a` by which it is divided.
        least: f32,
    },
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
            RowFn::Add
            | RowFn::Glu(_)
            | RowFn::ClampedGlu { .. }
            | RowFn::Mul { .. }
            | RowFn::Resize { .. } => 2,
            _ => 1,
        }
    }

    /// The number of elements of its weight for values of this width; `None` if it can't
    /// have a weight.
    pub fn weight_len(self, width: usize) -> Option<usize> {
        match self {
            RowFn::RmsNorm { group, .. } | RowFn::LayerNorm { group, .. } => Some(group),
            RowFn::Bias => Some(width),
            RowFn::Gain { each } => Some(width / each),
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
        /// The output for a row of a pass that has a vector in the place of a token: the row
        /// of this token, or the vector itself if `None`.
        stand_in: Option<u32>,
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
    /// Attention for q over the keys and values that an [`Op::Attention`] before it has
    /// stored. It has no state of its own.
    SharedAttention {
        /// `tokens x (heads * head_dim)`.
        q: ValueId,
        /// Heads, scale and options; the slot is that of the other attention.
        attention: Attention,
    },
    /// Some columns of each group of `group` neighbouring columns.
    Take {
        /// The value to take them from.
        input: ValueId,
        /// The whole width, or that of a head.
        group: usize,
        /// The first column of a group that is taken. The output's width says how many
        /// are.
        first: usize,
    },
    /// Divides the columns of `a` and of `b` into `groups` groups of neighbours each. For each
    /// group, the output has the columns of `a`, then those of `b`.
    Join {
        /// The first part of each group.
        a: ValueId,
        /// The second part of each group.
        b: ValueId,
        /// The number of groups, which divides both widths.
        groups: usize,
    },
    /// The routes of a token that uses all experts in their order, each with the weight 1.
    /// With these routes, [`Op::Experts`] multiplies each part of its input with a matrix of
    /// its own.
    RouteToAll {
        /// The number of experts.
        count: usize,
    },
    /// Chooses the experts of each token. The output has [`Routing::used`] indices of
    /// experts, as floats, then as many weights.
    Route {
        /// `tokens x experts`.
        scores: ValueId,
        /// A vector with a number for each expert, which is added to its probability for
        /// the choice alone (DeepSeek-V3).
        bias: Option<Weight>,
        /// How many, and how they are weighted.
        routing: Routing,
    },
    /// The routes, with the weight of each multiplied by its expert's factor.
    Weigh {
        /// An [`Op::Route`].
        routes: ValueId,
        /// A vector with a factor for each expert.
        weight: Weight,
    },
    /// For each chosen expert: `input * weight^T (+ bias)` with the expert's matrix. The
    /// output has the rows of one chosen expert after another.
    Experts {
        /// Either `weight.cols` columns, which all chosen experts read, or `weight.cols`
        /// columns for each chosen expert.
        input: ValueId,
        /// An [`Op::Route`], [`Op::RouteToAll`] or [`Op::Weigh`].
        routes: ValueId,
        /// The matrix of the first of `count` experts; the others follow it.
        weight: Weight,
        /// A matrix with a row for each expert.
        bias: Option<Weight>,
        /// The number of experts.
        count: usize,
    },
    /// The sum of the chosen experts' parts of the input, each times its weight.
    Mix {
        /// A part for each chosen expert.
        input: ValueId,
        /// An [`Op::Route`] or [`Op::Weigh`].
        routes: ValueId,
    },
    /// Linear attention: a recurrent state for each head.
    LinearAttention {
        /// `tokens x (key_heads * key_dim)`.
        q: ValueId,
        /// `tokens x (key_heads * key_dim)`.
        k: ValueId,
        /// `tokens x (heads * value_dim)`.
        v: ValueId,
        /// `tokens x heads`: the logarithm of the factor on the previous state.
        decay: ValueId,
        /// `tokens x heads`: the factor on what is stored.
        beta: ValueId,
        /// Heads and the rule.
        linear: LinearAttention,
    },
}

impl Op {
    /// The values that this operation reads.
    pub fn inputs(&self) -> impl Iterator<Item = ValueId> {
        let list: [Option<ValueId>; 5] = match *self {
            Op::Embed { .. } | Op::RouteToAll { .. } => [None; 5],
            Op::MatMul { input, .. }
            | Op::Rope { input, .. }
            | Op::Take { input, .. }
            | Op::Conv { input, .. } => [Some(input), None, None, None, None],
            Op::Row { a, b, .. } => [Some(a), b, None, None, None],
            Op::Attention { q, k, v, .. } => [Some(q), Some(k), Some(v), None, None],
            // Firmware has no architecture with the others.
            _ if !WHOLE => [None; 5],
            Op::Join { a, b, .. } => [Some(a), Some(b), None, None, None],
            Op::SharedAttention { q, .. } => [Some(q), None, None, None, None],
            Op::Route { scores, .. } => [Some(scores), None, None, None, None],
            Op::Weigh { routes, .. } => [Some(routes), None, None, None, None],
            Op::Experts { input, routes, .. } | Op::Mix { input, routes } => {
                [Some(input), Some(routes), None, None, None]
            }
            Op::LinearAttention {
                q,
                k,
                v,
                decay,
                beta,
                ..
            } => [q, k, v, decay, beta].map(Some),
        };
        list.into_iter().flatten()
    }

    /// The weight that it reads as `f32`: any weight except the matrices of matmuls,
    /// embeddings and experts.
    pub fn vector(&self) -> Option<Weight> {
        match *self {
            Op::MatMul { bias, .. } => bias,
            Op::Row { weight, .. } => weight,
            // Firmware has no architecture with the others.
            _ if !WHOLE => None,
            Op::Route { bias, .. } | Op::Experts { bias, .. } => bias,
            Op::Conv { weight, .. } | Op::Weigh { weight, .. } => Some(weight),
            Op::Attention { attention: a, .. } | Op::SharedAttention { attention: a, .. } => {
                a.sinks()
            }
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
            Op::LinearAttention { linear: l, .. } if WHOLE => Some(State::Recurrent {
                floats: (l.heads * l.value_dim).saturating_mul(l.key_dim),
            }),
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
    /// The context that the model was trained for, in tokens.
    pub trained_context: usize,
}

impl Graph {
    /// Bytes that the graph takes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let ropes = self.ropes.iter().map(Rope::heap_bytes).sum::<usize>();
        self.architecture.capacity() + heap::bytes(&self.nodes) + heap::bytes(&self.ropes) + ropes
    }

    /// The node that computes a value.
    ///
    /// # Panics
    /// If the value is not of this graph.
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
