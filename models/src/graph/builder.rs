//! The builder with which an architecture makes its graph.

use super::{Graph, Node, Rope, ValueId, Weight, leftover};
use crate::gguf::{Array, Gguf, TensorInfo, Value};
use crate::quant::{DType, Layout, packed::GROUP};
use crate::{Error, Float, Result, WHOLE};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

/// Limit of heads, widths and other counts. No real model exceeds it, so a larger number
/// means a damaged file.
const MAX_HYPERPARAMETER: u32 = 1 << 20;
/// Limit of layers. It is lower, because each layer takes memory in the graph itself.
const MAX_LAYERS: usize = 1024;

/// Reads metadata and tensors of one file, and adds nodes to its graph.
///
/// Tensor names are given without the `.weight` or `.bias` suffix; inside a layer also
/// without the `blk.N.` prefix. [`Builder::finish`] checks that nothing in the file was
/// left unread.
///
/// # Errors
/// Methods that read a key return [`Error::MissingKey`] where a required key is missing, and
/// [`Error::BadValue`] where its value has the wrong type or is out of range. Methods that
/// read a tensor, and those that add a node with a weight, return [`Error::MissingTensor`]
/// where a required tensor is missing, and [`Error::BadShape`] where it does not have the
/// expected dimensions.
pub struct Builder<'g, 'a> {
    pub(super) gguf: &'g Gguf<'a>,
    pub(super) architecture: String,
    /// For each tensor: whether an operation uses it.
    pub(super) used: Vec<Cell<bool>>,
    /// For each key: whether it was read.
    asked: Vec<Cell<bool>>,
    pub(super) layer: Option<u32>,
    pub(super) slots: u32,
    pub(super) nodes: Vec<Node>,
    pub(super) ropes: Vec<Rope>,
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

    /// The full name of a key. Marks the key as read.
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

    /// An optional number, which may be infinite. If the file has an array with a number for
    /// each layer, returns that of `layer`.
    pub fn opt_f32_of_layer(&self, key: &str, layer: u32) -> Result<Option<f32>> {
        let Some(per_layer) = self.opt_array(key) else {
            return self.opt_f32(key);
        };
        let value = per_layer.iter().nth(layer as usize);
        match value.and_then(|value| value.as_f32()) {
            Some(value) if !value.is_nan() => Ok(Some(value)),
            _ => Err(self.bad(key, format!("the array has no number for layer {layer}"))),
        }
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
        const NEXTN: &str = "nextn_predict_layers";
        let nextn = self.opt_count(NEXTN)?.unwrap_or(0);
        if nextn >= blocks {
            let reason = format!("{nextn} must be less than the {blocks} layers");
            return Err(self.bad(NEXTN, reason));
        }
        let layers = blocks - nextn;
        match (layers..blocks).find(|&layer| self.is_plain(layer)) {
            None => Ok(layers as u32),
            Some(layer) => {
                let reason = format!(
                    "the last {nextn} of {blocks} layers are said to predict further tokens, \
                     but layer {layer} has no `nextn` tensors: it would be left out"
                );
                Err(self.bad(NEXTN, reason))
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

    pub(super) fn full_name(&self, name: &str, suffix: &str) -> String {
        match self.layer {
            Some(layer) => format!("blk.{layer}.{name}.{suffix}"),
            None => format!("{name}.{suffix}"),
        }
    }

    /// The tensor with this full name, and its index. Marks the tensor as used.
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

    /// Marks the tensors `name.weight` as used, if the file has them, since they change
    /// nothing.
    pub fn ignore(&self, names: &[&str]) {
        for name in names {
            self.tensor(&self.full_name(name, "weight"));
        }
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

    /// The index of the tensor `name.weight` with the sinks of an attention, one `f32` for
    /// each of the `heads` (see [`super::Attention`]).
    ///
    /// # Errors
    /// Also [`Error::UnsupportedDType`] where the sinks are not in `f32`.
    pub fn sinks(&self, name: &str, heads: usize) -> Result<u32> {
        let weight = self.vector(name, heads)?;
        if weight.dtype != DType::F32 {
            return Err(Error::UnsupportedDType {
                tensor: self.name_of_vector(name),
                dtype: weight.dtype.name().into(),
            });
        }
        Ok(weight.tensor)
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

    /// The tensor `name.bias` as a vector of `len` elements.
    pub fn bias_vector(&self, name: &str, len: usize) -> Result<Weight> {
        self.shaped(self.full_name(name, "bias"), 1, len)
    }

    /// The tensor `name.bias` as a vector of `len` elements, if the file has it.
    pub fn opt_bias(&self, name: &str, len: usize) -> Result<Option<Weight>> {
        self.opt_biases(name, 1, len)
    }

    /// The tensor `name.bias` as `count` vectors of `len` elements, if the file has it.
    pub(super) fn opt_biases(
        &self,
        name: &str,
        count: usize,
        len: usize,
    ) -> Result<Option<Weight>> {
        let name = self.full_name(name, "bias");
        self.gguf
            .tensor(&name)
            .map(|_| self.shaped(name.clone(), count, len))
            .transpose()
    }

    /// The matrices in the tensor `name.weight` of three dimensions: `count` matrices
    /// of exactly `rows x cols`, one after another (a layer's experts). `count` is not 0.
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
        parts(&whole, &vec![rows; count], name)
    }

    /// The number of rows of the tensor `name.weight`.
    pub fn rows_of(&self, name: &str) -> Result<usize> {
        let (_, info) = self.required(&self.full_name(name, "weight"))?;
        Ok(info.rows())
    }

    pub(super) fn shaped(&self, name: String, rows: usize, cols: usize) -> Result<Weight> {
        let (tensor, info) = self.required(&name)?;
        if (info.rows(), info.cols()) != (rows, cols) || info.dims().len() > 2 {
            let reason = format!("expected {cols} x {rows}, the file has {:?}", info.dims());
            return Err(Error::BadShape { name, reason });
        }
        Ok(weight(tensor, info))
    }

    pub(super) fn required(&self, name: &str) -> Result<(u32, &'g TensorInfo<'a>)> {
        self.tensor(name)
            .ok_or_else(|| Error::MissingTensor { name: name.into() })
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

/// Divides the matrix `name` into parts with the given numbers of rows, one after
/// another.
///
/// # Errors
/// [`Error::BadShape`] if it is packed and a part does not start at a whole group.
pub(super) fn parts(whole: &Weight, rows: &[usize], name: String) -> Result<Vec<Weight>> {
    let starts = rows.split_last().map_or(rows, |(_, before)| before);
    if whole.layout == Layout::Packed && starts.iter().any(|rows| rows % GROUP != 0) {
        let reason = format!(
            "it is packed, and its parts of {rows:?} rows do not begin at whole groups of {GROUP}"
        );
        return Err(Error::BadShape { name, reason });
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
    Ok(rows.iter().map(part).collect())
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
                return Err(bad(
                    "different values for different layers are not supported".into(),
                ));
            }
            first
        }
    };
    value
        .as_u64()
        .and_then(|value| value.try_into().ok())
        .ok_or_else(|| bad("expected integers of 0..2^32".into()))
}
