//! Matmul steps. A piece is some rows of a weight, times all rows of a pass.

use super::executor::Shared;

use crate::memory::Region;
use crate::plan::{MatMul, Piece};
use ondol_kernels::{ActKind, Acts, Matrix, OutRows, SMALL, Store};
use ondol_models::graph::RowFn;

impl Shared<'_> {
    /// The forms of the input that a matmul step needs for `rows` rows, and the place
    /// of each.
    pub(super) fn acts<'m>(
        &'m self,
        matmul: &'m MatMul,
        cols: usize,
        rows: usize,
    ) -> impl Iterator<Item = (ActKind, Region)> + 'm {
        let mut offset = self.plan.layout.acts.offset;
        let inputs = if SMALL { 1 } else { matmul.inputs };
        matmul.act_kinds(rows, self.kernels).map(move |kind| {
            let region = Region {
                offset,
                bytes: kind.bytes(cols) * rows * inputs,
            };
            offset += region.bytes;
            (kind, region)
        })
    }

    /// Computes one piece: some rows of one weight, times all rows of a pass.
    pub(crate) fn matmul_piece(
        &self,
        matmul: &MatMul,
        piece: &Piece,
        tokens: usize,
        worker: usize,
    ) {
        if piece.rows.is_empty() {
            return;
        }
        let part = &matmul.parts[piece.part];
        let (dtype, cols) = (part.weight.dtype, part.weight.cols);
        let kind = self.kernels.act_kind(dtype, tokens);
        let matrix = Matrix::new(
            dtype,
            part.weight.layout,
            part.weight.rows,
            cols,
            self.weights.rows(&part.weight),
        );
        let acts = self.acts(matmul, cols, tokens).find(|(k, _)| *k == kind);
        // The builder checked the weight's shape, and the step before prepared this kind.
        let (Some(matrix), Some((_, acts))) = (matrix, acts) else {
            return;
        };
        let store = if part.accumulate {
            Store::Add
        } else {
            Store::Set
        };
        // SAFETY: activations are only read in this step; pieces are disjoint
        // columns of the outputs; scratch is this worker's own.
        unsafe {
            let acts = Acts::new(kind, tokens, cols, self.arena.bytes(acts));
            let out = OutRows::new(self.arena.pointer(part.out), part.out.width, store);
            let scratch = self.arena.bytes_mut(self.plan.layout.scratch[worker]);
            self.kernels
                .matmul(&matrix, piece.rows.clone(), &acts, &out, scratch);
            let Some(bias) = part.bias else { return };
            let bias = &self.arena.floats(bias.region)[piece.rows.clone()];
            for token in 0..tokens {
                let row = part.out.rows(token, 1).offset;
                let columns = Region {
                    offset: row + piece.rows.start * 4,
                    bytes: piece.rows.len() * 4,
                };
                let out = self.arena.floats_mut(columns);
                let vector = self.kernels.vector();
                vector.apply(RowFn::Add, out, Some(bias), None);
            }
        }
    }
}
