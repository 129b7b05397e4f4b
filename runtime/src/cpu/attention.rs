//! Attention steps. A piece is a tile of tokens in prefill, and a run of keys in
//! decode.

use super::executor::Shared;
use super::pass::Pass;
use crate::memory::Region;
use crate::plan::AttentionStep;
use ondol_kernels::SMALL;
use ondol_kernels::attention::{DecodePiece, KvSlot, PrefillPiece, Queries, SharedSlice};

impl Shared<'_> {
    /// The keys and values of an attention step, for the sequence of a row.
    ///
    /// # Safety
    /// No other thread writes them during `'p`.
    unsafe fn kv<'p>(
        &self,
        step: &AttentionStep,
        pass: Pass<'p>,
        row: usize,
    ) -> Option<KvSlot<'p>> {
        let kv = self.plan.cache.slots[step.slot].kv()?;
        // SAFETY: passed on to the caller.
        Some(unsafe { kv.view(pass.place(row).0.memory()) })
    }

    /// A sink for each query head, if the step has them.
    fn sinks(&self, step: &AttentionStep) -> Option<&[f32]> {
        // SMALL builds have no architecture with them.
        let sinks = step.sinks.filter(|_| !SMALL)?;
        // SAFETY: vectors are only read while steps run.
        Some(unsafe { self.arena.floats(sinks.region) })
    }

    /// Computes one piece of prefill's attention: a tile of the tokens of one sequence.
    pub(super) fn prefill_attention(
        &self,
        step: &AttentionStep,
        pass: Pass,
        piece: usize,
        worker: usize,
    ) {
        // SAFETY: cache and queries were written in an earlier step; pieces
        // write their own parts of the output; scratch is this worker's own.
        unsafe {
            let Some(kv) = self.kv(step, pass, 0) else {
                return;
            };
            let q = self.arena.floats(step.q.rows(0, pass.rows));
            let queries = Queries {
                q,
                tokens: pass.rows,
                start: pass.position(0),
            };
            let out =
                SharedSlice::from_raw(self.arena.pointer(step.out), pass.rows * step.out.width);
            let scratch = self.arena.floats_mut(self.plan.layout.scratch[worker]);
            let sinks = self.sinks(step);
            let attention = self.kernels.attention();
            let piece = PrefillPiece {
                piece,
                queries,
                kv,
                sinks,
                out,
                scratch,
            };
            attention.prefill(&step.shape, piece);
        }
    }

    /// Computes one piece of decode's attention: a run of the keys of one row.
    /// [`Shared::combine_attention`] joins the partial results.
    pub(super) fn decode_attention(
        &self,
        step: &AttentionStep,
        pass: Pass,
        row: usize,
        piece: usize,
        worker: usize,
    ) {
        let partials = self.partials(row);
        // SAFETY: as for prefill, with the row's partials in the place of the output.
        unsafe {
            let Some(kv) = self.kv(step, pass, row) else {
                return;
            };
            let q = self.arena.row(step.q, row);
            let partials =
                SharedSlice::from_raw(self.arena.pointer_at(partials), partials.bytes / 4);
            let scratch = self.arena.floats_mut(self.plan.layout.scratch[worker]);
            let position = pass.position(row);
            let attention = self.kernels.attention();
            let piece = DecodePiece {
                piece,
                q,
                position,
                kv,
                partials,
                scratch,
            };
            attention.decode(&step.shape, piece);
        }
    }

    /// Joins the partial results of a row.
    pub(super) fn combine_attention(&self, step: &AttentionStep, pass: Pass, row: usize) {
        // SAFETY: the partials were written in an earlier step, and this thread
        // alone works on `row`.
        let (partials, sinks, out) = unsafe {
            (
                self.arena.floats(self.partials(row)),
                self.sinks(step),
                self.arena.row_mut(step.out, row),
            )
        };
        let attention = self.kernels.attention();
        attention.combine(&step.shape, pass.position(row), partials, sinks, out);
    }

    /// The place of a row's partial results.
    fn partials(&self, row: usize) -> Region {
        let all = self.plan.layout.partials;
        let bytes = all.bytes / self.plan.decode_rows;
        Region {
            offset: all.offset + row * bytes,
            bytes,
        }
    }
}
