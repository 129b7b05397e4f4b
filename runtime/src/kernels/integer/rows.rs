//! Rows of weights in memory, one for each lane: as a file has them, or
//! interleaved.

use super::Lanes;
use super::lanes::MAX_LANES;
use crate::kernels::Matrix;
use crate::kernels::array::from_fn;
use crate::kernels::prefetch::{prefetch_far, prefetch_next_run};
use core::ops::Range;
use ondol_models::quant::packed::GROUP;

/// Where the fields of the rows' blocks come from. Offsets are in bytes from
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

    /// What [`Self::load32`] has `loaded` there, for a second use: read again
    /// where that costs less than to keep it meanwhile.
    #[inline(always)]
    unsafe fn load32_again(self, _offset: usize, loaded: [L::I; 8]) -> [L::I; 8] {
        loaded
    }
}

/// Cuts rows into runs, as many at once as there are lanes: all of a run lie
/// one after another, or all are interleaved. The first may begin up to seven
/// rows early, and the last may end late.
pub(super) fn runs<L: Lanes>(
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

/// Rows one after another, `stride` bytes each.
#[derive(Clone, Copy)]
pub(super) struct PlainRows<L> {
    lanes: L,
    base: *const u8,
    stride: usize,
}

impl<L: Lanes> PlainRows<L> {
    /// A run of rows. Where they are fewer than the lanes, they are copied to
    /// `bounce` (room for as many rows as lanes), and the last one is repeated.
    pub(super) fn of(lanes: L, w: &Matrix, rows: &Range<usize>, bounce: &mut [u8]) -> PlainRows<L> {
        let stride = w.row_bytes();
        if rows.len() == L::COUNT {
            let base = w.row_data(rows.start, L::COUNT).as_ptr();
            return PlainRows {
                lanes,
                base,
                stride,
            };
        }
        for lane in 0..L::COUNT {
            let row = w.row_data((rows.start + lane).min(rows.end - 1), 1);
            bounce[lane * stride..(lane + 1) * stride].copy_from_slice(row);
        }
        PlainRows::in_bounce(lanes, bounce, stride)
    }

    /// Rows of `stride` bytes in `bounce`, as many as lanes.
    pub(super) fn in_bounce(lanes: L, bounce: &[u8], stride: usize) -> PlainRows<L> {
        PlainRows {
            lanes,
            base: bounce[..L::COUNT * stride].as_ptr(),
            stride,
        }
    }

    #[inline(always)]
    fn at(self, lane: usize, offset: usize) -> *const u8 {
        self.base.wrapping_add(lane * self.stride + offset)
    }

    /// `read` of each row's address.
    #[inline(always)]
    fn each<T: Copy + Default>(
        self,
        offset: usize,
        read: impl Fn(*const u8) -> T,
    ) -> [T; MAX_LANES] {
        let mut all = [T::default(); MAX_LANES];
        for (lane, one) in all[..L::COUNT].iter_mut().enumerate() {
            *one = read(self.at(lane, offset));
        }
        all
    }
}

impl<L: Lanes> Rows<L> for PlainRows<L> {
    #[inline(always)]
    fn prefetch(self, offset: usize, bytes: usize) {
        prefetch_next_run(self.base, L::COUNT, self.stride, offset, bytes);
    }

    #[inline(always)]
    unsafe fn load16(self, offset: usize) -> [L::I; 4] {
        // SAFETY: the caller's 16 bytes lie within each row, and `of` saw to it
        // that there is a row for every lane.
        unsafe {
            self.lanes
                .load_transposed(self.base.wrapping_add(offset), self.stride)
        }
    }

    #[inline(always)]
    unsafe fn load_u32(self, offset: usize) -> L::I {
        // SAFETY: the caller's 4 bytes lie within each row.
        let read = |at: *const u8| u32::from_le(unsafe { at.cast::<u32>().read_unaligned() });
        self.lanes.lanes_u32(&self.each(offset, read))
    }

    #[inline(always)]
    unsafe fn load_f16(self, offset: usize) -> L::V {
        // SAFETY: the caller's 2 bytes lie within each row.
        let read = |at: *const u8| u16::from_le(unsafe { at.cast::<u16>().read_unaligned() });
        self.lanes.lanes_f16(&self.each(offset, read))
    }

    #[inline(always)]
    unsafe fn load_u8(self, offset: usize) -> L::I {
        // SAFETY: the caller's byte lies within each row.
        let read = |at: *const u8| u32::from(unsafe { *at });
        self.lanes.lanes_u32(&self.each(offset, read))
    }
}

/// Groups of eight interleaved rows, `group` bytes apart: what begins at byte
/// `at` of a row lies at `8 * at` of its group.
#[derive(Clone, Copy)]
pub(super) struct PackedRows<L> {
    lanes: L,
    base: *const u8,
    group: usize,
}

/// How far ahead packed rows are asked for, in bytes.
const AHEAD: usize = 8192;

impl<L: Lanes> PackedRows<L> {
    /// A run of rows, whole groups. Where they are fewer than the lanes, the
    /// last group serves twice.
    pub(super) fn of(lanes: L, w: &Matrix, rows: &Range<usize>) -> PackedRows<L> {
        let base = w.row_data(rows.start, rows.len()).as_ptr();
        let group = if rows.len() > GROUP {
            GROUP * w.row_bytes()
        } else {
            0
        };
        PackedRows { lanes, base, group }
    }

    #[inline(always)]
    fn at(self, offset: usize) -> *const u8 {
        self.base.wrapping_add(GROUP * offset)
    }
}

impl<L: Lanes> Rows<L> for PackedRows<L> {
    #[inline(always)]
    fn prefetch(self, offset: usize, bytes: usize) {
        for group in 0..L::COUNT / GROUP {
            let ahead = self.at(offset).wrapping_add(group * self.group + AHEAD);
            prefetch_far(ahead, GROUP * bytes);
        }
    }

    #[inline(always)]
    unsafe fn load16(self, offset: usize) -> [L::I; 4] {
        // SAFETY: the caller's bytes lie within each row, so that eight times
        // as many lie within each group.
        from_fn(
            #[inline(always)]
            |j| unsafe { self.lanes.load_lanes(self.at(offset + 4 * j), self.group) },
        )
    }

    #[inline(always)]
    unsafe fn load32_again(self, offset: usize, _: [L::I; 8]) -> [L::I; 8] {
        let base = self.lanes.unknown(self.base);
        // SAFETY: as in `load16`; the address is the same.
        unsafe { PackedRows { base, ..self }.load32(offset) }
    }

    #[inline(always)]
    unsafe fn load_u32(self, offset: usize) -> L::I {
        // SAFETY: as in `load16`.
        unsafe { self.lanes.load_lanes(self.at(offset), self.group) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, offset: usize) -> L::V {
        // SAFETY: as in `load16`.
        unsafe { self.lanes.load_f16s(self.at(offset), self.group) }
    }

    #[inline(always)]
    unsafe fn load_u8(self, offset: usize) -> L::I {
        let mut bytes = [0; MAX_LANES];
        for (lane, byte) in bytes[..L::COUNT].iter_mut().enumerate() {
            let at = self.at(offset).wrapping_add(lane / GROUP * self.group);
            // SAFETY: as in `load16`.
            *byte = u32::from(unsafe { *at.wrapping_add(lane % GROUP) });
        }
        self.lanes.lanes_u32(&bytes)
    }
}
