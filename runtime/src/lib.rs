//! How a model runs: plan, kernels, threads, KV cache, generation.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod cpu;
pub mod kernels;
