//! Look-up by name in a list that keeps the order of the file.

use alloc::format;
use alloc::vec::Vec;

use super::read::malformed;
#[cfg(doc)]
use crate::Error;
use crate::{Result, heap};

/// The positions of a list's items, sorted by the items' names.
#[derive(Debug, Clone)]
pub(super) struct NameIndex {
    sorted: Vec<usize>,
}

impl NameIndex {
    /// The index of an empty list.
    pub(super) const EMPTY: NameIndex = NameIndex { sorted: Vec::new() };

    /// Sorts the positions of `items`. `what` says in error messages what an item is.
    ///
    /// # Errors
    /// [`Error::Malformed`] where a name occurs twice; [`Error::OutOfMemory`].
    pub(super) fn new<'n, T>(
        items: &'n [T],
        what: &str,
        name: impl Fn(&'n T) -> &'n str,
    ) -> Result<NameIndex> {
        let mut named: Vec<(&str, usize)> = heap::with_capacity(items.len())?;
        let places = items.iter().enumerate();
        named.extend(places.map(|(at, item)| (name(item), at)));
        named.sort_unstable();
        let twice = named
            .iter()
            .zip(named.iter().skip(1))
            .find(|(a, b)| a.0 == b.0);
        if let Some((first, _)) = twice {
            return Err(malformed(format!("{what} `{}` occurs twice", first.0)));
        }
        let mut sorted = heap::with_capacity(items.len())?;
        sorted.extend(named.into_iter().map(|(_, at)| at));
        Ok(NameIndex { sorted })
    }

    /// The position of the item that is called `wanted`; `name_at` gives the
    /// name of the item at a position.
    pub(super) fn find<'n>(
        &self,
        wanted: &str,
        name_at: impl Fn(usize) -> &'n str,
    ) -> Option<usize> {
        let slot = self
            .sorted
            .binary_search_by(|at| name_at(*at).cmp(wanted))
            .ok()?;
        self.sorted.get(slot).copied()
    }
}
