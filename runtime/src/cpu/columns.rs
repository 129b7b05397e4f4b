//! Operations whose rows depend on each other: convolutions and recurrences. Each column
//! is independent, so columns are shared out, and the rows of a sequence are run in
//! order.

use super::executor::Shared;
use super::pass::Pass;
use crate::cache::Cache;
use crate::memory::{Buffer, Region};
use crate::plan::{ColumnOp, ColumnStep};
use core::ops::Range;

/// Columns that one thread computes at a time: some cache lines.
const COLUMNS: usize = 64;

/// Pieces of a step over so many columns.
pub fn pieces(width: usize) -> usize {
    width.div_ceil(COLUMNS)
}

impl Shared<'_> {
    /// One piece of a step: the rows of each sequence, over some columns.
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

    /// `weight` has the taps of each column.
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
        // SAFETY: this thread alone works on these columns, of the output and of the new
        // state; the old one and the input are only read.
        unsafe {
            // Row `t` of the last inputs and those of the pass.
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

    /// # Safety
    /// Nobody writes these columns meanwhile.
    unsafe fn columns_of(&self, buffer: Buffer, row: usize, columns: &Range<usize>) -> &[f32] {
        // SAFETY: passed on to the caller.
        unsafe { &self.arena.row(buffer, row)[columns.clone()] }
    }

    /// # Safety
    /// Nobody else uses these columns meanwhile.
    #[allow(clippy::mut_from_ref)]
    unsafe fn columns_mut(&self, buffer: Buffer, row: usize, columns: &Range<usize>) -> &mut [f32] {
        // SAFETY: passed on to the caller; no more than the columns is borrowed.
        unsafe { self.arena.floats_mut(part(buffer.rows(row, 1), 0, columns)) }
    }

    /// Columns of a row of a state, which begins at float `first`.
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

/// Some columns of a row that begins at float `first` of a region.
fn part(region: Region, first: usize, columns: &Range<usize>) -> Region {
    Region {
        offset: region.offset + (first + columns.start) * 4,
        bytes: columns.len() * 4,
    }
}
