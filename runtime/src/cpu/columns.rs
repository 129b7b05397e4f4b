//! Borrows some columns of a row of a buffer, for steps in which threads share the
//! columns of each row.

use super::executor::Shared;
use crate::memory::{Buffer, Region};
use core::ops::Range;

impl Shared<'_> {
    /// Some columns of a row of a buffer.
    ///
    /// # Safety
    /// No other thread writes these columns while they are borrowed.
    pub(super) unsafe fn columns_of(
        &self,
        buffer: Buffer,
        row: usize,
        columns: &Range<usize>,
    ) -> &[f32] {
        // SAFETY: passed on to the caller.
        unsafe { self.arena.floats(part(buffer.rows(row, 1), 0, columns)) }
    }

    /// Some columns of a row of a buffer, to write.
    ///
    /// # Safety
    /// No other thread uses these columns while they are borrowed.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn columns_mut(
        &self,
        buffer: Buffer,
        row: usize,
        columns: &Range<usize>,
    ) -> &mut [f32] {
        // SAFETY: passed on to the caller; only the columns are borrowed.
        unsafe { self.arena.floats_mut(part(buffer.rows(row, 1), 0, columns)) }
    }
}

/// The region of some columns of a row that begins at float `first` of `region`.
pub(super) fn part(region: Region, first: usize, columns: &Range<usize>) -> Region {
    Region {
        offset: region.offset + (first + columns.start) * 4,
        bytes: columns.len() * 4,
    }
}
