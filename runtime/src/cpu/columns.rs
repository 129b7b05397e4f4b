//! Convolutions and recurrences: operations whose rows depend on each other. Columns
//! are independent, so threads share the columns, and the rows of a sequence are
//! computed in order.

use super::executor::Shared;
use super::pass::Pass;
use crate::cache::Cache;
use crate::memory::{Buffer, Region};
use crate::plan::{ColumnOp, ColumnStep};
use core::ops::Range;

/// Columns that one thread computes at a time: several cache lines of a row.
const COLUMNS: usize = 64;

/// The number of pieces of a step over `width` columns.
pub fn pieces(width: usize) -> usize {
    width.div_ceil(COLUMNS)
}

impl Shared<'_> {
    /// Computes one piece of a step: some columns, for the rows of every sequence.
    pub(super) fn columns(&self, step: &ColumnStep, pass: Pass, piece: usize) {
        let start = piece * COLUMNS;
        let columns = start..step.out.width.min(start + COLUMNS);
        for (cache, rows) in pass.sequences() {
            match step.op {
                ColumnOp::Conv { weight, taps } => {
                    // SAFETY: vectors are only read.
                    let weight = unsafe { self.arena.floats(weight.region) };
                    let weight = &weight[columns.start * taps..columns.end * taps];
                    self.conv(step, cache, rows, &columns, weight);
                }
                ColumnOp::Scan { decay } => self.scan(step, cache, rows, &columns, decay),
            }
        }
    }

    /// `weight` holds the taps of each of these columns: `[column][tap]`.
    fn conv(
        &self,
        step: &ColumnStep,
        cache: &Cache,
        rows: Range<usize>,
        columns: &Range<usize>,
        weight: &[f32],
    ) {
        let Some(state) = self.plan.cache.slots[step.slot].floats() else {
            return;
        };
        let taps = weight.len() / columns.len();
        let kept = taps - 1;
        let width = step.out.width;
        let (old, new) = (state.live[cache.front()], state.live[1 - cache.front()]);
        // SAFETY: this thread alone uses these columns of the output and of the new
        // state. The old state and the input are only read.
        unsafe {
            // Row `t` of the kept inputs followed by the inputs of the pass.
            let input = |t: usize| match t.checked_sub(kept) {
                None => self.state_columns(cache, old, t * width, columns),
                Some(row) => self.columns_of(step.input, rows.start + row, columns),
            };
            for (t, row) in rows.clone().enumerate() {
                let out = self.columns_mut(step.out, row, columns);
                out.fill(0.0);
                for tap in 0..taps {
                    let x = input(t + tap);
                    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight.chunks_exact(taps)) {
                        *out += weight[tap] * x;
                    }
                }
            }
            for t in 0..kept {
                self.state_columns_mut(cache, new, t * width, columns)
                    .copy_from_slice(input(rows.len() + t));
            }
        }
    }

    fn scan(
        &self,
        step: &ColumnStep,
        cache: &Cache,
        rows: Range<usize>,
        columns: &Range<usize>,
        decay: Buffer,
    ) {
        let Some(state) = self.plan.cache.slots[step.slot].floats() else {
            return;
        };
        let (old, new) = (state.live[cache.front()], state.live[1 - cache.front()]);
        // SAFETY: as for a convolution.
        unsafe {
            let mut last = self.state_columns(cache, old, 0, columns);
            for row in rows {
                let out = self.columns_mut(step.out, row, columns);
                let decay = self.columns_of(decay, row, columns);
                let input = self.columns_of(step.input, row, columns);
                for (((out, last), decay), input) in out.iter_mut().zip(last).zip(decay).zip(input)
                {
                    *out = decay * last + input;
                }
                last = out;
            }
            self.state_columns_mut(cache, new, 0, columns)
                .copy_from_slice(last);
        }
    }

    /// Some columns of a row of a buffer.
    ///
    /// # Safety
    /// No other thread writes these columns while they are borrowed.
    unsafe fn columns_of(&self, buffer: Buffer, row: usize, columns: &Range<usize>) -> &[f32] {
        // SAFETY: passed on to the caller.
        unsafe { &self.arena.row(buffer, row)[columns.clone()] }
    }

    /// Some columns of a row of a buffer, to write.
    ///
    /// # Safety
    /// No other thread uses these columns while they are borrowed.
    #[allow(clippy::mut_from_ref)]
    unsafe fn columns_mut(&self, buffer: Buffer, row: usize, columns: &Range<usize>) -> &mut [f32] {
        // SAFETY: passed on to the caller; only the columns are borrowed.
        unsafe { self.arena.floats_mut(part(buffer.rows(row, 1), 0, columns)) }
    }

    /// Some columns of a row of a state. The row begins at float `first` of the region.
    ///
    /// # Safety
    /// As for [`Shared::columns_of`].
    unsafe fn state_columns<'c>(
        &self,
        cache: &'c Cache,
        state: Region,
        first: usize,
        columns: &Range<usize>,
    ) -> &'c [f32] {
        // SAFETY: passed on to the caller.
        unsafe { cache.memory().floats(part(state, first, columns)) }
    }

    /// Some columns of a row of a state, to write.
    ///
    /// # Safety
    /// As for [`Shared::columns_mut`].
    #[allow(clippy::mut_from_ref)]
    unsafe fn state_columns_mut<'c>(
        &self,
        cache: &'c Cache,
        state: Region,
        first: usize,
        columns: &Range<usize>,
    ) -> &'c mut [f32] {
        // SAFETY: passed on to the caller.
        unsafe { cache.memory().floats_mut(part(state, first, columns)) }
    }
}

/// The region of some columns of a row that begins at float `first` of `region`.
fn part(region: Region, first: usize, columns: &Range<usize>) -> Region {
    Region {
        offset: region.offset + (first + columns.start) * 4,
        bytes: columns.len() * 4,
    }
}
