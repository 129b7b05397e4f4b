//! What host and helper say to each other.
//!
//! Each connection is a sequence of a [`Request`] and its answer, a [`Reply`] of the type
//! that the request's comment names. The host is the program that started the helper, so
//! the helper trusts it; the host trusts nothing that the helper says.

use super::zone::{Slot, Zone};
use ondol::delegate::{Code, DelegateError, Metrics, ffi};
use ondol_plugin::Failure;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The version of the messages, which must be the same on both sides: two releases may have
/// different messages.
pub const VERSION: &str = concat!("1 of ", env!("CARGO_PKG_VERSION"));

/// The answer to a request.
pub type Reply<T> = Result<T, Reported>;

/// A call of the plug-in.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The first: loads a plug-in and opens one of its devices. [`Opened`].
    Open {
        version: String,
        plugin: PathBuf,
        device: u32,
    },
    /// The last: closes the device. `()`.
    Close,
    /// [`Info`].
    Info,
    /// `()`.
    Inject { fault: String, after: u32 },
    /// `()`.
    Reset,
    /// For each node the reason why the device does not take it, or `None`.
    Claim(Graph),
    /// The file has the weights. The program's id, `u64`.
    Compile(Graph),
    /// The file has a saved program of so many bytes. The program's id, `u64`.
    Load { bytes: u64 },
    /// The number of bytes, `u64`; the bytes come in a file.
    Save { program: u64 },
    /// `()`.
    FreeProgram { program: u64 },
    /// Makes the session of this connection. The file is the memory of its values. `()`.
    Session {
        programs: Vec<SessionProgram>,
        zones: Vec<Zone>,
    },
    /// Starts a program of the session. `()`.
    Submit { program: u32, deadline: Duration },
    /// Waits for the session's job. [`Waited`].
    Wait { timeout: Duration },
    /// Cancels the session's job. `()`.
    Cancel,
    /// Frees the session. `()`.
    FreeSession,
}

impl Request {
    /// The request in words, for error messages.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Open { .. } => "opening the device",
            Request::Close => "device_close",
            Request::Info => "device_info",
            Request::Inject { .. } => "inject",
            Request::Reset => "reset",
            Request::Claim(_) => "claim",
            Request::Compile(_) => "compile",
            Request::Load { .. } => "program_load",
            Request::Save { .. } => "program_save",
            Request::FreeProgram { .. } => "program_free",
            Request::Session { .. } => "session_new",
            Request::Submit { .. } => "submit",
            Request::Wait { .. } => "job_wait",
            Request::Cancel => "job_cancel",
            Request::FreeSession => "session_free",
        }
    }
}

/// A program of a session.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionProgram {
    /// Its id.
    pub id: u64,
    /// Where its inputs and outputs lie.
    pub slots: Vec<Slot>,
}

/// An open device.
#[derive(Debug, Serialize, Deserialize)]
pub struct Opened {
    /// Name, version and licence of the plug-in.
    pub plugin: [String; 3],
    /// Whether it has `inject`.
    pub injects_faults: bool,
    /// Whether it has `reset`.
    pub resets: bool,
}

/// The description of a device.
#[derive(Debug, Serialize, Deserialize)]
pub struct Info {
    /// Vendor, device, architecture, driver and firmware.
    pub names: [String; 5],
    /// The rest as in [`ffi::DeviceInfo`].
    pub flags: u32,
    pub memory: u64,
    pub memory_free: u64,
    pub memory_limit: u64,
    pub activations: u32,
    pub activation_group: u32,
    pub accumulator_bits: u32,
    pub rounding: u32,
    pub quants: Vec<Form>,
    pub rows: Vec<u32>,
}

/// A form of weights: `store`, `group` and `scale_type` of [`ffi::Quant`].
pub type Form = [u32; 3];

/// A form for the plug-in, or for the host.
pub fn raw_form(&[store, group, scale_type]: &Form) -> ffi::Quant {
    ffi::Quant {
        hdr: ffi::Hdr::of::<ffi::Quant>(),
        store,
        group,
        scale_type,
    }
}

/// A graph. All numbers are those of [`ffi::Graph`], unchecked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Graph {
    pub name: String,
    pub rows: u32,
    pub tensors: Vec<Tensor>,
    pub nodes: Vec<Node>,
}

/// A tensor of a graph.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tensor {
    pub role: u32,
    pub rows: u32,
    pub cols: u32,
    pub form: Option<Form>,
    /// Bytes of its numbers and of its scales. In the file they come one after the other,
    /// tensor by tensor.
    pub data: u64,
    pub scales: u64,
}

/// A node of a graph.
#[derive(Debug, Serialize, Deserialize)]
pub struct Node {
    pub op: u32,
    pub inputs: Vec<u32>,
    pub out: u32,
    pub eps: f32,
    pub group: u32,
    pub factor: f32,
}

/// The result of a wait.
#[derive(Debug, Serialize, Deserialize)]
pub struct Waited {
    /// Whether the job has ended.
    pub ended: bool,
    /// Its outcome, or a failure of the wait itself.
    pub outcome: Reply<Measured>,
}

/// [`Metrics`] of a job.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    pub time: Option<Duration>,
    pub energy_uj: Option<u64>,
    pub temperature_mc: Option<i32>,
    pub throttled: Option<bool>,
}

impl From<Metrics> for Measured {
    fn from(metrics: Metrics) -> Measured {
        Measured {
            time: metrics.time,
            energy_uj: metrics.energy_uj,
            temperature_mc: metrics.temperature_mc,
            throttled: metrics.throttled,
        }
    }
}

impl From<Measured> for Metrics {
    fn from(measured: Measured) -> Metrics {
        Metrics {
            time: measured.time,
            energy_uj: measured.energy_uj,
            temperature_mc: measured.temperature_mc,
            throttled: measured.throttled,
        }
    }
}

/// A failure of the plug-in or the helper, as it is sent to the host.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reported {
    pub code: i32,
    pub vendor_code: i32,
    pub flags: u32,
    pub message: String,
}

impl Reported {
    /// A failure that the helper found.
    pub fn new(code: Code, message: impl Into<String>) -> Reported {
        Reported {
            code: code as i32,
            vendor_code: 0,
            flags: 0,
            message: message.into(),
        }
    }
}

impl From<DelegateError> for Reported {
    fn from(error: DelegateError) -> Reported {
        let flag = |is: bool, flag| if is { flag } else { 0 };
        Reported {
            code: error.code as i32,
            vendor_code: error.vendor_code,
            flags: flag(error.retryable, ffi::ERROR_RETRYABLE)
                | flag(error.needs_reset, ffi::ERROR_NEEDS_RESET),
            message: error.message,
        }
    }
}

impl From<Reported> for Failure {
    fn from(reported: Reported) -> Failure {
        Failure {
            code: Code::from_status(reported.code),
            vendor_code: reported.vendor_code,
            flags: reported.flags,
            message: reported.message,
        }
    }
}
