//! Convolutions. Columns are independent, so threads share the columns, and the rows of
//! a sequence are computed in order.

use super::columns::part;
use super::executor::Shared;
use super::pass::Pass;
use crate::plan::ConvStep;

/// Columns that one thread computes at a time: several cache lines of a row.
const COLUMNS: usize = 64;

/// The number of pieces of a step.
pub fn pieces(step: &ConvStep) -> usize {
    step.out.width.div_ceil(COLUMNS)
}

impl Shared<'_> {
    /// Computes one piece of a step: some columns, for the rows of every sequence.
    pub(super) fn conv(&self, step: &ConvStep, pass: Pass, piece: usize) {
        let Some(state) = self.plan.cache.slots[step.slot].floats() else {
            return;
        };
        let start = piece * COLUMNS;
        let columns = start..step.out.width.min(start + COLUMNS);
        let (taps, width) = (step.taps, step.out.width);
        let kept = taps - 1;
        for (cache, rows) in pass.sequences() {
            let (old, new) = (state.live[cache.front()], state.live[1 - cache.front()]);
            // SAFETY: this thread alone uses these columns of the output and of the new
            // state. The weight, the old state and the input are only read.
            unsafe {
                let weight = self.arena.floats(step.weight.region);
                let weight = &weight[columns.start * taps..columns.end * taps];
                // Row `t` of the kept inputs followed by the inputs of the pass.
                let input = |t: usize| match t.checked_sub(kept) {
                    None => cache.memory().floats(part(old, t * width, &columns)),
                    Some(row) => self.columns_of(step.input, rows.start + row, &columns),
                };
                for (t, row) in rows.clone().enumerate() {
                    let out = self.columns_mut(step.out, row, &columns);
                    out.fill(0.0);
                    for tap in 0..taps {
                        let terms = input(t + tap).iter().zip(weight.chunks_exact(taps));
                        for (out, (x, weight)) in out.iter_mut().zip(terms) {
                            *out += weight[tap] * x;
                        }
                    }
                }
                for t in 0..kept {
                    cache
                        .memory()
                        .floats_mut(part(new, t * width, &columns))
                        .copy_from_slice(input(rows.len() + t));
                }
            }
        }
    }
}
