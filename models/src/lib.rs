//! What a model is: the GGUF container, block formats of weights, tokenizers,
//! chat templates, and the graph of each architecture.
//!
//! Nothing here knows how a model is run; that is the crate `ondol` (folder
//! `runtime`). A model file is hostile input: every function that reads one
//! checks its arithmetic and returns an [`Error`].
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

/// Firmware leaves out what a look at its model's file at a desk (`ondol inspect`)
/// tells as well: bytes of code are dear there.
const WHOLE: bool = cfg!(feature = "std");

pub use error::{Error, Float, Result};
pub use warning::Warning;
