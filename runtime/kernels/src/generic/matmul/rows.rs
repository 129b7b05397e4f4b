//! Rows of weights in memory, one for each lane: as a file has them, or
//! interleaved.

use crate::generic::array::from_fn;
use crate::generic::matrix::Matrix;
use crate::generic::prefetch::{prefetch_far, prefetch_next_run};
use crate::generic::simd::{Integers, MAX_LANES};
use core::ops::Range;
use ondol_models::quant::packed::GROUP;

/// How far ahead packed rows are prefetched, in bytes.
const AHEAD: usize = 8192;

/// Cuts rows into runs, as many at once as there are lanes: all of a run lie
/// one after another, or all are interleaved. The first may begin up to seven
/// rows early, and the last may end late.
pub(super) fn runs<L: Integers>(
    w: &Matrix,
    rows: &Range<usize>,
) -> impl Iterator<Item = Range<usize>> + use<L> {
    let (packed, all) = (w.packed_rows(), w.rows());
    let (mut next, end) = (rows.start / GROUP * GROUP, rows.end);
    core::iter::from_fn(move || {
        let first = next;
        let kind_ends = if first < packed { packed } else { all };
        next = kind_ends.min(first + L::COUNT);
        (first < end).then_some(first..next)
    })
}

/// The lanes of a run that belong to `rows`.
pub(super) fn lanes_of(run: &Range<usize>, rows: &Range<usize>) -> Range<usize> {
    run.start.max(rows.start) - run.start..run.end.min(rows.end) - run.start
}

/// Where the fields of a run's blocks come from: rows one after another, or groups of
/// eight interleaved ones, in which what begins at byte `at` of a row lies at `8 * at`.
///
/// # Safety
/// Loads take an offset, in bytes from the start of a row, that together with the bytes
/// they read must lie within a row.
#[derive(Clone, Copy)]
pub(crate) struct Rows<L, const PACKED: bool> {
    lanes: L,
    base: *const u8,
    /// Bytes from one row to the next, or from one group.
    stride: usize,
}

impl<L: Integers> Rows<L, false> {
    /// A run of rows. Where they are fewer than the lanes, they are copied to
    /// `staging` (room for as many rows as lanes), and the last one is repeated.
    pub(super) fn plain(lanes: L, w: &Matrix, rows: &Range<usize>, staging: &mut [u8]) -> Self {
        let stride = w.row_bytes();
        if rows.len() == L::COUNT {
            let base = w.row_data(rows.start, L::COUNT).as_ptr();
            return Rows {
                lanes,
                base,
                stride,
            };
        }
        for lane in 0..L::COUNT {
            let row = w.row_data((rows.start + lane).min(rows.end - 1), 1);
            staging[lane * stride..(lane + 1) * stride].copy_from_slice(row);
        }
        Rows::staged(lanes, staging, stride)
    }

    /// Rows of `stride` bytes in `staging`, as many as lanes.
    pub(crate) fn staged(lanes: L, staging: &[u8], stride: usize) -> Self {
        Rows {
            lanes,
            base: staging[..L::COUNT * stride].as_ptr(),
            stride,
        }
    }
}

impl<L: Integers> Rows<L, true> {
    /// A run of interleaved rows, whole groups. Where they are fewer than the lanes, the
    /// last group serves twice.
    pub(super) fn packed(lanes: L, w: &Matrix, rows: &Range<usize>) -> Self {
        let base = w.row_data(rows.start, rows.len()).as_ptr();
        let stride = match rows.len() > GROUP {
            true => GROUP * w.row_bytes(),
            false => 0,
        };
        Rows {
            lanes,
            base,
            stride,
        }
    }
}

impl<L: Integers, const PACKED: bool> Rows<L, PACKED> {
    /// The address of a field of packed rows, or of the first of plain ones.
    #[inline(always)]
    fn at(self, offset: usize) -> *const u8 {
        let scale = if PACKED { GROUP } else { 1 };
        self.base.wrapping_add(scale * offset)
    }

    /// `read` of the address of each row's field, of `size` bytes.
    #[inline(always)]
    fn each<T: Copy + Default>(
        self,
        offset: usize,
        size: usize,
        read: impl Fn(*const u8) -> T,
    ) -> [T; MAX_LANES] {
        let mut all = [T::default(); MAX_LANES];
        for (lane, one) in all[..L::COUNT].iter_mut().enumerate() {
            let row = match PACKED {
                true => lane / GROUP * self.stride + lane % GROUP * size,
                false => lane * self.stride,
            };
            *one = read(self.at(offset).wrapping_add(row));
        }
        all
    }

    /// Prefetches what comes after the `bytes` at this offset. A walk over a row in steps
    /// of `bytes` thus prefetches each cache line once.
    #[inline(always)]
    pub fn prefetch(self, offset: usize, bytes: usize) {
        if !PACKED {
            return prefetch_next_run(self.base, L::COUNT, self.stride, offset, bytes);
        }
        for group in 0..L::COUNT / GROUP {
            let ahead = self.at(offset).wrapping_add(group * self.stride + AHEAD);
            prefetch_far(ahead, GROUP * bytes);
        }
    }

    /// 16 bytes of each row: lane `r` of vector `j` holds bytes `4j..4j + 4` of row `r`.
    #[inline(always)]
    pub unsafe fn load16(self, offset: usize) -> [L::I; 4] {
        if !PACKED {
            // SAFETY: the caller's 16 bytes lie within each row, and there is a row for
            // every lane.
            return unsafe { self.lanes.load_transposed(self.at(offset), self.stride) };
        }
        // SAFETY: the caller's bytes lie within each row, so that eight times
        // as many lie within each group.
        from_fn(
            #[inline(always)]
            |j| unsafe { self.lanes.load_lanes(self.at(offset + 4 * j), self.stride) },
        )
    }

    /// 32 bytes of each row, as [`Self::load16`] has them.
    #[inline(always)]
    pub unsafe fn load32(self, offset: usize) -> [L::I; 8] {
        // SAFETY: the caller's 32 bytes lie within each row.
        let (a, b) = unsafe { (self.load16(offset), self.load16(offset + 16)) };
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
    }

    /// What [`Self::load32`] has `loaded` there, for a second use. Packed rows are read
    /// again, which costs less than keeping the vectors meanwhile.
    #[inline(always)]
    pub unsafe fn load32_again(self, offset: usize, loaded: [L::I; 8]) -> [L::I; 8] {
        if !PACKED {
            return loaded;
        }
        let base = self.lanes.unknown(self.base);
        // SAFETY: as in `load16`; the address is the same.
        unsafe { Rows { base, ..self }.load32(offset) }
    }

    /// A 32-bit number of each row.
    #[inline(always)]
    pub unsafe fn load_u32(self, offset: usize) -> L::I {
        if PACKED {
            // SAFETY: as in `load16`.
            return unsafe { self.lanes.load_lanes(self.at(offset), self.stride) };
        }
        // SAFETY: the caller's 4 bytes lie within each row.
        let read = |at: *const u8| u32::from_le(unsafe { at.cast::<u32>().read_unaligned() });
        self.lanes.lanes_u32(&self.each(offset, 4, read))
    }

    /// An f16 of each row, widened.
    #[inline(always)]
    pub unsafe fn load_f16(self, offset: usize) -> L::V {
        if PACKED {
            // SAFETY: as in `load16`.
            return unsafe { self.lanes.load_f16s(self.at(offset), self.stride) };
        }
        // SAFETY: the caller's 2 bytes lie within each row.
        let read = |at: *const u8| u16::from_le(unsafe { at.cast::<u16>().read_unaligned() });
        self.lanes.lanes_f16(&self.each(offset, 2, read))
    }

    /// A byte of each row, as an unsigned 32-bit number.
    #[inline(always)]
    pub unsafe fn load_u8(self, offset: usize) -> L::I {
        // SAFETY: the caller's byte lies within each row.
        let read = |at: *const u8| u32::from(unsafe { *at });
        self.lanes.lanes_u32(&self.each(offset, 1, read))
    }
}
