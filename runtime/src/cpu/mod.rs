//! The CPU executor: the thread pool, and the code that runs a plan's steps on it.

mod attention;
mod columns;
mod conv;
pub(crate) mod executor;
mod experts;
mod linear_attention;
mod matmul;
#[cfg(feature = "delegate")]
mod offload;
pub(crate) mod pass;
pub mod pool;
mod rows;
pub(crate) mod turns;
