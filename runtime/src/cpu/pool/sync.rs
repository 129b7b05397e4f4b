//! The synchronization primitives of the pool: those of the standard library.
//! `tests/loom` replaces this file by one that uses loom's.

pub use std::sync::{Arc, Condvar, Mutex, atomic};
pub use std::thread;

/// Whether a wait spins before it sleeps.
pub const SPINS: bool = true;

/// The standard cell with the interface of loom's, which detects concurrent access.
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
