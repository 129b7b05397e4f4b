//! Lists whose length depends on a model's file: their bytes on the heap, and
//! allocation that returns an error where memory is short, instead of aborting.

use alloc::vec::Vec;

use crate::{Error, Result};

/// Bytes that a list has allocated, without those that its items have allocated.
pub fn bytes<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

/// An empty list with room for this number of items.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn with_capacity<T>(items: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    reserve(&mut list, items)?;
    Ok(list)
}

/// A list of this number of copies of `item`.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn filled<T: Clone>(item: T, items: usize) -> Result<Vec<T>> {
    let mut list = with_capacity(items)?;
    list.resize(items, item);
    Ok(list)
}

/// Appends an item.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn push<T>(list: &mut Vec<T>, item: T) -> Result<()> {
    if list.len() == list.capacity() {
        // The capacity doubles, as with `Vec::push`.
        let more = list.capacity().max(4);
        reserve(list, more)?;
    }
    list.push(item);
    Ok(())
}

fn reserve<T>(list: &mut Vec<T>, items: usize) -> Result<()> {
    let refused = list.try_reserve_exact(items);
    refused.map_err(|_| Error::OutOfMemory {
        bytes: (items as u64).saturating_mul(size_of::<T>() as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_had_is_an_error() {
        let items = usize::MAX / 8;
        let refused = Err(Error::OutOfMemory {
            bytes: items as u64 * 8,
        });
        assert_eq!(with_capacity::<u64>(items).map(drop), refused);
        assert_eq!(filled(0u64, items).map(drop), refused);
    }

    #[test]
    fn lists_grow_as_asked() {
        let mut list = with_capacity(1).unwrap();
        for i in 0..100 {
            push(&mut list, i).unwrap();
        }
        assert!(list.iter().copied().eq(0..100));
        assert_eq!(filled('x', 3), Ok(vec!['x'; 3]));
    }
}
