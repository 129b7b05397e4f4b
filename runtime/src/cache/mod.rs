//! The states of one sequence, kept from pass to pass.
//!
//! Each operation of a graph says what [`State`] it has. [`CacheLayout`] gives each
//! state a [`Slot`] of one of four kinds, and a [`Cache`] is the memory of one
//! sequence:
//!
//! - *full*: keys and values of all positions;
//! - *ring*: keys and values of the last positions, for attention with a window;
//! - *conv*: the last inputs of a convolution;
//! - *recurrent*: numbers that every token changes.
//!
//! A full slot can be rewound to any position. The others can't, so they keep a
//! checkpoint: the state at the end of the last prompt. Conversations often go back to
//! it, because templates leave out the reasoning of earlier answers.

mod floats;
mod kv;
mod kv_type;
#[cfg(feature = "std")]
pub mod snapshot;
#[cfg(test)]
mod tests;

pub use floats::Floats;
pub use kv::Kv;
pub use kv_type::KvType;
#[cfg(feature = "std")]
pub use snapshot::SnapshotError;

use crate::Result;
use crate::memory::Arena;
use crate::memory::Region;
use alloc::vec::Vec;
use ondol_kernels::SMALL;
use ondol_kernels::attention::TILE_KEYS;
use ondol_models::graph::{Graph, State};
use ondol_models::heap;

/// How many positions before a checkpoint a ring can still be rewound to. The next
/// prompt often differs from the last one in its final tokens, which begin the answer.
const SLACK: usize = 32;

/// The place of one operation's state in a cache.
#[derive(Debug, Clone, Copy)]
pub enum Slot {
    /// Keys and values of all positions.
    Full(Kv),
    /// Keys and values of the last positions.
    Ring {
        /// Positions that a query sees, its own included.
        window: usize,
        /// The slot that passes read and write.
        live: Kv,
        /// The checkpoint.
        saved: Kv,
    },
    /// The last inputs of a convolution.
    Conv(Floats),
    /// Numbers that every token changes.
    Recurrent(Floats),
}

impl Slot {
    /// The keys and values that passes read and write; `None` for other states.
    pub fn kv(&self) -> Option<&Kv> {
        match self {
            Slot::Full(kv) | Slot::Ring { live: kv, .. } => Some(kv),
            Slot::Conv(_) | Slot::Recurrent(_) => None,
        }
    }

    /// The numbers that passes read and write; `None` for keys and values.
    pub fn floats(&self) -> Option<&Floats> {
        match self {
            Slot::Conv(floats) | Slot::Recurrent(floats) => Some(floats),
            Slot::Full(_) | Slot::Ring { .. } => None,
        }
    }

    /// The first position whose keys must be present for a sequence that continues at
    /// `end`. It is the start of a tile: masked keys of that tile must not change
    /// either, because some kernels round the keys of a tile together.
    fn needed(&self, end: usize) -> usize {
        match self {
            Slot::Ring { window, .. } => {
                let first = end.saturating_sub(window - 1);
                first - first % TILE_KEYS
            }
            _ => 0,
        }
    }
}

/// The layout of a sequence's states in its memory.
#[derive(Debug, Clone, Default)]
pub struct CacheLayout {
    /// In the order of the graph's states.
    pub slots: Vec<Slot>,
    /// Size of the memory in bytes.
    pub bytes: usize,
    /// The context.
    context: usize,
}

impl CacheLayout {
    /// Slots for `context` tokens and passes of at most `chunk` rows.
    pub fn new(graph: &Graph, kv_type: KvType, context: usize, chunk: usize) -> CacheLayout {
        let mut layout = CacheLayout {
            slots: Vec::new(),
            bytes: 0,
            context,
        };
        for state in graph.states() {
            let slot = layout.slot(state, kv_type, chunk);
            layout.slots.push(slot);
        }
        layout
    }

    fn slot(&mut self, state: State, kv_type: KvType, chunk: usize) -> Slot {
        match state {
            State::KeysValues {
                kv_heads,
                head_dim,
                window,
            } => {
                let mut kv =
                    |capacity| Kv::new(kv_heads, head_dim, kv_type, capacity, &mut self.bytes);
                // All rows of a pass are stored before its first row reads a whole
                // window.
                let sees = |window: usize| window.saturating_add(chunk + TILE_KEYS - 1);
                let whole_tiles =
                    |positions: usize| positions.div_ceil(TILE_KEYS).saturating_mul(TILE_KEYS);
                match window.map(|window| (window, whole_tiles(sees(window)))) {
                    Some((window, capacity)) if !SMALL && capacity < self.context => Slot::Ring {
                        window,
                        live: kv(capacity),
                        saved: kv(whole_tiles(window + TILE_KEYS + SLACK)),
                    },
                    _ => Slot::Full(kv(self.context)),
                }
            }
            State::Conv { rows, width } => {
                Slot::Conv(Floats::new(rows.saturating_mul(width), &mut self.bytes))
            }
            State::Recurrent { floats } => Slot::Recurrent(Floats::new(floats, &mut self.bytes)),
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        heap::bytes(&self.slots)
    }

    /// Bytes of the lists of each cache.
    pub fn list_bytes(&self) -> usize {
        2 * self.list_len() * size_of::<usize>()
    }

    /// Length of each list of a cache: one element for each slot. Only rings use the
    /// lists, and small builds have no rings.
    fn list_len(&self) -> usize {
        if SMALL { 0 } else { self.slots.len() }
    }
}

/// The states of one sequence.
pub struct Cache {
    memory: Arena,
    /// Number of tokens whose states are in the cache.
    end: usize,
    /// For each slot: the first position that a ring still holds.
    first: Vec<usize>,
    /// Which of the two copies of [`Floats`] is the state at `end`.
    front: usize,
    checkpoint: Option<usize>,
    /// `first` at the checkpoint.
    saved_first: Vec<usize>,
}

impl Cache {
    /// The state of an empty sequence.
    pub fn new(layout: &CacheLayout) -> Result<Cache> {
        let slots = layout.list_len();
        Ok(Cache {
            memory: Arena::new(layout.bytes)?,
            end: 0,
            first: heap::filled(0, slots)?,
            front: 0,
            checkpoint: None,
            saved_first: heap::filled(0, slots)?,
        })
    }

    /// The memory in which the slots' regions are.
    pub fn memory(&self) -> &Arena {
        &self.memory
    }

    /// Number of tokens whose states are in the cache.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Which copy of [`Floats`] a pass reads; it writes the other.
    pub fn front(&self) -> usize {
        self.front
    }

    /// Prepares for a pass of `rows` rows. If the pass fails, the sequence is
    /// unchanged, but may be rewound less far.
    pub fn begin(&mut self, layout: &CacheLayout, rows: usize) {
        if SMALL {
            return;
        }
        for (slot, first) in layout.slots.iter().zip(&mut self.first) {
            if let Slot::Ring { live, .. } = slot {
                *first = (*first).max((self.end + rows).saturating_sub(live.capacity));
            }
        }
    }

    /// Keeps the first `rows` rows of the pass that was run.
    pub fn advance(&mut self, rows: usize) {
        self.end += rows;
        self.front = 1 - self.front;
    }

    /// Keeps one further row of the last pass.
    pub fn accept(&mut self) {
        self.end += 1;
    }

    /// Whether all slots can continue at `end`, if rings hold positions from `first`
    /// on, and other states are those at `at`.
    fn is_there(layout: &CacheLayout, first: &[usize], at: usize, end: usize) -> bool {
        let mut slots = layout.slots.iter().zip(first);
        slots.all(|(slot, &first)| match slot {
            Slot::Full(_) => true,
            Slot::Ring { .. } => first <= slot.needed(end),
            Slot::Conv(_) | Slot::Recurrent(_) => at == end,
        })
    }

    /// Rewinds to `end` tokens, or to the largest number below it that the states
    /// allow. Returns how many are left.
    pub fn rewind(&mut self, layout: &CacheLayout, end: usize) -> usize {
        let end = end.min(self.end);
        if SMALL || Self::is_there(layout, &self.first, self.end, end) {
            self.end = end;
        } else {
            match self.checkpoint {
                Some(at) if Self::is_there(layout, &self.saved_first, at, at.min(end)) => {
                    self.return_to_checkpoint(layout);
                    self.end = at.min(end);
                }
                _ => self.clear(layout),
            }
        }
        // Positions beyond `end` are not part of the sequence any more.
        self.checkpoint = self.checkpoint.map(|at| at.min(self.end));
        self.end
    }

    /// Drops all tokens.
    fn clear(&mut self, layout: &CacheLayout) {
        self.end = 0;
        self.checkpoint = None;
        self.first.fill(0);
        for floats in layout.slots.iter().filter_map(Slot::floats) {
            floats.clear(&self.memory, self.front);
        }
    }

    /// Makes the present state the checkpoint.
    pub fn set_checkpoint(&mut self, layout: &CacheLayout) {
        if SMALL {
            return;
        }
        for (i, slot) in layout.slots.iter().enumerate() {
            match slot {
                Slot::Full(_) => {}
                Slot::Ring { live, saved, .. } => {
                    let first = self.end.saturating_sub(saved.capacity).max(self.first[i]);
                    self.saved_first[i] = first;
                    live.copy_to(&self.memory, saved, &self.memory, first..self.end);
                }
                Slot::Conv(floats) | Slot::Recurrent(floats) => {
                    floats.save(&self.memory, self.front);
                }
            }
        }
        self.checkpoint = Some(self.end);
    }

    fn return_to_checkpoint(&mut self, layout: &CacheLayout) {
        let Some(end) = self.checkpoint else { return };
        for (i, slot) in layout.slots.iter().enumerate() {
            match slot {
                Slot::Full(_) => {}
                Slot::Ring { live, saved, .. } => {
                    self.first[i] = self.saved_first[i];
                    saved.copy_to(&self.memory, live, &self.memory, self.first[i]..end);
                }
                Slot::Conv(floats) | Slot::Recurrent(floats) => {
                    floats.restore(&self.memory, self.front);
                }
            }
        }
        self.end = end;
    }

    /// A cache with the same states. Its checkpoint is the present state.
    #[cfg(feature = "std")]
    pub fn fork(&self, layout: &CacheLayout) -> Result<Cache> {
        let mut fork = Cache::new(layout)?;
        for (i, slot) in layout.slots.iter().enumerate() {
            match slot {
                Slot::Full(kv) | Slot::Ring { live: kv, .. } => {
                    let positions = self.first[i]..self.end;
                    kv.copy_to(&self.memory, kv, &fork.memory, positions);
                }
                Slot::Conv(floats) | Slot::Recurrent(floats) => {
                    floats.copy_to(&self.memory, self.front, &fork.memory);
                }
            }
        }
        fork.first.copy_from_slice(&self.first);
        fork.end = self.end;
        fork.set_checkpoint(layout);
        Ok(fork)
    }

    /// Releases to the system the pages without positions below `used`. No step may run.
    pub fn discard_unused(&self, layout: &CacheLayout, used: usize) {
        for (slot, &first) in layout.slots.iter().zip(&self.first) {
            // A ring whose positions have wrapped has no unused places.
            if let Some(kv) = slot.kv().filter(|_| first == 0) {
                kv.discard_from(&self.memory, used);
            }
        }
    }
}

/// Appends a region of `bytes` to a memory of `total` bytes. The sum saturates: an
/// absurd total is refused later.
fn push(total: &mut usize, bytes: usize) -> Region {
    let region = Region {
        offset: *total,
        bytes,
    };
    *total = total.saturating_add(crate::memory::round_up(bytes));
    region
}
