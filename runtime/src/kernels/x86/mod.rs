//! Kernels for x86-64, a folder for each level.

pub(super) mod avx2;
