//! NPUs: plug-ins that run parts of a model on a device of their own.
//!
//! A plug-in is a C library that speaks `runtime/delegates/ondol_npu.h`.
//! [`Delegate::load`] opens it; [`Offload::new`] asks it which parts of a model it
//! takes, and compiles them; [`crate::SessionOptions::offload`] gives them to a session.
//! `docs/add-a-delegate.md` is for those who write one.
//!
//! A delegate costs speed at worst, never the answer: what it does not take, does
//! not do in time, or does with numbers that are not finite or not near the CPU's,
//! the CPU does. [`OffloadStats`] counts it, and [`OffloadOptions::strict`] makes it
//! an error.

mod blob;
mod device;
mod error;
pub mod ffi;
mod info;
mod offload;
mod op;
mod plugin;
mod program;
mod quant;
mod runner;
pub mod segment;
mod session;
#[cfg(test)]
mod tests;

pub use device::Delegate;
pub use error::{Code, DelegateError, Stage};
pub use info::{Activations, DeviceInfo, Label};
pub use offload::{
    Offload, OffloadOptions, OffloadReport, SpanReport, UnclaimedNodes, WeightsReport,
};
pub use program::Program;
pub use quant::{Group, Quant, Quantized, Store};
pub use runner::OffloadStats;
pub(crate) use runner::{Call, ProgramSet, Runner};
pub use session::{Buffer, DeviceSession, Job, Metrics, Outcome, Place};
