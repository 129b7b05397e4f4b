//! The spans of a model that a delegate runs, with their programs.

use super::bundle::{self, BundleError, Part};
use super::compile::{Compiler, Forms, Interface, Stored, choose_forms, name};
use super::device::Delegate;
use super::error::{Code, DelegateError, Stage};
use super::program::Program;
use super::report::{OffloadReport, Work};
use super::segment::Segment;
use crate::plan::Span;
use crate::{CancelToken, Error, Model, Result};
use core::time::Duration;
use std::format;
use std::io::Write;
use std::path::PathBuf;
use std::string::String;
use std::sync::Arc;
use std::time::Instant;
use std::vec::Vec;

/// Which parts are offloaded, and how.
#[derive(Debug, Clone)]
pub struct OffloadOptions {
    /// Largest number of rows of a prefill program. The largest number up to this that
    /// the device offers is used. Passes are padded to a multiple of it.
    pub rows: usize,
    /// Whether prefill runs on the device.
    pub prefill: bool,
    /// Whether decode runs on the device, one row in each call.
    pub decode: bool,
    /// Whether a failure of the device is an error. Otherwise the CPU computes the
    /// span.
    pub strict: bool,
    /// Time limit of one call of the device; must not be zero.
    pub deadline: Duration,
    /// Folder in which compiled programs are stored for later runs, each under a key of
    /// everything on which it depends. `None` stores none. A plug-in that was loaded
    /// by a path is known by the SHA-256 of its file. One that is linked in, or that
    /// the system found by a name without a folder, is known by its name and version:
    /// change the version when its programs change.
    ///
    /// If it is a file, it is a bundle ([`Offload::write_bundle`]): all programs come from
    /// it, and none is compiled or stored.
    pub cache: Option<PathBuf>,
}

impl Default for OffloadOptions {
    fn default() -> Self {
        OffloadOptions {
            rows: 256,
            prefill: true,
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

#[derive(Clone)]
pub(crate) struct Compiled {
    pub model: Model,
    pub delegate: Delegate,
    pub options: OffloadOptions,
    pub spans: Vec<Span>,
    forms: Forms,
    /// Rows of a prefill program; 1 if prefill stays on the CPU.
    pub rows: usize,
    /// One program for each span; empty if prefill stays on the CPU.
    pub prefill: Vec<Program>,
    /// One program of one row for each span; empty if decode stays on the CPU.
    pub decode: Vec<Program>,
    /// The inputs and outputs of each span.
    pub interfaces: Vec<Interface>,
    pub report: OffloadReport,
}

impl core::fmt::Debug for Offload {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.report.fmt(f)
    }
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
        progress: impl FnMut(usize, usize),
    ) -> Result<Offload> {
        let began = Instant::now();
        let rows = program_rows(delegate, options)?;
        let mut compiled = Compiled::choose(model, delegate, options, rows)?;
        compiled.compile(cancel, progress)?;
        compiled.report.time = began.elapsed();
        Ok(Offload(Arc::new(compiled)))
    }

    /// The same spans with weights in the same forms, compiled for another delegate.
    ///
    /// # Errors
    /// [`Error::Delegate`]: of [`Stage::Claim`] with [`Code::Unsupported`] if that
    /// delegate does not take all of them; else if a program can't be compiled.
    pub fn on(&self, delegate: &Delegate) -> Result<Offload> {
        let began = Instant::now();
        let mut compiled = Compiled::clone(&self.0);
        compiled.delegate = delegate.clone();
        compiled.check_taken()?;
        compiled.compile(&CancelToken::new(), |_, _| ())?;
        compiled.report.time = began.elapsed();
        Ok(Offload(Arc::new(compiled)))
    }

    /// Writes all programs as a bundle, which [`OffloadOptions::cache`] can name on every
    /// machine that has the same part: the same plug-in, architecture and driver. It is
    /// bound to them and to the weights. Returns the number of bytes.
    ///
    /// # Errors
    /// If a program can't be saved, or the system refuses a write.
    pub fn write_bundle(&self, out: &mut impl Write) -> Result<u64, BundleError> {
        let compiled = &self.0;
        let part = Part::of(&compiled.delegate);
        let stages = [(&compiled.prefill, compiled.rows), (&compiled.decode, 1)];
        let programs = stages.into_iter().flat_map(|(programs, rows)| {
            let spans = compiled.spans.iter().zip(programs);
            let key = |span| compiled.compiler().key(&part, span, rows);
            let keyed = spans.map(|(span, program)| (key(span), program));
            keyed.collect::<Vec<_>>()
        });
        bundle::write(out, &part, compiled.kinds(), programs)
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
        let segment = move |span| self.0.compiler().segment(span, rows, true);
        self.0.spans.iter().map(segment)
    }
}

impl Compiled {
    /// Chooses spans and the forms of weights. Programs are still missing.
    fn choose(
        model: &Model,
        delegate: &Delegate,
        options: &OffloadOptions,
        rows: usize,
    ) -> Result<Compiled, DelegateError> {
        let graph = &model.0.graph;
        let (forms, mut refused) = choose_forms(model, &delegate.info().quants);
        let compiler = Compiler {
            model,
            delegate,
            forms: &forms,
        };
        let claimed = compiler.claim(rows, &mut refused)?;
        let spans = compiler.fit(claimed, kinds(options, rows).len(), &mut refused);
        let report = OffloadReport::new(graph, &spans, &refused, &forms);
        if spans.is_empty() {
            return Err(takes_nothing(&report));
        }
        let claimed = report.claimed(graph);
        let of = |stage: bool| if stage { claimed } else { 0.0 };
        let work = Work {
            prefill: of(options.prefill),
            decode: of(options.decode),
            ..Work::default()
        };
        Ok(Compiled {
            model: model.clone(),
            delegate: delegate.clone(),
            options: options.clone(),
            interfaces: spans.iter().map(|span| compiler.interface(span)).collect(),
            spans,
            forms,
            rows,
            prefill: Vec::new(),
            decode: Vec::new(),
            report: OffloadReport {
                work,
                rows,
                ..report
            },
        })
    }

    /// Checks that the delegate takes all spans, with weights in these forms.
    fn check_taken(&self) -> Result<(), DelegateError> {
        let info = self.delegate.info();
        let lacks = |rows: &&usize| !info.rows.contains(rows);
        if let Some(rows) = self.kinds().iter().find(lacks) {
            let message = format!("the device has no programs of {rows} rows");
            return Err(unsupported(message));
        }
        let lacks = |form: &&_| !info.quants.contains(form);
        let mut forms = self.report.weights.iter().map(|weights| &weights.form);
        if let Some(form) = forms.find(lacks) {
            return Err(unsupported(format!(
                "the device takes no weights in {form}"
            )));
        }
        for span in &self.spans {
            let segment = self.compiler().segment(span, self.rows, false);
            if let Some(reason) = self.delegate.claim(&segment)?.into_iter().flatten().next() {
                let name = name(&self.model.0.graph, span);
                let message = format!("the device refuses an operation of {name}: {reason}");
                return Err(unsupported(message));
            }
        }
        Ok(())
    }

    /// Loads or compiles all programs.
    fn compile(
        &mut self,
        cancel: &CancelToken,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<()> {
        let stored = self.options.cache.as_deref();
        let stored = stored.map(|path| Stored::open(path, &self.delegate));
        let stored = stored.transpose()?;
        let kinds = self.kinds();
        let total = kinds.len() * self.spans.len();
        let mut programs = vec![Vec::with_capacity(self.spans.len()); kinds.len()];
        let mut from_cache = 0;
        for (index, span) in self.spans.iter().enumerate() {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            progress(index * kinds.len(), total);
            let made = self.compiler().programs(span, &kinds, stored.as_ref())?;
            for (of_kind, (program, kept)) in programs.iter_mut().zip(made) {
                of_kind.push(program);
                from_cache += usize::from(kept);
            }
        }
        progress(total, total);
        let mut programs = programs.into_iter();
        let mut of = |stage: bool| stage.then(|| programs.next()).flatten().unwrap_or_default();
        self.prefill = of(self.options.prefill);
        self.decode = of(self.options.decode);
        self.report.from_cache = from_cache;
        self.report.programs = total;
        Ok(())
    }

    fn kinds(&self) -> Vec<usize> {
        kinds(&self.options, self.rows)
    }

    fn compiler(&self) -> Compiler<'_> {
        Compiler {
            model: &self.model,
            delegate: &self.delegate,
            forms: &self.forms,
        }
    }
}

/// The numbers of rows of a span's programs, if those of prefill have `rows`.
fn kinds(options: &OffloadOptions, rows: usize) -> Vec<usize> {
    let prefill = options.prefill.then_some(rows);
    let decode = options.decode.then_some(1);
    prefill.into_iter().chain(decode).collect()
}

/// The number of rows of a prefill program; 1 if prefill stays on the CPU.
fn program_rows(delegate: &Delegate, options: &OffloadOptions) -> Result<usize, DelegateError> {
    let all = &delegate.info().rows;
    if !options.prefill && !options.decode {
        let message = "the options place neither prefill nor decode on the device";
        return Err(DelegateError::found(Stage::Claim, Code::Invalid, message));
    }
    if options.decode && all[0] != 1 {
        return Err(unsupported(
            "the device has no programs of one row, which decode needs",
        ));
    }
    if !options.prefill {
        return Ok(1);
    }
    let fitting = all.iter().rev().find(|&&rows| rows <= options.rows);
    fitting.copied().ok_or_else(|| {
        let (least, asked) = (all[0], options.rows);
        unsupported(format!(
            "the device's programs have at least {least} rows, but at most {asked} are allowed"
        ))
    })
}

fn takes_nothing(report: &OffloadReport) -> DelegateError {
    let first = report.refused.first();
    let first = first.map_or("no matmul", |refused| &refused.reason);
    unsupported(format!("the device takes no part of this model: {first}"))
}

fn unsupported(message: impl Into<String>) -> DelegateError {
    DelegateError::found(Stage::Claim, Code::Unsupported, message)
}
