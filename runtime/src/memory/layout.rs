//! The places of all values in one arena, assigned before anything is allocated.

use alloc::vec::Vec;

/// Every region starts at a multiple of a cache line.
pub const ALIGN: usize = 64;

/// A range of bytes in an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Region {
    /// Distance from the start of the arena in bytes.
    pub offset: usize,
    /// Length in bytes.
    pub bytes: usize,
}

/// The place of a value: row `t` starts at byte `offset + t * width * 4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Distance from the start of the arena in bytes.
    pub offset: usize,
    /// Floats in each row.
    pub width: usize,
}

impl Buffer {
    /// The region of `count` rows from row `first` on.
    pub fn rows(self, first: usize, count: usize) -> Region {
        let row = self.width * 4;
        Region {
            offset: self.offset + first * row,
            bytes: count * row,
        }
    }
}

/// The exact memory of a session, its engine and its model, in bytes.
///
/// ```
/// use ondol::{Error, Model, SessionOptions};
///
/// let model = Model::hello()?;
/// let needed = model.memory(&SessionOptions::default())?.total;
/// let options = SessionOptions {
///     memory_limit: Some(needed - 1),
///     ..SessionOptions::default()
/// };
/// assert!(matches!(model.session(&options), Err(Error::DoesNotFit { .. })));
/// # Ok::<(), ondol::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes of the model file that are mapped, not allocated: clean pages, which the
    /// system can drop.
    pub weights_mapped: u64,
    /// The cache of one session: keys and values, other states, and checkpoints.
    pub kv_cache: u64,
    /// Values that pass from step to step, and prepared activations.
    pub activations: u64,
    /// Rows of logits.
    pub logits: u64,
    /// Bounds and lists of a screened output head.
    pub screen: u64,
    /// Scratch of the threads (unpacked weights), and partial results of attention.
    pub scratch: u64,
    /// Norm weights and biases as f32.
    pub vectors: u64,
    /// The list of steps, and the ids of the tokens in the context.
    pub steps: u64,
    /// Buffers that the engine shares with a delegate's device.
    pub delegate: u64,
    /// The model itself: its vocabulary, graph and chat template, and its file if that
    /// is not mapped. All sessions of a model share it.
    pub model: u64,
    /// Everything except `weights_mapped`. Not included: the stacks of the threads, of
    /// which each uses some kilobytes, and the program.
    pub total: u64,
    /// Each further session of the same engine: its cache, logits and token ids.
    pub further_session: u64,
}

/// The regions of an arena.
#[derive(Debug, Clone, Default)]
pub struct ArenaLayout {
    /// Norm weights and biases.
    pub vectors: Region,
    /// Values of the body that pass from step to step, and the rope table.
    pub values: Region,
    /// Prepared activations of the current matmul step.
    pub acts: Region,
    /// Values of the head, except the logits.
    pub head: Region,
    /// Bounds and lists of a screened output head.
    pub screen: Region,
    /// Partial results of attention for every row of a decode pass, shared by all
    /// threads.
    pub partials: Region,
    /// Scratch, one region for each thread.
    pub scratch: Vec<Region>,
    /// Size of the arena in bytes.
    pub total: usize,
}

impl ArenaLayout {
    /// Appends a region of `bytes` bytes. The total saturates: an excessive one is
    /// refused later.
    pub fn push(&mut self, bytes: usize) -> Region {
        let region = Region {
            offset: self.total,
            bytes,
        };
        self.total = self.total.saturating_add(round_up(bytes));
        region
    }

    /// The arena's part of the sizes that [`crate::Model::memory`] reports.
    pub fn memory(&self) -> Memory {
        let padded = |r: &Region| round_up(r.bytes) as u64;
        let values = [&self.values, &self.acts, &self.head];
        Memory {
            activations: values.into_iter().map(padded).sum(),
            screen: padded(&self.screen),
            scratch: padded(&self.partials) + self.scratch.iter().map(padded).sum::<u64>(),
            vectors: padded(&self.vectors),
            ..Memory::default()
        }
    }
}

/// The next multiple of [`ALIGN`]; saturates.
pub fn round_up(bytes: usize) -> usize {
    bytes.saturating_add(ALIGN - 1) & !(ALIGN - 1)
}
