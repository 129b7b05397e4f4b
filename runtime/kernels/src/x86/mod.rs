//! Kernels for x86-64: [`ymm`] and [`zmm`] have the lanes, [`avx2`] and [`vnni`] the sums
//! of products, [`floats`] the rows of floats, [`half_floats`] and [`pairs`] what 16-bit
//! integers do faster here.

mod avx2;
mod floats;
mod half_floats;
mod pairs;
mod vnni;
mod ymm;
mod zmm;

use super::Backend;
use super::generic::matmul::Arithmetic;
use pairs::{PairProducts, Pairs};
use ymm::{Avx2, AvxVnni};
use zmm::Avx512;

/// [`Isa::Avx2`](super::Isa::Avx2), if this CPU has it.
pub(super) fn avx2() -> Option<Backend> {
    Avx2::new().map(backend)
}

/// [`Isa::AvxVnni`](super::Isa::AvxVnni), if this CPU has it.
pub(super) fn avx_vnni() -> Option<Backend> {
    AvxVnni::new().map(backend)
}

/// [`Isa::Avx512`](super::Isa::Avx512), if this CPU has it.
pub(super) fn avx512() -> Option<Backend> {
    Avx512::new().map(backend)
}

/// Rows of floats are the same at every ISA of x86.
fn backend<L: Arithmetic<Floats = Avx2> + PairProducts>(l: L) -> Backend {
    let floats: Avx2 = l.into();
    Backend::new(floats, Pairs(l), floats, l)
}
