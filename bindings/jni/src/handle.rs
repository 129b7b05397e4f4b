//! Values that the JVM owns: each is boxed, and the address of the box is the handle.
//!
//! `Handle.kt` counts the calls that use a handle. `close()` during a call of another
//! thread returns at once, and the value is freed after the last such call; a call after
//! `close()` never gets here. Several calls may use a value at the same time, so values
//! are shared, and change only under their own locks.

use jni::sys::jlong;
use std::marker::PhantomData;

/// The handle of a `T`.
#[repr(transparent)]
pub struct Handle<T>(jlong, PhantomData<T>);

impl<T: Send + Sync> Handle<T> {
    /// A handle for the JVM.
    pub fn new(value: T) -> Handle<T> {
        Handle(Box::into_raw(Box::new(value)) as jlong, PhantomData)
    }

    /// The value.
    pub fn get(&self) -> &T {
        // SAFETY: `Handle.kt` passes only what `new` made for the same type, and not
        // after it was freed, nor before the end of this call.
        unsafe { &*(self.0 as *const T) }
    }

    /// Frees the value.
    pub fn free(self) {
        // SAFETY: as in `get`; `Handle.kt` frees once, when no call uses the handle.
        drop(unsafe { Box::from_raw(self.0 as *mut T) });
    }
}

impl<T> Default for Handle<T> {
    /// The result of a method that has thrown an exception; the JVM ignores it.
    fn default() -> Handle<T> {
        Handle(0, PhantomData)
    }
}
