//! What a screened head needs: the matmul of the copy, and memory for bounds and lists.

use super::schedule::pieces;
use super::{ArenaLayout, Buffer, MatMul, Part, Region, RowOp, Step};
use alloc::vec::Vec;
use ondol_models::graph::{RowFn, Weight};
use ondol_models::quant::packed::GROUP;
use ondol_models::screen::Screen;

/// Rows whose largest bound is kept, as a first sieve: whole groups.
pub const CHUNK: usize = 64;

/// Where more than one group in so many may hold one of the likeliest, scoring
/// them one by one gains little over reading the whole head.
const GROUPS_PER_SCORED: usize = 4;

/// How the likeliest tokens are found through a copy of the head.
#[derive(Debug)]
pub struct ScreenPlan {
    /// Where in [`super::Plan::head`] the head's own matmul is.
    pub step: usize,
    /// The head's own matmul: an index in [`super::Plan::matmuls`].
    pub head: usize,
    /// The copy's matmul, likewise. Its output is [`ScreenPlan::bounds`].
    pub copy: usize,
    /// What both multiply.
    pub input: Buffer,
    /// The logits are capped at this.
    pub cap: Option<f32>,
    /// The error of each row of the copy, in the file.
    pub error: Weight,
    /// For each row the most that its score is taken to be.
    pub bounds: Buffer,
    /// The largest bound of each [`CHUNK`] rows.
    pub maxima: Region,
    /// Floats among which the n-th largest is looked for.
    pub sorted: Region,
    /// Numbers of the groups of rows that are scored exactly, as u32.
    pub groups: Region,
}

impl ScreenPlan {
    /// The plan of a screen for a head with these steps, laid out after what is
    /// there; `None` where the steps are not those of one matmul, or its cap.
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
        let chunks = rows.div_ceil(CHUNK);
        let groups = rows / GROUP / GROUPS_PER_SCORED;
        let maxima = layout.push(chunks * 4);
        let sorted = layout.push(chunks.max(groups * GROUP) * 4);
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
        let pieces = pieces(&parts, CHUNK);
        matmuls.push(MatMul { parts, pieces });
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
