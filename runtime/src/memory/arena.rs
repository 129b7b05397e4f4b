//! Blocks of memory that are allocated once: the arena of an engine, and the caches and
//! logits.

use super::pages;
use super::{Buffer, Region};
use crate::{Error, Result};
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;
use ondol_kernels::attention::Cell;

/// A cache line, and the widest vector load.
const ALIGN: usize = 64;

/// The alignment that is asked of the allocator. Systems' allocators serve large zeroed
/// blocks from fresh pages, which take no memory until they are touched; but if they
/// are asked for more than their own alignment, they write the zeros themselves. So the
/// arena aligns its start itself. A firmware's allocator has no pages and less memory,
/// so it is asked for the alignment.
const ASKED: usize = if cfg!(feature = "std") { 8 } else { ALIGN };

/// Offsets from here on lie in the block that was lent to an arena: the logits, which
/// belong to the caller of a pass.
pub const LENT: usize = 1 << (usize::BITS - 2);

/// A block of zeroed, aligned bytes, which the steps of a plan share.
///
/// Threads write disjoint parts of it at the same time. The planner keeps these parts
/// apart, not the compiler, so the views below are unsafe.
pub struct Arena {
    /// A multiple of [`ALIGN`].
    start: NonNull<u8>,
    bytes: usize,
    /// Start and size of the lent block.
    lent: (NonNull<u8>, usize),
    /// The allocation.
    block: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an arena is memory that it owns. The contract of the views prevents data
// races.
unsafe impl Send for Arena {}
// SAFETY: as above; `&Arena` gives access only through the unsafe views.
unsafe impl Sync for Arena {}

impl Arena {
    /// Allocates `bytes` zeroed bytes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(bytes: usize) -> Result<Arena> {
        let refused = Error::OutOfMemory {
            needed: bytes as u64,
        };
        let size = bytes.max(1).saturating_add(ALIGN - ASKED);
        let Ok(layout) = Layout::from_size_align(size, ASKED) else {
            return Err(refused);
        };
        // SAFETY: the layout's size is not zero.
        let Some(block) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            return Err(refused);
        };
        // SAFETY: a block that is aligned to ASKED has `ALIGN - ASKED` bytes to spare.
        let start = unsafe { block.add(block.align_offset(ALIGN)) };
        Ok(Arena {
            start,
            bytes,
            lent: (start, 0),
            block,
            layout,
        })
    }

    /// Lends a block to the arena: offsets from [`LENT`] on lie in it from now on.
    ///
    /// # Safety
    /// `block` outlives the views at such offsets, and nothing else uses it while they
    /// live.
    pub unsafe fn lend(&mut self, block: &Arena) {
        self.lent = (block.start, block.bytes);
    }

    /// The address of an offset, which must have `bytes` bytes in its block.
    fn at(&self, offset: usize, bytes: usize) -> *mut u8 {
        let (start, offset, size) = match offset.checked_sub(LENT) {
            Some(offset) => (self.lent.0, offset, self.lent.1),
            None => (self.start, offset, self.bytes),
        };
        debug_assert!(offset + bytes <= size);
        // SAFETY: the planner's offsets lie in the blocks.
        unsafe { start.as_ptr().add(offset) }
    }

    /// Returns the whole pages of a region to the system. When they are used again,
    /// they hold zeros or their old bytes.
    ///
    /// # Safety
    /// Nothing else uses the region during the call.
    pub unsafe fn discard(&self, region: Region) {
        let Some(start) = NonNull::new(self.at(region.offset, region.bytes)) else {
            return;
        };
        // SAFETY: the region lies in the arena, and a discarded region is written
        // before it is read.
        unsafe { pages::discard(start, region.bytes) }
    }

    /// The address of a buffer's first float, for kernels that write its columns from
    /// several threads.
    pub fn pointer(&self, buffer: Buffer) -> *mut f32 {
        self.at(buffer.offset, 0).cast()
    }

    /// The address of a region's first float, for kernels that write parts of it from
    /// several threads.
    pub fn pointer_at(&self, region: Region) -> *mut f32 {
        self.at(region.offset, region.bytes).cast()
    }

    /// The bytes of a region, to read.
    ///
    /// # Safety
    /// Nothing writes an overlapping range while the slice lives.
    pub unsafe fn bytes(&self, region: Region) -> &[u8] {
        // SAFETY: the region lies in the arena; the caller ensures that nothing writes
        // it.
        unsafe { core::slice::from_raw_parts(self.at(region.offset, region.bytes), region.bytes) }
    }

    /// The bytes of a region, to write.
    ///
    /// # Safety
    /// Nothing else uses an overlapping range while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes_mut(&self, region: Region) -> &mut [u8] {
        // SAFETY: the region lies in the arena; the caller ensures exclusive use.
        unsafe {
            core::slice::from_raw_parts_mut(self.at(region.offset, region.bytes), region.bytes)
        }
    }

    /// The floats of a region, to read.
    ///
    /// # Safety
    /// As for [`Arena::bytes`].
    pub unsafe fn floats(&self, region: Region) -> &[f32] {
        // SAFETY: every region starts at a multiple of 4, and any bits are a valid
        // float.
        unsafe {
            core::slice::from_raw_parts(
                self.at(region.offset, region.bytes).cast(),
                region.bytes / 4,
            )
        }
    }

    /// The floats of a region, to write.
    ///
    /// # Safety
    /// As for [`Arena::bytes_mut`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn floats_mut(&self, region: Region) -> &mut [f32] {
        // SAFETY: every region starts at a multiple of 4, and any bits are a valid
        // float.
        unsafe {
            core::slice::from_raw_parts_mut(
                self.at(region.offset, region.bytes).cast(),
                region.bytes / 4,
            )
        }
    }

    /// The 32-bit words of a region, to write.
    ///
    /// # Safety
    /// As for [`Arena::bytes_mut`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn words_mut(&self, region: Region) -> &mut [u32] {
        // SAFETY: every region starts at a multiple of 4, and any bits are a valid
        // word.
        unsafe {
            core::slice::from_raw_parts_mut(
                self.at(region.offset, region.bytes).cast(),
                region.bytes / 4,
            )
        }
    }

    /// The cells of a region of a KV cache, to read.
    ///
    /// # Safety
    /// As for [`Arena::bytes`].
    pub unsafe fn cells<C: Cell>(&self, region: Region) -> &[C] {
        // SAFETY: a region of cells starts at a multiple of the cell's alignment (2
        // bytes, or 4 for floats), and any bits are a valid cell.
        unsafe {
            core::slice::from_raw_parts(
                self.at(region.offset, region.bytes).cast(),
                region.bytes / size_of::<C>(),
            )
        }
    }

    /// The cells of a region of a KV cache, to write.
    ///
    /// # Safety
    /// As for [`Arena::bytes_mut`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn cells_mut<C: Cell>(&self, region: Region) -> &mut [C] {
        // SAFETY: a region of cells starts at a multiple of the cell's alignment (2
        // bytes, or 4 for floats), and any bits are a valid cell.
        unsafe {
            core::slice::from_raw_parts_mut(
                self.at(region.offset, region.bytes).cast(),
                region.bytes / size_of::<C>(),
            )
        }
    }

    /// One row of a buffer, to read.
    ///
    /// # Safety
    /// As for [`Arena::bytes`].
    pub unsafe fn row(&self, buffer: Buffer, row: usize) -> &[f32] {
        // SAFETY: the planner gave the buffer this row; the rest is the caller's
        // promise.
        unsafe { self.floats(buffer.rows(row, 1)) }
    }

    /// One row of a buffer, to write.
    ///
    /// # Safety
    /// As for [`Arena::bytes_mut`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn row_mut(&self, buffer: Buffer, row: usize) -> &mut [f32] {
        // SAFETY: the planner gave the buffer this row; the rest is the caller's
        // promise.
        unsafe { self.floats_mut(buffer.rows(row, 1)) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.block.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn memory_that_can_not_be_had_is_called_by_its_name() {
        for bytes in [isize::MAX as usize - ALIGN, usize::MAX] {
            let refused = Arena::new(bytes).err();
            let said = refused
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let needed = bytes as u64;
            assert!(matches!(refused, Some(Error::OutOfMemory { needed: n }) if n == needed));
            assert!(said.starts_with("out of memory"), "{said}");
        }
    }
}
