//! Keys and values of a sequence's positions.

use super::KvType;
use super::push;
use crate::memory::Arena;
use crate::memory::Region;
use core::ops::Range;
use ondol_kernels::SMALL;
use ondol_kernels::attention::{Cell, KvCells, KvSlot};
use ondol_kernels::vector::VectorOps;

/// The place of one attention's keys and values: each is `[kv_head][place][head_dim]`,
/// in cells of a [`KvType`]. Position `p` has the place `p % capacity`, so that only
/// the last `capacity` positions are present.
#[derive(Debug, Clone, Copy)]
pub struct Kv {
    kv_heads: usize,
    head_dim: usize,
    kv_type: KvType,
    /// The number of positions that fit.
    pub capacity: usize,
    keys: Region,
    values: Region,
}

impl Kv {
    /// Appends a slot for `capacity` positions to a memory of `total` bytes.
    pub fn new(
        kv_heads: usize,
        head_dim: usize,
        kv_type: KvType,
        capacity: usize,
        total: &mut usize,
    ) -> Kv {
        let numbers = kv_heads.saturating_mul(capacity).saturating_mul(head_dim);
        let bytes = kv_type.bytes(numbers);
        Kv {
            kv_heads,
            head_dim,
            kv_type,
            capacity,
            keys: push(total, bytes),
            values: push(total, bytes),
        }
    }

    /// The view that attention kernels read.
    ///
    /// # Safety
    /// No thread may write keys or values while the view is used.
    pub unsafe fn view<'m>(&self, memory: &'m Arena) -> KvSlot<'m> {
        // SAFETY: passed on to the caller.
        unsafe {
            match self.kv_type {
                KvType::Q8_0 => KvSlot::Q8_0(self.cells(memory)),
                KvType::F32 if !SMALL => KvSlot::F32(self.cells(memory)),
                KvType::F16 | KvType::F32 => KvSlot::F16(self.cells(memory)),
            }
        }
    }

    /// [`Kv::view`], in cells of its type.
    ///
    /// # Safety
    /// As for [`Kv::view`].
    unsafe fn cells<'m, C: Cell>(&self, memory: &'m Arena) -> KvCells<'m, C> {
        // SAFETY: passed on to the caller.
        unsafe {
            KvCells {
                k: memory.cells(self.keys),
                v: memory.cells(self.values),
                capacity: self.capacity,
            }
        }
    }

    /// Stores the keys and values of a position, each `[kv_head][head_dim]`.
    ///
    /// # Safety
    /// No other thread may write this position, or read it.
    pub unsafe fn store(
        &self,
        memory: &Arena,
        vector: &dyn VectorOps,
        position: usize,
        k: &[f32],
        v: &[f32],
    ) {
        let place = position % self.capacity;
        for (region, row) in [(self.keys, k), (self.values, v)] {
            for (head, x) in row.chunks_exact(self.head_dim).enumerate() {
                let cells = self.part(region, head, place..place + 1);
                // SAFETY: passed on to the caller.
                unsafe {
                    match self.kv_type {
                        KvType::Q8_0 => vector.f32_to_q8_0(x, memory.cells_mut(cells)),
                        KvType::F32 if !SMALL => memory.cells_mut(cells).copy_from_slice(x),
                        KvType::F16 | KvType::F32 => vector.f32_to_f16(x, memory.cells_mut(cells)),
                    }
                }
            }
        }
    }

    /// The bytes of a range of places of one head.
    fn part(&self, region: Region, head: usize, places: Range<usize>) -> Region {
        let place_bytes = self.kv_type.bytes(self.head_dim);
        Region {
            offset: region.offset + (head * self.capacity + places.start) * place_bytes,
            bytes: places.len() * place_bytes,
        }
    }

    /// The parts of the memory that hold a range of positions that does not wrap: keys
    /// head by head, then values.
    fn run_parts(self, positions: Range<usize>) -> impl Iterator<Item = Region> {
        let start = positions.start % self.capacity.max(1);
        let places = start..start + positions.len();
        [self.keys, self.values]
            .into_iter()
            .flat_map(move |region| {
                let places = places.clone();
                (0..self.kv_heads).map(move |head| self.part(region, head, places.clone()))
            })
    }

    /// Splits positions where they wrap, here or in `other`.
    fn contiguous(
        &self,
        other: &Kv,
        positions: Range<usize>,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let (a, b) = (self.capacity.max(1), other.capacity.max(1));
        let mut start = positions.start;
        core::iter::from_fn(move || {
            let len = (a - start % a).min(b - start % b);
            let run = start..positions.end.min(start + len);
            start = run.end;
            (!run.is_empty()).then_some(run)
        })
    }

    /// Copies a range of positions to `other`, which has the same heads in another
    /// capacity or another memory.
    pub fn copy_to(&self, memory: &Arena, other: &Kv, to: &Arena, positions: Range<usize>) {
        for run in self.contiguous(other, positions) {
            for (from, target) in self
                .run_parts(run.clone())
                .zip(other.run_parts(run.clone()))
            {
                // SAFETY: no pass runs, and the two do not overlap.
                unsafe { to.bytes_mut(target).copy_from_slice(memory.bytes(from)) };
            }
        }
    }

    /// The parts of the memory that hold a range of positions: for each run that does
    /// not wrap, keys head by head, then values.
    #[cfg(feature = "std")]
    pub fn parts(self, positions: Range<usize>) -> impl Iterator<Item = Region> {
        let contiguous = self.contiguous(&self, positions);
        contiguous.flat_map(move |run| self.run_parts(run))
    }

    /// Releases to the system the pages of all positions from `used` on, of a slot that
    /// never wrapped.
    pub fn discard_from(&self, memory: &Arena, used: usize) {
        for region in [self.keys, self.values] {
            for head in 0..self.kv_heads {
                let unused = self.part(region, head, used.min(self.capacity)..self.capacity);
                // SAFETY: no step runs, and a position is written before it is read.
                unsafe { memory.discard(unused) };
            }
        }
    }
}
