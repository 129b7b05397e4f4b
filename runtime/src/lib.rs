//! Ondol runs quantized GGUF models on the device itself.
//!
//! Open a [`Model`], make a [`Session`], and [`Session::generate`] text from it. The
//! items re-exported on this page are the API for apps; the modules below are for tools
//! that need more.
//!
//! ```
//! use ondol::{CancelToken, GenerateOptions, Message, Model, SessionOptions};
//!
//! let model = Model::hello()?;
//! let mut session = model.session(&SessionOptions::default())?;
//! let prompt = model.encode_chat(&[Message::user("안녕하세요")])?;
//! for chunk in session.generate(&prompt, &GenerateOptions::default(), &CancelToken::new())? {
//!     print!("{}", chunk?.text);
//! }
//! # Ok::<(), ondol::Error>(())
//! ```
//!
//! # Reproducibility
//! With the same kernels ([`Isa`]), results do not depend on the number of threads:
//! every output element is computed by one thread, in one order. Kernels for different
//! ISAs agree with each other up to the order of float additions; the exact kernels
//! differ from the fast ones by the rounding of activations.
//!
//! # Log
//! With `std` the library uses the crate `log`: faults of a model's file that were
//! repaired, why a store has no packed copy or makes one, and failures of a delegate
//! (warn); each new engine (info); changes of a governor (debug). Prefill and decode on
//! the CPU log nothing.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

/// The program in the README.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(feature = "std")]
mod batch;
mod cache;
mod cancel;
mod cpu;
#[cfg(feature = "delegate")]
pub mod delegate;
mod engine;
mod error;
mod error_code;
#[cfg(feature = "std")]
pub mod files;
#[cfg(feature = "std")]
mod gate;
pub mod generate;
mod governor;
pub mod machine;
mod memory;
mod model;
mod options;
mod plan;
mod screen;
mod session;
mod sizing;
#[cfg(feature = "std")]
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(all(test, feature = "std"))]
mod tests;
#[cfg(feature = "delegate")]
pub mod trial;
mod weights;

#[cfg(feature = "std")]
pub use batch::Batch;
pub use cache::KvType;
#[cfg(feature = "std")]
pub use cache::SnapshotError;
pub use cancel::CancelToken;
pub use cpu::pool::Affinity;
pub use engine::Engine;
pub use error::{Error, Result};
pub use error_code::ErrorCode;
#[cfg(feature = "std")]
pub use generate::GenerationRefused;
pub use generate::{
    Candidate, Event, FinishReason, GenerateOptions, Generation, LogitFilter, Logits,
    SamplerOptions, Stats, TextChunk, Token,
};
pub use governor::Governor;
#[cfg(feature = "std")]
pub use governor::{MemoryPressure, ThermalState};
pub use memory::Memory;
pub use model::Model;
pub use ondol_kernels::{Isa, UnknownIsa};
pub use ondol_models as models;
#[cfg(feature = "std")]
pub use ondol_models::template::Message;
pub use options::SessionOptions;
pub use screen::{ScreenOptions, ScreenStats};
pub use session::Session;
