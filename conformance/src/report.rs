//! The report: what was measured, with which limits, on which device. It is one JSON
//! file; the HTML page is made from it alone.

use serde::{Deserialize, Serialize};

/// Version of the JSON's layout.
pub const SCHEMA: u32 = 1;

/// A text in the two languages of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// English.
    pub en: String,
    /// Korean.
    pub ko: String,
}

impl Text {
    /// From both.
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
    /// The time in UTC: `2026-11-29T12:00:00Z`.
    pub created: String,
    /// The arguments of the command line.
    pub command: Vec<String>,
    /// Version of Ondol.
    pub ondol: String,
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
    /// Whether every gate that failed was waived.
    pub passed: bool,
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
    /// The weight formats that it accepts.
    pub weights: Vec<String>,
    /// Numbers of rows of its programs.
    pub rows: Vec<usize>,
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

/// The parts of the model that run on the device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Offload {
    /// Their share of the multiply-adds of prefill's matmuls, without the output head.
    pub share: f64,
    /// Tokens of one call of prefill.
    pub rows: usize,
    /// Parts of the model on the device.
    pub spans: Vec<Span>,
    /// The parts that stay on the CPU, with reasons.
    pub refused: Vec<Refused>,
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

/// Operations that stay on the CPU for the same reason.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refused {
    /// The reason.
    pub reason: String,
    /// How many.
    pub nodes: usize,
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
    /// Single operations against 64-bit floats.
    Op,
    /// The model's spans, separately and in sequence.
    Model,
    /// Whole answers against the CPU's, in Korean and English.
    EndToEnd,
    /// Repeated runs.
    Determinism,
    /// Time and memory.
    Performance,
    /// Energy and heat.
    Energy,
    /// Failures of the device.
    Faults,
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
    /// Beyond it.
    Fail,
    /// Beyond it, but waived; the note has the reason.
    Waived,
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
