//! Blocks of memory that are allocated once: an engine's, and those of its sequences.

use super::pages;
use super::{Buffer, Region};
use crate::kernels::attention::Cell;
use crate::{Error, Result};
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;

/// Cache lines, and the widest vector loads.
const ALIGN: usize = 64;

/// The alignment that the allocator is asked for. Allocators of systems give large
/// zeroed blocks as fresh pages, which take no memory until they are touched; asked
/// for more than their own alignment they write the zeros themselves. So the start is
/// aligned here. A firmware's allocator has no pages, and less memory to spare.
const ASKED: usize = if cfg!(feature = "std") { 8 } else { ALIGN };

/// Offsets from here on are in the block that was lent to an arena: logits, which
/// belong to whoever runs a pass.
pub const LENT: usize = 1 << (usize::BITS - 2);

/// Zeroed, aligned bytes that the steps of a plan share.
///
/// Threads write disjoint parts of it at the same time, so the views below are
/// unsafe: the planner is what keeps them apart.
pub struct Arena {
    /// A multiple of [`ALIGN`].
    start: NonNull<u8>,
    bytes: usize,
    /// Start and size of the block at [`LENT`].
    lent: (NonNull<u8>, usize),
    /// What was allocated, and how.
    block: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an arena is plain memory that it owns; the views' contract keeps
// threads from racing on it.
unsafe impl Send for Arena {}
// SAFETY: as above; `&Arena` alone gives no access but through the unsafe views.
unsafe impl Sync for Arena {}

impl Arena {
    /// Allocates `bytes`, or says that they can't be had.
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

    /// Offsets from [`LENT`] on are in `block` from now on.
    ///
    /// # Safety
    /// `block` outlives the views of such offsets, and nobody else uses it meanwhile.
    pub unsafe fn lend(&mut self, block: &Arena) {
        self.lent = (block.start, block.bytes);
    }

    /// Where a byte of the arena lies.
    fn at(&self, offset: usize, bytes: usize) -> *mut u8 {
        let (start, offset, size) = match offset.checked_sub(LENT) {
            Some(offset) => (self.lent.0, offset, self.lent.1),
            None => (self.start, offset, self.bytes),
        };
        debug_assert!(offset + bytes <= size);
        // SAFETY: the planner's offsets lie in the blocks.
        unsafe { start.as_ptr().add(offset) }
    }

    /// Gives the whole pages of a region back to the system. They come back, with
    /// the bytes that they had or zeros, when they are used.
    ///
    /// # Safety
    /// Nobody else may use the region meanwhile.
    pub unsafe fn discard(&self, region: Region) {
        let Some(start) = NonNull::new(self.at(region.offset, region.bytes)) else {
            return;
        };
        // SAFETY: the region lies in the arena, and whoever uses a discarded
        // region writes it before it is read.
        unsafe { pages::discard(start, region.bytes) }
    }

    /// The first float of a buffer, for kernels that write columns of it from several threads.
    pub fn pointer(&self, buffer: Buffer) -> *mut f32 {
        self.at(buffer.offset, 0).cast()
    }

    /// The first float of a region, likewise.
    pub fn pointer_at(&self, region: Region) -> *mut f32 {
        self.at(region.offset, region.bytes).cast()
    }

    /// The bytes of a region, to read.
    ///
    /// # Safety
    /// Nobody may write an overlapping range while the slice lives.
    pub unsafe fn bytes(&self, region: Region) -> &[u8] {
        // SAFETY: the region lies in the arena; nobody writes it, by the caller.
        unsafe { core::slice::from_raw_parts(self.at(region.offset, region.bytes), region.bytes) }
    }

    /// The bytes of a region, to write.
    ///
    /// # Safety
    /// Nobody else may use an overlapping range while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes_mut(&self, region: Region) -> &mut [u8] {
        // SAFETY: the region lies in the arena; the caller keeps it exclusive.
        unsafe {
            core::slice::from_raw_parts_mut(self.at(region.offset, region.bytes), region.bytes)
        }
    }

    /// The floats of a region, to read.
    ///
    /// # Safety
    /// As for [`Arena::bytes`].
    pub unsafe fn floats(&self, region: Region) -> &[f32] {
        // SAFETY: every region starts at a multiple of 4, and any bits are a float.
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
        // SAFETY: every region starts at a multiple of 4, and any bits are a float.
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
        // SAFETY: every region starts at a multiple of 4, and any bits are a word.
        unsafe {
            core::slice::from_raw_parts_mut(
                self.at(region.offset, region.bytes).cast(),
                region.bytes / 4,
            )
        }
    }

    /// The cells of a region of the cache, to read.
    ///
    /// # Safety
    /// As for [`Arena::bytes`].
    pub unsafe fn cells<C: Cell>(&self, region: Region) -> &[C] {
        // SAFETY: every region starts at a multiple of 2, and any bits are a cell.
        unsafe {
            core::slice::from_raw_parts(
                self.at(region.offset, region.bytes).cast(),
                region.bytes / size_of::<C>(),
            )
        }
    }

    /// The cells of a region of the cache, to write.
    ///
    /// # Safety
    /// As for [`Arena::bytes_mut`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn cells_mut<C: Cell>(&self, region: Region) -> &mut [C] {
        // SAFETY: every region starts at a multiple of 2, and any bits are a cell.
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
        // SAFETY: the planner gave the buffer that many rows; the rest by the caller.
        unsafe { self.floats(buffer.rows(row, 1)) }
    }

    /// One row of a buffer, to write.
    ///
    /// # Safety
    /// As for [`Arena::bytes_mut`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn row_mut(&self, buffer: Buffer, row: usize) -> &mut [f32] {
        // SAFETY: the planner gave the buffer that many rows; the rest by the caller.
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
