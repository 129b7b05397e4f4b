//! A slice that several threads write at disjoint places.

use core::marker::PhantomData;
use core::ops::Range;

/// A mutable slice whose parts are handed out to several threads.
#[derive(Debug)]
pub struct SharedSlice<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

impl<T> Clone for SharedSlice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SharedSlice<'_, T> {}

// SAFETY: it is a `&mut [T]` split by its users; each part has one user at a
// time by the contract of `part`, so sharing is sending `&mut [T]`s.
unsafe impl<T: Send> Send for SharedSlice<'_, T> {}
// SAFETY: as above; the handle itself gives no access without `part`.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    /// Borrows `slice` for as long as its parts are in use.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            borrow: PhantomData,
        }
    }

    /// `len` values from `start` on.
    ///
    /// # Safety
    /// They are valid for reads and writes for as long as the parts are in use,
    /// and nobody uses them but by way of this value and its copies.
    #[must_use]
    pub unsafe fn from_raw(start: *mut T, len: usize) -> Self {
        Self {
            start,
            len,
            borrow: PhantomData,
        }
    }

    /// The part `range`.
    ///
    /// # Panics
    /// If the range is not inside the slice.
    ///
    /// # Safety
    /// No other part that is alive overlaps this one.
    #[must_use]
    pub unsafe fn part(self, range: Range<usize>) -> &'a mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "{range:?} of {}",
            self.len
        );
        // SAFETY: the range is inside the slice, which is borrowed for 'a; the
        // caller vouches that nobody else has it.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
