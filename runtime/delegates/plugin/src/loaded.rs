//! What a plug-in loads once in a process.

use crate::failure::Result;
use std::sync::{Mutex, PoisonError};

/// A vendor's software, loaded at most once and never unloaded: it starts threads.
pub struct Loaded<T: 'static>(Mutex<Option<&'static T>>);

impl<T> Loaded<T> {
    /// Nothing is loaded yet.
    pub const fn new() -> Loaded<T> {
        Loaded(Mutex::new(None))
    }

    /// Loads it. Later calls return the same; after a failure the next call tries again.
    ///
    /// # Errors
    /// The failure of `load`.
    pub fn load(&self, load: impl FnOnce() -> Result<T>) -> Result<&'static T> {
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *loaded {
            Some(loaded) => Ok(loaded),
            None => Ok(loaded.insert(Box::leak(Box::new(load()?)))),
        }
    }

    /// What was loaded; `None` before that.
    pub fn get(&self) -> Option<&'static T> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Loaded<T> {
    fn default() -> Loaded<T> {
        Loaded::new()
    }
}
