//! Kernels for 64-bit Arm: eight lanes of 32 bits are two registers.
//!
//! Floats, and the integer operations that decode block formats, need no more
//! than NEON and are written once. Three levels differ in how they multiply
//! 8-bit numbers: by the products that widen ([`widening`], any core), by
//! `sdot` ([`dotprod`]) and by `smmla` ([`i8mm`]).

mod attention;
mod dotprod;
mod i8mm;
mod qpair;
mod vector;
mod widening;

use super::attention::Attention;
use super::integer::{self, ByteDots, Bytes, Wide, matmul_bytes, matmul_wide};
use super::vector::VectorOps;
use super::{ActKind, Call, Level, acts, floats};
use dotprod::DotProd;
use i8mm::I8mm;
use ondol_models::quant::DType;
use qpair::QPair;
use widening::Widening;

/// The NEON kernels: a value that exists only if the CPU can run them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// The kernels: every 64-bit Arm has NEON, but for targets without floats.
    /// Lanes are taken for little-endian throughout.
    pub(crate) fn new() -> Option<Neon> {
        cfg!(all(target_feature = "neon", target_endian = "little")).then_some(Neon(()))
    }
}

/// What the CPU can run: floats are the same at every level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Isa {
    floats: Neon,
    integers: Integers,
}

/// How integers multiply.
#[derive(Debug, Clone, Copy)]
enum Integers {
    Neon(QPair<Widening>),
    DotProd(QPair<DotProd>),
    I8mm(QPair<I8mm>),
}

impl Isa {
    /// The instructions of a level, if this CPU has them.
    pub(super) fn of(level: Level) -> Option<Isa> {
        let floats = Neon::new()?;
        let integers = match level {
            Level::Neon => Integers::Neon(widening::new(floats)),
            Level::DotProd => Integers::DotProd(dotprod::new(floats)?),
            Level::I8mm => Integers::I8mm(i8mm::new(floats)?),
            _ => return None,
        };
        Some(Isa { floats, integers })
    }

    /// Functions on rows of floats.
    pub(super) fn vector(&self) -> &dyn VectorOps {
        &self.floats
    }

    /// Attention.
    pub(super) fn attention(&self) -> &dyn Attention {
        &self.floats
    }

    /// Attention with products of floats: here no others are faster.
    pub(super) fn exact_attention(&self) -> &dyn Attention {
        &self.floats
    }

    /// [`acts::prepare`].
    pub(super) fn prepare(&self, kind: ActKind, x: &[f32], dst: &mut [u8]) {
        acts::prepare(self.floats, kind, x, dst);
    }

    /// Bytes of scratch for products of integers.
    pub(super) fn scratch_bytes(&self, dtype: DType, cols: usize) -> usize {
        match self.integers {
            Integers::Neon(_) => {
                type L = QPair<Widening>;
                integer::scratch_bytes::<L, Wide<L>>(dtype, cols)
            }
            Integers::DotProd(l) => scratch_bytes(l, dtype, cols),
            Integers::I8mm(l) => scratch_bytes(l, dtype, cols),
        }
    }

    /// Whether products of 8 bits add up in 32 at once.
    pub(super) fn has_byte_dots(&self) -> bool {
        !matches!(self.integers, Integers::Neon(_))
    }

    /// Whether half floats have integer products: floats multiply as fast here.
    pub(super) fn rounds_halves(&self) -> bool {
        false
    }

    /// A matmul in the form of its activations.
    pub(super) fn matmul(&self, call: Call) {
        if call.acts.kind() == ActKind::F32 {
            return floats::matmul(self.floats, call);
        }
        match self.integers {
            Integers::Neon(l) => integer::matmul(l, call, matmul_wide),
            Integers::DotProd(l) => integer::matmul(l, call, matmul_bytes),
            Integers::I8mm(l) => integer::matmul(l, call, matmul_bytes),
        }
    }
}

fn scratch_bytes<L: ByteDots>(_: L, dtype: DType, cols: usize) -> usize {
    integer::scratch_bytes::<L, Bytes<L, 1>>(dtype, cols)
}
