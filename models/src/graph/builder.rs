//! The builder with which an architecture makes its graph.

use super::{
    Activation, Attention, Graph, LinearAttention, Node, Op, Rope, RopeStyle, Routing, RowFn,
    ValueId, Weight, leftover,
};
use crate::gguf::{Array, Gguf, TensorInfo, Value};
use crate::quant::{DType, Layout, packed::GROUP};
use crate::{Error, Float, Result, WHOLE};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

/// Limit of layers, heads and widths. No real model exceeds it, so a larger number
/// means a damaged file.
const MAX_HYPERPARAMETER: u32 = 1 << 20;
/// Limit of layers. It is lower, because each layer takes memory in the graph itself.
const MAX_LAYERS: usize = 1024;

/// Reads metadata and tensors of one file, and adds nodes to its graph.
///
/// Tensor names are given without the `.weight` or `.bias` suffix; inside a layer also
/// without the `blk.N.` prefix. [`Builder::finish`] checks that nothing in the file was
/// left unread.
pub struct Builder<'g, 'a> {
    pub(super) gguf: &'g Gguf<'a>,
    pub(super) architecture: String,
    /// For each tensor: whether an operation uses it.
    pub(super) used: Vec<Cell<bool>>,
    /// For each key: whether it was read.
    asked: Vec<Cell<bool>>,
    layer: Option<u32>,
    slots: u32,
    nodes: Vec<Node>,
    ropes: Vec<Rope>,
}

impl<'g, 'a> Builder<'g, 'a> {
    /// Makes a builder for the file's architecture, whose name is the prefix of its
    /// keys.
    pub fn new(gguf: &'g Gguf<'a>) -> Result<Self> {
        let architecture = gguf.str("general.architecture")?.to_string();
        Ok(Builder {
            gguf,
            architecture,
            used: vec![Cell::new(false); gguf.tensors().len()],
            asked: vec![Cell::new(false); gguf.metadata().len()],
            layer: None,
            slots: 0,
            nodes: Vec::new(),
            ropes: Vec::new(),
        })
    }

    /// The full name of a key of this architecture: `key("block_count")` is
    /// `llama.block_count`.
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// The full name of a key; marks the key as read.
    fn ask(&self, key: &str) -> String {
        let key = self.key(key);
        let keys = self.gguf.metadata().iter().zip(&self.asked);
        if let Some((_, asked)) = keys.into_iter().find(|((name, _), _)| *name == key) {
            asked.set(true);
        }
        key
    }

    /// The value of a key that was not read.
    pub(super) fn unread(&self, key: &str) -> Option<&'g Value<'a>> {
        let key = self.key(key);
        let mut keys = self.gguf.metadata().iter().zip(&self.asked);
        let ((_, value), asked) = keys.find(|((name, _), _)| *name == key)?;
        (!asked.get()).then_some(value)
    }

    /// An optional text.
    pub fn opt_str(&self, key: &str) -> Result<Option<&'a str>> {
        self.gguf.opt_str(&self.ask(key))
    }

    /// An optional array; also `None` if the value is not an array.
    pub fn opt_array(&self, key: &str) -> Option<Array<'a>> {
        self.gguf.get(&self.ask(key))?.as_array()
    }

    /// A required positive integer. Missing, zero or excessive values are errors.
    pub fn size(&self, key: &str) -> Result<usize> {
        self.opt_size(key)?
            .ok_or_else(|| Error::MissingKey { key: self.key(key) })
    }

    /// An optional positive integer.
    pub fn opt_size(&self, key: &str) -> Result<Option<usize>> {
        match self.opt_count(key)? {
            Some(0) => Err(Error::BadValue {
                key: self.key(key),
                reason: "0 is not positive".into(),
            }),
            other => Ok(other),
        }
    }

    /// An optional integer that may be zero. If the file has an array with a value for
    /// each layer, returns the value of the current layer; outside layers all values
    /// must be equal.
    pub fn opt_count(&self, key: &str) -> Result<Option<usize>> {
        let key = self.ask(key);
        let value = match self.gguf.get(&key) {
            Some(Value::Array(per_layer)) => Some(value_of_layer(&key, *per_layer, self.layer)?),
            _ => self.gguf.opt_u32(&key)?,
        };
        match value {
            Some(value) if value > MAX_HYPERPARAMETER => {
                let reason = format!("{value} is over the limit of {MAX_HYPERPARAMETER}");
                Err(Error::BadValue { key, reason })
            }
            value => Ok(value.map(|value| value as usize)),
        }
    }

    /// An optional truth value.
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>> {
        let name = self.ask(key);
        let Some(value) = self.gguf.get(&name) else {
            return Ok(None);
        };
        let reason = || self.bad(key, "expected true or false".into());
        value.as_bool().map(Some).ok_or_else(reason)
    }

    /// An optional number.
    pub fn opt_f32(&self, key: &str) -> Result<Option<f32>> {
        self.gguf.opt_f32(&self.ask(key))
    }

    /// A required positive, finite number.
    pub fn positive(&self, key: &str) -> Result<f32> {
        self.opt_above_zero(key)?
            .ok_or_else(|| Error::MissingKey { key: self.key(key) })
    }

    /// An optional positive, finite number.
    pub fn opt_above_zero(&self, key: &str) -> Result<Option<f32>> {
        match self.opt_f32(key)? {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                let reason = format!("{} is not a positive number", Float(value));
                Err(self.bad(key, reason))
            }
            other => Ok(other),
        }
    }

    /// An optional positive, finite number, for keys in which writers also put zero for
    /// "none".
    pub fn opt_positive(&self, key: &str) -> Result<Option<f32>> {
        match self.opt_f32(key)? {
            Some(0.0) => Ok(None),
            _ => self.opt_above_zero(key),
        }
    }

    fn bad(&self, key: &str, reason: String) -> Error {
        Error::BadValue {
            key: self.key(key),
            reason,
        }
    }

    /// The number of layers, checked against its limit. The last layers are not counted
    /// if they only predict further tokens (`nextn_predict_layers`); if the file has
    /// tensors of such a layer, `nextn` tensors must be among them.
    pub fn layers(&self) -> Result<u32> {
        let blocks = self.size("block_count")?;
        if blocks > MAX_LAYERS {
            let reason = format!("{blocks} layers; at most {MAX_LAYERS} are supported");
            return Err(Error::BadValue {
                key: self.key("block_count"),
                reason,
            });
        }
        const FURTHER: &str = "nextn_predict_layers";
        let further = self.opt_count(FURTHER)?.unwrap_or(0);
        if further >= blocks {
            return Err(self.bad(FURTHER, format!("{further} of {blocks} layers")));
        }
        let layers = blocks - further;
        match (layers..blocks).find(|&layer| self.is_plain(layer)) {
            None => Ok(layers as u32),
            Some(layer) => {
                let reason = format!(
                    "the last {further} of {blocks} layers are said to predict further tokens, \
                     but layer {layer} has no `nextn` tensors: it would be left out"
                );
                Err(self.bad(FURTHER, reason))
            }
        }
    }

    /// Whether the file has tensors of this layer, and no `nextn` tensor among them.
    fn is_plain(&self, layer: usize) -> bool {
        let prefix = format!("blk.{layer}.");
        let names = self.gguf.tensors().iter().map(|tensor| tensor.name);
        let mut names = names.filter_map(|name| name.strip_prefix(&prefix));
        names.next().is_some_and(|first| {
            !first.starts_with("nextn.") && !names.any(|name| name.starts_with("nextn."))
        })
    }

    /// Sets the layer of the nodes that are added next; `None` is no layer.
    pub fn enter(&mut self, layer: Option<u32>) {
        self.layer = layer;
    }

    fn full_name(&self, name: &str, suffix: &str) -> String {
        match self.layer {
            Some(layer) => format!("blk.{layer}.{name}.{suffix}"),
            None => format!("{name}.{suffix}"),
        }
    }

    /// The tensor with this full name, and its index; marks it as used.
    pub fn tensor(&self, name: &str) -> Option<(u32, &'g TensorInfo<'a>)> {
        let info = self.gguf.tensor(name)?;
        let index = self
            .gguf
            .tensors()
            .iter()
            .position(|t| core::ptr::eq(t, info))?;
        self.used[index].set(true);
        Some((index as u32, info))
    }

    /// Whether the file has this tensor (`name.weight`) in the current layer.
    pub fn has(&self, name: &str) -> bool {
        self.gguf.tensor(&self.full_name(name, "weight")).is_some()
    }

    /// The tensor `name.weight` as a matrix of exactly `rows x cols`.
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        self.shaped(self.full_name(name, "weight"), rows, cols)
    }

    /// The tensor `name.weight` as a vector of `len` elements.
    pub fn vector(&self, name: &str, len: usize) -> Result<Weight> {
        self.shaped(self.name_of_vector(name), 1, len)
    }

    /// The tensor `name.weight`, or `name` alone as some converters write it, with `len`
    /// elements in any shape.
    pub fn numbers(&self, name: &str, len: usize) -> Result<Weight> {
        let full = self.name_of_vector(name);
        let (tensor, info) = self.required(&full)?;
        if info.rows().checked_mul(info.cols()) != Some(len) {
            let reason = format!("expected {len} numbers, the file has {:?}", info.dims());
            return Err(Error::BadShape { name: full, reason });
        }
        Ok(weight(tensor, info))
    }

    /// The full name of a vector: with `.weight`, unless the file has it without.
    fn name_of_vector(&self, name: &str) -> String {
        let full = self.full_name(name, "weight");
        // Firmware has no architecture with such files.
        if WHOLE
            && self.gguf.tensor(&full).is_none()
            && let Some(bare) = full.strip_suffix(".weight")
            && self.gguf.tensor(bare).is_some()
        {
            return bare.into();
        }
        full
    }

    /// The tensor `name.bias` as a vector of `len` elements, if the file has it.
    pub fn opt_bias(&self, name: &str, len: usize) -> Result<Option<Weight>> {
        let name = self.full_name(name, "bias");
        self.gguf
            .tensor(&name)
            .map(|_| self.shaped(name.clone(), 1, len))
            .transpose()
    }

    /// The matrices in the tensor `name.weight` of three dimensions: `count` matrices
    /// of exactly `rows x cols`, one after another (a layer's experts).
    pub fn matrices(
        &self,
        name: &str,
        count: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Vec<Weight>> {
        let name = self.full_name(name, "weight");
        let (tensor, info) = self.required(&name)?;
        if *info.dims() != [cols as u64, rows as u64, count as u64] {
            let reason = format!(
                "expected {cols} x {rows} x {count}, the file has {:?}",
                info.dims()
            );
            return Err(Error::BadShape { name, reason });
        }
        let whole = weight(tensor, info);
        parts(&whole, &vec![rows; count]).ok_or_else(|| no_whole_groups(name, &[rows]))
    }

    fn shaped(&self, name: String, rows: usize, cols: usize) -> Result<Weight> {
        let (tensor, info) = self.required(&name)?;
        if (info.rows(), info.cols()) != (rows, cols) || info.dims().len() > 2 {
            let reason = format!("expected {cols} x {rows}, the file has {:?}", info.dims());
            return Err(Error::BadShape { name, reason });
        }
        Ok(weight(tensor, info))
    }

    fn required(&self, name: &str) -> Result<(u32, &'g TensorInfo<'a>)> {
        self.tensor(name)
            .ok_or_else(|| Error::MissingTensor { name: name.into() })
    }

    fn push(&mut self, op: Op, width: usize) -> ValueId {
        self.nodes.push(Node {
            op,
            width,
            layer: self.layer,
        });
        ValueId(self.nodes.len() as u32 - 1)
    }

    /// Width of a value.
    pub fn width(&self, value: ValueId) -> usize {
        self.nodes[value.0 as usize].width
    }

    /// Token embeddings from the tensor `token_embd`, of `width` floats, times `scale`.
    pub fn embed(&mut self, width: usize, scale: f32) -> Result<ValueId> {
        let table = self.embedding_table(width)?;
        Ok(self.push(Op::Embed { table, scale }, width))
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

    /// The parts of `input * name.weight^T` if several matrices of these `rows` were
    /// fused in one tensor, one after another.
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
        let parts = parts(&whole, &rows)
            .ok_or_else(|| no_whole_groups(self.full_name(name, "weight"), &rows))?;
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
        debug_assert!(b.is_none_or(|b| self.width(b) == function.second_width(width)));
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
        let (first, count) = (columns.start, columns.len());
        let op = Op::Take {
            input,
            group,
            first,
            count,
        };
        self.push(op, groups * count)
    }

    /// Chooses the experts of each token by their scores. `bias` is added for the choice
    /// alone.
    pub fn route(&mut self, scores: ValueId, bias: Option<Weight>, routing: Routing) -> ValueId {
        debug_assert!(routing.used <= self.width(scores));
        let op = Op::Route {
            scores,
            bias,
            routing,
        };
        self.push(op, 2 * routing.used)
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
        let (tensor, info) = self.required(&self.full_name(name, "weight"))?;
        if *info.dims() != [cols as u64, rows as u64, count as u64] {
            let name = self.full_name(name, "weight");
            let reason = format!(
                "expected {cols} x {rows} x {count}, the file has {:?}",
                info.dims()
            );
            return Err(Error::BadShape { name, reason });
        }
        if info.layout == Layout::Packed && !rows.is_multiple_of(GROUP) {
            return Err(no_whole_groups(self.full_name(name, "weight"), &[rows]));
        }
        let weight = weight(tensor, info);
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

    /// The tensor `name.bias` with a vector of `len` elements for each of `count`
    /// experts, if the file has it.
    fn opt_biases(&self, name: &str, count: usize, len: usize) -> Result<Option<Weight>> {
        let name = self.full_name(name, "bias");
        self.gguf
            .tensor(&name)
            .map(|_| self.shaped(name.clone(), count, len))
            .transpose()
    }

    /// The sum of the chosen experts' rows in `input`, each times its weight.
    pub fn mix(&mut self, input: ValueId, routes: ValueId) -> ValueId {
        let used = self.width(routes) / 2;
        let width = self.width(input) / used;
        self.push(Op::Mix { input, routes }, width)
    }

    /// The product of each row with a vector, as a value of width 1.
    pub fn product(&mut self, input: ValueId, weight: Weight) -> ValueId {
        let weight = Weight {
            rows: 1,
            cols: self.width(input),
            ..weight
        };
        self.matmul(input, weight, None)
    }

    /// The number of rows of the tensor `name.weight`.
    pub fn rows_of(&self, name: &str) -> Result<usize> {
        let (_, info) = self.required(&self.full_name(name, "weight"))?;
        Ok(info.rows())
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

    /// `a * b`, where each element of a narrower `b` multiplies neighbours of `a`.
    pub fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        let each = self.width(a) / self.width(b);
        self.row(RowFn::Mul { each }, a, Some(b), None)
    }

    /// `input * weight`, where each element of a shorter weight multiplies neighbours.
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
        self.row(RowFn::Glu(activation), gate, Some(up), None)
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

    /// The finished graph.
    ///
    /// # Errors
    /// [`Error::UnusedTensors`] and [`Error::BadValue`] if the file has a tensor or key
    /// that the graph was built without, unless it is known to change nothing;
    /// [`Error::MissingKey`] if there is no context length.
    pub fn finish(self, logits: ValueId) -> Result<Graph> {
        let trained_context = self.size("context_length")?;
        leftover::refuse(&self)?;
        let vocabulary = self.width(logits);
        let Builder {
            architecture,
            nodes,
            ropes,
            ..
        } = self;
        Ok(Graph {
            architecture,
            nodes,
            ropes,
            logits,
            vocabulary,
            trained_context,
        })
    }
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
}

/// All rows of a tensor.
fn weight(tensor: u32, info: &TensorInfo) -> Weight {
    Weight {
        tensor,
        dtype: info.dtype,
        layout: info.layout,
        first_row: 0,
        rows: info.rows(),
        cols: info.cols(),
    }
}

/// Divides a matrix into parts with the given numbers of rows, one after another.
/// `None` if the matrix is packed and a part is not made of whole groups.
fn parts(whole: &Weight, rows: &[usize]) -> Option<Vec<Weight>> {
    let before_the_last = rows.split_last().map_or(rows, |(_, before)| before);
    if whole.layout == Layout::Packed && before_the_last.iter().any(|rows| rows % GROUP != 0) {
        return None;
    }
    let mut first_row = 0;
    let part = |&rows: &usize| {
        let part = Weight {
            first_row,
            rows,
            ..*whole
        };
        first_row += rows;
        part
    };
    Some(rows.iter().map(part).collect())
}

fn no_whole_groups(name: String, rows: &[usize]) -> Error {
    let reason = format!("packed, its parts of {rows:?} rows are no whole groups");
    Error::BadShape { name, reason }
}

/// The value of a layer in an array with a value for each layer; outside layers, the
/// value that all layers have.
fn value_of_layer(key: &str, per_layer: Array, layer: Option<u32>) -> Result<u32> {
    let bad = |reason: String| Error::BadValue {
        key: key.into(),
        reason,
    };
    let mut values = per_layer.iter();
    let value = match layer {
        Some(layer) => {
            let len = values.len();
            let value = values.nth(layer as usize);
            value.ok_or_else(|| bad(format!("{len} values, and none for layer {layer}")))?
        }
        None => {
            let first = values.next();
            let first = first.ok_or_else(|| bad("the array is empty".into()))?;
            if values.any(|value| value != first) {
                return Err(bad("layers that differ in it are not supported".into()));
            }
            first
        }
    };
    value
        .as_u64()
        .and_then(|value| value.try_into().ok())
        .ok_or_else(|| bad("expected integers of 0..2^32".into()))
}
