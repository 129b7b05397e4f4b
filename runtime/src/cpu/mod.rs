//! Running steps on the CPU.

pub mod pool;
