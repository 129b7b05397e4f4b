//! The conformance kit: checks that a delegate runs a model correctly, and reports the
//! evidence.
//!
//! [`verify`] runs levels of gates against a plug-in and a model: the function table of
//! the ABI, single operations, spans, whole answers in Korean and English, thousands of
//! calls, and faults of a device. It returns a [`report::Report`]; [`html::page`] makes
//! a page for people from it. [`profile`] measures performance in the forms that
//! laboratories hand in. What a device is compared with is in `part.rs`, how it is
//! judged in `judge.rs`; other limits are in the code beside their gates.
//! `docs/add-a-delegate.md` describes each level.

mod abi;
mod child;
mod determinism;
mod draw;
mod end_to_end;
mod energy;
mod faults;
mod gates;
pub mod html;
mod judge;
pub mod machine;
pub mod meter;
mod model;
mod op;
mod part;
mod performance;
mod process;
pub mod profile;
pub mod report;
pub mod seal;
mod segments;
mod soak;
pub mod spread;
mod work;

use draw::Draw;
use end_to_end::Answers;
use ondol::delegate::segment::Segment;
use ondol::delegate::{Delegate, DelegateError, Offload, OffloadOptions};
use ondol::{CancelToken, Model, Session, SessionOptions};
use ondol_delegate_reference::EXACT;
use part::Parts;
use report::{Conclusion, Level, Name, Report, Text, Verdict};
use std::cell::OnceCell;
use std::ffi::OsString;
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
    /// Which of its devices, from 0.
    pub device: u32,
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
    /// The number from which inputs, shapes and numbers of rows are drawn.
    pub seed: u64,
    /// Calls of each of the two programs in the level `soak`.
    pub soak: usize,
    /// The deadline of a call.
    pub deadline: Duration,
    /// Threads of the CPU; `None` uses one for each big core.
    pub threads: Option<usize>,
    /// A folder for stored programs during the run; they are removed at the end.
    pub scratch: PathBuf,
    /// Where the plug-in runs.
    pub place: Place,
    /// The log of an outside meter that runs meanwhile, for the level `energy`.
    pub meter: Option<PathBuf>,
    /// Who hands the report in, and of which device.
    pub submission: report::Submission,
    /// Gates that may fail, by id, with the reason.
    pub waivers: Vec<(String, String)>,
    /// The command line, for the report.
    pub command: Vec<String>,
}

/// Where the plug-in runs during a verification.
#[derive(Debug, Clone, Default)]
pub enum Place {
    /// In this process: a plug-in that crashes ends the verification.
    #[default]
    Here,
    /// In processes of its own. A plug-in that ends one fails a gate.
    Apart {
        /// The program, with arguments, that serves a plug-in
        /// (`ondol_delegate_isolated::serve`).
        helper: Vec<OsString>,
        /// The program, with arguments, that verifies the same with the plug-in in its
        /// own process, and prints the report as JSON. A level's name is appended. It
        /// runs the levels that look at the process itself.
        verifier: Vec<OsString>,
    },
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
    let (mut levels, mut answers) = (Vec::new(), Answers::default());
    for &name in &setup.levels {
        let began = Instant::now();
        let mut level = match &setup.place {
            Place::Apart { verifier, .. } if child::runs(name) => {
                say(&format!("the level {name} in a process of its own"));
                child::run(verifier, name)
            }
            _ => here(&mut kit, name, &mut answers, &mut say)?,
        };
        waive(&mut level, &setup.waivers);
        level.series.iter_mut().for_each(keep_numbers);
        level.seconds = began.elapsed().as_secs_f64();
        levels.push(level);
    }
    kit.report(levels, answers)
}

/// Runs a level in this process. An error that ends the level is a gate that fails, and the
/// device is opened again for the next level.
fn here(
    kit: &mut Kit,
    name: Name,
    answers: &mut Answers,
    say: &mut impl FnMut(&str),
) -> Result<Level> {
    let mut level = Level::new(name);
    let outcome = match name {
        Name::Abi => abi::run(kit, &mut level, say),
        Name::Op => op::run(kit, &mut level, say),
        Name::Model => model::run(kit, &mut level, say),
        Name::EndToEnd => end_to_end::run(kit, &mut level, say).map(|found| *answers = found),
        Name::Determinism => determinism::run(kit, &mut level, say),
        Name::Soak => soak::run(kit, &mut level, say),
        Name::Performance => performance::run(kit, &mut level, say),
        Name::Energy => energy::run(kit, &mut level, say),
        Name::Faults => faults::run(kit, &mut level, say),
    };
    match outcome {
        Err(Error::Delegate(error) | Error::Runtime(ondol::Error::Delegate(error))) => {
            let title = Text::new("the level runs to its end", "단계가 끝까지 실행됨");
            level.holds(&format!("{name}.ends"), title, Err(error.to_string()));
        }
        outcome => outcome?,
    }
    if kit.delegate.read_info().is_err() {
        kit.reopen()?;
    }
    Ok(level)
}

/// Whether a gate of a level can be waived. A device may lack an operation or a meter, but
/// every device must keep the contract and give the same results every time.
fn may_be_waived(level: Name) -> bool {
    !matches!(
        level,
        Name::Abi | Name::Determinism | Name::Soak | Name::Faults
    )
}

/// Marks failed gates that were waived.
fn waive(level: &mut Level, waivers: &[(String, String)]) {
    for gate in level
        .gates
        .iter_mut()
        .filter(|gate| gate.verdict == Verdict::Fail)
    {
        let Some((_, reason)) = waivers.iter().find(|(id, _)| *id == gate.id) else {
            continue;
        };
        match may_be_waived(level.name) {
            true => {
                gate.verdict = Verdict::Waived;
                gate.note = format!("waived: {reason}. {}", gate.note);
            }
            false => gate.note = format!("can't be waived. {}", gate.note),
        }
    }
}

/// The waivers of a run whose id no gate has.
pub fn unknown_waivers<'w>(report: &Report, waivers: &'w [(String, String)]) -> Vec<&'w str> {
    let gates = || report.levels.iter().flat_map(|level| &level.gates);
    let ids = waivers.iter().map(|(id, _)| id.as_str());
    ids.filter(|id| gates().all(|gate| gate.id != *id))
        .collect()
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
    /// The same spans on the reference part; made when they are first needed.
    parts: OnceCell<Option<Parts>>,
}

impl<'s> Kit<'s> {
    fn new(setup: &'s Setup, model: &'s Model) -> Result<Kit<'s>> {
        let delegate = setup.open()?;
        let mut kit = Kit {
            setup,
            model,
            delegate,
            offload: Err(String::new()),
            parts: OnceCell::new(),
        };
        kit.offload = kit
            .compile(&kit.offload_options())
            .map_err(|e| e.to_string());
        Ok(kit)
    }

    /// Opens the device again, for example after a fault from which it does not recover.
    fn reopen(&mut self) -> Result<()> {
        self.delegate = self.setup.open()?;
        self.offload = self
            .compile(&self.offload_options())
            .map_err(|e| e.to_string());
        Ok(())
    }

    /// Prefill and, if the device has programs of one row, decode.
    fn offload_options(&self) -> OffloadOptions {
        OffloadOptions {
            rows: self.setup.rows,
            decode: self.delegate.info().rows[0] == 1,
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

    /// Rows of the programs that an app runs: for prefill, and one for decode.
    fn programs(&self) -> Vec<usize> {
        let mut programs = vec![self.rows()];
        if self.delegate.info().rows[0] == 1 && programs[0] != 1 {
            programs.push(1);
        }
        programs
    }

    /// Rows of a program for prefill.
    fn rows(&self) -> usize {
        self.rows_up_to(self.setup.rows)
    }

    /// The largest number of rows up to `most` that the device has programs for.
    fn rows_up_to(&self, most: usize) -> usize {
        let all = &self.delegate.info().rows;
        *all.iter().rfind(|&&rows| rows <= most).unwrap_or(&all[0])
    }

    /// Draws for a purpose from the run's seed.
    fn draw(&self, purpose: &str) -> Draw {
        Draw::new(self.setup.seed, purpose)
    }

    /// Whether the device takes every operation of a segment.
    fn takes(&self, segment: &Segment) -> Result<bool, String> {
        let claims = self.delegate.claim(segment).map_err(|e| e.to_string())?;
        Ok(claims.iter().all(Option::is_none))
    }

    /// The outputs of a segment with exact sums and in the arithmetic that the device
    /// declares.
    fn expected(&self, segment: &Segment, given: &[Vec<f32>]) -> [segments::Values; 2] {
        let declared = self.delegate.info().arithmetic;
        [EXACT, declared]
            .map(|arithmetic| ondol_delegate_reference::run(segment, given, &arithmetic))
    }

    /// The reference part; `None` if it can't take what the device takes.
    fn parts(&self, offload: &Offload) -> Option<&Parts> {
        let made = self.parts.get_or_init(|| Parts::of(offload).ok());
        made.as_ref()
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

    /// Records a failed gate for a level that has nothing to check, because the device takes no
    /// part of the model.
    fn nothing_runs(&self, level: &mut Level, id: &str) {
        let why = self.offload.as_ref().err().cloned().unwrap_or_default();
        let title = Text::new(
            "the device takes part of the model",
            "장치가 모델의 일부를 실행함",
        );
        level.holds(id, title, Err(why));
    }

    /// The first tokens of a text: [`Setup::tokens`], or `needed` if that is more.
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

    fn report(&self, levels: Vec<Level>, answers: Answers) -> Result<Report> {
        let session = self.cpu(16)?;
        let partial = work::partial(self, &levels);
        Ok(Report {
            schema: report::SCHEMA,
            created: machine::now_in_korea(),
            submission: self.setup.submission.clone(),
            seed: self.setup.seed,
            command: self.setup.command.clone(),
            ondol: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("ONDOL_COMMIT").to_owned(),
            program_sha256: machine::program_sha256()?,
            host: report::Host::of(session.engine()),
            device: report::Device::of(self.delegate.info(), &self.setup.plugin)?,
            model: report::Model::of(self.model, &self.setup.model_name, &self.setup.files)?,
            offload: self.offload.as_ref().ok().map(summary),
            conclusion: match (levels.iter().all(Level::passed), partial.is_empty()) {
                (false, _) => Conclusion::Fail,
                (true, false) => Conclusion::Partial,
                (true, true) => Conclusion::Pass,
            },
            levels,
            partial,
            format: answers.format,
            texts: self.setup.texts.iter().map(hashed).collect(),
            records: answers.records,
        })
    }
}

impl Setup {
    /// Opens the plug-in's device in its place.
    fn open(&self) -> Result<Delegate> {
        match &self.place {
            Place::Here => load(&self.plugin, self.device),
            Place::Apart { helper, .. } => {
                let helper = child::command(helper);
                Ok(ondol_delegate_isolated::open_device(
                    &self.plugin,
                    self.device,
                    helper,
                )?)
            }
        }
    }
}

/// Loads the plug-in into this process and opens one of its devices.
#[allow(unsafe_code)] // Loading a library runs its code.
fn load(plugin: &Path, device: u32) -> Result<Delegate> {
    // SAFETY: the user who verifies a plug-in trusts it like any program that they run.
    Ok(unsafe { Delegate::load_device(plugin, device) }?)
}

fn hashed(text: &Sample) -> report::Hashed {
    report::Hashed {
        name: text.name.clone(),
        sha256: machine::sha256_of(&text.text),
    }
}

/// What runs where, for the report.
fn summary(offload: &Offload) -> report::Offload {
    let found = offload.report();
    let on_cpu = |parts: &[ondol::delegate::UnclaimedNodes]| {
        let parts = parts.iter();
        let part = |part: &ondol::delegate::UnclaimedNodes| report::OnCpu {
            reason: part.reason.clone(),
            nodes: part.nodes,
            multiply_adds: part.multiply_adds,
        };
        parts.map(part).collect()
    };
    report::Offload {
        work: report::Work {
            prefill: found.work.prefill,
            decode: found.work.decode,
            attention: found.work.attention,
            head: found.work.head,
        },
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
        refused: on_cpu(&found.refused),
        withheld: on_cpu(&found.withheld),
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
