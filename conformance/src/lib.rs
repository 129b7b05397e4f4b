//! The conformance kit: checks that a delegate runs a model correctly, and reports the
//! evidence.
//!
//! [`verify`] runs levels of gates against a plug-in and a model: the function table of
//! the ABI, single operations, spans, whole answers in Korean and English, and faults
//! of a device. It returns a [`report::Report`]; [`html::page`] makes a page for people
//! from it. Limits are in the code beside their gates. `docs/add-a-delegate.md`
//! describes each level.

mod abi;
mod determinism;
mod end_to_end;
mod energy;
mod faults;
mod gates;
pub mod html;
pub mod machine;
mod model;
mod op;
mod performance;
pub mod report;
mod segments;

use ondol::delegate::{Delegate, DelegateError, Offload, OffloadOptions};
use ondol::machine::cpu_name;
use ondol::{CancelToken, Model, Session, SessionOptions};
use report::{Level, Name, Report, Verdict};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Errors that prevent a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plug-in can't be used at all.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// The runtime failed without the delegate.
    #[error(transparent)]
    Runtime(#[from] ondol::Error),
    /// A file can't be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A text is too short for a comparison.
    #[error("the text `{name}` has {tokens} tokens; at least {needed} are needed")]
    ShortText {
        /// As in [`Setup::texts`].
        name: String,
        /// Its number of tokens.
        tokens: usize,
        /// The number of tokens that are needed.
        needed: usize,
    },
}

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A text by which a model's answers are compared.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its language or name, for the report.
    pub name: String,
    /// The text.
    pub text: String,
}

/// The options of a verification.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The plug-in.
    pub plugin: PathBuf,
    /// The model's files.
    pub files: Vec<PathBuf>,
    /// The model as the user named it.
    pub model_name: String,
    /// The levels to run, in this order.
    pub levels: Vec<Name>,
    /// The texts on which answers are compared; [`samples`] has one in Korean and one
    /// in English.
    pub texts: Vec<Sample>,
    /// The most tokens of each text.
    pub tokens: usize,
    /// The most rows of one call of prefill.
    pub rows: usize,
    /// The deadline of a call.
    pub deadline: Duration,
    /// Threads of the CPU; `None` uses one for each big core.
    pub threads: Option<usize>,
    /// A folder for stored programs during the run; they are removed at the end.
    pub scratch: PathBuf,
    /// Gates that may fail, by id, with the reason.
    pub waivers: Vec<(String, String)>,
    /// The command line, for the report.
    pub command: Vec<String>,
}

/// Two texts, in Korean and English, written for this kit.
pub fn samples() -> Vec<Sample> {
    let sample = |name: &str, text: &str| Sample {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    vec![
        sample("ko", include_str!("../texts/ko.txt")),
        sample("en", include_str!("../texts/en.txt")),
    ]
}

/// Ids spread over a vocabulary, the same every time (Knuth's multiplicative hash).
pub fn scattered(count: usize, vocabulary: usize) -> Vec<u32> {
    let hash = |i: u32| u64::from(i.wrapping_mul(2_654_435_761));
    (1..=count as u32)
        .map(|i| ((hash(i) * vocabulary as u64) >> 32) as u32)
        .collect()
}

/// Runs the levels. `say` is called with a description of each operation.
///
/// # Errors
/// Only if no report can be made: a fault of the delegate is a gate that fails.
pub fn verify(setup: &Setup, model: &Model, mut say: impl FnMut(&str)) -> Result<Report> {
    let mut kit = Kit::new(setup, model)?;
    let mut levels = Vec::new();
    for &name in &setup.levels {
        let began = Instant::now();
        let mut level = Level::new(name);
        match name {
            Name::Abi => abi::run(&mut kit, &mut level, &mut say)?,
            Name::Op => op::run(&kit, &mut level, &mut say)?,
            Name::Model => model::run(&kit, &mut level, &mut say)?,
            Name::EndToEnd => end_to_end::run(&kit, &mut level, &mut say)?,
            Name::Determinism => determinism::run(&kit, &mut level, &mut say)?,
            Name::Performance => performance::run(&kit, &mut level, &mut say)?,
            Name::Energy => energy::run(&kit, &mut level, &mut say)?,
            Name::Faults => faults::run(&mut kit, &mut level, &mut say)?,
        }
        waive(&mut level, &setup.waivers);
        level.series.iter_mut().for_each(keep_numbers);
        level.seconds = began.elapsed().as_secs_f64();
        levels.push(level);
    }
    kit.report(levels)
}

/// Marks failed gates that were waived.
fn waive(level: &mut Level, waivers: &[(String, String)]) {
    for gate in level
        .gates
        .iter_mut()
        .filter(|gate| gate.verdict == Verdict::Fail)
    {
        if let Some((_, reason)) = waivers.iter().find(|(id, _)| *id == gate.id) {
            gate.verdict = Verdict::Waived;
            gate.note = format!("waived: {reason}. {}", gate.note);
        }
    }
}

/// Removes points that JSON can't represent; the gates have used them already.
fn keep_numbers(series: &mut report::Series) {
    let points = series.x.iter().copied().zip(series.y.iter().copied());
    (series.x, series.y) = points
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .unzip();
}

/// State that the levels share.
struct Kit<'s> {
    setup: &'s Setup,
    model: &'s Model,
    delegate: Delegate,
    /// The parts of the model that run on the device; an error if there are none.
    offload: Result<Offload, String>,
}

impl<'s> Kit<'s> {
    fn new(setup: &'s Setup, model: &'s Model) -> Result<Kit<'s>> {
        let delegate = open(&setup.plugin)?;
        let mut kit = Kit {
            setup,
            model,
            delegate,
            offload: Err(String::new()),
        };
        kit.offload = kit
            .compile(&kit.offload_options())
            .map_err(|e| e.to_string());
        Ok(kit)
    }

    /// Opens the device again, for example after a fault from which it does not recover.
    fn reopen(&mut self) -> Result<()> {
        self.delegate = open(&self.setup.plugin)?;
        self.offload = self
            .compile(&self.offload_options())
            .map_err(|e| e.to_string());
        Ok(())
    }

    fn offload_options(&self) -> OffloadOptions {
        OffloadOptions {
            rows: self.setup.rows,
            deadline: self.setup.deadline,
            ..OffloadOptions::default()
        }
    }

    fn compile(&self, options: &OffloadOptions) -> ondol::Result<Offload> {
        Offload::new(
            self.model,
            &self.delegate,
            options,
            &CancelToken::new(),
            |_, _| (),
        )
    }

    fn options(&self, context: usize) -> SessionOptions {
        SessionOptions {
            threads: self.setup.threads,
            context: Some(context),
            prefill_chunk: self.setup.rows,
            ..SessionOptions::default()
        }
    }

    /// A session on the CPU alone.
    fn cpu(&self, context: usize) -> Result<Session> {
        Ok(self.model.session(&self.options(context))?)
    }

    /// A session with a delegate.
    fn npu(&self, offload: &Offload, context: usize) -> Result<Session> {
        let options = SessionOptions {
            offload: Some(offload.clone()),
            ..self.options(context)
        };
        Ok(self.model.session(&options)?)
    }

    /// A level that has nothing to look at, since the device takes nothing.
    fn nothing_runs(&self, level: &mut Level, id: &str) {
        let why = self.offload.as_ref().err().cloned().unwrap_or_default();
        let title = report::Text::new(
            "the device takes part of the model",
            "장치가 모델의 일부를 실행함",
        );
        level.holds(id, title, Err(why));
    }

    /// The first tokens of a text.
    fn tokens(&self, sample: &Sample, needed: usize) -> Result<Vec<u32>> {
        let mut tokens = self.model.encode_prompt(&sample.text);
        let context = self.model.graph().trained_context;
        tokens.truncate(self.setup.tokens.max(needed).min(context));
        match tokens.len() >= needed {
            true => Ok(tokens),
            false => Err(Error::ShortText {
                name: sample.name.clone(),
                tokens: tokens.len(),
                needed,
            }),
        }
    }

    fn report(&self, levels: Vec<Level>) -> Result<Report> {
        let info = self.delegate.info();
        let session = self.cpu(16)?;
        let hash = |path: &PathBuf| machine::sha256(path);
        let [plugin, plugin_version, plugin_licence] = info.plugin.clone();
        Ok(Report {
            schema: report::SCHEMA,
            created: machine::utc_now(),
            command: self.setup.command.clone(),
            ondol: env!("CARGO_PKG_VERSION").to_owned(),
            host: report::Host {
                cpu: cpu_name(),
                threads: session.engine().threads(),
                kernels: session.engine().isa().to_string(),
                system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            },
            device: report::Device {
                plugin,
                plugin_version,
                plugin_licence,
                plugin_sha256: machine::sha256(&self.setup.plugin)?,
                vendor: info.vendor.clone(),
                device: info.device.clone(),
                arch: info.arch.clone(),
                driver: info.driver.clone(),
                firmware: info.firmware.clone(),
                label: info.label.to_string(),
                activations: info.activations.to_string(),
                weights: info.quants.iter().map(ToString::to_string).collect(),
                rows: info.rows.clone(),
            },
            model: report::Model {
                name: self.setup.model_name.clone(),
                title: self.model.name().to_owned(),
                architecture: self.model.graph().architecture.clone(),
                bytes: self.model.file_bytes(),
                sha256: self.setup.files.iter().map(hash).collect::<Result<_>>()?,
            },
            offload: self.offload.as_ref().ok().map(summary),
            passed: levels.iter().all(Level::passed),
            levels,
        })
    }
}

/// Loads the plug-in and opens its device.
#[allow(unsafe_code)] // A library's code.
fn open(plugin: &Path) -> Result<Delegate> {
    // SAFETY: the user who verifies a plug-in trusts it like any program that they run.
    Ok(unsafe { Delegate::load(plugin) }?)
}

/// What runs where, for the report.
fn summary(offload: &Offload) -> report::Offload {
    let found = offload.report();
    report::Offload {
        share: found.share,
        rows: found.rows,
        spans: found
            .spans
            .iter()
            .map(|span| report::Span {
                name: span.name.clone(),
                nodes: span.nodes,
                matmuls: span.matmuls,
                multiply_adds: span.multiply_adds,
            })
            .collect(),
        refused: found
            .refused
            .iter()
            .map(|refused| report::Refused {
                reason: refused.reason.clone(),
                nodes: refused.nodes,
            })
            .collect(),
        weights: found
            .weights
            .iter()
            .map(|weights| report::Weights {
                form: weights.form.to_string(),
                count: weights.count,
                worst_loss: weights.worst_loss,
            })
            .collect(),
        compile_seconds: found.time.as_secs_f64(),
        from_cache: found.from_cache,
        programs: found.programs,
    }
}
