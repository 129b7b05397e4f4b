//! Rows of logits. They belong to the session or batch that runs a pass, which lends
//! them to the engine's arena. So no pass overwrites the logits of another.

use super::{Arena, Region};
use crate::Result;

/// Rows of logits of one vocabulary.
pub struct Logits {
    block: Arena,
    vocabulary: usize,
}

impl Logits {
    /// Bytes of `rows` rows. Saturates, so that the allocator refuses an excessive
    /// number.
    pub fn bytes(rows: usize, vocabulary: usize) -> usize {
        vocabulary.saturating_mul(4).saturating_mul(rows)
    }

    /// Allocates `rows` rows of `vocabulary` zeros.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn new(rows: usize, vocabulary: usize) -> Result<Logits> {
        Ok(Logits {
            block: Arena::new(Logits::bytes(rows, vocabulary))?,
            vocabulary,
        })
    }

    /// The block to lend to an arena; a pass writes its logits there.
    pub fn block(&mut self) -> &Arena {
        &self.block
    }

    /// One row: `vocabulary` floats.
    pub fn row(&self, row: usize) -> &[f32] {
        // SAFETY: callers ask for rows that were allocated, and a pass that writes them
        // borrows them exclusively.
        unsafe { self.block.floats(self.region(row)) }
    }

    /// One row, to write.
    #[cfg(feature = "std")]
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        // SAFETY: `self` is borrowed exclusively.
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
