//! The conformance kit: whether a delegate runs a model correctly, with evidence.
//!
//! [`verify`] runs levels of gates against a plug-in and a model, from the table
//! of the ABI to whole answers in Korean and English and the faults of a device,
//! and gives a [`report::Report`]; [`html::page`] makes the page for people of it.
//! The limits stand beside the gates that use them. `docs/add-a-delegate.md` says
//! what each level shows.

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
use ondol::{CancelToken, Model, Options, Session};
use report::{Level, Name, Report, Verdict};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plug-in can't be used at all.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// The runtime failed where no delegate has a part.
    #[error(transparent)]
    Runtime(#[from] ondol::Error),
    /// A file can't be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A text is too short to say anything.
    #[error("the text `{name}` has {tokens} tokens; at least {needed} are needed")]
    ShortText {
        /// As in [`Setup::texts`].
        name: String,
        /// What it has.
        tokens: usize,
        /// What it needs.
        needed: usize,
    },
}

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A text by which a model's answers are compared.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its language or its name, for the report.
    pub name: String,
    /// The text.
    pub text: String,
}

/// What is verified, and how.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The plug-in.
    pub plugin: PathBuf,
    /// The model's files.
    pub files: Vec<PathBuf>,
    /// The model as the user named it.
    pub model_name: String,
    /// What is run, in this order.
    pub levels: Vec<Name>,
    /// By which answers are compared; those of [`samples`] are Korean and English.
    pub texts: Vec<Sample>,
    /// Tokens of each text, at most.
    pub tokens: usize,
    /// Tokens of one call of prefill, at most.
    pub rows: usize,
    /// How long a call may take.
    pub deadline: Duration,
    /// Threads of the CPU; `None` takes the machine's big cores.
    pub threads: Option<usize>,
    /// A folder for programs while it runs; it is emptied of them.
    pub scratch: PathBuf,
    /// Gates that may fail, with the reason.
    pub waivers: Vec<(String, String)>,
    /// The command line, for the report.
    pub command: Vec<String>,
}

/// Two texts, Korean and English, that were written for this kit.
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

/// Ids all over a vocabulary, the same every time (Knuth's multiplicative hash).
pub fn scattered(count: usize, vocabulary: usize) -> Vec<u32> {
    let hash = |i: u32| u64::from(i.wrapping_mul(2_654_435_761));
    (1..=count as u32)
        .map(|i| ((hash(i) * vocabulary as u64) >> 32) as u32)
        .collect()
}

/// Runs the levels. `say` hears what is being done.
///
/// # Errors
/// Only where there is nothing to report: what the delegate does wrong is a gate
/// that fails.
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

/// Lets failed gates through that were waived by name.
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

/// Leaves points out that JSON can't hold; gates have judged them.
fn keep_numbers(series: &mut report::Series) {
    let points = series.x.iter().copied().zip(series.y.iter().copied());
    (series.x, series.y) = points
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .unzip();
}

/// What the levels share.
struct Kit<'s> {
    setup: &'s Setup,
    model: &'s Model,
    delegate: Delegate,
    /// What of the model runs on the device; an error where nothing does.
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

    /// Opens the device anew, as after a fault that it does not get over.
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

    fn options(&self, context: usize) -> Options {
        Options {
            threads: self.setup.threads,
            context: Some(context),
            prefill_chunk: self.setup.rows,
            ..Options::default()
        }
    }

    /// A session on the CPU alone.
    fn cpu(&self, context: usize) -> Result<Session> {
        Ok(self.model.session(&self.options(context))?)
    }

    /// A session with a delegate.
    fn npu(&self, offload: &Offload, context: usize) -> Result<Session> {
        let options = Options {
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
                cpu: machine::cpu_name(),
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
    // SAFETY: who verifies a plug-in trusts it as any program that he starts.
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
