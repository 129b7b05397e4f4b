//! Linear attention. Heads are independent, and so are the columns of a head's state:
//! threads share them, and the rows of a sequence are computed in order.

use super::columns::part;
use super::executor::Shared;
use super::pass::Pass;
use crate::plan::LinearAttentionStep;
use ondol_kernels::vector::Recurrence;

/// Columns of a state that one thread computes at a time: with 128 rows, 16 KiB.
const COLUMNS: usize = 32;

/// The number of pieces of a step.
pub fn pieces(step: &LinearAttentionStep) -> usize {
    step.linear.heads * pieces_of_head(step)
}

fn pieces_of_head(step: &LinearAttentionStep) -> usize {
    step.linear.value_dim.div_ceil(COLUMNS)
}

impl Shared<'_> {
    /// Computes one piece of a step: some columns of a head, for the rows of every
    /// sequence. A state lies in memory as `[head][piece][key_dim][column]`.
    pub(super) fn linear_attention(&self, step: &LinearAttentionStep, pass: Pass, piece: usize) {
        let Some(state) = self.plan.cache.slots[step.linear.slot as usize].floats() else {
            return;
        };
        let linear = &step.linear;
        let head = piece / pieces_of_head(step);
        let start = piece % pieces_of_head(step) * COLUMNS;
        let end = linear.value_dim.min(start + COLUMNS);
        let values = head * linear.value_dim + start..head * linear.value_dim + end;
        let key_head = linear.key_head(head);
        let keys = key_head * linear.key_dim..(key_head + 1) * linear.key_dim;
        let floats = linear.key_dim * values.start..linear.key_dim * values.end;
        let [q, k, v] = step.qkv;
        for (cache, rows) in pass.sequences() {
            let (old, new) = (state.live[cache.front()], state.live[1 - cache.front()]);
            // SAFETY: this thread alone uses these columns of the output and this part
            // of the new state. The old state and the inputs are only read.
            unsafe {
                let state = cache.memory().floats_mut(part(new, 0, &floats));
                state.copy_from_slice(cache.memory().floats(part(old, 0, &floats)));
                for row in rows {
                    let token = Recurrence {
                        q: self.columns_of(q, row, &keys),
                        k: self.columns_of(k, row, &keys),
                        v: self.columns_of(v, row, &values),
                        decay: self.arena.row(step.decay, row)[head],
                        beta: self.arena.row(step.beta, row)[head],
                        delta: linear.delta,
                    };
                    let out = self.columns_mut(step.out, row, &values);
                    self.kernels.vector().advance(&token, state, out);
                }
            }
        }
    }
}
