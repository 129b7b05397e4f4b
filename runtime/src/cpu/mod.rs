//! The CPU executor: arena, thread pool, and the steps of a plan run over them.

mod attention;
mod columns;
pub(crate) mod executor;
mod matmul;
#[cfg(feature = "delegate")]
mod offload;
pub(crate) mod pass;
pub mod pool;
mod rows;
pub(crate) mod turns;
