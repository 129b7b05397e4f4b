//! The CPU executor: arena, thread pool, and the steps of a plan run over them.

pub(crate) mod arena;
pub(crate) mod executor;
#[cfg(feature = "delegate")]
mod offload;
pub(crate) mod pages;
pub mod pool;
mod screen;
mod select;
#[cfg(feature = "std")]
pub(crate) mod topology;
