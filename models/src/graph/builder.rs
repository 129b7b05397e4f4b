//! The builder an architecture writes its forward pass with.

use super::{Activation, Attention, Graph, Node, Op, Rope, RopeStyle, ValueId, Weight};
use crate::gguf::{Gguf, TensorInfo};
use crate::{Error, Result};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// More layers, heads or a wider model than any real one is a damaged file.
const MAX_HYPERPARAMETER: u32 = 1 << 20;
/// Layers cost memory in the graph itself, so they have a cap of their own.
const MAX_LAYERS: u32 = 1024;

/// Reads metadata and tensors of one file, and adds nodes to its graph.
///
/// Tensor names are given without the `.weight` or `.bias` suffix; inside a
/// layer also without the `blk.N.` prefix.
pub struct Builder<'g, 'a> {
    gguf: &'g Gguf<'a>,
    architecture: String,
    layer: Option<u32>,
    slots: u32,
    nodes: Vec<Node>,
    ropes: Vec<Rope>,
}

impl<'g, 'a> Builder<'g, 'a> {
    /// A builder for the file's architecture, whose name prefixes its keys.
    pub fn new(gguf: &'g Gguf<'a>) -> Result<Self> {
        let architecture = gguf.str("general.architecture")?.to_string();
        Ok(Builder { gguf, architecture, layer: None, slots: 0, nodes: Vec::new(), ropes: Vec::new() })
    }

    /// The file.
    pub fn gguf(&self) -> &'g Gguf<'a> {
        self.gguf
    }

    /// The full name of a key of this architecture: `key("block_count")` is `llama.block_count`.
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// A positive hyperparameter. Missing, zero or absurd values are errors.
    pub fn size(&self, key: &str) -> Result<usize> {
        let key = self.key(key);
        let value = self.gguf.u32(&key)?;
        checked_size(key, value)
    }

    /// A positive hyperparameter that files may leave out.
    pub fn opt_size(&self, key: &str) -> Result<Option<usize>> {
        let key = self.key(key);
        self.gguf.opt_u32(&key)?.map(|value| checked_size(key, value)).transpose()
    }

    /// A finite hyperparameter that files may leave out.
    pub fn opt_float(&self, key: &str) -> Result<Option<f32>> {
        let key = self.key(key);
        match self.gguf.opt_f32(&key)? {
            Some(value) if !value.is_finite() => Err(Error::BadValue { key, reason: format!("{value} is not finite") }),
            other => Ok(other),
        }
    }

    /// A finite hyperparameter.
    pub fn float(&self, key: &str) -> Result<f32> {
        self.opt_float(key)?.ok_or_else(|| Error::MissingKey { key: self.key(key) })
    }

    /// The number of layers, capped.
    pub fn layers(&self) -> Result<u32> {
        let layers = self.size("block_count")? as u32;
        if layers > MAX_LAYERS {
            let reason = format!("{layers} layers; at most {MAX_LAYERS} are supported");
            return Err(Error::BadValue { key: self.key("block_count"), reason });
        }
        Ok(layers)
    }

    /// Nodes added from here on belong to this layer, or to none.
    pub fn enter(&mut self, layer: Option<u32>) {
        self.layer = layer;
    }

    fn full_name(&self, name: &str, suffix: &str) -> String {
        match self.layer {
            Some(layer) => format!("blk.{layer}.{name}.{suffix}"),
            None => format!("{name}.{suffix}"),
        }
    }

    fn tensor(&self, name: &str) -> Option<(u32, &'g TensorInfo<'a>)> {
        let info = self.gguf.tensor(name)?;
        let index = self.gguf.tensors().iter().position(|t| core::ptr::eq(t, info))?;
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
        self.shaped(self.full_name(name, "weight"), 1, len)
    }

    /// The tensor `name.bias`, where the file has it.
    pub fn opt_bias(&self, name: &str, len: usize) -> Result<Option<Weight>> {
        let name = self.full_name(name, "bias");
        self.gguf.tensor(&name).map(|_| self.shaped(name.clone(), 1, len)).transpose()
    }

    fn shaped(&self, name: String, rows: usize, cols: usize) -> Result<Weight> {
        let (tensor, info) = self.tensor(&name).ok_or_else(|| Error::MissingTensor { name: name.clone() })?;
        if (info.rows(), info.cols()) != (rows, cols) || info.dims().len() > 2 {
            let reason = format!("expected {cols} x {rows}, the file has {:?}", info.dims());
            return Err(Error::BadShape { name, reason });
        }
        Ok(Weight { tensor, dtype: info.dtype, first_row: 0, rows, cols })
    }

    /// `rows` rows of a matrix from `first_row` on, where several were fused in one tensor.
    pub fn slice(&self, weight: Weight, first_row: usize, rows: usize) -> Weight {
        debug_assert!(first_row + rows <= weight.rows);
        Weight { first_row: weight.first_row + first_row, rows, ..weight }
    }

    fn push(&mut self, op: Op, width: usize) -> ValueId {
        self.nodes.push(Node { op, width, layer: self.layer });
        ValueId(self.nodes.len() as u32 - 1)
    }

    /// Width of a value.
    pub fn width(&self, value: ValueId) -> usize {
        self.nodes[value.0 as usize].width
    }

    /// Token embeddings from `token_embd`, of `width`, times `scale`.
    pub fn embed(&mut self, width: usize, scale: f32) -> Result<ValueId> {
        let table = self.embedding_table(width)?;
        Ok(self.push(Op::Embed { table, scale }, width))
    }

    /// The embedding table: its rows are the vocabulary.
    fn embedding_table(&self, width: usize) -> Result<Weight> {
        let name = "token_embd.weight";
        let (_, info) = self.tensor(name).ok_or_else(|| Error::MissingTensor { name: name.into() })?;
        self.shaped(name.into(), info.rows(), width)
    }

    /// `input * name.weight^T`, plus `name.bias` where the file has one.
    pub fn linear(&mut self, input: ValueId, name: &str, rows: usize) -> Result<ValueId> {
        let weight = self.matrix(name, rows, self.width(input))?;
        let bias = self.opt_bias(name, rows)?;
        Ok(self.matmul(input, weight, bias))
    }

    /// `input * weight^T (+ bias)`.
    pub fn matmul(&mut self, input: ValueId, weight: Weight, bias: Option<Weight>) -> ValueId {
        debug_assert_eq!(self.width(input), weight.cols);
        self.push(Op::MatMul { input, weight, bias }, weight.rows)
    }

    /// RMS norm over the whole width with the weight `name`.
    pub fn rms_norm(&mut self, input: ValueId, name: &str, eps: f32) -> Result<ValueId> {
        self.rms_norm_heads(input, name, self.width(input), eps)
    }

    /// RMS norm over each head of `head_dim` with the weight `name` of that length.
    pub fn rms_norm_heads(&mut self, input: ValueId, name: &str, head_dim: usize, eps: f32) -> Result<ValueId> {
        let weight = Some(self.vector(name, head_dim)?);
        let width = self.width(input);
        Ok(self.push(Op::RmsNorm { input, weight, group: head_dim, eps }, width))
    }

    /// Registers a rotary embedding; the number is for [`Builder::rope`].
    pub fn add_rope(&mut self, rope: Rope) -> usize {
        self.ropes.push(rope);
        self.ropes.len() - 1
    }

    /// Rotates each head of `input`.
    pub fn rope(&mut self, input: ValueId, head_dim: usize, rope: usize) -> ValueId {
        let width = self.width(input);
        self.push(Op::Rope { input, head_dim, rope }, width)
    }

    /// Attention over the next cache slot; `attention.slot` is filled in here.
    pub fn attention(&mut self, q: ValueId, k: ValueId, v: ValueId, attention: Attention) -> ValueId {
        let attention = Attention { slot: self.slots, ..attention };
        self.slots += 1;
        self.push(Op::Attention { q, k, v, attention }, attention.heads * attention.head_dim)
    }

    /// `a + b`.
    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        debug_assert_eq!(self.width(a), self.width(b));
        let width = self.width(a);
        self.push(Op::Add { a, b }, width)
    }

    /// `input * factor`; nothing is added for a factor of one.
    pub fn scale(&mut self, input: ValueId, factor: f32) -> ValueId {
        if factor == 1.0 {
            return input;
        }
        let width = self.width(input);
        self.push(Op::Scale { input, factor }, width)
    }

    /// `activation(gate) * up`.
    pub fn glu(&mut self, gate: ValueId, up: ValueId, activation: Activation) -> ValueId {
        debug_assert_eq!(self.width(gate), self.width(up));
        let width = self.width(gate);
        self.push(Op::Glu { gate, up, activation }, width)
    }

    /// `down(activation(gate(x)) * up(x))`, the usual feed-forward block of `hidden` width.
    pub fn feed_forward(&mut self, x: ValueId, hidden: usize, activation: Activation) -> Result<ValueId> {
        let width = self.width(x);
        let gate = self.linear(x, "ffn_gate", hidden)?;
        let up = self.linear(x, "ffn_up", hidden)?;
        let h = self.glu(gate, up, activation);
        self.linear(h, "ffn_down", width)
    }

    /// The head: `output`, or the embedding table where the file ties them.
    pub fn head(&mut self, x: ValueId) -> Result<ValueId> {
        let table = self.embedding_table(self.width(x))?;
        if !self.has("output") {
            return Ok(self.matmul(x, table, None));
        }
        self.linear(x, "output", table.rows)
    }

    /// `cap * tanh(input / cap)` where there is a cap.
    pub fn softcap(&mut self, input: ValueId, cap: Option<f32>) -> ValueId {
        let width = self.width(input);
        match cap {
            Some(cap) => self.push(Op::Softcap { input, cap }, width),
            None => input,
        }
    }

    /// The finished graph.
    pub fn finish(self, logits: ValueId) -> Result<Graph> {
        let trained_context = self.size("context_length")?;
        let vocabulary = self.width(logits);
        let Builder { architecture, nodes, ropes, .. } = self;
        Ok(Graph { architecture, nodes, ropes, logits, vocabulary, trained_context })
    }
}

impl Rope {
    /// Plain rotary embedding: `base^(-2i/dims)` for pair `i` of `dims / 2`.
    pub fn plain(style: RopeStyle, dims: usize, base: f32) -> Rope {
        let inverse_frequencies =
            (0..dims / 2).map(|i| libm::pow(f64::from(base), -2.0 * i as f64 / dims as f64) as f32).collect();
        Rope { style, inverse_frequencies, magnitude: 1.0 }
    }
}

fn checked_size(key: String, value: u32) -> Result<usize> {
    if value == 0 || value > MAX_HYPERPARAMETER {
        let reason = format!("{value} is out of the range 1..={MAX_HYPERPARAMETER}");
        return Err(Error::BadValue { key, reason });
    }
    Ok(value as usize)
}
