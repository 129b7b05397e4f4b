//! Delegates: plug-ins that run parts of a model on a device such as an NPU.
//!
//! A plug-in is a C library with the ABI of `runtime/delegates/ondol_npu.h`.
//! [`Delegate::load`] opens it. [`Offload::new`] asks it which parts of a model it
//! takes and compiles them. [`crate::SessionOptions::offload`] gives them to an engine.
//! `docs/add-a-delegate.md` explains how to write a plug-in.
//!
//! A delegate can cost time, but never changes the answer beyond its tolerance: the CPU
//! computes every span that the device refuses, does not finish in time, or returns
//! with numbers that are not finite or, in the audited calls, too far from the CPU's.
//! [`OffloadStats`] counts these spans. With [`OffloadOptions::strict`] they are
//! errors.

mod blob;
mod bundle;
mod compile;
mod device;
mod error;
pub mod ffi;
mod info;
mod offload;
mod op;
mod plugin;
mod program;
mod quant;
mod report;
mod runner;
pub mod segment;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use blob::{Blobs, Hash};
pub use bundle::BundleError;
pub use device::Delegate;
pub use error::{Code, DelegateError, Stage};
pub use info::{Activations, Arithmetic, DeviceInfo, Label, Rounding};
pub use offload::{Offload, OffloadOptions};
pub use program::Program;
pub use quant::{Group, Quant, Quantized, Store};
pub use report::{OffloadReport, SpanReport, UnclaimedNodes, WeightsReport, Work};
pub(crate) use runner::{Call, ProgramSet, Runner};
pub use runner::{OffloadStats, SpanCount, StageStats};
pub use session::{Buffer, DeviceSession, Job, Metrics, Outcome, Place};
