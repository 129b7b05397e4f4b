//! Assigns offsets to buffers according to their lifetimes.

use crate::memory::round_up;
use alloc::vec::Vec;

/// Places buffers so that those alive at the same time do not overlap.
///
/// First fit by offset. Lifetimes are measured in items of the schedule: a buffer lives
/// from the first item of the step that writes it to the last item that reads it, both
/// included. It does not start at the writing item, because rows of a fused step
/// progress independently: another row may still read a buffer that this row no longer
/// needs.
#[derive(Default)]
pub struct Placer {
    /// Sorted by offset.
    live: Vec<Live>,
    end: usize,
}

struct Live {
    offset: usize,
    bytes: usize,
    last_use: usize,
}

impl Placer {
    /// Returns the offset of a buffer of `bytes` that lives from item `first` to item
    /// `last_use`. `first` must not decrease from call to call.
    pub fn place(&mut self, bytes: usize, first: usize, last_use: usize) -> usize {
        self.live.retain(|l| l.last_use >= first);
        let bytes = round_up(bytes.max(1));
        let mut offset = 0usize;
        for live in &self.live {
            if offset.saturating_add(bytes) <= live.offset {
                break;
            }
            offset = offset.max(live.offset.saturating_add(live.bytes));
        }
        let place = self.live.partition_point(|l| l.offset <= offset);
        let live = Live {
            offset,
            bytes,
            last_use,
        };
        self.live.insert(place, live);
        self.end = self.end.max(offset.saturating_add(bytes));
        offset
    }

    /// Extends the life of the buffer at `offset` to `last_use`, because a later value
    /// is stored there in place.
    pub fn extend(&mut self, offset: usize, last_use: usize) {
        for live in self.live.iter_mut().filter(|l| l.offset == offset) {
            live.last_use = live.last_use.max(last_use);
        }
    }

    /// Bytes that all placed buffers need.
    pub fn bytes(&self) -> usize {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_alive_together_do_not_overlap() {
        let mut placer = Placer::default();
        let a = placer.place(100, 0, 2);
        let b = placer.place(100, 1, 5);
        let c = placer.place(64, 3, 4); // a is free again
        assert_eq!((a, b, c), (0, 128, 0));
        placer.extend(b, 9);
        let d = placer.place(200, 6, 7); // c is free, b is not, and 200 do not fit before b
        assert_eq!(d, 256);
        assert_eq!(placer.bytes(), 512);
    }
}
