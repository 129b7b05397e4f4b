//! Kernels for 64-bit Arm: eight lanes of 32 bits are two registers.
//!
//! Floats, and the integer operations that decode block formats, need no more
//! than NEON and are written once. Three ISAs differ in how they multiply
//! 8-bit numbers: by the products that widen ([`neon`], any core), by
//! `sdot` ([`dotprod`]) and by `smmla` ([`i8mm`]).

mod dotprod;
mod floats;
mod i8mm;
mod lanes;
mod neon;

use super::Backend;
use super::generic::matmul::Arithmetic;
use lanes::{DotProd, I8mm, Neon};

/// [`Isa::Neon`](super::Isa::Neon), if this CPU has it.
pub(super) fn neon() -> Option<Backend> {
    Neon::new().map(backend)
}

/// [`Isa::DotProd`](super::Isa::DotProd), if this CPU has it.
pub(super) fn dotprod() -> Option<Backend> {
    DotProd::new().map(backend)
}

/// [`Isa::I8mm`](super::Isa::I8mm), if this CPU has it.
pub(super) fn i8mm() -> Option<Backend> {
    I8mm::new().map(backend)
}

/// Every ISA of Arm has the same functions on rows of floats, and none has faster
/// products for attention.
fn backend<L: Arithmetic<Floats = Neon> + Into<Neon>>(l: L) -> Backend {
    let floats: Neon = l.into();
    Backend::new(floats, floats, floats, l)
}
