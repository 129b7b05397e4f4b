//! Eight rows of weights in memory, and the loads that transpose them.

use super::super::super::Matrix;
use core::arch::x86_64::*;

/// Rows that are worked on at once: one for each 32-bit lane.
pub(super) const LANES: usize = 8;

/// Eight rows, `stride` bytes apart.
///
/// # Safety
/// Loads take an offset that, together with the bytes they read, must lie
/// within a row. [`Rows::of`] sees to it that all eight rows are there.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    base: *const u8,
    stride: usize,
}

impl Rows {
    /// Rows `first..first + 8` of the matrix. Where it has fewer, they are
    /// copied to `bounce` (room for eight rows), and the last one is repeated.
    pub(super) fn of(w: &Matrix, first: usize, bounce: &mut [u8]) -> Rows {
        let stride = w.row_bytes();
        let count = LANES.min(w.rows() - first);
        if count == LANES {
            return Rows {
                base: w.row_data(first, LANES).as_ptr(),
                stride,
            };
        }
        for lane in 0..LANES {
            let row = w.row_data(first + lane.min(count - 1), 1);
            bounce[lane * stride..(lane + 1) * stride].copy_from_slice(row);
        }
        Rows {
            base: bounce[..LANES * stride].as_ptr(),
            stride,
        }
    }

    #[inline(always)]
    fn at(&self, lane: usize, offset: usize) -> *const u8 {
        self.base.wrapping_add(lane * self.stride + offset)
    }

    /// Asks for the next eight rows' bytes at this offset, if a cache line
    /// begins among the `bytes` there. A walk over a row in steps of `bytes`
    /// thus asks for each line once, one group of rows ahead.
    #[inline(always)]
    pub(super) unsafe fn prefetch(&self, offset: usize, bytes: usize) {
        if offset % 64 < bytes {
            for lane in 0..LANES {
                let ahead = self.at(LANES + lane, offset);
                // SAFETY: a prefetch reads nothing, wherever it points.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
            }
        }
    }

    /// 16 bytes of each row: lane `r` of vector `j` holds bytes `4j..4j + 4` of row `r`.
    #[inline(always)]
    pub(super) unsafe fn load16(&self, offset: usize) -> [__m256i; 4] {
        // SAFETY: the caller's 16 bytes lie within each row; see the module
        // for features.
        unsafe {
            // Rows i and i + 4 side by side, then a 4 x 4 transpose in each half.
            let (y0, y1) = (self.load_pair(0, offset), self.load_pair(1, offset));
            let (y2, y3) = (self.load_pair(2, offset), self.load_pair(3, offset));
            let (a0, a1) = (_mm256_unpacklo_epi32(y0, y1), _mm256_unpackhi_epi32(y0, y1));
            let (a2, a3) = (_mm256_unpacklo_epi32(y2, y3), _mm256_unpackhi_epi32(y2, y3));
            [
                _mm256_unpacklo_epi64(a0, a2),
                _mm256_unpackhi_epi64(a0, a2),
                _mm256_unpacklo_epi64(a1, a3),
                _mm256_unpackhi_epi64(a1, a3),
            ]
        }
    }

    /// 16 bytes of row `lane`, and of the row four below.
    #[inline(always)]
    unsafe fn load_pair(&self, lane: usize, offset: usize) -> __m256i {
        let (low, high) = (self.at(lane, offset), self.at(lane + 4, offset));
        // SAFETY: the caller's 16 bytes lie within each row.
        unsafe { _mm256_loadu2_m128i(high.cast(), low.cast()) }
    }

    /// 32 bytes of each row, as [`Self::load16`] has them.
    #[inline(always)]
    pub(super) unsafe fn load32(&self, offset: usize) -> [__m256i; 8] {
        // SAFETY: the caller's 32 bytes lie within each row.
        let (a, b) = unsafe { (self.load16(offset), self.load16(offset + 16)) };
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
    }

    /// A 32-bit number of each row.
    #[inline(always)]
    pub(super) unsafe fn load_u32(&self, offset: usize) -> __m256i {
        // SAFETY: the caller's 4 bytes lie within each row.
        unsafe {
            let n = |lane: usize| self.at(lane, offset).cast::<i32>().read_unaligned();
            _mm256_setr_epi32(n(0), n(1), n(2), n(3), n(4), n(5), n(6), n(7))
        }
    }

    /// An f16 of each row, widened.
    #[inline(always)]
    pub(super) unsafe fn load_f16(&self, offset: usize) -> __m256 {
        // SAFETY: the caller's 2 bytes lie within each row.
        unsafe {
            let h = |lane: usize| self.at(lane, offset).cast::<i16>().read_unaligned();
            _mm256_cvtph_ps(_mm_setr_epi16(
                h(0),
                h(1),
                h(2),
                h(3),
                h(4),
                h(5),
                h(6),
                h(7),
            ))
        }
    }

    /// A byte of each row, as an unsigned 32-bit number.
    #[inline(always)]
    pub(super) unsafe fn load_u8(&self, offset: usize) -> __m256i {
        // SAFETY: the caller's byte lies within each row.
        unsafe {
            let b = |lane: usize| i32::from(*self.at(lane, offset));
            _mm256_setr_epi32(b(0), b(1), b(2), b(3), b(4), b(5), b(6), b(7))
        }
    }
}
