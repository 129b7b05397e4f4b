//! The instruction sets of a CPU for which there are no kernels yet: none.

use super::attention::Attention;
use super::vector::VectorOps;
use super::{ActKind, Call, Level};
use ondol_models::quant::DType;

/// A value that does not exist.
#[derive(Debug, Clone, Copy)]
pub(super) enum Isa {}

impl Isa {
    /// None, whatever the level.
    pub(super) fn of(_: Level) -> Option<Isa> {
        None
    }

    pub(super) fn vector(&self) -> &dyn VectorOps {
        match *self {}
    }

    pub(super) fn attention(&self) -> &dyn Attention {
        match *self {}
    }

    pub(super) fn exact_attention(&self) -> &dyn Attention {
        match *self {}
    }

    pub(super) fn prepare(&self, _: ActKind, _: &[f32], _: &mut [u8]) {
        match *self {}
    }

    pub(super) fn scratch_bytes(&self, _: DType, _: usize) -> usize {
        match *self {}
    }

    pub(super) fn has_byte_dots(&self) -> bool {
        match *self {}
    }

    pub(super) fn rounds_halves(&self) -> bool {
        match *self {}
    }

    pub(super) fn matmul(&self, _: Call) {
        match *self {}
    }
}
