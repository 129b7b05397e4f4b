//! What a model is: the GGUF container, block formats of weights, tokenizers,
//! chat templates, and the graph of each architecture.
//!
//! How a model is run is the task of the crate `ondol` (folder `runtime`). A model file
//! is hostile input: every function that reads one checks its arithmetic and returns an
//! [`Error`].
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod arch;
mod error;
pub mod gguf;
pub mod graph;
pub mod heap;
#[cfg(feature = "std")]
pub mod pack;
pub mod quant;
pub mod screen;
#[cfg(feature = "std")]
pub mod template;
pub mod tokenizer;
mod warning;

/// Whether this build has `std`. Other builds, such as firmware, leave out architectures,
/// operations and checks, to save code.
const WHOLE: bool = cfg!(feature = "std");

pub use error::{Error, Float, Result};
pub use warning::Warning;
