//! Finds the spans of a model that a delegate claims, and compiles them.

use super::blob::{Blobs, Hash};
use super::device::Delegate;
use super::error::{Code, DelegateError, Stage};
use super::program::Program;
use super::quant::{Quant, Quantized, choose};
use super::segment::{self, Node, Role, Segment};
use crate::plan::{Span, spans};
use crate::{CancelToken, Error, Model, Result};
use core::time::Duration;
use ondol_models::graph::{Op, ValueId, Weight};
use ondol_models::quant::packed;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::string::{String, ToString};
use std::sync::Arc;
use std::time::Instant;
use std::vec::Vec;
use std::{format, vec};

/// The form of a weight is chosen with this many of its rows.
const SAMPLED_ROWS: usize = 32;

/// Which parts are offloaded, and how.
#[derive(Debug, Clone)]
pub struct OffloadOptions {
    /// Largest number of rows of a prefill program. The largest number up to this that
    /// the device offers is used. Passes are padded to a multiple of it.
    pub rows: usize,
    /// Whether decode also runs on the device, one row in each call.
    pub decode: bool,
    /// Whether a failure of the device is an error. Otherwise the CPU computes the
    /// span.
    pub strict: bool,
    /// Time limit of one call of the device; must not be zero.
    pub deadline: Duration,
    /// Folder in which compiled programs are stored for later runs. `None` stores none.
    pub cache: Option<PathBuf>,
}

impl Default for OffloadOptions {
    fn default() -> Self {
        OffloadOptions {
            rows: 256,
            decode: false,
            strict: false,
            deadline: Duration::from_secs(5),
            cache: None,
        }
    }
}

/// The spans of a model that a delegate runs, with their programs. Made once, and
/// shared by any number of engines.
#[derive(Clone)]
pub struct Offload(pub(crate) Arc<Compiled>);

pub(crate) struct Compiled {
    pub model: Model,
    pub delegate: Delegate,
    pub options: OffloadOptions,
    pub spans: Vec<Span>,
    /// Rows of a prefill program.
    pub rows: usize,
    /// One program for each span.
    pub prefill: Vec<Program>,
    /// One program of one row for each span; empty if decode stays on the CPU.
    pub decode: Vec<Program>,
    /// For each span: index in its segment and width (floats) of each input, then of
    /// each output.
    pub interfaces: Vec<[Vec<(usize, usize)>; 2]>,
    pub report: OffloadReport,
}

impl core::fmt::Debug for Offload {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.report.fmt(f)
    }
}

/// Which parts run on the device, and the loss of their weights' forms.
#[derive(Debug, Clone, Default)]
pub struct OffloadReport {
    /// Spans that run on the device, in order of execution.
    pub spans: Vec<SpanReport>,
    /// Operations that the device or the host refused, grouped by reason.
    pub refused: Vec<UnclaimedNodes>,
    /// Weights that were handed over, grouped by form.
    pub weights: Vec<WeightsReport>,
    /// Fraction (0 to 1) of the multiply-adds of the body's matmuls that run on the
    /// device in prefill.
    pub share: f64,
    /// Rows of a prefill program.
    pub rows: usize,
    /// Time taken to choose, claim and compile.
    pub time: Duration,
    /// Number of programs that were loaded from the cache folder.
    pub from_cache: usize,
    /// Number of programs.
    pub programs: usize,
}

/// A span on the device.
#[derive(Debug, Clone)]
pub struct SpanReport {
    /// The layers to which its operations belong: `layer 3` or `layers 3 to 4`.
    pub name: String,
    /// Number of operations.
    pub nodes: usize,
    /// Number of matmuls among them.
    pub matmuls: usize,
    /// Multiply-adds of its matmuls for one row.
    pub multiply_adds: u64,
}

/// Operations that stay on the CPU for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnclaimedNodes {
    /// Reason, in the words of the plug-in or the host.
    pub reason: String,
    /// Number of operations.
    pub nodes: usize,
}

/// The weights that were handed over in one form.
#[derive(Debug, Clone)]
pub struct WeightsReport {
    /// The form.
    pub form: Quant,
    /// Number of weight matrices.
    pub count: usize,
    /// The largest relative squared error that the form adds to one of these weights:
    /// squared error over squared length, compared with the file's numbers.
    pub worst_loss: f64,
}

impl Offload {
    /// Chooses the spans of `model` that run on the delegate, and compiles them. Calls
    /// `progress` with the number of finished programs and the number of all.
    ///
    /// # Errors
    /// [`Error::Delegate`] if no part of the model can run on the device, or a program
    /// can't be compiled; [`Error::Cancelled`].
    pub fn new(
        model: &Model,
        delegate: &Delegate,
        options: &OffloadOptions,
        cancel: &CancelToken,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Offload> {
        let began = Instant::now();
        let rows = program_rows(delegate, options)?;
        let mut compiler = Compiler::new(model, delegate, rows);
        let spans = compiler.claim()?;
        if spans.is_empty() {
            return Err(compiler.takes_nothing().into());
        }
        let blobs = options.cache.as_deref().map(Blobs::new);
        let kinds: &[usize] = if options.decode { &[rows, 1] } else { &[rows] };
        let wanted = kinds
            .iter()
            .flat_map(|&rows| spans.iter().map(move |span| (span, rows)));
        let total = kinds.len() * spans.len();
        let (mut programs, mut from_cache) = (Vec::with_capacity(total), 0);
        for (span, rows) in wanted {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            progress(programs.len(), total);
            let (program, kept) = compiler.program(span, rows, blobs.as_ref())?;
            from_cache += usize::from(kept);
            programs.push(program);
        }
        progress(total, total);
        let report = OffloadReport {
            rows,
            time: began.elapsed(),
            from_cache,
            programs: total,
            ..compiler.report(&spans)
        };
        Ok(Offload(Arc::new(Compiled {
            model: model.clone(),
            delegate: delegate.clone(),
            options: options.clone(),
            interfaces: spans.iter().map(|span| compiler.interface(span)).collect(),
            decode: programs.split_off(spans.len()),
            prefill: programs,
            spans,
            rows,
            report,
        })))
    }

    /// Which parts run on the device.
    pub fn report(&self) -> &OffloadReport {
        &self.0.report
    }

    /// The delegate.
    pub fn delegate(&self) -> &Delegate {
        &self.0.delegate
    }

    /// The spans as segments of `rows` rows with their weights. The conformance kit
    /// compiles and runs them one by one.
    pub fn segments(&self, rows: usize) -> impl Iterator<Item = Segment> {
        let compiler = Compiler::new(&self.0.model, &self.0.delegate, rows);
        self.0
            .spans
            .iter()
            .map(move |span| compiler.segment(span, rows, true))
    }
}

/// The number of rows of a prefill program.
fn program_rows(delegate: &Delegate, options: &OffloadOptions) -> Result<usize, DelegateError> {
    let all = &delegate.info().rows;
    if options.decode && all[0] != 1 {
        return Err(unsupported(
            "the device has no programs of one row, which decode needs",
        ));
    }
    let fitting = all.iter().rev().find(|&&rows| rows <= options.rows);
    fitting.copied().ok_or_else(|| {
        let (least, asked) = (all[0], options.rows);
        unsupported(format!(
            "the device's programs have at least {least} rows, but at most {asked} are allowed"
        ))
    })
}

fn unsupported(message: impl Into<String>) -> DelegateError {
    DelegateError::found(Stage::Claim, Code::Unsupported, message)
}

/// Converts spans of a graph to segments.
struct Compiler<'m> {
    model: &'m Model,
    delegate: &'m Delegate,
    rows: usize,
    /// The form of each matrix, with its loss; `None` if no form fits.
    forms: HashMap<Weight, Option<(Quant, f64)>>,
    /// Operations that stay on the CPU, with the reason.
    refused: BTreeMap<usize, String>,
}

impl<'m> Compiler<'m> {
    fn new(model: &'m Model, delegate: &'m Delegate, rows: usize) -> Self {
        let mut compiler = Compiler {
            model,
            delegate,
            rows,
            forms: HashMap::new(),
            refused: BTreeMap::new(),
        };
        compiler.choose_forms();
        compiler
    }

    /// Chooses the form of every matrix that a span may hold.
    fn choose_forms(&mut self) {
        let graph = &self.model.0.graph;
        for span in spans(graph, |_| true) {
            for &node in &span.nodes {
                let Op::MatMul { weight, .. } = graph.nodes[node].op else {
                    continue;
                };
                let step = weight.rows.div_ceil(SAMPLED_ROWS).max(1);
                let rows: Vec<Vec<f32>> = (0..weight.rows)
                    .step_by(step)
                    .map(|row| self.row(&weight, row))
                    .collect();
                let form = choose(&self.delegate.info().quants, &rows, weight.cols);
                if form.is_none() {
                    let reason =
                        format!("no form that the device takes fits rows of {}", weight.cols);
                    self.refused.insert(node, reason);
                }
                self.forms.insert(weight, form);
            }
        }
    }

    fn row(&self, weight: &Weight, row: usize) -> Vec<f32> {
        let mut floats = vec![0.0; weight.cols];
        let bytes = self.model.0.weights.rows(weight);
        // The loader checked the shape. A row that can't be read becomes NaN, which no
        // form keeps.
        if packed::dequantize_row(weight.dtype, weight.layout, bytes, row, &mut floats).is_err() {
            floats.fill(f32::NAN);
        }
        floats
    }

    /// Finds the spans of which the device takes every operation. A refused operation
    /// splits its span, and the parts are claimed again.
    fn claim(&mut self) -> Result<Vec<Span>, DelegateError> {
        loop {
            let spans = spans(&self.model.0.graph, |node| {
                !self.refused.contains_key(&node)
            });
            let before = self.refused.len();
            for span in &spans {
                let claims = self.delegate.claim(&self.segment(span, self.rows, false))?;
                for (&node, refusal) in span.nodes.iter().zip(claims) {
                    self.refused.extend(refusal.map(|reason| (node, reason)));
                }
            }
            if self.refused.len() == before {
                return Ok(spans);
            }
        }
    }

    /// A span as a segment. Its tensors are the span's inputs, then for each operation
    /// its weights and its output.
    fn segment(&self, span: &Span, rows: usize, with_data: bool) -> Segment {
        let graph = &self.model.0.graph;
        let mut segment = Segment {
            name: self.name(span),
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
            | Op::Conv { .. }
            | Op::Scan { .. } => {
                unreachable!("this operation is not part of a span")
            }
        }
    }

    fn matrix(&self, weight: &Weight, with_data: bool) -> Role {
        let form = self.forms.get(weight).copied().flatten();
        let form = form.map(|(form, _)| form);
        let mut stored = Quantized::default();
        if let (true, Some(form)) = (with_data, form) {
            for row in 0..weight.rows {
                form.quantize_row(&self.row(weight, row), &mut stored);
            }
        }
        Role::Weight(form, stored)
    }

    fn vector(&self, weight: &Weight, with_data: bool, segment: &mut Segment) -> usize {
        let mut stored = Quantized::default();
        if with_data {
            let floats = self.row(weight, 0);
            stored.data = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
        }
        segment.push(Role::Weight(None, stored), 1, weight.cols)
    }

    /// Names the layers to which the span's operations belong.
    fn name(&self, span: &Span) -> String {
        let graph = &self.model.0.graph;
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

    fn interface(&self, span: &Span) -> [Vec<(usize, usize)>; 2] {
        let segment = self.segment(span, self.rows, false);
        let (inputs, outputs) = segment.interface();
        let with_width = |index: usize| (index, segment.tensors[index].cols);
        [inputs, outputs].map(|list| list.into_iter().map(with_width).collect())
    }

    /// Loads or compiles the program of a span. Also returns whether it was loaded.
    fn program(
        &self,
        span: &Span,
        rows: usize,
        blobs: Option<&Blobs>,
    ) -> Result<(Program, bool), DelegateError> {
        let key = blobs.map(|_| self.key(span, rows));
        let kept = blobs.zip(key).and_then(|(blobs, key)| blobs.read(&key));
        // If the plug-in refuses the stored program, it is compiled again.
        if let Some(Ok(program)) = kept.map(|blob| self.delegate.load_program(&blob)) {
            return Ok((program, true));
        }
        let program = self.delegate.compile(&self.segment(span, rows, true))?;
        if let Some((blobs, key)) = blobs.zip(key) {
            // If the program can't be stored, it is compiled again in the next run.
            let _ = program.save().map(|blob| blobs.write(&key, &blob));
        }
        Ok((program, false))
    }

    /// Hash of everything on which a program depends: the device and its software, the
    /// span, and the bytes of its weights.
    fn key(&self, span: &Span, rows: usize) -> Hash {
        let graph = &self.model.0.graph;
        let info = self.delegate.info();
        let by = [
            &info.arch,
            &info.driver,
            &info.firmware,
            &info.vendor,
            &info.device,
        ];
        let mut hash = Sha256::new();
        hash.update(format!("{:?} {by:?} {rows} {span:?}", info.plugin));
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

    fn takes_nothing(&self) -> DelegateError {
        let refused = self.refused_report();
        let first = refused
            .first()
            .map_or("no matmul", |refused| &refused.reason);
        unsupported(format!("the device takes no part of this model: {first}"))
    }

    fn refused_report(&self) -> Vec<UnclaimedNodes> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in self.refused.values() {
            *counts.entry(reason).or_default() += 1;
        }
        let refused = |(reason, nodes): (&str, usize)| UnclaimedNodes {
            reason: reason.to_string(),
            nodes,
        };
        counts.into_iter().map(refused).collect()
    }

    fn report(&self, on_device: &[Span]) -> OffloadReport {
        let graph = &self.model.0.graph;
        let multiply_adds = |node: &usize| match graph.nodes[*node].op {
            Op::MatMul { weight, .. } => weight.rows as u64 * weight.cols as u64,
            _ => 0,
        };
        let span_report = |span: &Span| SpanReport {
            name: self.name(span),
            nodes: span.nodes.len(),
            matmuls: span
                .nodes
                .iter()
                .filter(|node| multiply_adds(node) > 0)
                .count(),
            multiply_adds: span.nodes.iter().map(multiply_adds).sum(),
        };
        let of = |spans: &[Span]| -> u64 {
            let nodes = spans.iter().flat_map(|span| &span.nodes);
            nodes.map(multiply_adds).sum()
        };
        OffloadReport {
            spans: on_device.iter().map(span_report).collect(),
            refused: self.refused_report(),
            weights: self.weights_report(on_device),
            share: of(on_device) as f64 / of(&spans(graph, |_| true)).max(1) as f64,
            ..OffloadReport::default()
        }
    }

    /// Groups the weights of the given spans by form.
    fn weights_report(&self, on_device: &[Span]) -> Vec<WeightsReport> {
        let nodes = on_device.iter().flat_map(|span| &span.nodes);
        let matrices = nodes.filter_map(|&node| match self.model.0.graph.nodes[node].op {
            Op::MatMul { weight, .. } => Some(weight),
            _ => None,
        });
        let matrices: HashSet<Weight> = matrices.collect();
        let mut weights: Vec<WeightsReport> = Vec::new();
        let forms = matrices.iter().filter_map(|matrix| self.forms.get(matrix));
        for &(form, loss) in forms.flatten() {
            match weights.iter_mut().find(|known| known.form == form) {
                Some(known) => {
                    known.count += 1;
                    known.worst_loss = known.worst_loss.max(loss);
                }
                None => weights.push(WeightsReport {
                    form,
                    count: 1,
                    worst_loss: loss,
                }),
            }
        }
        weights.sort_by_key(|w| (w.form.bits(), format!("{:?}", w.form)));
        weights
    }
}
