//! Where everything lies: places in one arena, laid out before anything is allocated.

use alloc::vec::Vec;

/// Every region starts at a multiple of a cache line.
pub const ALIGN: usize = 64;

/// Bytes of the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Region {
    /// From the start of the arena.
    pub offset: usize,
    /// Length in bytes.
    pub bytes: usize,
}

/// A value's rows: row `t` starts at `offset + t * width * 4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// From the start of the arena, in bytes.
    pub offset: usize,
    /// Floats of a row.
    pub width: usize,
}

impl Buffer {
    /// `count` rows from `first` on.
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
    /// Bytes of the model file that are mapped, not allocated: clean pages that
    /// the system can drop.
    pub weights_mapped: u64,
    /// What the layers keep of a sequence: keys and values, and other states, with their
    /// checkpoints.
    pub kv_cache: u64,
    /// Values between steps, and prepared activations.
    pub activations: u64,
    /// Rows of logits.
    pub logits: u64,
    /// Bounds and lists of a screened head.
    pub screen: u64,
    /// Unpacked weights and attention partials of the threads.
    pub scratch: u64,
    /// Norm weights and biases as f32.
    pub vectors: u64,
    /// The list of steps, and the ids of the tokens in the context.
    pub steps: u64,
    /// Values on their way to a delegate's device and back.
    pub delegate: u64,
    /// What the model itself holds: its vocabulary, graph and chat template, and
    /// its file if that is not mapped. All sessions of a model share it.
    pub model: u64,
    /// Everything but `weights_mapped`. Not in it: the threads' stacks, of which
    /// some kilobytes each are used, and the program.
    pub total: u64,
    /// What a further session of the same engine takes: its own cache, logits and
    /// token ids.
    pub further_session: u64,
}

/// The arena's regions.
#[derive(Debug, Clone, Default)]
pub struct ArenaLayout {
    /// Norm weights and biases.
    pub vectors: Region,
    /// Values between steps.
    pub values: Region,
    /// Prepared activations of the current matmul step.
    pub acts: Region,
    /// The head's values but for the logits.
    pub head: Region,
    /// Bounds and lists of a screened head.
    pub screen: Region,
    /// Attention partials of every token that is decoded in one pass, shared by all threads.
    pub partials: Region,
    /// Per thread.
    pub scratch: Vec<Region>,
    /// Size of the arena in bytes.
    pub total: usize,
}

impl ArenaLayout {
    /// Appends a region of `bytes`, saturating: an absurd total is refused later.
    pub fn push(&mut self, bytes: usize) -> Region {
        let region = Region {
            offset: self.total,
            bytes,
        };
        self.total = self.total.saturating_add(round_up(bytes));
        region
    }

    /// What [`crate::Model::memory`] reports of the arena.
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

/// The next multiple of [`ALIGN`], saturating.
pub fn round_up(bytes: usize) -> usize {
    bytes.saturating_add(ALIGN - 1) & !(ALIGN - 1)
}
