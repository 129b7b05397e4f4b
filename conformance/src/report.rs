//! The report: what was measured, with which limits, on which device. It is one JSON
//! file; the HTML page is made from it alone.

use crate::process::Holdings;
use crate::spread::Spread;
use crate::{Result, machine};
use ondol::Engine;
use ondol::delegate::DeviceInfo;
use ondol::machine::cpu_name;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Version of the JSON's layout.
pub const SCHEMA: u32 = 3;

/// A text in the two languages of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// English.
    pub en: String,
    /// Korean.
    pub ko: String,
}

impl Text {
    /// A text from its English and Korean forms.
    pub fn new(en: impl Into<String>, ko: impl Into<String>) -> Text {
        Text {
            en: en.into(),
            ko: ko.into(),
        }
    }
}

/// The results of one run of the conformance kit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The time in Korea: `2026-11-29T21:00:00+09:00`.
    pub created: String,
    /// Who hands the report in, and of which device.
    pub submission: Submission,
    /// The number from which inputs, shapes and numbers of rows were drawn; `--seed` repeats them.
    pub seed: u64,
    /// The arguments of the command line.
    pub command: Vec<String>,
    /// Version of Ondol.
    pub ondol: String,
    /// The commit that it was built from; empty if unknown.
    pub commit: String,
    /// SHA-256 of the program, hexadecimal.
    pub program_sha256: String,
    /// The machine.
    pub host: Host,
    /// The device.
    pub device: Device,
    /// The model.
    pub model: Model,
    /// The parts of the model that run on the device; `None` if there are none.
    pub offload: Option<Offload>,
    /// The levels, in the order in which they ran.
    pub levels: Vec<Level>,
    /// Whether the device computes rightly.
    pub conclusion: Conclusion,
    /// Why the conclusion is no more than [`Conclusion::Partial`]; empty if it is not.
    pub partial: Vec<Text>,
    /// What the weights and the arithmetic of the device lose against the file; `None`
    /// if no answers were compared.
    pub format: Option<Format>,
    /// The texts on which answers were compared.
    pub texts: Vec<Hashed>,
    /// The device's distributions on the texts, as `ondol agree` replays them.
    pub records: Vec<Record>,
}

/// What the operator states; empty is a line to fill in by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Who applies for the test.
    pub applicant: String,
    /// Who carried it out.
    pub tester: String,
    /// The serial number of the device.
    pub serial: String,
}

/// A file or a text, with its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashed {
    /// The file's path, or the text's name.
    pub name: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Tokens of a text with the device's distributions, in the layout of `ondol record`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Tokens of the prompt.
    pub prompt_ids: Vec<u32>,
    /// The tokens after it.
    pub steps: Vec<Step>,
}

/// A token and the distribution before it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// The token, of the text.
    pub id: u32,
    /// The device's likeliest tokens with `ln p`, best first.
    pub top: Vec<(u32, f64)>,
}

/// What the gates say of the device as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// Every level ran on a real model, every gate passed or was waived, and the device
    /// runs at least nine tenths of what it can be given.
    Pass,
    /// No gate failed, but a part of a whole verification is missing.
    Partial,
    /// A gate failed.
    Fail,
}

/// What the weights that were handed over, and the device's arithmetic, lose against
/// the file in full precision. It says nothing of whether the device computes rightly.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Format {
    /// By text.
    pub texts: Vec<TextLosses>,
    /// Whether no text loses more than [`Format::LIMITS`].
    pub passed: bool,
}

/// The losses on a text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TextLosses {
    /// The text's name.
    pub name: String,
    /// The loss of the weights in the forms that were handed over, with exact sums.
    pub weights: Losses,
    /// The loss of these weights in the arithmetic that the device declares.
    pub all: Losses,
    /// The loss of the CPU's fast kernels, to compare with.
    pub cpu: Losses,
}

/// Distances of distributions of the next token from those of the file.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Losses {
    /// Tokens that were compared.
    pub tokens: usize,
    /// Mean of the Kullback-Leibler divergence, in nats.
    pub mean_kl: f64,
    /// 99th percentile of the divergence, in nats.
    pub p99_kl: f64,
    /// Share of tokens, from 0 to 1, after which the likeliest next token is the same, or another
    /// one whose logit in the file's distribution is at most 0.1 smaller.
    pub top1: f64,
}

impl Format {
    /// What a small model may lose. For comparison, published figures for a model of 8
    /// billion weights: the format Q8_0 alone has a mean KL divergence of 0.00024 and
    /// the same likeliest token in 99.2 % of positions, Q5_K_M 0.0047 and 96.5 %.
    pub const LIMITS: Losses = Losses {
        tokens: 0,
        mean_kl: 0.005,
        p99_kl: 0.05,
        top1: 0.97,
    };

    /// Sets [`Format::passed`].
    pub(crate) fn judge(&mut self) {
        let limits = Format::LIMITS;
        self.passed = self.texts.iter().all(|text| {
            let found = text.all;
            found.mean_kl <= limits.mean_kl
                && found.p99_kl <= limits.p99_kl
                && found.top1 >= limits.top1
        });
    }
}

/// The machine that drives the device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Host {
    /// Name of the CPU.
    pub cpu: String,
    /// Threads that Ondol used.
    pub threads: usize,
    /// Kernels that it used.
    pub kernels: String,
    /// Operating system and architecture.
    pub system: String,
    /// Release of the operating system's kernel; empty if it is not told.
    pub os_kernel: String,
    /// Bytes of memory; 0 if unknown.
    pub memory: u64,
    /// The policy by which the system chooses the frequency of the first core (Linux's scaling
    /// governor); empty if unknown.
    pub governor: String,
}

impl Host {
    /// This machine, with the threads and kernels of an engine.
    pub(crate) fn of(engine: &Engine) -> Host {
        Host {
            cpu: cpu_name(),
            threads: engine.threads(),
            kernels: engine.isa().to_string(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            os_kernel: machine::told("/proc/sys/kernel/osrelease"),
            memory: machine::memory(),
            governor: machine::told("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        }
    }
}

/// The device, as its plug-in describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Device {
    /// Name of the plug-in.
    pub plugin: String,
    /// Its version.
    pub plugin_version: String,
    /// Its licence, SPDX.
    pub plugin_licence: String,
    /// SHA-256 of its file, hexadecimal.
    pub plugin_sha256: String,
    /// The libraries in the plug-in's process, among them the driver's; empty if the system
    /// does not tell.
    pub libraries: Vec<Hashed>,
    /// The device nodes that the plug-in's process holds; `None` if the system does not tell.
    pub nodes: Option<Vec<String>>,
    /// Who made the device.
    pub vendor: String,
    /// Its name.
    pub device: String,
    /// Architecture of its programs.
    pub arch: String,
    /// Version of the driver.
    pub driver: String,
    /// Version of the firmware.
    pub firmware: String,
    /// `hardware`, `emulator` or `contract stub`.
    pub label: String,
    /// The type to which a matmul rounds its inputs.
    pub activations: String,
    /// What else the device declares: numbers that share a scale, bits of sums,
    /// rounding.
    pub arithmetic: String,
    /// The weight formats that it accepts.
    pub weights: Vec<String>,
    /// Numbers of rows of its programs.
    pub rows: Vec<usize>,
}

impl Device {
    /// From what a plug-in says, and the plug-in's file.
    pub(crate) fn of(info: &DeviceInfo, file: &Path) -> Result<Device> {
        let [plugin, plugin_version, plugin_licence] = info.plugin.clone();
        let (libraries, nodes) = match Holdings::of(file) {
            Some(holdings) => (hashes(&holdings.code, file), Some(holdings.nodes)),
            None => (Vec::new(), None),
        };
        Ok(Device {
            plugin,
            plugin_version,
            plugin_licence,
            plugin_sha256: machine::sha256(file)?,
            libraries,
            nodes,
            vendor: info.vendor.clone(),
            device: info.device.clone(),
            arch: info.arch.clone(),
            driver: info.driver.clone(),
            firmware: info.firmware.clone(),
            label: info.label.to_string(),
            activations: info.arithmetic.activations.to_string(),
            arithmetic: info.arithmetic.to_string(),
            weights: info.quants.iter().map(ToString::to_string).collect(),
            rows: info.rows.clone(),
        })
    }
}

/// The hashes of libraries, but for the plug-in and this program, which have their own place
/// in the report. A library that was removed meanwhile has none.
fn hashes(code: &[PathBuf], plugin: &Path) -> Vec<Hashed> {
    let own = [plugin.canonicalize().ok(), std::env::current_exe().ok()];
    let others = code
        .iter()
        .filter(|path| !own.iter().flatten().any(|own| own == *path));
    let hash = |path: &PathBuf| Hashed {
        name: path.display().to_string(),
        sha256: machine::sha256(path).unwrap_or_default(),
    };
    others.map(hash).collect()
}

/// The model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Model {
    /// Its name, as the user gave it.
    pub name: String,
    /// Its name in its file.
    pub title: String,
    /// Architecture.
    pub architecture: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// SHA-256 of its files, hexadecimal.
    pub sha256: Vec<String>,
}

impl Model {
    /// A model that the user named so, with its files.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn of(model: &ondol::Model, name: &str, files: &[PathBuf]) -> Result<Model> {
        let hash = |path: &PathBuf| machine::sha256(path);
        Ok(Model {
            name: name.to_owned(),
            title: model.name().to_owned(),
            architecture: model.graph().architecture.clone(),
            bytes: model.file_bytes(),
            sha256: files.iter().map(hash).collect::<Result<_>>()?,
        })
    }
}

/// The parts of the model that run on the device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Offload {
    /// Their shares of the multiply-adds.
    pub work: Work,
    /// Tokens of one call of prefill.
    pub rows: usize,
    /// Parts of the model on the device.
    pub spans: Vec<Span>,
    /// The parts that the device refused, with reasons.
    pub refused: Vec<OnCpu>,
    /// The parts that the contract has no operation for.
    pub withheld: Vec<OnCpu>,
    /// Weight formats, with the loss of each in addition to the file's own rounding.
    pub weights: Vec<Weights>,
    /// Seconds to choose, claim and compile.
    pub compile_seconds: f64,
    /// Programs that were stored by an earlier run.
    pub from_cache: usize,
    /// Programs in all.
    pub programs: usize,
}

/// A part of the model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Span {
    /// Its layers.
    pub name: String,
    /// Operations.
    pub nodes: usize,
    /// Matmuls among them.
    pub matmuls: usize,
    /// Multiply-adds for one token.
    pub multiply_adds: u64,
}

/// Shares of the multiply-adds of a stage that the device takes, from 0 to 1.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// The share of the matmuls of a pass of many tokens, without the output head.
    pub prefill: f64,
    /// The share of the matmuls of a pass of one token, without the output head.
    pub decode: f64,
    /// The share of attention.
    pub attention: f64,
    /// The share of the output head.
    pub head: f64,
}

/// Operations that stay on the CPU for the same reason.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OnCpu {
    /// The reason.
    pub reason: String,
    /// How many.
    pub nodes: usize,
    /// Their multiply-adds for one token.
    pub multiply_adds: u64,
}

/// Weights in one format.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Weights {
    /// The format, such as `i8, groups of 32`.
    pub form: String,
    /// How many weights.
    pub count: usize,
    /// The largest share of a weight's energy that is lost.
    pub worst_loss: f64,
}

/// The levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// The plug-in's function table, life cycles, and reaction to wrong calls.
    Abi,
    /// Single operations against exact sums and the declared arithmetic.
    Op,
    /// The model's spans, separately and in sequence.
    Model,
    /// The distributions of the next token, in Korean and English texts, against exact sums on the
    /// same weights.
    EndToEnd,
    /// Repeated runs.
    Determinism,
    /// Thousands of calls on one handle.
    Soak,
    /// Time and memory.
    Performance,
    /// Energy and heat.
    Energy,
    /// Failures of the device.
    Faults,
}

impl Name {
    /// All levels, in the order in which they run.
    pub const ALL: [Name; 9] = [
        Name::Abi,
        Name::Op,
        Name::Model,
        Name::EndToEnd,
        Name::Determinism,
        Name::Soak,
        Name::Performance,
        Name::Energy,
        Name::Faults,
    ];
}

impl std::fmt::Display for Name {
    /// As `ondol verify --level` takes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Name::Abi => "abi",
            Name::Op => "op",
            Name::Model => "model",
            Name::EndToEnd => "end-to-end",
            Name::Determinism => "determinism",
            Name::Soak => "soak",
            Name::Performance => "performance",
            Name::Energy => "energy",
            Name::Faults => "faults",
        })
    }
}

/// The results of one level.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Level {
    /// The level.
    pub name: Name,
    /// Its gates.
    pub gates: Vec<Gate>,
    /// Its curves.
    pub series: Vec<Series>,
    /// Its duration.
    pub seconds: f64,
}

impl Level {
    /// A level without results.
    pub fn new(name: Name) -> Level {
        Level {
            name,
            gates: Vec::new(),
            series: Vec::new(),
            seconds: 0.0,
        }
    }

    /// Whether no gate failed.
    pub fn passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.verdict != Verdict::Fail)
    }
}

/// How a gate was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Within its limit.
    Pass,
    /// Beyond its limit.
    Fail,
    /// Beyond its limit, but waived; the note has the reason.
    Waived,
    /// Beyond its limit, which makes the report as a whole partial instead of failed.
    Partial,
    /// Not decided; the note has the reason. Also for numbers without a limit.
    NotMeasured,
}

/// A gate: one measurement with its limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gate {
    /// Its id, which a waiver names: `op.matmul.i8-32.nmse`.
    pub id: String,
    /// What it is.
    pub title: Text,
    /// The measured number, if it is one.
    pub found: Option<f64>,
    /// The runs of which `found` is the median, or another share; `None` for one run.
    pub spread: Option<Spread>,
    /// The largest number that passes, or the smallest where `at_least`.
    pub limit: Option<f64>,
    /// Whether a larger number is better.
    pub at_least: bool,
    /// The unit of both numbers; may be empty.
    pub unit: String,
    /// How it was decided.
    pub verdict: Verdict,
    /// Further information: the worst case, an error message, a reason. May be empty.
    pub note: String,
}

/// A curve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Series {
    /// What it shows.
    pub title: Text,
    /// The meaning of `x`.
    pub x_label: Text,
    /// The meaning of `y`.
    pub y_label: Text,
    /// As long as `y`.
    pub x: Vec<f64>,
    /// One for each `x`.
    pub y: Vec<f64>,
    /// A limit of `y` to draw.
    pub limit: Option<f64>,
    /// Whether `y` is drawn by its logarithm.
    pub logarithmic: bool,
}
