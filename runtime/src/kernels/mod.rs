//! Kernels: the arithmetic of a step, one level per kind of CPU.

pub mod attention;
pub mod vector;
#[cfg(target_arch = "x86_64")]
pub mod x86;
