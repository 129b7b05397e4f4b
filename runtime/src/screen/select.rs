//! Selects the rows of a screened output head that are scored exactly: those whose
//! bound reaches a score that enough rows are known to have.

use crate::plan::ROWS_PER_MAXIMUM;
use core::ops::Range;
use ondol_models::quant::packed::GROUP;

/// The groups and rows that were selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// Number of groups of eight rows: the used length of the list.
    pub groups: usize,
    /// Number of rows whose bound is high enough. The other rows of their groups are
    /// scored too.
    pub rows: usize,
}

/// Turns scores into bounds: `score + reach * error`. `errors` are little-endian f32,
/// one for each score.
pub fn bound(scores: &mut [f32], errors: &[u8], reach: f32) {
    let errors = errors.as_chunks().0;
    for (score, &error) in scores.iter_mut().zip(errors) {
        *score += reach * f32::from_le_bytes(error);
    }
}

/// Lists, in ascending order, the groups with a row whose bound is `least` or more.
/// `maxima` are the largest bounds of each [`ROWS_PER_MAXIMUM`] rows, without NaN. Returns
/// `None` if the list is too short.
pub fn select(bounds: &[f32], maxima: &[f32], least: f32, list: &mut [u32]) -> Option<Selected> {
    let mut found = Selected { groups: 0, rows: 0 };
    for (at, (bounds, &largest)) in bounds.chunks(ROWS_PER_MAXIMUM).zip(maxima).enumerate() {
        if largest < least {
            continue;
        }
        for (group, bounds) in bounds.chunks(GROUP).enumerate() {
            let rows = bounds.iter().filter(|&&bound| bound >= least).count();
            if rows > 0 {
                *list.get_mut(found.groups)? = (at * ROWS_PER_MAXIMUM / GROUP + group) as u32;
                found.groups += 1;
                found.rows += rows;
            }
        }
    }
    Some(found)
}

/// The `n`-th largest of the values, which are reordered. NaN counts as negative
/// infinity. If there are fewer values, or `n` is 0, returns negative infinity.
pub fn nth_largest(values: &mut [f32], n: usize) -> f32 {
    if n == 0 || n > values.len() {
        return f32::NEG_INFINITY;
    }
    for value in values.iter_mut().filter(|value| value.is_nan()) {
        *value = f32::NEG_INFINITY;
    }
    *values
        .select_nth_unstable_by(n - 1, |a, b| b.total_cmp(a))
        .1
}

/// The rows of a group, in a matrix of `rows` rows.
pub fn rows_of(group: u32, rows: usize) -> Range<usize> {
    let first = group as usize * GROUP;
    first..(first + GROUP).min(rows)
}

/// Counts the rows that score `least` or more and whose group is not in the list. The
/// list must be in ascending order.
pub fn missed(scores: &[f32], list: &[u32], least: f32) -> usize {
    let mut list = list.iter().copied().peekable();
    let groups = (0..).zip(scores.chunks(GROUP));
    let unlisted = groups.filter(|(group, _)| list.next_if_eq(group).is_none());
    unlisted
        .flat_map(|(_, scores)| scores)
        .filter(|&&score| score >= least)
        .count()
}

#[cfg(test)]
mod tests;
