//! Checks once, before a plan runs, that every buffer lies within its block of memory.
//! Builds without `std` leave this out. Views of the arena rely on this check and do not
//! repeat it.

use super::{Plan, Region, RowOp, Step};
use crate::memory::Buffer;
use crate::memory::LENT;
use crate::plan::PlanOptions;
use alloc::vec;
use alloc::vec::Vec;

/// The buffers that a row operation reads or writes.
pub fn buffers_of_row(op: &RowOp) -> Vec<Buffer> {
    match *op {
        RowOp::RopeTable { out } | RowOp::Embed { out, .. } => vec![out],
        RowOp::Function { a, b, out, .. } => [a, out].into_iter().chain(b).collect(),
        RowOp::Rope {
            input, out, table, ..
        } => vec![input, out, table],
        RowOp::StoreKv(ref store) => vec![store.k, store.v],
        RowOp::Prepare { input, .. } => vec![input],
        RowOp::Take { input, out, .. } => vec![input, out],
        RowOp::Route { scores, out, .. } => vec![scores, out],
        RowOp::Join { a, b, out, .. } => vec![a, b, out],
        RowOp::RouteToAll { out } => vec![out],
        RowOp::Weigh { routes, out, .. } => vec![routes, out],
        RowOp::Mix { input, routes, out } => vec![input, routes, out],
    }
}

impl Plan {
    /// Checks that every buffer of the plan lies in the arena or in the block of logits
    /// that is lent to it.
    ///
    /// # Panics
    /// If one does not: a defect of the planner.
    pub fn check(&self, sizes: &PlanOptions) {
        for (steps, rows) in [(&self.body, sizes.chunk), (&self.head, sizes.logit_rows)] {
            for buffer in steps.iter().flat_map(|step| self.buffers_of(step)) {
                self.check_region(buffer.rows(0, rows), rows);
            }
        }
        for &(from, to) in &self.head_inputs {
            self.check_region(from.rows(0, sizes.chunk), 0);
            self.check_region(to.rows(0, sizes.logit_rows), 0);
        }
        let layout = &self.layout;
        let regions = [layout.vectors, layout.acts, layout.screen, layout.partials];
        let vectors = self.vectors.iter().map(|(_, vector)| vector.region);
        let all = regions.into_iter().chain(vectors);
        all.chain(layout.scratch.iter().copied())
            .for_each(|region| self.check_region(region, 0));
    }

    fn buffers_of(&self, step: &Step) -> Vec<Buffer> {
        match step {
            Step::Rows(ops) => ops.iter().flat_map(buffers_of_row).collect(),
            Step::MatMul(index) => {
                let parts = self.matmuls[*index].parts.iter();
                parts.map(|part| part.out).collect()
            }
            Step::Experts(step) => {
                let parts = self.matmuls[step.matmul].parts.iter();
                let outs = parts.map(|part| part.out);
                outs.chain([step.routes]).collect()
            }
            Step::Attention(step) => vec![step.q, step.out],
            Step::Conv(step) => vec![step.input, step.out],
            Step::LinearAttention(step) => {
                let [q, k, v] = step.qkv;
                vec![q, k, v, step.decay, step.beta, step.out]
            }
        }
    }

    /// `rows` is the number of rows of the lent block of logits; 0 if the region may
    /// not lie in it.
    fn check_region(&self, region: Region, rows: usize) {
        let (offset, bytes) = match region.offset.checked_sub(LENT) {
            Some(offset) => (offset, rows * self.logits.width * 4),
            None => (region.offset, self.layout.total),
        };
        let end = offset.checked_add(region.bytes);
        assert!(
            end.is_some_and(|end| end <= bytes),
            "{region:?} is outside the {bytes} bytes of its block"
        );
    }
}
