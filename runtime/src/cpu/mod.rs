//! The CPU executor: arena, thread pool, and the steps of a plan run over them.

pub(crate) mod arena;
mod attention;
mod columns;
pub(crate) mod executor;
pub(crate) mod logits;
mod matmul;
#[cfg(feature = "delegate")]
mod offload;
pub(crate) mod pages;
pub(crate) mod pass;
pub mod pool;
pub(crate) mod process;
mod rows;
mod screen;
mod select;
#[cfg(feature = "std")]
pub(crate) mod topology;
pub(crate) mod turns;
