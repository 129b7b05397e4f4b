//! Look-up by name in a list that keeps the order of the file.

use alloc::vec::Vec;

/// The positions of a list's items, sorted by the items' names.
#[derive(Debug, Clone, Default)]
pub(super) struct NameIndex {
    sorted: Vec<usize>,
}

impl NameIndex {
    /// Sorts the positions of `items`.
    ///
    /// # Errors
    /// A name that occurs twice.
    pub(super) fn new<'n, T>(
        items: &'n [T],
        name: impl Fn(&'n T) -> &'n str,
    ) -> Result<NameIndex, &'n str> {
        let mut named: Vec<(&str, usize)> = items
            .iter()
            .enumerate()
            .map(|(at, item)| (name(item), at))
            .collect();
        named.sort_unstable();
        let twice = named
            .iter()
            .zip(named.iter().skip(1))
            .find(|(a, b)| a.0 == b.0);
        match twice {
            Some((first, _)) => Err(first.0),
            None => Ok(NameIndex {
                sorted: named.into_iter().map(|(_, at)| at).collect(),
            }),
        }
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
