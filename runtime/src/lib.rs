//! Ondol runs quantized GGUF models on the device itself.
//!
//! This page is the whole public API: open a [`Model`], make a [`Session`],
//! and [`Session::generate`] text from it.
//!
//! ```
//! use ondol::{CancelToken, GenerateOptions, Message, Model, Options};
//!
//! let model = Model::hello()?;
//! let mut session = model.session(&Options::default())?;
//! let prompt = model.encode_chat(&[Message::user("안녕하세요")])?;
//! for piece in session.generate(&prompt, &GenerateOptions::default(), &CancelToken::new())? {
//!     print!("{}", piece?.text);
//! }
//! # Ok::<(), ondol::Error>(())
//! ```
//!
//! # What is the same every time
//! For a given kernel level, results do not depend on the number of threads:
//! every output element is computed by one thread, in one order. Levels agree
//! with each other up to the order of float additions; the exact level differs
//! from the fast ones by the rounding of activations.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "std")]
mod batch;
mod cache;
mod cancel;
mod cpu;
#[cfg(feature = "delegate")]
pub mod delegate;
mod engine;
mod error;
pub mod generate;
mod governor;
pub mod kernels;
mod model;
mod plan;
mod screen;
mod session;
#[cfg(feature = "std")]
pub mod store;
mod weights;

#[cfg(feature = "std")]
pub use batch::Batch;
#[cfg(feature = "std")]
pub use cache::SnapshotError;
pub use cancel::CancelToken;
pub use cpu::pool::Affinity;
pub use engine::Engine;
pub use error::{Error, Result};
pub use generate::{
    Candidate, Event, FinishReason, GenerateOptions, Generation, LogitFilter, Piece,
    SamplerOptions, Stats, Token,
};
pub use governor::Governor;
#[cfg(feature = "std")]
pub use governor::{MemoryPressure, ThermalLevel};
pub use kernels::Isa;
pub use kernels::attention::KvType;
pub use model::{Model, Options};
pub use ondol_models as models;
#[cfg(feature = "std")]
pub use ondol_models::template::Message;
pub use plan::Memory;
pub use screen::{ScreenOptions, ScreenStats};
#[cfg(feature = "std")]
pub use session::Refused;
pub use session::Session;
