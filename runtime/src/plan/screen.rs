//! The plan of a screened output head: the matmul of the screen, and memory for bounds
//! and lists.

use super::schedule::pieces;
use super::{ArenaLayout, Buffer, MatMul, Part, Region, RowOp, Step};
use alloc::vec::Vec;
use ondol_models::graph::{RowFn, Weight};
use ondol_models::quant::packed::GROUP;
use ondol_models::screen::Screen;

/// Rows that share one maximum of their bounds, for a first selection. A multiple of
/// [`GROUP`].
pub const ROWS_PER_MAXIMUM: usize = 64;

/// At most one group in this many is scored exactly. With more groups, exact scores
/// cost nearly as much as the whole output head.
const GROUPS_PER_SCORED: usize = 4;

/// How the likeliest tokens are found with a 4-bit copy of the output head.
#[derive(Debug)]
pub struct ScreenPlan {
    /// Index in [`super::Plan::head`] of the output head's own matmul.
    pub step: usize,
    /// The output head's own matmul: an index in [`super::Plan::matmuls`].
    pub head: usize,
    /// The screen's matmul: an index in [`super::Plan::matmuls`]. It writes
    /// [`ScreenPlan::bounds`].
    pub copy: usize,
    /// The input of both matmuls.
    pub input: Buffer,
    /// The softcap of the logits, if the model has one.
    pub cap: Option<f32>,
    /// The error of each row of the screen, stored in the file.
    pub error: Weight,
    /// For each row, the screen's score plus a margin. The exact score is assumed not
    /// to exceed it.
    pub bounds: Buffer,
    /// The largest bound of each [`ROWS_PER_MAXIMUM`] rows.
    pub maxima: Region,
    /// Scratch floats in which the n-th largest value is selected.
    pub sorted: Region,
    /// Numbers of the groups whose rows are scored exactly, as u32.
    pub groups: Region,
}

impl ScreenPlan {
    /// Plans a screen for a head with the given steps, and appends its memory to
    /// `layout`. Returns `None` if the head does not end with one matmul, followed by
    /// at most a softcap.
    pub fn new(
        screen: &Screen,
        steps: &[Step],
        matmuls: &mut Vec<MatMul>,
        layout: &mut ArenaLayout,
    ) -> Option<ScreenPlan> {
        let is_matmul = |step: &Step| matches!(step, Step::MatMul(_));
        let step = steps.iter().rposition(is_matmul)?;
        let (before, after) = (&steps[..step], &steps[step + 1..]);
        let Step::MatMul(head) = steps[step] else {
            return None;
        };
        let Some(Step::Rows(ops)) = before.last() else {
            return None;
        };
        let Some(&RowOp::Prepare { input, .. }) = ops.last() else {
            return None;
        };
        let [Part { out, .. }] = matmuls.get(head)?.parts[..] else {
            return None;
        };
        let cap = match after {
            [] => None,
            [Step::Rows(ops)] => match ops[..] {
                [
                    RowOp::Function {
                        function: RowFn::Softcap { cap },
                        a,
                        out: capped,
                        ..
                    },
                ] if a == out && capped == out => Some(cap),
                _ => return None,
            },
            _ => return None,
        };

        let rows = screen.weight.rows;
        let start = layout.total;
        let bounds = Buffer {
            offset: layout.push(rows.saturating_mul(4)).offset,
            width: rows,
        };
        let count = rows.div_ceil(ROWS_PER_MAXIMUM);
        let groups = rows / GROUP / GROUPS_PER_SCORED;
        let maxima = layout.push(count * 4);
        let sorted = layout.push(count.max(groups * GROUP) * 4);
        let groups = layout.push(groups * 4);
        layout.screen = Region {
            offset: start,
            bytes: layout.total - start,
        };

        let parts = alloc::vec![Part {
            weight: screen.weight,
            bias: None,
            out: bounds,
            accumulate: false,
        }];
        let pieces = pieces(&parts, ROWS_PER_MAXIMUM);
        matmuls.push(MatMul {
            parts,
            pieces,
            inputs: 1,
        });
        Some(ScreenPlan {
            step,
            head,
            copy: matmuls.len() - 1,
            input,
            cap,
            error: screen.error,
            bounds,
            maxima,
            sorted,
            groups,
        })
    }
}
