//! Eight rows of weights in memory, as a file has them or interleaved.

use super::Lanes;
use crate::kernels::Matrix;

/// Rows that are worked on at once: one for each lane.
pub(in crate::kernels) const LANES: usize = ondol_models::quant::packed::GROUP;

/// Where the fields of eight rows' blocks come from. Offsets are in bytes from
/// the start of a row.
///
/// # Safety
/// Loads take an offset that, together with the bytes they read, must lie
/// within a row.
pub(in crate::kernels) trait Rows<L: Lanes>: Copy {
    /// Asks ahead for what comes after the `bytes` at this offset. A walk over
    /// a row in steps of `bytes` thus asks for each cache line once.
    fn prefetch(self, offset: usize, bytes: usize);
    /// 16 bytes of each row: lane `r` of vector `j` holds bytes `4j..4j + 4` of row `r`.
    unsafe fn load16(self, offset: usize) -> [L::I; 4];
    /// A 32-bit number of each row.
    unsafe fn load_u32(self, offset: usize) -> L::I;
    /// An f16 of each row, widened.
    unsafe fn load_f16(self, offset: usize) -> L::V;
    /// A byte of each row, as an unsigned 32-bit number.
    unsafe fn load_u8(self, offset: usize) -> L::I;

    /// 32 bytes of each row, as [`Self::load16`] has them.
    #[inline(always)]
    unsafe fn load32(self, offset: usize) -> [L::I; 8] {
        // SAFETY: the caller's 32 bytes lie within each row.
        let (a, b) = unsafe { (self.load16(offset), self.load16(offset + 16)) };
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
    }
}

/// Eight rows one after another, `stride` bytes each.
#[derive(Clone, Copy)]
pub(super) struct PlainRows<L> {
    lanes: L,
    base: *const u8,
    stride: usize,
}

impl<L: Lanes> PlainRows<L> {
    /// Rows `first..first + 8` of the matrix. Where it has fewer, they are
    /// copied to `bounce` (room for eight rows), and the last one is repeated.
    pub(super) fn of(lanes: L, w: &Matrix, first: usize, bounce: &mut [u8]) -> PlainRows<L> {
        let stride = w.row_bytes();
        let count = LANES.min(w.rows() - first);
        if count == LANES {
            let base = w.row_data(first, LANES).as_ptr();
            return PlainRows {
                lanes,
                base,
                stride,
            };
        }
        for lane in 0..LANES {
            let row = w.row_data(first + lane.min(count - 1), 1);
            bounce[lane * stride..(lane + 1) * stride].copy_from_slice(row);
        }
        let base = bounce[..LANES * stride].as_ptr();
        PlainRows {
            lanes,
            base,
            stride,
        }
    }

    #[inline(always)]
    fn at(self, lane: usize, offset: usize) -> *const u8 {
        self.base.wrapping_add(lane * self.stride + offset)
    }

    /// `read` of each row's address.
    #[inline(always)]
    fn each<T>(self, offset: usize, read: impl Fn(*const u8) -> T) -> [T; LANES] {
        core::array::from_fn(|lane| read(self.at(lane, offset)))
    }
}

impl<L: Lanes> Rows<L> for PlainRows<L> {
    #[inline(always)]
    fn prefetch(self, offset: usize, bytes: usize) {
        // The next eight rows' bytes at this offset, where a line begins there.
        if offset % 64 < bytes {
            for lane in 0..LANES {
                self.lanes.prefetch(self.at(LANES + lane, offset));
            }
        }
    }

    #[inline(always)]
    unsafe fn load16(self, offset: usize) -> [L::I; 4] {
        // SAFETY: the caller's 16 bytes lie within each row, and `of` saw to it
        // that all eight rows are there.
        unsafe {
            self.lanes
                .load_transposed(self.base.wrapping_add(offset), self.stride)
        }
    }

    #[inline(always)]
    unsafe fn load_u32(self, offset: usize) -> L::I {
        // SAFETY: the caller's 4 bytes lie within each row.
        let words = self.each(offset, |at| unsafe { at.cast::<u32>().read_unaligned() });
        self.lanes.lanes_u32(words.map(u32::from_le))
    }

    #[inline(always)]
    unsafe fn load_f16(self, offset: usize) -> L::V {
        // SAFETY: the caller's 2 bytes lie within each row.
        let halves = self.each(offset, |at| unsafe { at.cast::<u16>().read_unaligned() });
        self.lanes.lanes_f16(halves.map(u16::from_le))
    }

    #[inline(always)]
    unsafe fn load_u8(self, offset: usize) -> L::I {
        // SAFETY: the caller's byte lies within each row.
        let bytes = self.each(offset, |at| u32::from(unsafe { *at }));
        self.lanes.lanes_u32(bytes)
    }
}

/// Eight interleaved rows: what begins at byte `at` of a row lies at `8 * at`.
#[derive(Clone, Copy)]
pub(super) struct PackedRows<L> {
    lanes: L,
    base: *const u8,
}

/// How far ahead packed rows are asked for, in bytes.
const AHEAD: usize = 2048;

impl<L: Lanes> PackedRows<L> {
    /// The group of rows that begins with `first`, which is below
    /// [`Matrix::packed_rows`] and a multiple of eight.
    pub(super) fn of(lanes: L, w: &Matrix, first: usize) -> PackedRows<L> {
        let base = w.row_data(first, LANES).as_ptr();
        PackedRows { lanes, base }
    }

    #[inline(always)]
    fn at(self, offset: usize) -> *const u8 {
        self.base.wrapping_add(LANES * offset)
    }
}

impl<L: Lanes> Rows<L> for PackedRows<L> {
    #[inline(always)]
    fn prefetch(self, offset: usize, bytes: usize) {
        for line in (0..LANES * bytes).step_by(64) {
            let ahead = self.at(offset).wrapping_add(AHEAD + line);
            self.lanes.prefetch(ahead);
        }
    }

    #[inline(always)]
    unsafe fn load16(self, offset: usize) -> [L::I; 4] {
        // SAFETY: the caller's bytes lie within each row, so that eight times
        // as many lie within the group.
        core::array::from_fn(|j| unsafe { self.lanes.load_lanes(self.at(offset + 4 * j)) })
    }

    #[inline(always)]
    unsafe fn load_u32(self, offset: usize) -> L::I {
        // SAFETY: as in `load16`.
        unsafe { self.lanes.load_lanes(self.at(offset)) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, offset: usize) -> L::V {
        // SAFETY: as in `load16`.
        unsafe { self.lanes.load_f16s(self.at(offset)) }
    }

    #[inline(always)]
    unsafe fn load_u8(self, offset: usize) -> L::I {
        // SAFETY: as in `load16`.
        let bytes = unsafe { self.at(offset).cast::<[u8; LANES]>().read() };
        self.lanes.lanes_u32(bytes.map(u32::from))
    }
}
