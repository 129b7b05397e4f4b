//! The evidence: what was measured, against which limits, on what. One JSON; the
//! page for people is made from it alone.

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

/// All that one run of the conformance kit found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When, in UTC: `2026-11-29T12:00:00Z`.
    pub created: String,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// Version of Ondol.
    pub ondol: String,
    /// Where it ran.
    pub host: Host,
    /// What was tested.
    pub device: Device,
    /// With which model.
    pub model: Model,
    /// What of the model runs on the device; `None` where it takes nothing.
    pub offload: Option<Offload>,
    /// In the order in which they ran.
    pub levels: Vec<Level>,
    /// Whether no gate failed that was not waived.
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

/// The device, in its plug-in's words.
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
    /// What a matmul rounds its inputs to.
    pub activations: String,
    /// Forms of weights that it takes.
    pub weights: Vec<String>,
    /// Numbers of rows of its programs.
    pub rows: Vec<usize>,
}

/// The model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Model {
    /// As the user named it.
    pub name: String,
    /// As its file names it.
    pub title: String,
    /// Architecture.
    pub architecture: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// SHA-256 of its files, hexadecimal.
    pub sha256: Vec<String>,
}

/// What runs on the device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Offload {
    /// Share of the multiply-adds of prefill's matmuls, but for the head's.
    pub share: f64,
    /// Tokens of one call of prefill.
    pub rows: usize,
    /// Parts of the model on the device.
    pub spans: Vec<Span>,
    /// What stays on the CPU, and why.
    pub refused: Vec<Refused>,
    /// Forms of weights, and what each loses beside the file's own rounding.
    pub weights: Vec<Weights>,
    /// Seconds to choose, claim and compile.
    pub compile_seconds: f64,
    /// Programs that were compiled before.
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

/// Weights of one form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Weights {
    /// The form, such as `i8, groups of 32`.
    pub form: String,
    /// How many weights.
    pub count: usize,
    /// The largest share of a weight's energy that is lost.
    pub worst_loss: f64,
}

/// What is tested together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// The plug-in's table, its life cycles, its reaction to wrong calls.
    Abi,
    /// Single operations against 64-bit floats.
    Op,
    /// The model's own parts, one by one and one after the other.
    Model,
    /// Whole answers against the CPU's, in Korean and English.
    EndToEnd,
    /// The same again.
    Determinism,
    /// Time and memory.
    Performance,
    /// Energy and heat.
    Energy,
    /// What happens when the device fails.
    Faults,
}

/// What one level found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Level {
    /// Which.
    pub name: Name,
    /// Each with its limit.
    pub gates: Vec<Gate>,
    /// Curves to look at.
    pub series: Vec<Series>,
    /// How long it took.
    pub seconds: f64,
}

impl Level {
    /// A level that found nothing yet.
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
    /// Beyond it, and let through by name: the note says why.
    Waived,
    /// Not decided: the note says why. Also for what is told without a limit.
    NotMeasured,
}

/// One thing that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gate {
    /// By which it can be waived: `op.matmul.i8-32.nmse`.
    pub id: String,
    /// What it is.
    pub title: Text,
    /// What was found, if it is a number.
    pub found: Option<f64>,
    /// The largest number that passes, or the smallest where `at_least`.
    pub limit: Option<f64>,
    /// Whether more is better.
    pub at_least: bool,
    /// Of both numbers; may be empty.
    pub unit: String,
    /// How it was decided.
    pub verdict: Verdict,
    /// What else there is to know: the worst case, an error's words, a reason. May be empty.
    pub note: String,
}

/// A curve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Series {
    /// What it shows.
    pub title: Text,
    /// What `x` counts.
    pub x_label: Text,
    /// What `y` measures.
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
