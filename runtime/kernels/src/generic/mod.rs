//! What every ISA shares: each kernel is written once here, over the vectors of
//! [`simd`], and an ISA's folder brings only its instructions.
#![cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, unused_imports, unused_macros)
)]

pub(super) mod acts;
pub(super) mod array;
pub mod attention;
pub(super) mod floats;
pub(super) mod formats;
pub(super) mod matmul;
pub(super) mod matrix;
pub(super) mod oracle;
mod prefetch;
pub mod simd;
pub mod vector;
