//! Kernels of x86-64.

pub mod avx2_attention;
pub mod avx2_vector;
