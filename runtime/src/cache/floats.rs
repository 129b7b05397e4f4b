//! States in floats: the last inputs of a convolution, and recurrent states.

use super::push;
use crate::memory::Arena;
use crate::memory::Region;

/// The place of one state in floats.
///
/// A pass reads one copy and writes the other, so that a pass that fails or is cancelled
/// leaves the state as it was.
#[derive(Debug, Clone, Copy)]
pub struct Floats {
    /// The two copies that passes read and write in turn.
    pub live: [Region; 2],
    /// The checkpoint.
    saved: Region,
}

impl Floats {
    /// Appends a state of `floats` floats to a memory of `total` bytes.
    pub fn new(floats: usize, total: &mut usize) -> Floats {
        let bytes = floats.saturating_mul(4);
        Floats {
            live: [push(total, bytes), push(total, bytes)],
            saved: push(total, bytes),
        }
    }

    /// Sets the state before the first token.
    pub fn clear(&self, memory: &Arena, front: usize) {
        // SAFETY: no pass runs.
        unsafe { memory.floats_mut(self.live[front]) }.fill(0.0);
    }

    pub fn save(&self, memory: &Arena, front: usize) {
        copy(memory, self.live[front], memory, self.saved);
    }

    pub fn restore(&self, memory: &Arena, front: usize) {
        copy(memory, self.saved, memory, self.live[front]);
    }

    /// Copies the state into the first copy of another memory of the same layout.
    #[cfg(feature = "std")]
    pub fn copy_to(&self, memory: &Arena, front: usize, other: &Arena) {
        copy(memory, self.live[front], other, self.live[0]);
    }
}

fn copy(from: &Arena, source: Region, to: &Arena, target: Region) {
    // SAFETY: no pass runs, and the regions are not the same.
    unsafe { to.bytes_mut(target).copy_from_slice(from.bytes(source)) };
}
