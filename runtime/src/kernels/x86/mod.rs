//! Kernels for x86-64, a folder for each level.

pub(super) mod attention;
pub(super) mod avx2;
mod avx512;
mod dots;
mod vnni;
mod ymm;

use super::attention::Attention;
use super::attention::prefill::pairs::Pairs;
use super::integer::{self, Madd16, Wide, WideSums, matmul_bytes, matmul_wide};
use super::vector::VectorOps;
use super::{ActKind, Call, Level, floats};
use avx2::{Avx2, Maddubs};
use avx512::Avx512;
use ondol_models::quant::DType;
use vnni::Vex;
use ymm::Ymm;

/// What the CPU can run: floats are the same at every level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Isa {
    floats: Avx2,
    integers: Integers,
}

/// How integers multiply.
#[derive(Debug, Clone, Copy)]
enum Integers {
    Avx2(Pairs<Ymm<Maddubs>>),
    AvxVnni(Pairs<Ymm<Vex>>),
    Avx512(Pairs<Avx512>),
}

impl Isa {
    /// The instructions of a level, if this CPU has them.
    pub(super) fn of(level: Level) -> Option<Isa> {
        let floats = Avx2::new()?;
        let integers = match level {
            Level::Avx2 => Integers::Avx2(Pairs(floats.integers())),
            Level::AvxVnni => Integers::AvxVnni(Pairs(vnni::new(floats)?)),
            Level::Avx512 => Integers::Avx512(Pairs(Avx512::new(floats)?)),
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
        match &self.integers {
            Integers::Avx2(pairs) => pairs,
            Integers::AvxVnni(pairs) => pairs,
            Integers::Avx512(pairs) => pairs,
        }
    }

    /// Attention with products of floats.
    pub(super) fn exact_attention(&self) -> &dyn Attention {
        &self.floats
    }

    /// [`super::acts::prepare`].
    pub(super) fn prepare(&self, kind: ActKind, x: &[f32], dst: &mut [u8]) {
        self.floats.prepare(kind, x, dst);
    }

    /// Bytes of scratch for products of integers.
    pub(super) fn scratch_bytes(&self, dtype: DType, cols: usize) -> usize {
        match self.integers {
            Integers::Avx2(Pairs(l)) => scratch_bytes(l, dtype, cols),
            Integers::AvxVnni(Pairs(l)) => scratch_bytes(l, dtype, cols),
            Integers::Avx512(Pairs(l)) => scratch_bytes(l, dtype, cols),
        }
    }

    /// Whether products of 8 bits add up in 32 at once.
    pub(super) fn has_byte_dots(&self) -> bool {
        !matches!(self.integers, Integers::Avx2(_))
    }

    /// Whether half floats have integer products.
    pub(super) fn rounds_halves(&self) -> bool {
        true
    }

    /// A matmul in the form of its activations.
    pub(super) fn matmul(&self, call: Call) {
        if call.acts.kind() == ActKind::F32 {
            return floats::matmul(self.floats, call);
        }
        match self.integers {
            Integers::Avx2(Pairs(l)) => matmul(l, call, matmul_wide),
            Integers::AvxVnni(Pairs(l)) => matmul(l, call, matmul_bytes),
            Integers::Avx512(Pairs(l)) => matmul(l, call, matmul_bytes),
        }
    }
}

fn matmul<L: Madd16>(l: L, call: Call, signed: impl FnOnce(L, Call)) {
    match call.acts.kind() {
        ActKind::I14 => integer::matmul_halves(l, call),
        _ => integer::matmul(l, call, signed),
    }
}

fn scratch_bytes<L: WideSums>(_: L, dtype: DType, cols: usize) -> usize {
    integer::scratch_bytes::<L, Wide<L>>(dtype, cols)
}
