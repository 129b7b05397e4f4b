//! Rows of logits. They belong to whoever runs a pass, which lends them to the engine's
//! arena, so that nobody's logits are overwritten by another's pass.

use super::{Arena, Region};
use crate::Result;

/// Rows of logits of one vocabulary.
pub struct Logits {
    block: Arena,
    vocabulary: usize,
}

impl Logits {
    /// Bytes of so many rows; saturates, so that the allocator can refuse it.
    pub fn bytes(rows: usize, vocabulary: usize) -> usize {
        vocabulary.saturating_mul(4).saturating_mul(rows)
    }

    /// So many rows of zeros.
    pub fn new(rows: usize, vocabulary: usize) -> Result<Logits> {
        Ok(Logits {
            block: Arena::new(Logits::bytes(rows, vocabulary))?,
            vocabulary,
        })
    }

    /// What a pass writes to.
    pub fn block(&mut self) -> &Arena {
        &self.block
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        // SAFETY: a pass that writes has these rows for itself.
        unsafe { self.block.floats(self.region(row)) }
    }

    /// One row, to write.
    #[cfg(feature = "std")]
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        // SAFETY: nobody else has these rows.
        unsafe { self.block.floats_mut(self.region(row)) }
    }

    fn region(&self, row: usize) -> Region {
        let bytes = self.vocabulary * 4;
        Region {
            offset: row * bytes,
            bytes,
        }
    }
}
