//! The value behind a handle, which one call at a time may use.

use crate::call::Failure;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// A value that one call at a time may use.
pub struct Slot<T> {
    claimed: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through `claim` alone, by one call at a time, and may
// move between threads.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    pub fn new(value: T) -> Slot<T> {
        Slot {
            claimed: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Access to the value until the claim is dropped.
    ///
    /// # Errors
    /// [`Failure::Busy`] while another call has a claim, or after a call with one panicked.
    pub fn claim(&self) -> Result<Claim<'_, T>, Failure> {
        match self.claimed.swap(true, Ordering::Acquire) {
            true => Err(Failure::Busy),
            false => Ok(Claim(self)),
        }
    }

    /// The value of a handle that is freed; `None` after a panic in a call.
    #[cfg(feature = "std")]
    pub fn into_whole(self) -> Option<T> {
        let is_whole = !self.claimed.into_inner();
        is_whole.then(|| self.value.into_inner())
    }
}

/// The right to use a slot's value.
pub struct Claim<'s, T>(&'s Slot<T>);

impl<T> Claim<'_, T> {
    /// The address of the value.
    #[cfg(feature = "std")]
    pub fn place(&self) -> *mut T {
        self.0.value.get()
    }
}

impl<T> Deref for Claim<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: there is one claim at a time.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Claim<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: there is one claim at a time.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Claim<'_, T> {
    /// After a panic the slot stays claimed, since the value may be half changed.
    fn drop(&mut self) {
        #[cfg(feature = "std")]
        if std::thread::panicking() {
            return;
        }
        self.0.claimed.store(false, Ordering::Release);
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn one_claim_at_a_time() {
        let slot = Slot::new(1);
        let claim = slot.claim().unwrap();
        assert!(matches!(slot.claim(), Err(Failure::Busy)));
        drop(claim);
        *slot.claim().unwrap() = 2;
        assert_eq!(slot.into_whole(), Some(2));
    }

    #[test]
    fn a_panic_leaves_it_claimed() {
        let slot = Slot::new(());
        let panics = std::panic::AssertUnwindSafe(|| {
            let _claim = slot.claim().unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(matches!(slot.claim(), Err(Failure::Busy)));
        assert_eq!(slot.into_whole(), None);
    }
}
