//! Chooses the forms of weights, converts spans of a graph to segments, and has a
//! delegate claim and compile them.

use super::blob::{Blobs, Hash};
use super::bundle::{Bundle, Part};
use super::device::Delegate;
use super::error::DelegateError;
use super::program::Program;
use super::quant::{Quant, Quantized, choose};
use super::segment::{self, Node, Role, Segment};
use crate::Model;
use crate::plan::{Span, spans};
use ondol_models::graph::{Graph, Op, ValueId, Weight};
use ondol_models::quant::packed;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

/// The form of a weight is chosen with this many of its rows.
const SAMPLED_ROWS: usize = 32;

/// The form of each matrix, with its loss. Matrices that no form fits are missing.
pub(super) type Forms = HashMap<Weight, (Quant, f64)>;

/// Operations that stay on the CPU, with the reason.
pub(super) type Refused = BTreeMap<usize, String>;

/// For each input, then for each output of a span: its index in the segment and its
/// width (floats).
pub(super) type Interface = [Vec<(usize, usize)>; 2];

/// Chooses among `quants` the form of every matrix that a span may hold. Refuses the
/// matmuls for whose matrices there is none.
pub(super) fn choose_forms(model: &Model, quants: &[Quant]) -> (Forms, Refused) {
    let graph = &model.0.graph;
    let (mut forms, mut refused) = (Forms::new(), Refused::new());
    let nodes = spans(graph, |_| true).into_iter().flat_map(|s| s.nodes);
    for node in nodes {
        let weight = match graph.nodes[node].op {
            Op::MatMul { weight, .. } => weight,
            Op::Row { function, .. } if !segment::Op::Row(function).is_in_contract() => {
                refused.insert(node, "the contract has no such function".into());
                continue;
            }
            _ => continue,
        };
        let step = weight.rows.div_ceil(SAMPLED_ROWS).max(1);
        let rows: Vec<Vec<f32>> = (0..weight.rows)
            .step_by(step)
            .map(|row| weight_row(model, &weight, row))
            .collect();
        match choose(quants, &rows, weight.cols) {
            Some(form) => {
                forms.insert(weight, form);
            }
            None => {
                let cols = weight.cols;
                let reason = format!("no form that the device takes fits rows of {cols}");
                refused.insert(node, reason);
            }
        }
    }
    (forms, refused)
}

fn weight_row(model: &Model, weight: &Weight, row: usize) -> Vec<f32> {
    let mut floats = vec![0.0; weight.cols];
    let bytes = model.0.weights.rows(weight);
    // The loader checked the shape, so every row can be read. One that could not would
    // become NaN.
    if packed::dequantize_row(weight.dtype, weight.layout, bytes, row, &mut floats).is_err() {
        floats.fill(f32::NAN);
    }
    floats
}

/// Names the layers to which a span's operations belong.
pub(super) fn name(graph: &Graph, span: &Span) -> String {
    let mut layers = span
        .nodes
        .iter()
        .filter_map(|&node| graph.nodes[node].layer);
    let first = layers.next();
    match (first, layers.next_back()) {
        (Some(first), Some(last)) if first != last => format!("layers {first} to {last}"),
        (Some(first), _) => format!("layer {first}"),
        _ => "no layer".to_string(),
    }
}

/// Where compiled programs are stored.
pub(super) enum Stored {
    /// A folder, in which what is compiled is stored.
    Folder(Blobs),
    /// A bundle, which has all programs.
    Bundle(Bundle),
}

impl Stored {
    /// A file is a bundle; anything else is a folder, which may not exist yet.
    ///
    /// # Errors
    /// Those of [`Bundle::open`].
    pub fn open(path: &Path, delegate: &Delegate) -> Result<Stored, DelegateError> {
        match path.is_file() {
            true => Bundle::open(path, delegate).map(Stored::Bundle),
            false => Ok(Stored::Folder(Blobs::new(path))),
        }
    }
}

/// A model, and the delegate that compiles parts of it.
#[derive(Clone, Copy)]
pub(super) struct Compiler<'m> {
    pub model: &'m Model,
    pub delegate: &'m Delegate,
    pub forms: &'m Forms,
}

impl Compiler<'_> {
    /// Finds the spans of which the device takes every operation. A refused operation
    /// splits its span, and the parts are claimed again.
    pub fn claim(&self, rows: usize, refused: &mut Refused) -> Result<Vec<Span>, DelegateError> {
        loop {
            let spans = spans(&self.model.0.graph, |node| !refused.contains_key(&node));
            let before = refused.len();
            for span in &spans {
                let claims = self.delegate.claim(&self.segment(span, rows, false))?;
                for (&node, refusal) in span.nodes.iter().zip(claims) {
                    refused.extend(refusal.map(|reason| (node, reason)));
                }
            }
            if refused.len() == before {
                return Ok(spans);
            }
        }
    }

    /// Keeps the first spans whose weights the device's memory holds, each in `copies`
    /// programs, and refuses the rest.
    pub fn fit(&self, spans: Vec<Span>, copies: usize, refused: &mut Refused) -> Vec<Span> {
        let limit = self.delegate.info().memory_limit;
        if limit == 0 {
            return spans;
        }
        let mut room = limit;
        let mut fits = |span: &Span| {
            let needed = self.weight_bytes(span).saturating_mul(copies as u64);
            let left = room.checked_sub(needed);
            room = left.unwrap_or(room);
            left.is_some()
        };
        let (kept, rest): (Vec<Span>, Vec<Span>) = spans.into_iter().partition(|span| fits(span));
        let reason = format!("the device holds {limit} bytes of weights, and they are full");
        let nodes = rest.into_iter().flat_map(|span| span.nodes);
        refused.extend(nodes.map(|node| (node, reason.clone())));
        kept
    }

    /// Bytes of a span's weights as the device gets them.
    fn weight_bytes(&self, span: &Span) -> u64 {
        let bytes = |&node: &usize| {
            let op = &self.model.0.graph.nodes[node].op;
            let matrix = match *op {
                Op::MatMul { weight, .. } => {
                    let form = self.forms.get(&weight);
                    form.and_then(|(form, _)| form.sizes(weight.rows, weight.cols))
                }
                _ => None,
            };
            let (data, scales) = matrix.unwrap_or((0, 0));
            let vector = op
                .vector()
                .map_or(0, |vector| vector.cols * size_of::<f32>());
            (data + scales + vector) as u64
        };
        span.nodes.iter().map(bytes).sum()
    }

    /// A span as a segment. Its tensors are the span's inputs, then for each operation
    /// its weights and its output.
    pub fn segment(&self, span: &Span, rows: usize, with_data: bool) -> Segment {
        let graph = &self.model.0.graph;
        let mut segment = Segment {
            name: name(graph, span),
            rows,
            tensors: Vec::new(),
            nodes: Vec::new(),
        };
        let mut places: HashMap<ValueId, usize> = HashMap::new();
        for &input in &span.inputs {
            let place = segment.push(Role::Input, rows, graph.node(input).width);
            places.insert(input, place);
        }
        for &node in &span.nodes {
            let value = ValueId(node as u32);
            let mut inputs: Vec<usize> = graph.nodes[node]
                .op
                .inputs()
                .map(|input| places[&input])
                .collect();
            let op = self.lower(&graph.nodes[node].op, with_data, &mut segment, &mut inputs);
            let role = match span.outputs.binary_search(&value) {
                Ok(_) => Role::Output,
                Err(_) => Role::Intermediate,
            };
            let out = segment.push(role, rows, graph.nodes[node].width);
            places.insert(value, out);
            segment.nodes.push(Node { op, inputs, out });
        }
        segment
    }

    /// Converts an operation. Its weights become tensors of the segment and further
    /// inputs.
    fn lower(
        &self,
        op: &Op,
        with_data: bool,
        segment: &mut Segment,
        inputs: &mut Vec<usize>,
    ) -> segment::Op {
        match *op {
            Op::MatMul { weight, bias, .. } => {
                let role = self.matrix(&weight, with_data);
                inputs.push(segment.push(role, weight.rows, weight.cols));
                inputs.extend(bias.map(|bias| self.vector(&bias, with_data, segment)));
                segment::Op::MatMul
            }
            Op::Row {
                function, weight, ..
            } => {
                inputs.extend(weight.map(|weight| self.vector(&weight, with_data, segment)));
                segment::Op::Row(function)
            }
            Op::Embed { .. }
            | Op::Rope { .. }
            | Op::Attention { .. }
            | Op::SharedAttention { .. }
            | Op::Conv { .. }
            | Op::Take { .. }
            | Op::Join { .. }
            | Op::RouteToAll { .. }
            | Op::Route { .. }
            | Op::Weigh { .. }
            | Op::Experts { .. }
            | Op::Mix { .. }
            | Op::LinearAttention { .. } => {
                unreachable!("this operation is not part of a span")
            }
        }
    }

    fn matrix(&self, weight: &Weight, with_data: bool) -> Role {
        let form = self.forms.get(weight).map(|&(form, _)| form);
        let mut stored = Quantized::default();
        if let (true, Some(form)) = (with_data, form) {
            for row in 0..weight.rows {
                form.quantize_row(&weight_row(self.model, weight, row), &mut stored);
            }
        }
        Role::Weight(form, stored)
    }

    fn vector(&self, weight: &Weight, with_data: bool, segment: &mut Segment) -> usize {
        let mut stored = Quantized::default();
        if with_data {
            let floats = weight_row(self.model, weight, 0);
            stored.data = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
        }
        segment.push(Role::Weight(None, stored), 1, weight.cols)
    }

    pub fn interface(&self, span: &Span) -> Interface {
        let segment = self.segment(span, 1, false);
        let (inputs, outputs) = segment.interface();
        let with_width = |index: usize| (index, segment.tensors[index].cols);
        [inputs, outputs].map(|list| list.into_iter().map(with_width).collect())
    }

    /// Loads or compiles the programs of a span, one for each number of rows. The flag of
    /// each says whether it was loaded.
    pub fn programs(
        &self,
        span: &Span,
        kinds: &[usize],
        stored: Option<&Stored>,
    ) -> Result<Vec<(Program, bool)>, DelegateError> {
        match stored {
            Some(Stored::Bundle(bundle)) => {
                let part = Part::of(self.delegate);
                let one = |&rows: &usize| {
                    let blob = bundle.read(&self.key(&part, span, rows), rows)?;
                    Ok((self.delegate.load_program(&blob)?, true))
                };
                kinds.iter().map(one).collect()
            }
            Some(Stored::Folder(blobs)) => self.load_or_compile(span, kinds, Some(blobs)),
            None => self.load_or_compile(span, kinds, None),
        }
    }

    /// Loads programs from a folder or compiles them. The weights are converted once for
    /// all of them.
    fn load_or_compile(
        &self,
        span: &Span,
        kinds: &[usize],
        blobs: Option<&Blobs>,
    ) -> Result<Vec<(Program, bool)>, DelegateError> {
        let mut converted: Option<Segment> = None;
        let mut one = |rows: usize| {
            let key = blobs.map(|_| self.key(&self.delegate.identity(), span, rows));
            let kept = blobs.zip(key).and_then(|(blobs, key)| blobs.read(&key));
            // If the plug-in refuses the stored program, it is compiled again.
            if let Some(Ok(program)) = kept.map(|blob| self.delegate.load_program(&blob)) {
                return Ok((program, true));
            }
            let segment = converted.take();
            let segment = segment.unwrap_or_else(|| self.segment(span, rows, true));
            let segment = converted.insert(segment.with_rows(rows));
            let program = self.delegate.compile(segment)?;
            if let Some((blobs, key)) = blobs.zip(key) {
                // If the program can't be stored, it is compiled again in the next run.
                let _ = program.save().map(|blob| blobs.write(&key, &blob));
            }
            Ok((program, false))
        };
        kinds.iter().map(|&rows| one(rows)).collect()
    }

    /// Hash of everything on which a program depends: `made_by` (the plug-in, the device
    /// and its software), the span, and the bytes of its weights.
    pub fn key(&self, made_by: &impl core::fmt::Debug, span: &Span, rows: usize) -> Hash {
        let graph = &self.model.0.graph;
        let mut hash = Sha256::new();
        hash.update(format!("{made_by:?} {rows} {span:?}"));
        for &node in &span.nodes {
            let op = &graph.nodes[node].op;
            hash.update(format!("{op:?}"));
            let matrix = match *op {
                Op::MatMul { weight, .. } => Some(weight),
                _ => None,
            };
            let form = matrix.and_then(|weight| self.forms.get(&weight));
            hash.update(format!("{form:?}"));
            for weight in [matrix, op.vector()].into_iter().flatten() {
                hash.update(self.model.0.weights.rows(&weight));
            }
        }
        hash.finalize().into()
    }
}
