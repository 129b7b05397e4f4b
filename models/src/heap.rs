//! What lists hold on the heap: for the announcement of a model's memory.

use alloc::vec::Vec;

/// Bytes that a list has room for; not those that its items hold elsewhere.
pub fn bytes<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}
