//! The operations that an architecture adds to its graph.

use super::builder::parts;
use super::{
    Activation, Attention, Builder, LinearAttention, Node, Op, Rope, Routing, RowFn, ValueId,
    Weight,
};
use crate::quant::DType;
use crate::{Error, Result};
use core::ops::Range;

impl Builder<'_, '_> {
    fn push(&mut self, op: Op, width: usize) -> ValueId {
        self.nodes.push(Node {
            op,
            width,
            layer: self.layer,
        });
        ValueId(self.nodes.len() as u32 - 1)
    }

    /// Width of a value.
    ///
    /// # Panics
    /// If the value is not of this graph.
    pub fn width(&self, value: ValueId) -> usize {
        self.nodes[value.0 as usize].width
    }

    /// Token embeddings from the tensor `token_embd`, of `width` floats, times `scale`.
    pub fn embed(&mut self, width: usize, scale: f32) -> Result<ValueId> {
        let table = self.embedding_table(width)?;
        Ok(self.rows_of_tokens(table, scale, None))
    }

    /// Embeddings from another table `name` with a row for each token, times `scale`. Where a
    /// pass has a vector in the place of a token, the row of the token `stand_in` is used.
    pub fn embed_further(
        &mut self,
        name: &str,
        width: usize,
        scale: f32,
        stand_in: u32,
    ) -> Result<ValueId> {
        let (_, tokens) = self.required("token_embd.weight")?;
        let table = self.matrix(name, tokens.rows(), width)?;
        Ok(self.rows_of_tokens(table, scale, Some(stand_in)))
    }

    fn rows_of_tokens(&mut self, table: Weight, scale: f32, stand_in: Option<u32>) -> ValueId {
        let op = Op::Embed {
            table,
            scale,
            stand_in,
        };
        self.push(op, table.cols)
    }

    /// The embedding table: one row for each token of the vocabulary.
    fn embedding_table(&self, width: usize) -> Result<Weight> {
        let name = "token_embd.weight";
        let (_, info) = self.required(name)?;
        self.shaped(name.into(), info.rows(), width)
    }

    /// `input * name.weight^T`, plus `name.bias` if the file has it.
    pub fn linear(&mut self, input: ValueId, name: &str, rows: usize) -> Result<ValueId> {
        let weight = self.matrix(name, rows, self.width(input))?;
        let bias = self.opt_bias(name, rows)?;
        Ok(self.matmul(input, weight, bias))
    }

    /// The products of `input` with several matrices that the tensor `name.weight` holds one
    /// after another. `rows` has the number of rows of each.
    ///
    /// # Errors
    /// Also [`Error::BadShape`] where the file has a bias of the tensor, or the tensor is
    /// packed and a matrix does not begin at a whole group.
    pub fn fused<const N: usize>(
        &mut self,
        input: ValueId,
        name: &str,
        rows: [usize; N],
    ) -> Result<[ValueId; N]> {
        let whole = self.matrix(name, rows.iter().sum(), self.width(input))?;
        let bias = self.full_name(name, "bias");
        if self.gguf.tensor(&bias).is_some() {
            let reason = "a bias on fused matrices is not supported".into();
            return Err(Error::BadShape { name: bias, reason });
        }
        let parts = parts(&whole, &rows, self.full_name(name, "weight"))?;
        Ok(core::array::from_fn(|part| {
            self.matmul(input, parts[part], None)
        }))
    }

    /// `input * weight^T (+ bias)`.
    pub fn matmul(&mut self, input: ValueId, weight: Weight, bias: Option<Weight>) -> ValueId {
        debug_assert_eq!(self.width(input), weight.cols);
        self.push(
            Op::MatMul {
                input,
                weight,
                bias,
            },
            weight.rows,
        )
    }

    /// RMS norm over the whole width with the weight `name`.
    pub fn rms_norm(&mut self, input: ValueId, name: &str, eps: f32) -> Result<ValueId> {
        self.rms_norm_heads(input, name, self.width(input), eps)
    }

    /// RMS norm over each head of `head_dim` with the weight `name` of that length.
    pub fn rms_norm_heads(
        &mut self,
        input: ValueId,
        name: &str,
        head_dim: usize,
        eps: f32,
    ) -> Result<ValueId> {
        let weight = Some(self.vector(name, head_dim)?);
        let group = head_dim;
        Ok(self.row(RowFn::RmsNorm { group, eps }, input, None, weight))
    }

    /// RMS norm over each `group` neighbouring elements, without a weight.
    pub fn unit_norm(&mut self, input: ValueId, group: usize, eps: f32) -> ValueId {
        self.row(RowFn::RmsNorm { group, eps }, input, None, None)
    }

    /// Layer norm over the whole width with the weight `name`, and its bias if the file
    /// has one.
    pub fn layer_norm(&mut self, input: ValueId, name: &str, eps: f32) -> Result<ValueId> {
        let group = self.width(input);
        let weight = Some(self.vector(name, group)?);
        let bias = self.opt_bias(name, group)?;
        let norm = self.row(RowFn::LayerNorm { group, eps }, input, None, weight);
        Ok(bias.map_or(norm, |bias| self.bias(norm, bias)))
    }

    /// Layer norm of each head of `head_dim`, with a weight `name` of its own for each
    /// head.
    pub fn layer_norm_heads(
        &mut self,
        input: ValueId,
        name: &str,
        head_dim: usize,
        eps: f32,
    ) -> Result<ValueId> {
        let heads = self.width(input) / head_dim;
        let weight = self.matrix(name, heads, head_dim)?;
        let group = head_dim;
        let norm = self.row(RowFn::LayerNorm { group, eps }, input, None, None);
        Ok(self.gain(norm, weight))
    }

    /// A function of each row of `a`, and of `b` if it has two values.
    fn row(
        &mut self,
        function: RowFn,
        a: ValueId,
        b: Option<ValueId>,
        weight: Option<Weight>,
    ) -> ValueId {
        let width = self.width(a);
        debug_assert_eq!(function.values(), 1 + usize::from(b.is_some()));
        debug_assert!(b.is_none_or(|b| width.is_multiple_of(self.width(b))));
        let op = Op::Row {
            function,
            a,
            b,
            weight,
        };
        self.push(op, width)
    }

    /// Registers a rotary embedding and returns its number for [`Builder::rope`].
    pub fn add_rope(&mut self, rope: Rope) -> usize {
        self.ropes.push(rope);
        self.ropes.len() - 1
    }

    /// Rotates each head of `input`.
    pub fn rope(&mut self, input: ValueId, head_dim: usize, rope: usize) -> ValueId {
        let width = self.width(input);
        self.push(
            Op::Rope {
                input,
                head_dim,
                rope,
            },
            width,
        )
    }

    /// Attention. The slot is assigned here; `attention.slot` is ignored.
    pub fn attention(
        &mut self,
        q: ValueId,
        k: ValueId,
        v: ValueId,
        attention: Attention,
    ) -> ValueId {
        let slot = self.next_slot();
        let attention = Attention { slot, ..attention };
        self.push(
            Op::Attention { q, k, v, attention },
            attention.heads * attention.head_dim,
        )
    }

    /// Attention over the keys and values of the attention `earlier`. The slot is that of
    /// `earlier`; `attention.slot` is ignored.
    ///
    /// # Panics
    /// If `earlier` is no attention that stores keys and values.
    pub fn shared_attention(
        &mut self,
        q: ValueId,
        earlier: ValueId,
        attention: Attention,
    ) -> ValueId {
        let slot = match self.nodes[earlier.0 as usize].op {
            Op::Attention { attention, .. } => attention.slot,
            _ => unreachable!("{earlier:?} is not an attention"),
        };
        let attention = Attention { slot, ..attention };
        let width = attention.heads * attention.head_dim;
        self.push(Op::SharedAttention { q, attention }, width)
    }

    /// A convolution of each column with the tensor `name.weight` of `width x taps`.
    pub fn conv(&mut self, input: ValueId, name: &str, taps: usize) -> Result<ValueId> {
        let width = self.width(input);
        let weight = self.matrix(name, width, taps)?;
        if weight.dtype != DType::F32 || taps == 0 {
            let name = self.full_name(name, "weight");
            let reason = "a convolution has at least one tap, in f32".into();
            return Err(Error::BadShape { name, reason });
        }
        let slot = self.next_slot();
        Ok(self.push(
            Op::Conv {
                input,
                weight,
                slot,
            },
            width,
        ))
    }

    /// Columns `columns` of each group of `group` neighbouring columns of `input`.
    pub fn take(&mut self, input: ValueId, group: usize, columns: Range<usize>) -> ValueId {
        let groups = self.width(input) / group;
        debug_assert!(columns.end <= group && groups * group == self.width(input));
        let op = Op::Take {
            input,
            group,
            first: columns.start,
        };
        self.push(op, groups * columns.len())
    }

    /// For each of `groups` groups of neighbouring columns, those of `a`, then those of `b`.
    pub fn join(&mut self, a: ValueId, b: ValueId, groups: usize) -> ValueId {
        let width = self.width(a) + self.width(b);
        debug_assert!([a, b].map(|part| self.width(part) % groups) == [0; 2]);
        self.push(Op::Join { a, b, groups }, width)
    }

    /// The products of each of `count` parts of `input` with a matrix of its own in
    /// `name.weight`. A matrix has the shape `[rows, cols]`.
    pub fn linear_of_parts(
        &mut self,
        input: ValueId,
        name: &str,
        count: usize,
        shape: [usize; 2],
    ) -> Result<ValueId> {
        let routes = self.push(Op::RouteToAll { count }, 2 * count);
        self.experts(input, (routes, count), name, shape)
    }

    /// Chooses the experts of each token by their scores. `bias` is added to the
    /// probabilities for the choice, not to the weights.
    pub fn route(&mut self, scores: ValueId, bias: Option<Weight>, routing: Routing) -> ValueId {
        debug_assert!(routing.used <= self.width(scores));
        let op = Op::Route {
            scores,
            bias,
            routing,
        };
        self.push(op, 2 * routing.used)
    }

    /// `routes`, with the weight of each multiplied by its expert's element of `weight`.
    pub fn weigh(&mut self, routes: ValueId, weight: Weight) -> ValueId {
        let width = self.width(routes);
        self.push(Op::Weigh { routes, weight }, width)
    }

    /// The products of `input` with the matrices `name.weight` of the experts that
    /// `routes` chose among `count`, plus their biases if the file has some. A matrix has
    /// the shape `[rows, cols]`. The output has the rows of one chosen expert after
    /// another; the input has `cols` columns, or as many for each chosen expert.
    pub fn experts(
        &mut self,
        input: ValueId,
        (routes, count): (ValueId, usize),
        name: &str,
        [rows, cols]: [usize; 2],
    ) -> Result<ValueId> {
        let used = self.width(routes) / 2;
        debug_assert!([cols, used * cols].contains(&self.width(input)));
        let weight = self.matrices(name, count, rows, cols)?[0];
        let bias = self.opt_biases(name, count, rows)?;
        let op = Op::Experts {
            input,
            routes,
            weight,
            bias,
            count,
        };
        Ok(self.push(op, used * rows))
    }

    /// The sum of the chosen experts' rows in `input`, each times its weight.
    pub fn mix(&mut self, input: ValueId, routes: ValueId) -> ValueId {
        let used = self.width(routes) / 2;
        let width = self.width(input) / used;
        self.push(Op::Mix { input, routes }, width)
    }

    /// Linear attention. The slot is assigned here; `linear.slot` is ignored.
    pub fn linear_attention(
        &mut self,
        [q, k, v]: [ValueId; 3],
        decay: ValueId,
        beta: ValueId,
        linear: LinearAttention,
    ) -> ValueId {
        debug_assert_eq!(self.width(q), linear.key_heads * linear.key_dim);
        debug_assert_eq!(self.width(k), linear.key_heads * linear.key_dim);
        debug_assert_eq!(self.width(v), linear.heads * linear.value_dim);
        debug_assert_eq!(self.width(decay), linear.heads);
        debug_assert_eq!(self.width(beta), linear.heads);
        let slot = self.next_slot();
        let op = Op::LinearAttention {
            q,
            k,
            v,
            decay,
            beta,
            linear: LinearAttention { slot, ..linear },
        };
        self.push(op, linear.heads * linear.value_dim)
    }

    fn next_slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots - 1
    }

    /// `a + b`.
    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.row(RowFn::Add, a, Some(b), None)
    }

    /// `input * factor`; no node is added for a factor of 1.
    pub fn scale(&mut self, input: ValueId, factor: f32) -> ValueId {
        if factor == 1.0 {
            return input;
        }
        self.row(RowFn::Scale { factor }, input, None, None)
    }

    /// `a * b`. If `b` is narrower, each of its elements multiplies several neighbouring
    /// elements of `a`.
    pub fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        let each = self.width(a) / self.width(b);
        self.row(RowFn::Mul { each }, a, Some(b), None)
    }

    /// `input * weight`. If the weight is shorter, each of its elements multiplies several
    /// neighbouring elements of `input`.
    pub fn gain(&mut self, input: ValueId, weight: Weight) -> ValueId {
        let each = self.width(input) / (weight.rows * weight.cols);
        self.row(RowFn::Gain { each }, input, None, Some(weight))
    }

    /// `input + weight`.
    pub fn bias(&mut self, input: ValueId, weight: Weight) -> ValueId {
        self.row(RowFn::Bias, input, None, Some(weight))
    }

    /// `activation(input)`.
    pub fn activate(&mut self, input: ValueId, activation: Activation) -> ValueId {
        self.row(RowFn::Activate(activation), input, None, None)
    }

    /// `activation(gate) * up`.
    pub fn glu(&mut self, gate: ValueId, up: ValueId, activation: Activation) -> ValueId {
        self.gated(gate, up, RowFn::Glu(activation))
    }

    /// A gated linear unit by any function of two values.
    pub fn gated(&mut self, gate: ValueId, up: ValueId, unit: RowFn) -> ValueId {
        self.row(unit, gate, Some(up), None)
    }

    /// `max(input - (mean + deviations * standard deviation), 0)`: see [`RowFn::KeepAbove`].
    pub fn keep_above(&mut self, input: ValueId, deviations: f32) -> ValueId {
        self.row(RowFn::KeepAbove { deviations }, input, None, None)
    }

    /// `input`, scaled to the root mean square of `like`: see [`RowFn::Resize`].
    pub fn resize(&mut self, input: ValueId, like: ValueId, least: f32) -> ValueId {
        self.row(RowFn::Resize { least }, input, Some(like), None)
    }

    /// The usual feed-forward block: `down(activation(gate(x)) * up(x))`.
    pub fn feed_forward(&mut self, x: ValueId, activation: Activation) -> Result<ValueId> {
        let hidden = self.size("feed_forward_length")?;
        let width = self.width(x);
        let gate = self.linear(x, "ffn_gate", hidden)?;
        let up = self.linear(x, "ffn_up", hidden)?;
        let h = self.glu(gate, up, activation);
        self.linear(h, "ffn_down", width)
    }

    /// A feed-forward block without a gate: `down(activation(up(x)))`.
    pub fn plain_feed_forward(&mut self, x: ValueId, activation: Activation) -> Result<ValueId> {
        let hidden = self.size("feed_forward_length")?;
        let width = self.width(x);
        let h = self.linear(x, "ffn_up", hidden)?;
        let h = self.activate(h, activation);
        self.linear(h, "ffn_down", width)
    }

    /// The output head: the tensor `output`, or the embedding table if the file has
    /// none.
    pub fn head(&mut self, x: ValueId) -> Result<ValueId> {
        let table = self.embedding_table(self.width(x))?;
        if !self.has("output") {
            return Ok(self.matmul(x, table, None));
        }
        self.linear(x, "output", table.rows)
    }

    /// `cap * tanh(input / cap)`, or `input` if there is no cap.
    pub fn softcap(&mut self, input: ValueId, cap: Option<f32>) -> ValueId {
        match cap {
            Some(cap) => self.row(RowFn::Softcap { cap }, input, None, None),
            None => input,
        }
    }
}
